"""Large states: values too large for a page stay in the database, and an empty value takes their place.

PostgreSQL gives the size of each value without reading it. LangGraph computes what is next from empty values of the
same kinds, and people see an excerpt: size and SHA-256 of the stored bytes, and their beginning.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ormsgpack
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import tuple_row

from agentcore.plain.errors import UnreadableThread
from agentcore.plain.excerpts import (
    LARGEST_PART,
    LARGEST_READ,
    LONGEST_HEAD,
    cut,
    cut_channels,
    cut_state,
    excerpt_of,
    text_begins,
)
from agentcore.plain.tables import (
    ASKED_CHANNELS,
    SIZES_SQL,
    Measured,
    StoredValue,
    measure_sql,
    named,
    object_in,
    texts_cut,
)
from agentcore.plain.types import Gate, Snapshot
from agentcore.savers.base import Saver
from agentcore.savers.postgres import LARGE, PostgresSaver, off_loop, place_of, size_of
from agentcore.savers.sqlite import SqliteSaver

LARGEST_WHOLE = 64 * 2**20
"""The limit where values cannot be left out: for questions, and in SQLite, which stores a checkpoint in one piece."""
_LARGE = b"large:"
_EMPTY_TEXT = "'\"\"'::jsonb"


@dataclass(frozen=True)
class PageReader:
    """A saver to read one checkpoint for a page. It may leave large values out."""

    saver: Saver
    questions_at: str = ""
    """The checkpoint, if the look at its sizes found questions with it; some may be answered."""
    size: int = LARGE
    """Of all its values, in bytes; LARGE where nobody looked."""

    @property
    def is_whole(self) -> bool:
        """Whether no value is left out."""
        return not isinstance(self.saver, ExcerptSaver)

    async def shown(self, found: Snapshot) -> Snapshot:
        """Return the snapshot with excerpts for values that were left out, and for values too long for a page."""
        values = found.values
        if isinstance(self.saver, ExcerptSaver):
            # After the read, so that everything that was left out is known.
            values = _with_excerpts(values, await self.saver.measured(found), found.secrets)
        values = await off_loop(self.size, cut_state, values)
        cut_there = [name for name in cut_channels(values) if name not in found.opaque]
        sent, gate = await off_loop(self.size, _cut_sent, found)
        return replace(found, values=values, opaque=(*found.opaque, *cut_there), sent=sent, gate=gate)


async def page_reader(
    saver: Saver, thread_id: str, checkpoint_id: str | None = None, *, namespace: str = "", most: int = LARGEST_READ
) -> PageReader:
    """Return a reader for a checkpoint, or for the head, that leaves out what is too large for a page.

    Raises UnreadableThread for a checkpoint that is too large where values cannot be left out, and for a question that
    is.
    """
    if isinstance(saver, PostgresSaver):
        if row := await saver.small_row(thread_id, namespace, checkpoint_id, most=most):
            channels = {blob[0] for blob in row["channel_values"] or ()} | {w[1] for w in row["pending_writes"] or ()}
            is_asked = not channels.isdisjoint(map(str.encode, ASKED_CHANNELS))
            at_hand = _SaverAtHand(saver, row, is_newest=checkpoint_id is None)
            return PageReader(at_hand, questions_at=row["checkpoint_id"] if is_asked else "", size=size_of(row))
        found, sizes = await _sizes_at(saver, thread_id, checkpoint_id, namespace)
        questions = [value.size for value in sizes if value.is_question]
        _check(sum(questions))
        longest = longest_read(sizes, most)
        reader = saver if longest is None else ExcerptSaver(saver, longest)
        total = sum(value.size for value in sizes)
        return PageReader(reader, questions_at=found if questions else "", size=total)
    if isinstance(saver, SqliteSaver):
        _check(await _total(saver, thread_id, checkpoint_id, namespace))
    return PageReader(saver)


async def channel_saver(
    saver: Saver, thread_id: str, checkpoint_id: str, channel: str, *, namespace: str = ""
) -> Saver:
    """Return a saver that reads this channel whole and leaves out larger values."""
    if not isinstance(saver, PostgresSaver):
        return saver
    sizes = await _sizes(saver, thread_id, checkpoint_id, namespace)
    longest = max((value.size for value in sizes if value.channel == channel), default=0)
    _check(longest)
    return ExcerptSaver(saver, longest)


async def check_can_be_copied(saver: Saver, thread_id: str, checkpoint_id: str, *, namespace: str = "") -> None:
    """Raise UnreadableThread for a checkpoint that is too large to copy in a worker, for a preview or a fork."""
    if isinstance(saver, PostgresSaver):
        size = sum(value.size for value in await _sizes(saver, thread_id, checkpoint_id, namespace))
    else:
        size = await _total(saver, thread_id, checkpoint_id, namespace) if isinstance(saver, SqliteSaver) else 0
    _check(size, "copied")


def _check(size: int, what: str = "shown") -> None:
    if size > LARGEST_WHOLE:
        raise UnreadableThread(f"This is too large to be {what} here: {size / 2**20:.0f} MB.")


async def _sizes(
    saver: PostgresSaver, thread_id: str, checkpoint_id: str | None, namespace: str
) -> Sequence[StoredValue]:
    return (await _sizes_at(saver, thread_id, checkpoint_id, namespace))[1]


async def _sizes_at(
    saver: PostgresSaver, thread_id: str, checkpoint_id: str | None, namespace: str
) -> tuple[str, list[StoredValue]]:
    """Return the id of the checkpoint, or an empty string, and the sizes of its values."""
    rows = await _rows(saver, SIZES_SQL, {"thread": thread_id, "checkpoint": checkpoint_id, "ns": namespace})
    found = next((row[0] for row in rows if not row[1]), "")
    return found, [StoredValue(place, name, key, size, namespace) for _, place, name, key, size in rows if place]


async def _rows(saver: PostgresSaver, query: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    async with saver.conn.connection() as connection:
        cursor = connection.cursor(row_factory=tuple_row)
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def _total(saver: SqliteSaver, thread_id: str, checkpoint_id: str | None, namespace: str) -> int:
    rows = await saver.conn.execute_fetchall(
        "SELECT length(checkpoint) FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?3"
        " AND (?2 IS NULL OR checkpoint_id = ?2) ORDER BY checkpoint_id DESC LIMIT 1",
        [thread_id, checkpoint_id, namespace],
    )
    return sum(row[0] for row in rows)


def longest_read(values: Iterable[StoredValue], most: int = LARGEST_READ) -> int | None:
    """Return the largest size at which all values together stay below `most`; None if nothing has to be left out."""
    total = 0
    for size in sorted(value.size for value in values if not value.is_question):
        total += size
        if total > most:
            return size - 1
    return None


# Sizes and beginnings of values that are stored out of line are known without reading them.
def _inline(longest: int) -> str:
    values = texts_cut(longest, _EMPTY_TEXT)
    return f"""
    CASE WHEN pg_column_size(checkpoint) <= 4000 THEN checkpoint ELSE (
        SELECT CASE WHEN v IS NULL THEN checkpoint
            ELSE (whole - 'channel_values') || jsonb_build_object('channel_values', {values}) END
        FROM (SELECT {object_in("checkpoint")} AS whole OFFSET 0) unpacked
        CROSS JOIN LATERAL (SELECT {object_in("whole", "$.channel_values")} AS v OFFSET 0) held
    ) END AS checkpoint,
