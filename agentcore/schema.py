"""The checkpoint tables: created once for each deploy, whoever else does the same."""

import asyncio
import time
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, errors
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool

from agentcore import tables
from agentcore.errors import SetupTimeout
from agentcore.serde import check_serializer, strict_serializer

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

_SETUP_LOCK = 0x434F554E54  # any number, the same for everyone who sets up


async def setup(pool: Pool, *, timeout_seconds: float = 30) -> None:
    """Create the checkpoint tables and our trigger, once, whoever else does the same; raise SetupTimeout."""
    check_serializer(strict_serializer())
    async with pool.connection() as lock:
        await _take_lock(lock, timeout_seconds)
        try:
            await AsyncPostgresSaver(pool, serde=strict_serializer()).setup()
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
