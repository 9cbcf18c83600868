"""What a run sends, while it is at work, to those who subscribed to its thread.

What LangGraph streams waits in memory; a task beside the run turns it into parts and writes them, many in one
statement. The run waits for that only when it stops, and not for long. Nobody waits for who reads them. Without a
subscription nothing is turned, kept or written.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from django.db import DatabaseError, connection
from psycopg_pool import PoolTimeout

from agentcore.graphs.streams import PieceReader, Raw
from agentcore.plain.excerpts import LARGEST_PART, cut
from agentcore.plain.masks import Mask
from agentcore.plain.streams import StreamPiece, Wanted
from approvals.actions.runs import subscriptions
from approvals.actions.runs.taken import HELD_SQL, TakenRun
from approvals.database import in_database
from approvals.live import events, relay

logger = logging.getLogger(__name__)

GATHERED_SECONDS = 0.03
"""So long parts are gathered before they are written."""
LAST_SECONDS = 5.0
"""So long a run that has stopped waits until its last parts are written."""
MOST_WAITING = 1_000
"""If more waits to be written, what nodes say meanwhile is lost. What becomes of tasks and values never is."""
_SAID = ("messages", "custom")
MOST_KEPT = 16 * 2**20
"""Characters of the parts that are kept of one run; the oldest half goes if they are more."""
_WRITE_SQL = f"""
WITH held AS (SELECT 1 FROM approvals_run AS run, approvals_thread AS thread WHERE {HELD_SQL}),
written AS (
    INSERT INTO approvals_streampart (run_id, thread_id, mode, name, is_inner, data)
    SELECT %(run)s, %(thread)s, part.mode, part.name, part.is_inner, part.data
    FROM held, unnest(%(modes)s::text[], %(names)s::text[], %(inner)s::boolean[], %(parts)s::text[])
        WITH ORDINALITY AS part (mode, name, is_inner, data, number)
    ORDER BY part.number
)
SELECT pg_notify('{relay.CHANNEL}', %(topic)s) FROM held
"""
_TRIM_SQL = """
DELETE FROM approvals_streampart WHERE run_id = %(run)s AND id <= (
    SELECT max(id) FROM (
        SELECT id, sum(length(data)) OVER (ORDER BY id DESC) AS size FROM approvals_streampart WHERE run_id = %(run)s
    ) AS sized WHERE size > %(most)s
)
"""


@asynccontextmanager
async def broadcasting(taken: TakenRun) -> AsyncIterator["Broadcast"]:
    """Send what is noted in the block to those who subscribed, and to those who do so before it ends."""
    broadcast = Broadcast(taken)
    with relay.told([events.subscription_topic(taken.thread_id)], broadcast.look_again):
        try:
            yield broadcast
            await broadcast.send_last()
        finally:
            broadcast.stop()


class Broadcast:
    """The stream of one run."""

    def __init__(self, taken: TakenRun) -> None:
        self._taken = taken
        self._reader = PieceReader()
        self._wanted = taken.wanted
        self._waiting: deque[Raw] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = time.monotonic()
        self._is_last = asyncio.Event()
        self._kept = 0

    def hide(self, mask: Mask) -> None:
        """Hide these secrets: called before the run begins."""
        self._reader.mask = mask

    @property
    def wanted(self) -> Wanted:
        """Return what the run is to tell. Where there are secrets it tells of subgraphs too: they may make some."""
        has_secrets = bool(self._wanted.modes and self._reader.mask.paths)
        return replace(self._wanted, has_subgraphs=True) if has_secrets else self._wanted

    def note(self, raw: Raw) -> None:
        """Take what LangGraph streams."""
        if not self._wanted.modes or raw[1] in _SAID and len(self._waiting) >= MOST_WAITING:
            return
        self._waiting.append(raw)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_soon())

    def look_again(self, _: str) -> None:
        """Look who is subscribed: somebody came or went."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def send_last(self) -> None:
        """Write what is left, now that the run has stopped. Raises nothing: a run ends as it ended, heard or not."""
        if self._sending is None:
            return
        self._is_last.set()
        await asyncio.wait([self._sending], timeout=LAST_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._send(self._reader.rest)

    def stop(self) -> None:
        for task in (self._sending, self._looking):
            if task:
                task.cancel()

    async def _look(self) -> None:
        with contextlib.suppress(DatabaseError, PoolTimeout):  # then as before; they say again that they are there
            self._looked_at = time.monotonic()
            self._wanted = await in_database(subscriptions.wanted_of)(self._taken.thread_id)

    async def _send_soon(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHERED_SECONDS):
                await self._is_last.wait()
        while self._waiting:
            if time.monotonic() - self._looked_at > subscriptions.RENEWED_SECONDS * 3:
                await self._look()
            raws = list(self._waiting)
            self._waiting.clear()
            await self._send(partial(self._reader.pieces_of, raws))

    async def _send(self, make: Callable[[Wanted], list[StreamPiece]]) -> None:
        """Write the parts. What cannot be written is lost to those who listen; the run goes on."""
        try:
            await in_database(self._write)(make)
        except Exception as error:  # noqa: BLE001 - an agent's objects may raise anything when they are looked at
            about = {"run_id": self._taken.run_id}
            logger.warning("a part of a stream is lost (%s)", type(error).__name__, extra=about)

    def _write(self, make: Callable[[Wanted], list[StreamPiece]]) -> None:
        """Make the parts and write them. It is called in a thread: a large state takes a while to turn into JSON."""
        parts = make(self._wanted)
        if not parts:
            return
        texts = [_text(part) for part in parts]
        self._taken.write(
            _WRITE_SQL,
            thread=self._taken.thread_id,
            modes=[part.mode for part in parts],
            names=[part.name for part in parts],
            inner=[part.is_inner for part in parts],
            parts=texts,
            topic=events.stream_topic(self._taken.thread_id),
        )
        self._kept += sum(map(len, texts))
        if self._kept > MOST_KEPT:
            self._trim()

    def _trim(self) -> None:
        self._kept = MOST_KEPT // 2
        with connection.cursor() as cursor:
            cursor.execute(_TRIM_SQL, {"run": self._taken.run_id, "most": self._kept})


def _text(part: StreamPiece) -> str:
    """Return the data as JSON; of what is too large for a page, an excerpt. Half characters are replaced."""
    text = json.dumps(part.data, ensure_ascii=False, separators=(",", ":"))
    if len(text) > LARGEST_PART:
        text = json.dumps(cut(part.data), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()
