"""PostgreSQL checkpoints: one pool, one saver object for each run."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from agentcore import schema
from agentcore.dsn import postgres_params
from agentcore.schema import Pool
from agentcore.serde import strict_serializer


@asynccontextmanager
async def open_checkpointer(
    url: str, *, allowed_modules: Iterable[tuple[str, str]] = ()
) -> AsyncIterator[AsyncPostgresSaver]:
    """Open a strict saver over a pool of its own, tables set up. Close it in the loop that opened it."""
    async with open_pool(url) as pool:
        await schema.setup(pool)
        yield saver_over(pool, allowed_modules=allowed_modules)


@asynccontextmanager
async def open_pool(url: str | dict[str, str], *, max_size: int = 16) -> AsyncIterator[Pool]:
    """Open a pool as AsyncPostgresSaver needs it, from a URL or libpq parameters; it outlives a server restart."""
    params = postgres_params(url) if isinstance(url, str) else url
    pool: Pool = AsyncConnectionPool(
        make_conninfo("", **params),
        min_size=1,
        max_size=max_size,
        timeout=10,  # seconds to wait for a connection
        reconnect_timeout=5,  # seconds; then the next request tries at once, instead of waiting out a long back-off
        open=False,
        check=AsyncConnectionPool.check_connection,
        kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": None},
    )
    async with pool:
        await pool.wait(timeout=10)
        yield pool


def saver_over(pool: Pool, *, allowed_modules: Iterable[tuple[str, str]] = ()) -> AsyncPostgresSaver:
    """Return a new saver over `pool`. Take one for each run: a saver object runs one query at a time."""
    serializer = strict_serializer(allowed_modules)
    return AsyncPostgresSaver(pool, serde=serializer)
