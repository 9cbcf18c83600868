"""Listening for changes: LISTEN on the checkpoint tables, and a heartbeat that proves that notifications arrive.

One connection listens. It holds the listener locks of the threads that somebody reads: see `listener_locks`.
"""

import asyncio
import hashlib
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from psycopg import AsyncConnection, Error, sql
from psycopg.conninfo import make_conninfo

from agentcore.savers import listener_locks
from agentcore.savers.setup import Pool

logger = logging.getLogger(__name__)

CHANGES = "countersign_changes"
"""The channel on which the triggers of the checkpoint tables send the mark of a changed thread."""
LISTENER_BEAT_SECONDS = 1.0
SILENCE_SECONDS = 3.0
"""After this long without our own heartbeat, notifications may be lost: every read is validated."""
IDLE_SECONDS = 60.0
"""A lock that nobody asked for in this time is released, so that writers need not notify."""
_CONNECT_SECONDS = 5
_HOLD_SECONDS = 0.5


class ChangeListener:
    """Calls `on_change` with the mark of each changed thread, or "*" for all."""

    def __init__(self, pool: Pool) -> None:
        self._conninfo = str(pool.conninfo)
        self.on_change: Callable[[str], None] = lambda mark: None
        self.name = f"countersign {uuid.uuid4().hex}"
        self._heard_at = -math.inf
        self._wanted: dict[int, float] = {}
        self._held: dict[int, str] = {}

    @property
    def is_heard(self) -> bool:
        """True while notifications are known to arrive."""
        return time.monotonic() - self._heard_at < SILENCE_SECONDS

    def session(self, mark: str) -> str | None:
        """Return the session in which changes of the thread are received now. If there is none, ask for its lock.

        Changes between two sessions were not received, so what was read in one may be outdated in another.
        """
        lock = listener_locks.lock_of(mark)
        self._wanted[lock] = time.monotonic()
        return self._held.get(lock) if self.is_heard else None

    async def keep_listening(self) -> None:
        """Listen until cancelled; reconnect whenever the connection is lost."""
        while True:
            try:
                await self._listen()
            except (Error, OSError, TimeoutError) as error:
                logger.warning("checkpoint changes are not heard (%s); every read is checked", type(error).__name__)
            finally:
                self._heard_at = -math.inf
                self._held.clear()
            await asyncio.sleep(LISTENER_BEAT_SECONDS)

    async def _listen(self) -> None:
        where = make_conninfo(self._conninfo, connect_timeout=_CONNECT_SECONDS, application_name=self.name)
        async with await AsyncConnection.connect(where, autocommit=True) as connection:
            for channel in (CHANGES, self.name):
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    await self._keep_locks(connection)
                    # A half-dead connection, or a pooler's, would not return this.
                    await connection.execute("SELECT pg_notify(%s, '')", [self.name])
                async for notice in connection.notifies(timeout=LISTENER_BEAT_SECONDS):
                    if notice.channel == CHANGES:
                        self.on_change(notice.payload)
                    else:
                        self._heard_at = time.monotonic()

    async def _keep_locks(self, connection: AsyncConnection[Any]) -> None:
        """Release the locks that nobody asked for lately, and take those that somebody did."""
        now = time.monotonic()
        for lock in [lock for lock, asked_at in self._wanted.items() if now - asked_at > IDLE_SECONDS]:
            del self._wanted[lock]
            if self._held.pop(lock, None):
                await listener_locks.release(connection, [lock])
        missing = self._wanted.keys() - self._held.keys()
        if not missing:
            return
        try:
            async with asyncio.timeout(_HOLD_SECONDS):
                await listener_locks.hold(connection, missing)
        except TimeoutError:  # somebody has been writing all this time; try again
            await listener_locks.release(connection, missing)
        else:
            self._held.update({lock: uuid.uuid4().hex for lock in missing})


def mark_of(thread_id: str) -> str:
    """Return the mark of a thread: MD5, which PostgreSQL has built in."""
    return hashlib.md5(thread_id.encode(), usedforsecurity=False).hexdigest()


@asynccontextmanager
async def listening(pool: Pool) -> AsyncIterator[ChangeListener]:
    listener = ChangeListener(pool)
    task = asyncio.create_task(listener.keep_listening())
    try:
        yield listener
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
