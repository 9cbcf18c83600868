"""The checkpoint tables: read, watched and emptied without building an object, so that web processes may do it.

Every back end offers `Tables`. PostgreSQL's are here, the others in `sqlite` and `memory`.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from agentcore.plain import bound_bytes
from agentcore.plain.bound_bytes import Bound

NOTED_CHANNELS = ("__interrupt__", "__resume__", "__error__")
"""Channels of writes that move a thread, though its newest checkpoint stays."""

ASKED_CHANNELS = ("__interrupt__", "__pregel_tasks")
"""What an agent asks in `interrupt()`, and what Sends carry to the nodes behind a gate."""


@dataclass(frozen=True)
class Head:
    """Where a thread stands: its newest checkpoint, and a fingerprint of it and of its pending writes."""

    checkpoint_id: str
    writes: str
    change: datetime | int | None = field(default=None, compare=False)
    """The last time the thread moved, by clock or count: `mark_indexed` does nothing once there was another."""


@dataclass(frozen=True)
class StoredValue:
    """Where a value is stored, and how many bytes it has there.

    `place` is `blob` or `write`, `inline` for a text beside the checkpoint, `whole` for a checkpoint in one piece.
    """

    place: str
    channel: str
    key: str
    size: int
    namespace: str = ""
    """Of the subgraph that holds it."""

    @property
    def is_question(self) -> bool:
        """Whether it is what people are asked about: it is read whole, or not at all."""
        return self.channel in ASKED_CHANNELS


@dataclass(frozen=True)
class Sizes:
    """How large the values of one checkpoint are."""

    checkpoint_id: str
    values: tuple[StoredValue, ...]

    @property
    def total(self) -> int:
        return sum(value.size for value in self.values)


@dataclass(frozen=True)
class Measured:
    """What is known of a stored value without decoding it. `kind` is how it was written; `head` how it begins."""

    value: StoredValue
    kind: str
    size: int
    sha256: str
    head: bytes


@dataclass(frozen=True)
class Written:
    """A checkpoint in the line of its thread. `run` is what its metadata has under the key that was asked for."""

    checkpoint_id: str
    parent: str
    run: str


MOST_WRITTEN = 2_000
HEAD_BYTES = 4_000


class Tables(Protocol):
    """The checkpoints of one store. A thread *moves* when it gets a checkpoint, a question, an answer or an error."""

    def is_set_up(self) -> bool:
        """True if every table is there."""
        ...

    def read_head(self, thread_id: str) -> Head | None:
        """Return the head of the thread, or None if it has no checkpoint."""
        ...

    def read_bound(
        self,
        thread_id: str,
        *,
        unread: Collection[str] = (),
        at: tuple[str, str] | None = None,
        is_hashed: bool = False,
    ) -> Bound | None:
        """Return what tasks can read of the thread, in one statement; None if it has no checkpoint.

        Namespaces in `unread` are left out. `at` names a namespace and the checkpoint to read there instead of the
        newest. With `is_hashed` every byte is read, and there are digests.
        """
        ...

    def read_head_and_metadata(self, thread_id: str) -> tuple[Head | None, dict[str, Any]]:
        """Return the head, and its metadata; nothing for metadata that are no object."""
        ...

    def threads_to_index(self, *, limit: int, settled_seconds: float = 0) -> list[str]:
        """Return ids of threads that moved since they were last marked, except just now; the longest waiting first."""
        ...

    def mark_indexed(self, thread_id: str, head: Head | None) -> None:
        """Record that the thread was read at `head`. Does nothing if it has moved since."""
        ...

    def value_sizes(self, thread_id: str, checkpoint_id: str | None = None, *, namespace: str = "") -> Sizes | None:
        """Return the sizes of a checkpoint's values, or the head's; None if it does not exist."""
        ...

    def measure(self, thread_id: str, checkpoint_id: str, values: list[StoredValue]) -> list[Measured]:
        """Return digest and beginning of stored values. They are hashed in the database and not decoded."""
        ...

    def read_slice(self, thread_id: str, checkpoint_id: str, value: StoredValue, offset: int, length: int) -> bytes:
        """Return some of the bytes of a stored value."""
        ...

    def raise_fence(
        self, thread_id: str, fence: int, *, held_seconds: float | None = None, lets_others: bool = False
    ) -> None:
        """Raise the thread's number: writes with a lower one are refused from now on. Waits for writes in progress.

        With `held_seconds` writes without a number are refused as well, for so long; with `lets_others` they are noted
        instead.
        """
        ...

    def hold_on(self, thread_id: str, fence: int, *, held_seconds: float) -> None:
        """Keep others out for so many seconds from now, if the thread still has this number and is held."""
        ...

    def let_go(self, thread_id: str, fence: int) -> bool:
        """Let others write again. Return whether somebody wrote while the thread was held with this number."""
        ...

    def written(self, thread_id: str, *, since: str, run_key: str) -> list[Written]:
        """Return the thread's checkpoints newer than `since`, newest first, up to a limit."""
        ...

    def read_fence(self, thread_id: str) -> int:
        """Return the thread's number; 0 if nobody ever raised it."""
        ...

    def lay_tombstone(self, thread_id: str) -> None:
        """Refuse all writes to the thread from now on. Writes in progress may still complete."""
        ...

    def count_rows(self, thread_id: str) -> dict[str, int]:
        """Return how many rows each table holds for the thread."""
        ...

    def count_by_namespace(self, thread_id: str) -> dict[str, int]:
        """Return how many rows the thread's own graph has, under an empty name, and each of its subgraphs."""
        ...

    def delete_rows(self, thread_id: str, *, limit: int | None = None) -> dict[str, int]:
        """Delete the thread's rows, except fence and tombstone. Return the deleted rows of each table.

        With `limit`, delete no more than so many of each table; call it again until nothing is deleted.
        """
        ...

    def threads_to_empty(self, *, limit: int) -> list[str]:
        """Return ids of threads that have a tombstone and still have rows; the longest waiting first."""
        ...

    def threads_emptied(self, *, settled_seconds: float) -> dict[str, int]:
        """Return the threads with a tombstone of that age and without a row, with the number of deleted rows."""
        ...

    def settle(self, thread_ids: list[str]) -> None:
        """Record that these threads are empty and need no further look."""
        ...


