"""The one parser of PostgreSQL URLs: takes what people paste, gives what libpq understands."""

import re
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from agentcore.errors import BadDatabaseUrl

_SCHEME = re.compile(r"^(?:postgres|postgresql)(?:\+[a-z0-9_]+)?$")
# Options of SQLAlchemy and asyncpg that libpq refuses. The ones with a meaning are translated, the rest dropped.
_RENAMED = {"ssl": "sslmode"}
_DROPPED = {"pool_size", "max_overflow", "pool_timeout", "pool_recycle", "prepared_statement_cache_size"}
_SSL = {"true": "require", "false": "disable", "1": "require", "0": "disable"}
_UNREADABLE = "The database URL cannot be read. Write special characters in the password as %40 for @, %2F for /."
_PORTS = re.compile(r"[0-9,]*")


def postgres_params(url: str) -> dict[str, str]:
    """Return libpq parameters (`host`, `dbname`, `user`, ...) for `url`; raise BadDatabaseUrl without repeating it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadDatabaseUrl(_UNREADABLE) from None
    if not _SCHEME.match(parts.scheme):
        raise BadDatabaseUrl(
            "The database URL does not begin with postgresql://. Type postgresql://user:password@host:5432/name."
        )
    if _is_cut(url, parts):
        raise BadDatabaseUrl(_UNREADABLE)
    options = [_translated(key, value) for key, value in parse_qsl(parts.query.replace("+", "%2B"))]
    try:
        query = urlencode([pair for pair in options if pair[0] not in _DROPPED], quote_via=quote)  # libpq keeps a +
        params = conninfo_to_dict(f"postgresql://{parts.netloc}{parts.path}?{query}")
    except (ProgrammingError, UnicodeError) as error:
        raise BadDatabaseUrl(_reason(error, parts)) from None
    if not _PORTS.fullmatch(str(params.get("port") or "")):
        raise BadDatabaseUrl(_UNREADABLE)
    return {key: str(value) for key, value in params.items() if value is not None}


def _is_cut(url: str, parts: SplitResult) -> bool:
    """True if an @, /, ? or # of the password ended it: libpq would take what follows for the host, and name it."""
    is_split = parts.netloc.count("@") > 1 or "@" in parts.path or bool(parts.fragment)
    return is_split or "\0" in url or any(field and "=" not in field for field in parts.query.split("&"))


def _translated(key: str, value: str) -> tuple[str, str]:
    if key not in _RENAMED:
        return key, value
    return _RENAMED[key], _SSL.get(value.lower(), value)


def _reason(error: Exception, parts: SplitResult) -> str:
    option = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
    if option and "@" not in parts.query:  # with an @ it may be the rest of a password
        return f"The database URL has an option that PostgreSQL does not know: {option[1]}. Remove it."
    return _UNREADABLE
