"""The checkpoints of a thread as a timeline, and the states at some of them. One query each, and no object is built.

Which nodes ran follows from LangGraph's own record of the versions that each node has seen.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import ClientCursor

from agentcore.plain import edits, masks
from agentcore.plain.decoding import plain_serializer
from agentcore.plain.excerpts import LARGEST_READ, cut, cut_state
from agentcore.plain.json import to_plain
from agentcore.plain.memory_tables import MemoryTables
from agentcore.plain.nodes import INTERNAL
from agentcore.plain.sqlite_tables import SqliteTables
from agentcore.plain.tables import PostgresTables, Tables, object_in, texts_cut

_TASKS = "__pregel_tasks"
LARGEST_LISTED = 256 * 2**10
"""Stored bytes, packed, of a checkpoint that is read for a list. PostgreSQL knows them without unpacking it."""
_TOO_LARGE = "too large to be read here"
_DIGEST_SQL = "encode(sha256(convert_to(v ->> k, 'UTF8')), 'hex')"
_LEFT_OUT_SQL = f"jsonb_build_object('__type__', '{_TOO_LARGE}', 'size', size, 'sha256', {_DIGEST_SQL})"
"""The digest tells two texts of the same length apart."""
_DELTAS = "counters_since_delta_snapshot"
_plain = plain_serializer()

# The values stay where they are: a checkpoint's JSON has the short ones, and only their names are asked for.
# Each row is "the first from here on", one look-up after the other: see `_in_order`.
_ROWS = "checkpoints o WHERE o.thread_id = {thread} AND o.checkpoint_ns = '' AND o.checkpoint_id"
_AT_SQL = f"SELECT * FROM {_ROWS} >= {{id}} ORDER BY o.checkpoint_id LIMIT 1"
_BELOW_SQL = f"SELECT o.checkpoint_id FROM {_ROWS} < {{id}} ORDER BY o.checkpoint_id DESC LIMIT 1"
_PARENT_SQL = f"""
LEFT JOIN LATERAL ({_AT_SQL.format(thread="c.thread_id", id="c.parent_checkpoint_id")}) p
    ON p.checkpoint_id = c.parent_checkpoint_id
"""
_MOMENT_SQL = """
SELECT c.thread_id, c.checkpoint_id, coalesce(c.parent_checkpoint_id, ''), c.metadata::text,
    (here - 'channel_values')::text, ARRAY(SELECT jsonb_object_keys(v)), above::text
"""


def _unpacked(here: str, above: str) -> str:
    """Return SQL for a checkpoint, its values and its parent, each unpacked once."""
    return f"""