Write = tuple[str, int, str, str, bytes]
"""Of a pending write: task, place, channel, type, value."""


def fingerprint(writes: Iterable[Write]) -> str:
    """Return 32 hex digits that stand for these writes, values included, or an empty string for none."""
    rows, seen = sorted(writes), hashlib.blake2b(digest_size=16)
    for *name, value in rows:
        seen.update(repr((name, len(value))).encode())
        seen.update(value)
    return seen.hexdigest() if rows else ""


_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "countersign_effects")
_BESIDE = ("countersign_heads", "countersign_fences", "countersign_holds", "countersign_tombstones")
_COUNT_SQL = " UNION ALL ".join(
    f"SELECT '{table}', {space}, count(*) FROM {table} WHERE thread_id = %(thread)s GROUP BY 2"
    for table, space in zip(_TABLES, ["checkpoint_ns"] * 3 + ["''"], strict=True)
)
_HAS_ROWS_SQL = " OR ".join(f"EXISTS (SELECT FROM {table} r WHERE r.thread_id = t.thread_id)" for table in _TABLES)
_TO_EMPTY_SQL = f"""
SELECT thread_id FROM countersign_tombstones t WHERE NOT is_settled AND ({_HAS_ROWS_SQL}) ORDER BY laid_at LIMIT %s
"""
_EMPTIED_SQL = f"""
SELECT thread_id, deleted FROM countersign_tombstones t WHERE NOT is_settled
    AND laid_at <= clock_timestamp() - make_interval(secs => %s) AND NOT ({_HAS_ROWS_SQL}) ORDER BY laid_at LIMIT 1000
"""


def object_in(column: str, path: str = "$") -> str:
    """Return SQL for the object there, unpacked once; NULL for what is none, as anybody may have stored anything.

    In a subquery with OFFSET 0 it is kept: each look at the column itself would unpack it anew.
    """
    return f"""jsonb_path_query_first({column}, 'strict {path} ? (@.type() == "object")', '{{}}', true)"""


# The keys of the object `v`; `size` is how long a text is, and 0 for all else. Both functions keep to the stored order.
_KEYS_SQL = """
    ROWS FROM (jsonb_object_keys(v), jsonb_path_query(v, 'strict $.*.type()')) AS named(k, kind)
    CROSS JOIN LATERAL (SELECT CASE kind WHEN '"string"' THEN octet_length(v ->> k) ELSE 0 END AS size OFFSET 0) each
"""


