"""Reads of the checkpoint tables in pieces: a checkpoint's stamp, its document, its blobs.

A stamp names the row versions of a checkpoint, its values and its pending writes: PostgreSQL gives every version of a
row another `xmin` and `ctid`. Two equal stamps mean that nothing was written in between, in place or not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import ormsgpack
from langgraph.checkpoint.serde.types import TASKS
from psycopg.rows import tuple_row

from agentcore.plain.bound_bytes import BLOBS_OF_C
from agentcore.savers.setup import Pool

K = TypeVar("K")
V = TypeVar("V")

Line = tuple[str, str]
"""Thread and namespace: checkpoints of one line share their blobs."""

_MOST_AT_ONCE = 500

# `c` is a row of checkpoints in all of these. What checkpoints of an old format send waits in their parent's writes.
_WRITES_OF_C = (
    "checkpoint_writes w WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns"
    " AND w.checkpoint_id = c.checkpoint_id"
)
_SENDS_OF_C = (
    "checkpoint_writes s WHERE s.thread_id = c.thread_id AND s.checkpoint_ns = c.checkpoint_ns"
    f" AND s.checkpoint_id = c.parent_checkpoint_id AND s.channel = '{TASKS}'"
)
_BLOBS_OF_C = f"SELECT b.channel, b.version, b.type, concat(b.xmin, b.ctid) AS stamp FROM {BLOBS_OF_C}"


def _stamp(blobs: str) -> str:
    return f"""md5(concat(c.xmin, c.ctid,
    (SELECT string_agg(concat(w.xmin, w.ctid), ',' ORDER BY w.task_id, w.idx) FROM {_WRITES_OF_C}), ';',
    (SELECT string_agg(concat(s.xmin, s.ctid), ',' ORDER BY s.task_id, s.idx) FROM {_SENDS_OF_C}), ';',
    (SELECT string_agg(stamp, ',' ORDER BY channel) FROM ({blobs}) blob)
))"""


_STAMP = _stamp(_BLOBS_OF_C)
_DOCUMENT_SQL = """
SELECT {stamp}, c.parent_checkpoint_id, c.checkpoint::text, c.metadata::text, (
    SELECT array_agg(ARRAY[convert_to(w.task_id, 'UTF8'), convert_to(w.channel, 'UTF8'), convert_to(w.type, 'UTF8'),
        w.blob, convert_to(w.task_path, 'UTF8'), convert_to(w.idx::text, 'UTF8')]) FROM {writes}
), (
    SELECT array_agg(ARRAY[convert_to(s.type, 'UTF8'), s.blob] ORDER BY s.task_path, s.task_id, s.idx)
    FROM {sends} AND (c.checkpoint ->> 'v')::int < 4
), (
    SELECT array_agg(ARRAY[channel, version, type, stamp]) FROM ({blobs}) blob
) FROM {c} c
"""
_parts = {"writes": _WRITES_OF_C, "sends": _SENDS_OF_C}
_SAVED_BLOBS = f"{_BLOBS_OF_C} UNION ALL SELECT channel, version, type, concat(xmin, ctid) FROM new_blob"
SAVED_SQL = _DOCUMENT_SQL.format(**_parts, c="saved", blobs=_SAVED_BLOBS, stamp=_stamp(_SAVED_BLOBS))
"""The document of a checkpoint that a statement saves: it sees the blobs that were there, and not those of its own."""
_LATEST_SQL = f"""
SELECT q.n, head.checkpoint_id, head.stamp FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY q(thread_id, ns, n)
CROSS JOIN LATERAL (
    SELECT c.checkpoint_id, {_STAMP} AS stamp FROM checkpoints c
    WHERE c.thread_id = q.thread_id AND c.checkpoint_ns = q.ns ORDER BY c.checkpoint_id DESC LIMIT 1
) head
"""
_NAMED_SQL = f"""
SELECT q.n, named.checkpoint_id, named.stamp
FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY q(thread_id, ns, id, n)
CROSS JOIN LATERAL (
    SELECT c.checkpoint_id, {_STAMP} AS stamp FROM checkpoints c
    WHERE c.thread_id = q.thread_id AND c.checkpoint_ns = q.ns AND c.checkpoint_id = q.id LIMIT 1
) named
"""
_LISTED_SQL = f"SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, {_STAMP} FROM checkpoints c "
_DOCUMENTS_SQL = f"""
SELECT q.n, document.* FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY q(thread_id, ns, id, n)
CROSS JOIN LATERAL (
    {_DOCUMENT_SQL.format(**_parts, c="checkpoints", blobs=_BLOBS_OF_C, stamp=_STAMP)}
    WHERE c.thread_id = q.thread_id AND c.checkpoint_ns = q.ns AND c.checkpoint_id = q.id LIMIT 1
) document(stamp, parent, checkpoint, metadata, writes, sends, blobs)
"""
_BLOBS_SQL = """
SELECT q.n, b.blob FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    WITH ORDINALITY q(thread_id, ns, channel, version, stamp, n)
JOIN checkpoint_blobs b ON b.thread_id = q.thread_id AND b.checkpoint_ns = q.ns AND b.channel = q.channel
    AND b.version = q.version AND concat(b.xmin, b.ctid) = q.stamp