CROSS JOIN LATERAL (SELECT {here} AS here, {above} - 'channel_values' AS above OFFSET 0) unpacked
CROSS JOIN LATERAL (SELECT {object_in("here", "$.channel_values")} AS v OFFSET 0) held
"""


def _if_small(table: str) -> str:
    small = f"pg_column_size({table}.checkpoint) <= {LARGEST_LISTED}"
    return f"CASE WHEN {small} THEN {object_in(f'{table}.checkpoint')} END"


_PAGE_SQL = f"""
WITH RECURSIVE ids(checkpoint_id, number) AS (
    SELECT ({_BELOW_SQL.format(thread="%(thread)s", id="%(before)s")}), 1
    UNION ALL
    SELECT ({_BELOW_SQL.format(thread="%(thread)s", id="ids.checkpoint_id")}), number + 1
    FROM ids WHERE number < %(limit)s AND checkpoint_id IS NOT NULL
)
{_MOMENT_SQL}, greatest(pg_column_size(c.checkpoint), pg_column_size(p.checkpoint)) > {LARGEST_LISTED}
FROM ids CROSS JOIN LATERAL ({_AT_SQL.format(thread="%(thread)s", id="ids.checkpoint_id")}) c
{_PARENT_SQL} {_unpacked(_if_small("c"), _if_small("p"))}
WHERE c.checkpoint_id = ids.checkpoint_id ORDER BY ids.number
"""
_STATES_SQL = f"""
{_MOMENT_SQL}, false, {texts_cut(LARGEST_READ, _LEFT_OUT_SQL)}::text, ARRAY(
    SELECT ARRAY[convert_to(b.channel, 'UTF8'), convert_to(b.type, 'UTF8'),
        CASE WHEN octet_length(b.blob) <= {LARGEST_READ} THEN b.blob END, octet_length(b.blob)::text::bytea]
    FROM jsonb_each_text({object_in("here", "$.channel_versions")}) w JOIN checkpoint_blobs b
        ON (b.thread_id, b.checkpoint_ns, b.channel, b.version) = (c.thread_id, c.checkpoint_ns, w.key, w.value)
    WHERE b.type <> 'empty'
)
FROM unnest(%s::text[], %s::text[]) wanted(thread_id, checkpoint_id)
CROSS JOIN LATERAL ({_AT_SQL.format(thread="wanted.thread_id", id="wanted.checkpoint_id")}) c
{_PARENT_SQL} {_unpacked(object_in("c.checkpoint"), object_in("p.checkpoint"))}
WHERE c.checkpoint_id = wanted.checkpoint_id
"""
_LAST = "~"  # sorts behind every id
_SQLITE_SQL = """
SELECT c.thread_id, c.checkpoint_id, c.parent_checkpoint_id, c.metadata, c.type, c.checkpoint, p.type, p.checkpoint
FROM checkpoints c LEFT JOIN checkpoints p
    ON p.thread_id = c.thread_id AND p.checkpoint_ns = c.checkpoint_ns AND p.checkpoint_id = c.parent_checkpoint_id