"""


def _select(longest: int) -> str:
    """Return the library's statement, changed to leave large values in the database."""
    query = AsyncPostgresSaver.SELECT_SQL
    blob = f"octet_length(bl.blob) > {longest} AND bl.channel <> '__pregel_tasks'"
    write = f"octet_length(cw.blob) > {longest} AND cw.channel <> '__interrupt__'"
    for old, new in (
        ("    checkpoint,\n", _inline(longest)),
        ("bl.type::bytea, bl.blob]", _cut_sql("bl", blob) + "]"),
        ("cw.type::bytea, cw.blob,", _cut_sql("cw", write) + ","),
    ):
        assert query.count(old) == 1, "LangGraph's SELECT_SQL has changed"
        query = query.replace(old, new)
    return query


def _cut_sql(table: str, is_large: str) -> str:
    return (
        f"CASE WHEN {is_large} THEN ('large:' || {table}.type)::bytea ELSE {table}.type::bytea END,"
        f" CASE WHEN {is_large} THEN substring({table}.blob for 1) ELSE {table}.blob END"
    )


class _SaverAtHand(PostgresSaver):
    """Has the row of one checkpoint, and reads all others. It decodes anew each time: LangGraph changes what it has."""

    def __init__(self, saver: PostgresSaver, row: Mapping[str, Any], *, is_newest: bool) -> None:
        super().__init__(saver.conn, serde=saver.serde)
        self._row, self._is_newest = row, is_newest

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        asked = get_checkpoint_id(config)
        is_here = asked == self._row["checkpoint_id"] or not asked and self._is_newest
        if not is_here or place_of(config) != (self._row["thread_id"], self._row["checkpoint_ns"]):
            return await super().aget_tuple(config)
        return await self._load_checkpoint_tuple(copy.deepcopy(dict(self._row)))


