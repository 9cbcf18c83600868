"""PostgreSQL checkpoints: one pool, one saver object for each run, tables set up once."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, errors
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from agentcore import tables
from agentcore.dsn import postgres_params
from agentcore.errors import SetupTimeout
from agentcore.serde import check_serializer, strict_serializer

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

_SETUP_LOCK = 0x434F554E54  # any number, the same for everyone who sets up


@asynccontextmanager
async def open_checkpointer(
    url: str, *, allowed_modules: Iterable[tuple[str, str]] = ()
) -> AsyncIterator[AsyncPostgresSaver]:
    """Open a strict saver over a pool of its own, tables set up. Close it in the loop that opened it."""
    async with open_pool(url) as pool:
        await setup(pool)
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


async def setup(pool: Pool, *, timeout_seconds: float = 30) -> None:
    """Create the checkpoint tables and our trigger, once, whoever else does the same; raise SetupTimeout."""
    check_serializer(strict_serializer())
    async with pool.connection() as lock:
        await _take_lock(lock, timeout_seconds)
        try:
            await saver_over(pool).setup()
            async with pool.connection() as connection, connection.transaction():
                await connection.execute(tables.INSTALL_SQL)
        finally:
            await lock.execute("SELECT pg_advisory_unlock(%s)", [_SETUP_LOCK])


async def _take_lock(connection: AsyncConnection[DictRow], timeout_seconds: float) -> None:
    """Poll: waiting inside pg_advisory_lock holds a snapshot that CREATE INDEX CONCURRENTLY waits for, for ever."""
    deadline = time.monotonic() + timeout_seconds
    while not await _try_lock(connection):
        if time.monotonic() > deadline:
            raise SetupTimeout(await _holder(connection, timeout_seconds))
        await asyncio.sleep(0.1)


async def _try_lock(connection: AsyncConnection[DictRow]) -> bool:
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s) AS ok", [_SETUP_LOCK])).fetchone()
    return bool(row and row["ok"])


async def _holder(connection: AsyncConnection[DictRow], timeout_seconds: float) -> str:
    query = (
        "SELECT a.pid, a.client_addr::text AS address FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    row: dict[str, Any] | None = None
    try:
        found = await connection.execute(query, [_SETUP_LOCK >> 32, _SETUP_LOCK & 0xFFFFFFFF])
        row = await found.fetchone()
    except errors.Error:
        pass
    who = f"PostgreSQL session {row['pid']} ({row['address'] or 'local'})" if row else "another session"
    return (
        f"{who} has been setting up the checkpoint tables for {timeout_seconds:.0f} s."
        " Wait for it or end it, then try again."
    )