"""


@dataclass(frozen=True)
class Moment:
    """One checkpoint. `ran` are the nodes of the step before it, `has_run` all nodes that ran until then.

    `upcoming` are the nodes that wait here, as far as the checkpoint tells: nodes reached by a Send are not among them.
    `is_large`: this checkpoint, or the one before, is too large for a list, so which nodes ran was not read.
    """

    thread_id: str
    checkpoint_id: str
    parent_id: str
    created_at: str
    metadata: Mapping[str, Any]
    ran: tuple[str, ...]
    has_run: tuple[str, ...]
    upcoming: tuple[str, ...]
    is_large: bool = False

    @property
    def step(self) -> int | None:
        step = self.metadata.get("step")
        return step if isinstance(step, int) else None

    @property
    def source(self) -> str:
        return str(self.metadata.get("source") or "")


@dataclass(frozen=True)
class KeptState:
    """The state at one checkpoint. `is_partial`: it keeps changes apart, which only the graph can put together."""

    moment: Moment
    values: dict[str, Any]
    is_partial: bool


def has(tables: Tables, thread_id: str, checkpoint_id: str) -> bool:
    """Say whether the thread has this checkpoint."""
    match tables:
        case PostgresTables(cursor):
            cursor.execute(
                "SELECT 1 FROM checkpoints WHERE (thread_id, checkpoint_ns, checkpoint_id) = (%s, '', %s)",
                [thread_id, checkpoint_id],
            )
            return cursor.fetchone() is not None
        case SqliteTables(connection):
            query = "SELECT 1 FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ?"
            return connection.execute(query, [thread_id, checkpoint_id]).fetchone() is not None
        case MemoryTables(saver):
            return checkpoint_id in saver.storage.get(thread_id, {}).get("", {})
    raise TypeError(type(tables).__name__)


def read_page(tables: Tables, thread_id: str, *, limit: int, before: str = "") -> list[Moment]:
    """Return up to `limit` checkpoints older than `before`, newest first."""
    match tables:
        case PostgresTables(cursor):
            asked = {"thread": thread_id, "before": before or _LAST, "limit": limit}
            return [_of_postgres(row) for row in _in_order(cursor, _PAGE_SQL, asked)]
        case SqliteTables(connection):
            query = f"{_SQLITE_SQL} WHERE c.thread_id = ? AND c.checkpoint_ns = '' AND c.checkpoint_id < ?"
            rows = connection.execute(
                f"{query} ORDER BY c.checkpoint_id DESC LIMIT ?", [thread_id, before or _LAST, limit]
            )
            return [_of_sqlite(row)[0] for row in rows]
        case MemoryTables(saver):
            with saver.guard:
                ids = sorted(saver.storage.get(thread_id, {}).get("", {}), reverse=True)
                wanted = [each for each in ids if each < (before or _LAST)][:limit]
                return [_of_memory(tables, thread_id, each)[0] for each in wanted]
    raise TypeError(type(tables).__name__)


def read_states(tables: Tables, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KeptState]:
    """Return the states at these checkpoints, each given as thread and id; those that are not there are left out."""
    found: Iterable[tuple[Moment, dict[str, Any]]]
    match tables:
        case PostgresTables(cursor):
            threads, ids = zip(*places, strict=True)
            stored = _in_order(cursor, _STATES_SQL, [list(threads), list(ids)])
            found = [(_of_postgres(row[:8]), _values_of_postgres(row[8], row[9])) for row in stored]
        case SqliteTables(connection):
            one = "(c.thread_id = ? AND c.checkpoint_ns = '' AND c.checkpoint_id = ?)"
            where = " OR ".join([one] * len(places))
            rows = connection.execute(f"{_SQLITE_SQL} WHERE {where}", [part for place in places for part in place])
            found = [_of_sqlite(row) for row in rows]
        case MemoryTables(saver):
            with saver.guard:
                found = [_of_memory(tables, *place) for place in places if has(tables, *place)]
        case _:
            raise TypeError(type(tables).__name__)
    return {(moment.thread_id, moment.checkpoint_id): _kept(moment, values) for moment, values in found}


def _in_order(cursor: Any, query: str, asked: Any) -> list[tuple[Any, ...]]:
    """Read the rows in the order of the primary key, in one statement.

    With old statistics PostgreSQL would use LangGraph's index of thread ids, and read and sort the whole thread for
    each row.
    """
    with ClientCursor(cursor.connection) as plain:  # several commands at once take no parameters beside them
        plain.execute(f"SET LOCAL enable_sort = off; {query}; SET LOCAL enable_sort = on", asked)
        plain.nextset()
        return list(plain.fetchall())


def shown(kept: KeptState, secrets: Iterable[str]) -> dict[str, Any]:
    """Return the values as people may see them: without secrets, and with excerpts of what is too long for a page."""
    return cut_state(masks.Mask(secrets, kept.values).state(kept.values))


def changes(before: KeptState, after: KeptState, secrets: Iterable[str]) -> list[dict[str, Any]]:
    """Return each channel that differs, `{channel, before, after}`, as people may see it."""
    found = [
        {"channel": change.channel, "before": change.before, "after": change.after}
        for change in edits.changes(before.values, after.values)
    ]
    both = {"values_before": before.values, "values": after.values, "diff": found}
    told: list[dict[str, Any]] = masks.hidden_answer(both, tuple(secrets))["diff"]
    return [{**each, "before": cut(each["before"]), "after": cut(each["after"])} for each in told]


def _kept(moment: Moment, values: Mapping[str, Any]) -> KeptState:
    shown = {name: to_plain(value) for name, value in values.items() if not name.startswith(INTERNAL)}
    deltas = moment.metadata.get(_DELTAS)
    return KeptState(moment, shown, isinstance(deltas, Mapping) and any(name not in shown for name in deltas))


def _of_postgres(row: Sequence[Any]) -> Moment:
    thread_id, checkpoint_id, parent, metadata, here, names, above, is_large = row
    before, checkpoint = json.loads(above or "null"), json.loads(here or "{}")
    found = _moment(
        _StoredCheckpoint(thread_id, checkpoint_id, parent, json.loads(metadata), checkpoint, before), names
    )
    return replace(found, is_large=is_large)


def _values_of_postgres(inline: str, blobs: Sequence[Sequence[bytes]]) -> dict[str, Any]:
    apart = {
        bytes(name).decode(): _left_out(size) if blob is None else _loaded(bytes(kind).decode(), bytes(blob))
        for name, kind, blob, size in blobs
    }
    return {**json.loads(inline), **apart}


def _left_out(size: bytes) -> dict[str, Any]:
    return {"__type__": _TOO_LARGE, "size": int(size)}


def _of_sqlite(row: Sequence[Any]) -> tuple[Moment, dict[str, Any]]:
    thread_id, checkpoint_id, parent, metadata, kind, stored, parent_kind, parent_stored = row
    checkpoint = _loaded(kind, stored)
    before = _loaded(parent_kind, parent_stored) if parent_stored else None
    told = json.loads(metadata) if metadata else {}
    values = checkpoint.get("channel_values") or {}
    return _moment(_StoredCheckpoint(thread_id, checkpoint_id, parent or "", told, checkpoint, before), values), values


def _of_memory(tables: MemoryTables, thread_id: str, checkpoint_id: str) -> tuple[Moment, dict[str, Any]]:
    """To be called under the saver's guard."""
    stored = tables.saver.storage[thread_id][""]
    packed, metadata, parent = stored[checkpoint_id]
    checkpoint = _loaded(*packed)
    before = _loaded(*stored[parent][0]) if parent in stored else None
    blobs = {
        name: tables.saver.blobs.get((thread_id, "", name, version), ("empty", b""))
        for name, version in checkpoint["channel_versions"].items()
    }
    values = {name: _loaded(*blob) for name, blob in blobs.items() if blob[0] != "empty"}
    row = _StoredCheckpoint(thread_id, checkpoint_id, parent or "", _loaded(*metadata), checkpoint, before)
    return _moment(row, values), values