"""


class CheckpointKey(NamedTuple):
    """A checkpoint by its name, whatever is written there."""

    thread_id: str
    namespace: str
    checkpoint_id: str

    @property
    def line(self) -> Line:
        return self.thread_id, self.namespace


class StampedCheckpoint(NamedTuple):
    """A checkpoint as it was at one moment: `stamp` changes with whatever is written there."""

    place: CheckpointKey
    stamp: str


class Blob(NamedTuple):
    """Where one channel's value is stored. `stamp` names this very row: another one in its place has another."""

    channel: str
    version: str
    type: str
    stamp: str


class Document(NamedTuple):
    """A checkpoint without its blobs. `checkpoint` and `metadata` are JSON text; writes and sends are as the library
    reads them: task, channel, type, blob, path, index; and type, blob."""

    stamp: str
    parent: str | None
    checkpoint: str
    metadata: str
    writes: list[list[bytes]]
    sends: list[list[bytes]]
    blobs: list[Blob]

    @staticmethod
    def of(row: Sequence[Any]) -> "Document":
        """Make one of a row as PostgreSQL gives it, or as it was packed."""
        stamp, parent, checkpoint, metadata, writes, sends, blobs = row
        return Document(stamp, parent, checkpoint, metadata, writes or [], sends or [], [Blob(*b) for b in blobs or []])

    def packed(self) -> bytes:
        return ormsgpack.packb([*self[:-1], [list(blob) for blob in self.blobs]])


class Together(Generic[K, V]):
    """Asks for many keys with one query: what comes while a query is on its way goes with the next.

    A key is only ever answered by a query that began after it was asked for.
    """

    def __init__(self, ask: Callable[[list[K]], Awaitable[dict[K, V]]]) -> None:
        self._ask_for = ask
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    def ask(self, key: K) -> Awaitable[V | None]:
        if key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._end)
        return asyncio.shield(self._waiting[key])  # a cancelled caller must not cancel the answer for others

    async def _ask(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[:_MOST_AT_ONCE]
            self._asked = {key: self._waiting.pop(key) for key in keys}
            try:
                found = await self._ask_for(keys)
            except Exception as error:  # noqa: BLE001 - every caller gets the error
                for future in self._asked.values():
                    future.set_exception(error)
                    future.exception()  # mark the error as retrieved: perhaps no caller waits any more
            else:
                for key, future in self._asked.items():
                    future.set_result(found.get(key))

    def _end(self, task: object) -> None:
        """Leave nobody waiting, also when the task was cancelled, as some frameworks do with all there are."""
        left = [*self._asked.values()]
        if self._asking is task:  # otherwise the next task has started, and answers the waiting callers
            left += self._waiting.values()
            self._asking, self._waiting = None, {}
        for future in left:
            future.cancel()  # no effect on a finished future
        self._asked = {}


class CheckpointReader:
    """Questions to the checkpoint tables; each is one statement, and so of one moment."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._latest = Together(self._find_latest)
        self._named = Together(self._find_named)

    def stamped(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Awaitable[StampedCheckpoint | None]:
        """Say where a thread stands now, or how the checkpoint of this id does; None if there is none."""
        if checkpoint_id is None:
            return self._latest.ask((thread_id, namespace))
        return self._named.ask(CheckpointKey(thread_id, namespace, checkpoint_id))

    async def listed(self, where: str, params: list[Any], limit: int | None) -> list[StampedCheckpoint]:
        """List checkpoints, newest first; `where` is the library's own clause."""
        query = _LISTED_SQL + where + " ORDER BY checkpoint_id DESC" + (" LIMIT %s" if limit is not None else "")
        rows = await self._rows(query, [*params, *([int(limit)] if limit is not None else [])])
        return [StampedCheckpoint(CheckpointKey(*row[:3]), row[3]) for row in rows]

    async def documents(self, places: Sequence[CheckpointKey]) -> dict[CheckpointKey, Document]:
        rows = await self._rows(_DOCUMENTS_SQL, _columns(places, 3))
        return {places[n - 1]: Document.of(row) for n, *row in rows}

    async def blobs(self, wanted: Sequence[tuple[Line, Blob]]) -> dict[tuple[Line, Blob], bytes]:
        """Return the bytes of these very rows; one that was replaced since is not among them."""
        keys = [(*line, blob.channel, blob.version, blob.stamp) for line, blob in wanted]
        return {wanted[n - 1]: content or b"" for n, content in await self._rows(_BLOBS_SQL, _columns(keys, 5))}

    async def _find_latest(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], StampedCheckpoint]:
        rows = await self._rows(_LATEST_SQL, _columns(keys, 2))
        return {
            keys[n - 1]: StampedCheckpoint(CheckpointKey(keys[n - 1][0], keys[n - 1][1], head), stamp)
            for n, head, stamp in rows
        }

    async def _find_named(self, places: list[CheckpointKey]) -> dict[CheckpointKey, StampedCheckpoint]:
        rows = await self._rows(_NAMED_SQL, _columns(places, 3))
        return {places[n - 1]: StampedCheckpoint(places[n - 1], stamp) for n, _, stamp in rows}

    async def _rows(self, query: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with (
            self._pool.connection() as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(query, params)
            return await cursor.fetchall()


def _columns(rows: Iterable[Sequence[str]], width: int) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
