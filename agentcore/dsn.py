"""The one parser of PostgreSQL URLs: takes what people paste, gives what libpq understands."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from agentcore.errors import BadDatabaseUrl

_SCHEME = re.compile(r"^(?:postgres|postgresql)(?:\+[a-z0-9_]+)?$")
# Options of SQLAlchemy and asyncpg that libpq refuses. The ones with a meaning are translated, the rest dropped.
_RENAMED = {"ssl": "sslmode"}
_DROPPED = {"pool_size", "max_overflow", "pool_timeout", "pool_recycle", "prepared_statement_cache_size"}
_SSL = {"true": "require", "false": "disable", "1": "require", "0": "disable"}


def postgres_params(url: str) -> dict[str, str]:
    """Return libpq parameters (`host`, `dbname`, `user`, ...) for `url`; raise BadDatabaseUrl without repeating it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadDatabaseUrl(
            "The database URL cannot be read. Type postgresql://user:password@host:5432/name."
        ) from None
    if not _SCHEME.match(parts.scheme):
        raise BadDatabaseUrl(
            "The database URL does not begin with postgresql://. Type postgresql://user:password@host:5432/name."
        )
    query = urlencode([_translated(key, value) for key, value in parse_qsl(parts.query) if key not in _DROPPED])
    clean = urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))
    try:
        params = conninfo_to_dict(clean)
    except ProgrammingError as error:
        raise BadDatabaseUrl(_reason(error, parts.netloc)) from None
    return {key: str(value) for key, value in params.items() if value is not None}


def _translated(key: str, value: str) -> tuple[str, str]:
    if key not in _RENAMED:
        return key, value
    return _RENAMED[key], _SSL.get(value.lower(), value)


def _reason(error: Exception, netloc: str) -> str:
    option = re.search(r'invalid URI query parameter: "([a-z_]+)"', str(error))
    if option:
        return f"The database URL has an option that PostgreSQL does not know: {option[1]}. Remove it."
    return "The database URL cannot be read. Write special characters in the password as %40 for @, %2F for /."
