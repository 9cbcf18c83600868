"""Who wants to hear of changes in a thread holds its lock. Writers tell of a change only when somebody does.

NOTIFY makes commits queue: each waits until the one before is on the disk. So the triggers on the checkpoint tables try
the lock of the thread first, an advisory lock that listeners share, and stay quiet where nobody holds it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

LOCKS = 0x434F554E
"""The first key of every lock's advisory lock; the second is its number."""
ALL = range(256)
"""A thread's lock is the first byte of its mark, so that nobody ever holds more locks than this."""
_LOOK_AGAIN_SECONDS = 0.01

_WRITERS_SQL = """
SELECT virtualtransaction FROM pg_locks
WHERE relation IN (to_regclass('checkpoints'), to_regclass('checkpoint_writes')) AND mode = 'RowExclusiveLock'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def lock_of(mark: str) -> int:
    """Return the lock of a thread, by what the triggers tell of it."""
    return int(mark[:2], 16)


async def hold(connection: AsyncConnection[Any], locks: Iterable[int] = ALL) -> None:
    """Hold locks until the connection, which listens and does not write, is closed; each lock once.

    When this returns, whatever was committed before can be read, and whatever is committed later is told. It waits for
    the transactions that write at this moment: give it a time limit.
    """
    await connection.execute("SELECT pg_advisory_lock_shared(%s, lock) FROM unnest(%s::int[]) lock", [LOCKS, [*locks]])
    untold = await _writers(connection)  # they may have tried the lock before we held it
    while untold:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        untold &= await _writers(connection)


async def release(connection: AsyncConnection[Any], locks: Iterable[int]) -> None:
    """Let go of locks; nothing is told of their threads any more."""
    await connection.execute(
        "SELECT pg_advisory_unlock_shared(%s, lock) FROM unnest(%s::int[]) lock", [LOCKS, [*locks]]
    )


async def _writers(connection: AsyncConnection[Any]) -> set[str]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        return {row[0] for row in await (await cursor.execute(_WRITERS_SQL)).fetchall()}
