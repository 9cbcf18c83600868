"""Hearing of changes: a LISTEN on the checkpoint tables, and the proof that it is heard."""

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from psycopg import AsyncConnection, Error, sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout

from agentcore import bells
from agentcore.schema import Pool

logger = logging.getLogger(__name__)

CHANGES = "countersign_changes"
"""The channel on which the triggers of the checkpoint tables tell the mark of a thread that changed."""
BEAT_SECONDS = 1.0
SILENCE_SECONDS = 3.0
"""Without our own beat for this long, changes may go unheard: nothing is believed any more."""
_CONNECT_SECONDS = 5


class Notices:
    """Calls `on_change` with the mark of each thread that changed, or "*" for all.

    `session` is None unless changes are heard this moment. Whatever was read under one session may be stale under
    another: what changed in between was not heard.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.on_change: Callable[[str], None] = lambda mark: None
        self.name = f"countersign {uuid.uuid4().hex}"
        self._connected: str | None = None
        self._heard_at = 0.0

    @property
    def session(self) -> str | None:
        return self._connected if time.monotonic() - self._heard_at < SILENCE_SECONDS else None

    async def keep_listening(self) -> None:
        """Listen until cancelled, connecting again whenever the connection is lost."""
        while True:
            try:
                await self._listen()
            except (Error, OSError, TimeoutError) as error:
                logger.warning("checkpoint changes are not heard (%s); every read is checked", type(error).__name__)
            finally:
                self._connected = None
            await asyncio.sleep(BEAT_SECONDS)

    async def _listen(self) -> None:
        where = make_conninfo(str(self._pool.conninfo), connect_timeout=_CONNECT_SECONDS, application_name=self.name)
        async with await AsyncConnection.connect(where, autocommit=True) as connection:
            for channel in (CHANGES, self.name):
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            await bells.hold(connection)
            async with asyncio.timeout(_CONNECT_SECONDS):
                await bells.hold(connection)
            beating = asyncio.create_task(self._beat())
            try:
                await self._hear(connection)
            finally:
                beating.cancel()

    async def _hear(self, connection: AsyncConnection[Any]) -> None:
        session = uuid.uuid4().hex
        async for notice in connection.notifies():
            if notice.channel == CHANGES:
                self.on_change(notice.payload)
            else:
                self._connected, self._heard_at = session, time.monotonic()

    async def _beat(self) -> None:
        """Notify ourselves through the pool: a connection that is half dead, or a pooler's, would hear nothing."""
        while True:
            with suppress(Error, PoolTimeout, TimeoutError):
                async with asyncio.timeout(SILENCE_SECONDS), self._pool.connection() as connection:
                    await connection.execute("SELECT pg_notify(%s, '')", [self.name])
            await asyncio.sleep(BEAT_SECONDS)


def mark_of(thread_id: str) -> str:
    """Return what the triggers tell of a thread: md5, as PostgreSQL has it built in."""
    return hashlib.md5(thread_id.encode(), usedforsecurity=False).hexdigest()


@asynccontextmanager
async def listening(pool: Pool) -> AsyncIterator[Notices]:
    notices = Notices(pool)
    task = asyncio.create_task(notices.keep_listening())
    try:
        yield notices
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
