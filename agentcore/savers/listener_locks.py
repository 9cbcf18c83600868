"""Listener locks: who wants to be notified about changes of a thread holds its lock. Writers notify only then.

NOTIFY makes commits queue: each waits until the one before is on disk. So the triggers on the checkpoint tables first
try the thread's lock, a shared advisory lock of the listeners, and send nothing if nobody holds it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

LOCKS = 0x434F554E
"""The first key of every listener lock (an advisory lock); the second is its number."""
ALL = range(256)
"""The number of a thread's lock is the first byte of its mark, so a listener holds 256 locks at most."""
_LOOK_AGAIN_SECONDS = 0.01

_WRITERS_SQL = """
SELECT virtualtransaction FROM pg_locks
WHERE relation IN (to_regclass('checkpoints'), to_regclass('checkpoint_writes')) AND mode = 'RowExclusiveLock'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def lock_of(mark: str) -> int:
    """Return the number of a thread's lock from the mark that the triggers send."""
    return int(mark[:2], 16)


async def hold(connection: AsyncConnection[Any], locks: Iterable[int] = ALL) -> None:
    """Hold locks until the connection is closed, each once. The connection listens and does not write.

    When this returns, everything committed before can be read, and every later commit sends a notification. It waits
    for all transactions that are writing now: set a time limit.
    """
    await connection.execute("SELECT pg_advisory_lock_shared(%s, lock) FROM unnest(%s::int[]) lock", [LOCKS, [*locks]])
    untold = await _writers(connection)  # they may have tried the lock before we held it
    while untold:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        untold &= await _writers(connection)


async def release(connection: AsyncConnection[Any], locks: Iterable[int]) -> None:
    """Release locks. Changes of their threads send no notification any more."""
    await connection.execute(
        "SELECT pg_advisory_unlock_shared(%s, lock) FROM unnest(%s::int[]) lock", [LOCKS, [*locks]]
    )


async def _writers(connection: AsyncConnection[Any]) -> set[str]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        return {row[0] for row in await (await cursor.execute(_WRITERS_SQL)).fetchall()}