def _loaded(kind: str, packed: bytes) -> Any:
    return _plain.loads_typed((kind, packed))


@dataclass(frozen=True)
class _StoredCheckpoint:
    """One checkpoint as it is stored, with the checkpoint before it."""

    thread_id: str
    checkpoint_id: str
    parent_id: str
    metadata: Any
    checkpoint: Mapping[str, Any]
    before: Mapping[str, Any] | None


def _moment(row: _StoredCheckpoint, names: Iterable[str]) -> Moment:
    """`names` are the channels that have a value."""
    seen = _seen(row.checkpoint)
    return Moment(
        thread_id=row.thread_id,
        checkpoint_id=row.checkpoint_id,
        parent_id=row.parent_id,
        created_at=str(row.checkpoint.get("ts") or ""),
        metadata=row.metadata if isinstance(row.metadata, Mapping) else {},
        ran=tuple(_ran(seen, row.before)),
        has_run=tuple(name for name in seen if not name.startswith("__in")),
        upcoming=tuple(_upcoming(seen, row.checkpoint, names)),
    )


def _seen(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the versions that each node has seen. LangGraph keeps an extra entry for its gates."""
    seen = checkpoint.get("versions_seen")
    return {name: each for name, each in seen.items() if name != "__interrupt__"} if isinstance(seen, Mapping) else {}


def _ran(seen: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """Return the nodes of the step: those that have seen something new. A node reached by a Send sees nothing."""
    if before is None:
        return []
    earlier = _seen(before)
    moved = [name for name in seen if not name.startswith("__in") and seen[name] != earlier.get(name)]
    sent_to = [name for name, versions in seen.items() if not versions and not name.startswith("__")]
    was_sent = _TASKS in (before.get("updated_channels") or ())
    return moved + [name for name in sent_to if was_sent and len(sent_to) == 1 and name not in moved]


def _upcoming(seen: Mapping[str, Any], checkpoint: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    versions = checkpoint.get("channel_versions")
    if not isinstance(versions, Mapping):  # somebody stored another thing in its place
        return []
    waiting = {name: name.removeprefix("branch:to:") for name in names if name.startswith("branch:to:")}
    if "__start__" in (checkpoint.get("updated_channels") or ()):  # new input, which is no short value
        waiting["__start__"] = "__start__"
    return [node for name, node in waiting.items() if (seen.get(node) or {}).get(name) != versions.get(name)]