class ExcerptSaver(PostgresSaver):
    """Reads checkpoints with empty values in place of those longer than `longest` bytes. Refuses to write."""

    def __init__(self, saver: PostgresSaver, longest: int) -> None:
        super().__init__(saver.conn, serde=saver.serde)
        self.longest = longest
        self.SELECT_SQL = _select(longest)

    async def measured(self, found: Snapshot) -> list[Measured]:
        """Return size, digest and beginning of the values that were left out. PostgreSQL computes the hashes."""
        sizes = await _sizes(self, found.thread_id, found.checkpoint_id, found.checkpoint_ns)
        large = [value for value in sizes if value.size > self.longest and not value.is_question]
        return [each for value in large if (each := await self._measured(found, value))]

    async def _measured(self, found: Snapshot, value: StoredValue) -> Measured | None:
        rows = await _rows(self, measure_sql(value), named(found.thread_id, found.checkpoint_id, value))
        return next((Measured(value, kind, size, sha256, head) for kind, size, sha256, head in rows), None)

    def _load_blobs(self, blob_values: Any) -> dict[str, Any]:
        return super()._load_blobs([(name, *_hollow(kind, blob)) for name, kind, blob in blob_values or ()])

    def _load_writes(self, writes: Any) -> list[tuple[str, str, Any]]:
        cut_writes = [(task, name, *_hollow(kind, blob), *place) for task, name, kind, blob, *place in writes or ()]
        return super()._load_writes(cut_writes)

    async def _put(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("This saver only looks: it would store empty values.")

    async def aput_writes(self, *arguments: Any, **options: Any) -> None:
        raise TypeError("This saver only looks: it would store empty values.")


def _hollow(kind: bytes, blob: bytes) -> tuple[bytes, bytes]:
    """Return an empty value of the same kind for one that was left out."""
    if not kind.startswith(_LARGE):
        return kind, blob
    return b"msgpack", ormsgpack.packb(_empty_like(kind.removeprefix(_LARGE), blob[0]))


def _empty_like(kind: bytes, first: int) -> Any:
    if kind == b"json":
        return {ord("{"): {}, ord("["): [], ord('"'): ""}.get(first)
    if kind != b"msgpack":
        return b""
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
        return {}
    if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
        return []
    if text_begins("msgpack", first):
        return ""
    return b"" if first in (0xC4, 0xC5, 0xC6) else None


def _with_excerpts(values: Mapping[str, Any], found: Iterable[Measured], secrets: Sequence[str]) -> dict[str, Any]:
    """Return the state with excerpts in place of the values that were left out."""
    hidden = {path.partition(".")[0] for path in secrets}
    told = {each.value.channel: _excerpt_of(each, each.value.channel in hidden) for each in found}
    return {**values, **{name: excerpt for name, excerpt in told.items() if name in values}}


def _excerpt_of(found: Measured, is_hidden: bool) -> dict[str, Any]:
    begins = text_begins(found.kind, found.head[0] if found.head else 0)
    head = "" if is_hidden else found.head[begins or 0 :].decode(errors="replace")
    return excerpt_of("stored bytes", found.size, found.sha256, head)


def _cut_sent(found: Snapshot) -> tuple[tuple[dict[str, Any], ...], Gate | None]:
    """Cut the arguments of Sends, and those of each task of a gate."""
    if not found.sent:
        return found.sent, found.gate
    room = max(LARGEST_PART // len(found.sent), LONGEST_HEAD)
    sent = tuple({**each, "args": cut(each["args"], room)} for each in found.sent)
    if found.gate is None:
        return sent, None
    tasks = tuple(replace(task, sent=cut(task.sent, room)) for task in found.gate.tasks)
    return sent, replace(found.gate, tasks=tasks)
