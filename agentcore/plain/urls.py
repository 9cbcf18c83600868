"""The parser of database URLs: it accepts what people paste, and never repeats a password."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from agentcore.plain.errors import AgentCoreError, BadDatabaseUrl, BadRedisUrl

P = ParamSpec("P")
T = TypeVar("T")

_POSTGRES = re.compile(r"^(?:postgres|postgresql)(?:\+[a-z0-9_]+)?$")
_SQLITE = re.compile(r"^sqlite(?:\+(?:aiosqlite|pysqlite))?$")
# Options of SQLAlchemy and asyncpg that libpq refuses. The ones with a meaning are translated, the rest dropped.
_RENAMED = {"ssl": "sslmode"}
_DROPPED = {"pool_size", "max_overflow", "pool_timeout", "pool_recycle", "prepared_statement_cache_size"}
_SSL = {"true": "require", "false": "disable", "1": "require", "0": "disable"}
_PORTS = re.compile(r"[0-9,]*")

_UNREADABLE = "The database URL cannot be read. Write special characters in the password as %40 for @, %2F for /."
_NOT_POSTGRES = "The database URL does not begin with postgresql://. Type postgresql://user:password@host:5432/name."
_NO_STORE = (
    "The checkpoint URL begins with none of postgresql://, sqlite:/// and memory://."
    " Type postgresql://user:password@host:5432/name, or sqlite:///file.db, or memory://."
)
_TYPE_MEMORY = "Checkpoints that nobody keeps are asked for by name. Type memory://, and nothing after it."
_NOT_SQLITE = (
    "A SQLite URL has three slashes and a file, and no user, password or host."
    " Type sqlite:///file.db, or sqlite:////folder/file.db for a path from the root."
)
_UNREADABLE_FILE = "The SQLite URL cannot be read. In the file's name write # as %23, ? as %3F and % as %25."
# Others of redis-py change what it answers with, or take objects that a URL cannot name.
_REDIS_OPTIONS = {"db", "username", "password", "client_name", "max_connections", "timeout", "protocol"} | {
    "health_check_interval", "socket_timeout", "socket_connect_timeout", "socket_keepalive",
}  # fmt: skip
_NOT_REDIS = "The Redis URL cannot be read. It must look like redis://:password@host:6379/0."


@dataclass(frozen=True)
class Postgres:
    """Checkpoints in PostgreSQL: libpq parameters, password included, so they are never shown."""

    params: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class Sqlite:
    """Checkpoints in a file, for one process at a time."""

    path: Path


@dataclass(frozen=True)
class Memory:
    """Checkpoints in the memory of one process, which are gone when it ends. Only ever what somebody typed."""


Store = Postgres | Sqlite | Memory


def _with_nothing_behind(parse: Callable[P, T]) -> Callable[P, T]:
    """Raise what `parse` raises, without its cause: errors of libpq and urllib repeat passwords."""

    @wraps(parse)
    def parsed(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return parse(*args, **kwargs)
        except AgentCoreError as error:
            refused = error.with_traceback(None)
        refused.__context__ = None
        raise refused

    return parsed


@_with_nothing_behind
def checkpoint_store(url: str) -> Store:
    """Say where checkpoints are kept; raise BadDatabaseUrl without repeating the URL."""
    if url == "memory://":
        return Memory()
    parts = _split(url, BadDatabaseUrl(_UNREADABLE if isinstance(url, str) else _NO_STORE))
    if parts.scheme == "memory":
        raise BadDatabaseUrl(_TYPE_MEMORY)
    if _SQLITE.match(parts.scheme):
        return _sqlite(url, parts)
    if _POSTGRES.match(parts.scheme):
        return Postgres(_postgres(url, parts))
    raise BadDatabaseUrl(_NO_STORE)


@_with_nothing_behind
def postgres_params(url: str) -> dict[str, str]:
    """Return libpq parameters (`host`, `dbname`, `user`, ...) for `url`; raise BadDatabaseUrl without repeating it."""
    parts = _split(url, BadDatabaseUrl(_UNREADABLE))
    if not _POSTGRES.match(parts.scheme):
        raise BadDatabaseUrl(_NOT_POSTGRES)
    return _postgres(url, parts)


@_with_nothing_behind
def check_redis_url(url: str) -> None:
    """Raise BadRedisUrl, without repeating it, unless redis-py takes `url` as it was meant. Connects to nothing."""
    parts = _split(url, BadRedisUrl(_NOT_REDIS))
    for option in dict(parse_qsl(parts.query, keep_blank_values=True)):
        if option not in _REDIS_OPTIONS and not option.startswith("ssl_") and "@" not in parts.query:
            raise BadRedisUrl(f"The Redis URL has an option that cannot be used: {option}. Remove it.")
    number = parts.path.strip("/") if parts.scheme != "unix" else ""
    if _is_cut(url, parts) or number and not number.isdecimal():  # redis-py reads that as database 0, on some host
        raise BadRedisUrl(_NOT_REDIS)
    from redis import ConnectionPool, RedisError  # here, as most consoles have no Redis, and it takes long to load

    try:
        pool = ConnectionPool.from_url(url)
        pool.make_connection()
    except (ValueError, TypeError, AttributeError, RedisError) as error:
        raise BadRedisUrl(_reason_of_redis(error, parts)) from None


def _split(url: str, unreadable: AgentCoreError) -> SplitResult:
    if not isinstance(url, str):  # what an unset variable gives
        raise unreadable
    try:
        return urlsplit(url)
    except ValueError:
        raise unreadable from None


def _is_cut(url: str, parts: SplitResult) -> bool:
    """Return whether an @, /, ? or # in the password ended it: a driver would take the rest for the host, and name
    it.
    """
    is_split = parts.netloc.count("@") > 1 or "@" in parts.path or bool(parts.fragment)
    return is_split or "\0" in url or _is_torn(parts.query)


def _is_torn(query: str) -> bool:
    return any(field and "=" not in field for field in query.split("&"))


def _postgres(url: str, parts: SplitResult) -> dict[str, str]:
    if _is_cut(url, parts):
        raise BadDatabaseUrl(_UNREADABLE)
    options = [_translated(key, value) for key, value in parse_qsl(parts.query.replace("+", "%2B"))]
    try:
        query = urlencode([pair for pair in options if pair[0] not in _DROPPED], quote_via=quote)  # libpq keeps a +
        params = conninfo_to_dict(f"postgresql://{parts.netloc}{parts.path}?{query}")
    except (ProgrammingError, UnicodeError) as error:
        raise BadDatabaseUrl(_reason_of_libpq(error, parts)) from None
    if not _PORTS.fullmatch(str(params.get("port") or "")):
        raise BadDatabaseUrl(_UNREADABLE)
    return {key: str(value) for key, value in params.items() if value is not None}


def _translated(key: str, value: str) -> tuple[str, str]:
    if key not in _RENAMED:
        return key, value
    return _RENAMED[key], _SSL.get(value.lower(), value)


def _reason_of_libpq(error: Exception, parts: SplitResult) -> str:
    option = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
    if option and "@" not in parts.query:  # with an @ it may be the rest of a password
        return f"The database URL has an option that PostgreSQL does not know: {option[1]}. Remove it."
    return _UNREADABLE


def _reason_of_redis(error: Exception, parts: SplitResult) -> str:
    option = re.search(r"unexpected keyword argument '(\w+)'|Invalid value for '(\w+)'", str(error))
    if option and "@" not in parts.query:
        return f"The Redis URL has an option that cannot be used: {option[1] or option[2]}. Remove it."
    return _NOT_REDIS


def _sqlite(url: str, parts: SplitResult) -> Sqlite:
    try:
        name = unquote(parts.path[1:], errors="strict")
    except UnicodeDecodeError:
        raise BadDatabaseUrl(_UNREADABLE_FILE) from None
    if ":memory:" in parts.netloc + name or not (parts.netloc or name):
        raise BadDatabaseUrl(_TYPE_MEMORY)
    if not url[len(parts.scheme) :].startswith(":///") or re.search(r":[^/]*@", name):
        raise BadDatabaseUrl(_NOT_SQLITE)
    if "\0" in name or parts.fragment or _is_torn(parts.query):
        raise BadDatabaseUrl(_UNREADABLE_FILE)
    _check_no_options(parts)
    path = Path(name).absolute()
    _check_folder(path)
    return Sqlite(path)


def _check_no_options(parts: SplitResult) -> None:
    for option, _ in parse_qsl(parts.query, keep_blank_values=True):
        if option not in _DROPPED:
            is_sayable = option.isidentifier() and "@" not in parts.query
            named = f": {option}" if is_sayable else ""
            raise BadDatabaseUrl(f"The SQLite URL has an option, and there are none{named}. Remove it.")


def _check_folder(path: Path) -> None:
    """Check the folder now, while somebody reads the error. The file itself need not exist."""
    if path.is_dir():
        raise BadDatabaseUrl("The SQLite URL names a folder. Add /checkpoints.db to it, or another name for a file.")
    if not os.path.isdir(os.path.dirname(os.path.realpath(path))):
        raise BadDatabaseUrl(
            "The SQLite URL names a file in a folder that does not exist, or that you may not enter. Make the folder;"
            " with three slashes it begins where you are, with four at the root."
        )
