"""Open checkpoint savers: in PostgreSQL (one pool, a saver object for each run), in a file, or in memory."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from agentcore.plain.connections import ANSWERING_PID, prepare_if_direct
from agentcore.plain.errors import BadRedisUrl, DatabaseUnreachable, without_secrets
from agentcore.plain.urls import Memory, Postgres, Sqlite, check_redis_url, checkpoint_store, postgres_params
from agentcore.savers import setup
from agentcore.savers.base import Saver
from agentcore.savers.cache import Cache, CachedPostgresSaver, Reads, open_cache
from agentcore.savers.memory import open_memory
from agentcore.savers.postgres import PostgresSaver, check_quickly, note_return
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.setup import Pool
from agentcore.savers.sqlite import open_sqlite

_LONGEST_REASON = 400


@asynccontextmanager
async def open_checkpointer(
    url: str,
    *,
    redis_url: str | None = None,
    cache_ttl: int = 86_400,
    allowed_modules: Iterable[tuple[str, str]] = (),
) -> AsyncIterator[Saver]:
    """Open a saver with a strict serializer, tables set up: `postgresql://...`, `sqlite:///file` or `memory://`.

    With `redis_url` there is a cache in front of PostgreSQL, whose entries live `cache_ttl` seconds. Close the saver in
    the loop that opened it. Raises BadDatabaseUrl, BadRedisUrl, SetupTimeout, SetupFailed, CheckpointsElsewhere or
    FileUnusable.
    """
    store, serializer = checkpoint_store(url), strict_serializer(allowed_modules)
    if redis_url:
        check_redis_url(redis_url)
    if redis_url and not isinstance(store, Postgres):
        raise BadRedisUrl("A cache belongs before PostgreSQL; a file and memory are as near as Redis. Leave it out.")
    match store:
        case Memory():
            async with open_memory(serializer) as in_memory:
                yield in_memory
        case Sqlite(path):
            async with open_sqlite(path, serializer) as in_file:
                yield in_file
        case Postgres(params):
            async with open_pool(params) as pool:
                await setup.setup(pool)
                if not redis_url:
                    yield saver_over(pool, allowed_modules=allowed_modules)
                    return
                async with open_cache(pool, redis_url, ttl_seconds=cache_ttl) as cache:
                    yield saver_over(pool, allowed_modules=allowed_modules, cache=cache)


@asynccontextmanager
async def open_pool(url: str | dict[str, str], *, max_size: int = 16) -> AsyncIterator[Pool]:
    """Open a pool of connections in autocommit, for AsyncPostgresSaver, from a URL or libpq parameters.

    It survives a restart of the server.
    """
    params = postgres_params(url) if isinstance(url, str) else url
    await _reach(params)
    pool: Pool = AsyncConnectionPool(
        make_conninfo("", **params),
        min_size=1,
        max_size=max_size,
        timeout=10,  # seconds to wait for a connection
        reconnect_timeout=5,  # seconds; after a longer back-off the next request would wait for it
        open=False,
        configure=_configure,
        check=check_quickly,
        reset=note_return,
        kwargs={"row_factory": dict_row, "prepare_threshold": None},
    )
    async with pool:
        await pool.wait(timeout=10)
        yield pool


async def _configure(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    prepare_if_direct(connection, await (await connection.execute(ANSWERING_PID)).fetchone())


async def _reach(params: dict[str, str]) -> None:
    """Raise DatabaseUnreachable at once, with the reason: a pool would retry for a while and only log it."""
    refused = ""
    try:
        async with await AsyncConnection.connect(make_conninfo("", **{"connect_timeout": "10", **params})):
            pass
    except (Error, ValueError) as error:
        refused = " ".join(str(error).replace(params.get("password") or "\0", "***").split())[:_LONGEST_REASON]
    if refused:
        raise DatabaseUnreachable(f"PostgreSQL cannot be reached, or does not let us in: {without_secrets(refused)}")


def saver_over(
    pool: Pool,
    *,
    allowed_modules: Iterable[tuple[str, str]] = (),
    cache: Cache | None = None,
    reads: Reads = "validated",
) -> PostgresSaver:
    """Return a new saver over `pool`, through `cache` if given. It costs nothing, so make one for each run."""
    serializer = strict_serializer(allowed_modules)
    if cache is None:
        return PostgresSaver(pool, serde=serializer)
    return CachedPostgresSaver(pool, cache, serde=serializer, reads=reads)