def texts_cut(longest: int, instead: str) -> str:
    """Return SQL for the object `v`, with `instead` in place of each text whose `size` is larger."""
    kept = f"CASE WHEN size > {longest} THEN {instead} ELSE v -> k END"
    return f"coalesce((SELECT jsonb_object_agg(k, {kept}) FROM {_KEYS_SQL}), '{{}}')"


SIZES_SQL = f"""
WITH found AS (
    SELECT thread_id, checkpoint_id, checkpoint FROM checkpoints WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s
        AND (%(checkpoint)s::text IS NULL OR checkpoint_id = %(checkpoint)s) ORDER BY checkpoint_id DESC LIMIT 1
), c AS MATERIALIZED (
    SELECT thread_id, checkpoint_id, {object_in("whole", "$.channel_versions")} AS versions,
        CASE WHEN pg_column_size(checkpoint) > 4000 THEN (
            SELECT jsonb_object_agg(k, size)
            FROM (SELECT {object_in("whole", "$.channel_values")} AS v OFFSET 0) held CROSS JOIN {_KEYS_SQL}
            WHERE kind = '"string"'
        ) END AS lengths
    FROM found CROSS JOIN LATERAL (SELECT {object_in("checkpoint")} AS whole OFFSET 0) unpacked
)
SELECT checkpoint_id, '', '', '', 0 FROM c
UNION ALL SELECT '', 'blob', b.channel, b.version, octet_length(b.blob)
    FROM c, jsonb_each_text(c.versions) v JOIN checkpoint_blobs b
    ON b.thread_id = %(thread)s AND b.checkpoint_ns = %(ns)s AND b.channel = v.key AND b.version = v.value
    WHERE b.blob IS NOT NULL
UNION ALL SELECT '', 'inline', e.key, '', e.value::int FROM c, jsonb_each_text(c.lengths) e
UNION ALL SELECT '', 'write', w.channel, concat(w.idx, ':', w.task_id), octet_length(w.blob)
    FROM c JOIN checkpoint_writes w ON w.thread_id = c.thread_id AND w.checkpoint_ns = %(ns)s
    AND w.checkpoint_id = c.checkpoint_id
"""
_WHERE_SQL = {
    "blob": "type, blob FROM checkpoint_blobs WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s"
    " AND channel = %(channel)s AND version = %(key)s AND %(checkpoint)s::text IS NOT NULL",
    "inline": "'text' AS type, convert_to(checkpoint -> 'channel_values' ->> %(channel)s, 'UTF8') AS blob FROM"
    " checkpoints WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = %(checkpoint)s"
    " AND %(key)s::text IS NOT NULL",
    "write": "type, blob FROM checkpoint_writes WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s"
    " AND checkpoint_id = %(checkpoint)s AND channel = %(channel)s AND concat(idx, ':', task_id) = %(key)s",
}
_MEASURE_SQL = """
SELECT type, octet_length(blob), encode(sha256(blob), 'hex'), substring(blob for {}) FROM (SELECT {} OFFSET 0) v
"""
_SLICE_SQL = "SELECT substring(blob from %(from)s for %(for)s) FROM (SELECT {}) v"
_DELETE_SOME_SQL = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE thread_id = %s LIMIT %s))
"""
_ALL_THERE_SQL = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS name"
# A row written in place of another has another ctid, one of another transaction another xmin; neither reads the value.
_HEAD = """
SELECT head.checkpoint_id, md5(concat_ws(',', head.stamp, (
    SELECT string_agg(concat_ws(':', w.task_id, w.idx, w.channel, w.xmin, w.ctid), ',' ORDER BY w.task_id, w.idx)
    FROM checkpoint_writes w
    WHERE w.thread_id = %s AND w.checkpoint_ns = '' AND w.checkpoint_id = head.checkpoint_id
))), (SELECT changed_at FROM countersign_heads WHERE thread_id = %s){}
FROM (
    SELECT checkpoint_id, metadata, concat_ws(':', xmin, ctid) AS stamp FROM checkpoints
    WHERE thread_id = %s AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1
) head
"""
_HEAD_SQL = _HEAD.format("")
_HEAD_AND_METADATA_SQL = _HEAD.format(", head.metadata::text")
_LET_GO_SQL = "DELETE FROM countersign_holds WHERE thread_id = %s AND fence = %s RETURNING has_others"
_WRITTEN_SQL = """
SELECT checkpoint_id, coalesce(parent_checkpoint_id, ''), coalesce(metadata ->> %s, '') FROM checkpoints
WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id > %s ORDER BY checkpoint_id DESC LIMIT %s
"""


@dataclass(frozen=True)
class PostgresTables:
    """The tables of PostgreSQL, over a DB-API cursor whose rows are tuples."""

    cursor: Any

    def is_set_up(self) -> bool:
        self.cursor.execute(_ALL_THERE_SQL, [[*_TABLES, *_BESIDE]])
        return bool(self.cursor.fetchone()[0])

    def read_head(self, thread_id: str) -> Head | None:
        """Three index look-ups."""
        self.cursor.execute(_HEAD_SQL, [thread_id, thread_id, thread_id])
        row = self.cursor.fetchone()
        return Head(*row) if row else None

    def read_bound(
        self,
        thread_id: str,
        *,
        unread: Collection[str] = (),
        at: tuple[str, str] | None = None,
        is_hashed: bool = False,
    ) -> Bound | None:
        """Look-ups by primary keys: the namespaces, and for each its checkpoint, its values and its writes."""
        namespace, checkpoint_id = at or (None, None)
        where = {"thread": thread_id, "unread": list(unread), "at_ns": namespace, "at_id": checkpoint_id}
        found = bound_bytes.read(self.cursor, where, is_hashed=is_hashed)
        return found.without(unread) if found else None

    def read_head_and_metadata(self, thread_id: str) -> tuple[Head | None, dict[str, Any]]:
        self.cursor.execute(_HEAD_AND_METADATA_SQL, [thread_id, thread_id, thread_id])
        row = self.cursor.fetchone()
        return (Head(*row[:-1]), object_of(row[-1])) if row else (None, {})

    def threads_to_index(self, *, limit: int, settled_seconds: float = 0) -> list[str]:
        self.cursor.execute(
            "SELECT thread_id FROM countersign_heads WHERE NOT is_indexed"
            " AND changed_at <= clock_timestamp() - make_interval(secs => %s) ORDER BY changed_at LIMIT %s",
            [settled_seconds, limit],
        )
        return [row[0] for row in self.cursor.fetchall()]

    def mark_indexed(self, thread_id: str, head: Head | None) -> None:
        if head is None:
            self.cursor.execute(
                "DELETE FROM countersign_heads head WHERE thread_id = %s AND NOT EXISTS"
                " (SELECT 1 FROM checkpoints c WHERE c.thread_id = head.thread_id AND c.checkpoint_ns = '')",
                [thread_id],
            )
            return
        # The time, not only the checkpoint: an interrupt() or an error is a write that leaves the checkpoint as it was.
        self.cursor.execute(
            "UPDATE countersign_heads SET is_indexed = true"
            " WHERE thread_id = %s AND checkpoint_id = %s AND changed_at IS NOT DISTINCT FROM %s",
            [thread_id, head.checkpoint_id, head.change],
        )

    def value_sizes(self, thread_id: str, checkpoint_id: str | None = None, *, namespace: str = "") -> Sizes | None:
        self.cursor.execute(SIZES_SQL, {"thread": thread_id, "checkpoint": checkpoint_id, "ns": namespace})
        [found, *values] = self.cursor.fetchall() or [None]
        stored = (StoredValue(place, name, key, size, namespace) for _, place, name, key, size in values)
        return Sizes(found[0], tuple(stored)) if found else None

    def measure(self, thread_id: str, checkpoint_id: str, values: list[StoredValue]) -> list[Measured]:
        """One statement a value: each is read by PostgreSQL from end to end, within its time limit."""
        return [found for value in values if (found := self._measured(thread_id, checkpoint_id, value))]

    def _measured(self, thread_id: str, checkpoint_id: str, value: StoredValue) -> Measured | None:
        self.cursor.execute(measure_sql(value), named(thread_id, checkpoint_id, value))
        row = self.cursor.fetchone()
        return Measured(value, row[0], row[1], row[2], bytes(row[3])) if row else None

    def read_slice(self, thread_id: str, checkpoint_id: str, value: StoredValue, offset: int, length: int) -> bytes:
        where = {"from": offset + 1, "for": length}
        query = _SLICE_SQL.format(_WHERE_SQL[value.place])
        self.cursor.execute(query, named(thread_id, checkpoint_id, value) | where)
        row = self.cursor.fetchone()
        return bytes(row[0]) if row else b""

    def raise_fence(
        self, thread_id: str, fence: int, *, held_seconds: float | None = None, lets_others: bool = False
    ) -> None:
        """In the caller's transaction. Raise it before touching other rows of the thread: writers lock it first."""
        self.cursor.execute("SELECT countersign_take(%s, %s, %s, %s)", [thread_id, fence, held_seconds, lets_others])

    def hold_on(self, thread_id: str, fence: int, *, held_seconds: float) -> None:
        self.cursor.execute(
            "UPDATE countersign_holds SET held_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE thread_id = %s AND fence = %s",
            [held_seconds, thread_id, fence],
        )

    def let_go(self, thread_id: str, fence: int) -> bool:
        self.cursor.execute(_LET_GO_SQL, [thread_id, fence])
        row = self.cursor.fetchone()
        return bool(row and row[0])

    def written(self, thread_id: str, *, since: str, run_key: str) -> list[Written]:
        self.cursor.execute(_WRITTEN_SQL, [run_key, thread_id, since, MOST_WRITTEN])
        return [Written(*row) for row in self.cursor.fetchall()]

    def read_fence(self, thread_id: str) -> int:
        self.cursor.execute("SELECT fence FROM countersign_fences WHERE thread_id = %s", [thread_id])
        row = self.cursor.fetchone()
        return row[0] if row else 0

    def lay_tombstone(self, thread_id: str) -> None:
        """In the caller's transaction, after the fence."""
        self.cursor.execute(
            "INSERT INTO countersign_tombstones (thread_id) VALUES (%s) ON CONFLICT DO NOTHING", [thread_id]
        )

    def count_rows(self, thread_id: str) -> dict[str, int]:
        counts = dict.fromkeys(_TABLES, 0)
        for table, _, count in self._counted(thread_id):
            counts[table] += count
        return counts

    def count_by_namespace(self, thread_id: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for _, namespace, count in self._counted(thread_id):
            counts[namespace] = counts.get(namespace, 0) + count
        return dict(sorted(counts.items()))

    def _counted(self, thread_id: str) -> list[tuple[str, str, int]]:
        self.cursor.execute(_COUNT_SQL, {"thread": thread_id})
        return list(self.cursor.fetchall())

    def delete_rows(self, thread_id: str, *, limit: int | None = None) -> dict[str, int]:
        counts = {}
        for table in _TABLES:
            self.cursor.execute(_DELETE_SOME_SQL.format(table=table), [thread_id, limit])
            counts[table] = self.cursor.rowcount
        self.cursor.execute(
            "DELETE FROM countersign_heads WHERE thread_id = %s"
            " AND NOT EXISTS (SELECT FROM checkpoints WHERE thread_id = %s)",
            [thread_id, thread_id],
        )
        if deleted := sum(counts.values()):
            self.cursor.execute(
                "UPDATE countersign_tombstones SET deleted = deleted + %s WHERE thread_id = %s", [deleted, thread_id]
            )
        return counts

    def threads_to_empty(self, *, limit: int) -> list[str]:
        self.cursor.execute(_TO_EMPTY_SQL, [limit])
        return [row[0] for row in self.cursor.fetchall()]

    def threads_emptied(self, *, settled_seconds: float) -> dict[str, int]:
        self.cursor.execute(_EMPTIED_SQL, [settled_seconds])
        return dict(self.cursor.fetchall())

    def settle(self, thread_ids: list[str]) -> None:
        self.cursor.execute(
            "UPDATE countersign_tombstones SET is_settled = true WHERE thread_id = ANY(%s)", [thread_ids]
        )


def object_of(text: str | bytes) -> dict[str, Any]:
    """Read JSON that anybody may have written; nothing for what is no object."""
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def measure_sql(value: StoredValue) -> str:
    """Return the statement that gives kind, size, digest and beginning; its parameters are `named`."""
    return _MEASURE_SQL.format(HEAD_BYTES, _WHERE_SQL[value.place])


def named(thread_id: str, checkpoint_id: str, value: StoredValue) -> dict[str, Any]:
    place = {"thread": thread_id, "ns": value.namespace, "checkpoint": checkpoint_id}
    return {**place, "channel": value.channel, "key": value.key}


def measured(value: StoredValue, kind: str, stored: bytes) -> Measured:
    """Measure bytes that are at hand."""
    return Measured(value, kind, len(stored), hashlib.sha256(stored).hexdigest(), stored[:HEAD_BYTES])
