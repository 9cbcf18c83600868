"""The stored bytes that a question rests on: everything that the tasks which wait there can read.

In the thread's own namespace and in those of its subgraphs these are: the newest checkpoint with the values it names,
the writes that wait on it, the writes that delta channels are assembled from; and the effects that the thread noted.
Namespaces of calls that ended before the question are left out: nobody reads them any more.

Each part has a stamp and a digest. The stamp names row versions: PostgreSQL gives every version of a row another `xmin`
and `ctid`, so two equal stamps mean that nothing was written, and no value is read to make one. The digest covers the
contents, so it is the same after a dump and restore; it is computed where stamps differ.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from agentcore.plain.decoding import plain_serializer
from agentcore.plain.json import digest, to_plain

if TYPE_CHECKING:
    from agentcore.plain.tables import Tables

EFFECTS = "(effects)"
"""Stands in place of a namespace for the effects that the thread noted. It has no checkpoint."""
DELTAS = "counters_since_delta_snapshot"
"""In the metadata of a checkpoint whose channels keep some changes apart, in the writes of earlier ones."""
BEHIND = "The stored state was changed behind the question."
GONE = "The thread's checkpoints are gone."
MOVED = "The agent moved this thread since you looked."
TASKS = "__pregel_tasks"
MOST_TOLD = 20
"""Changes that are named in an answer or an entry; there may be thousands."""
_TASK = re.compile(r":([^|]*)")


class BoundPart(NamedTuple):
    """What is read in one namespace: its newest checkpoint, and how many writes wait on it."""

    namespace: str
    checkpoint_id: str
    stamp: str
    digest: str
    writes: int
    writes_stamp: str
    writes_digest: str

    @property
    def rows(self) -> tuple[str, ...]:
        return self.namespace, self.checkpoint_id, self.stamp, self.writes_stamp

    @property
    def contents(self) -> tuple[str, ...]:
        return self.namespace, self.checkpoint_id, self.digest, self.writes_digest

    @property
    def called(self) -> str:
        return f"subgraph {self.namespace}" if self.namespace not in ("", EFFECTS) else self.namespace or "state"


@dataclass(frozen=True)
class Bound:
    """All parts, by namespace. `unread` are namespaces of calls that are over.

    `roots` gives, for a namespace, the thread's checkpoint at which its call began, from its own metadata.
    """

    parts: tuple[BoundPart, ...]
    unread: tuple[str, ...] = ()
    roots: dict[str, str] = field(default_factory=dict, compare=False)

    @staticmethod
    def of(plain: Any) -> "Bound | None":
        """Read what `plain` wrote; None for a question from before questions were bound."""
        return Bound(tuple(BoundPart(*part) for part in plain["parts"]), tuple(plain["unread"])) if plain else None

    def plain(self) -> dict[str, Any]:
        return {"parts": [list(part) for part in self.parts], "unread": list(self.unread)}

    @property
    def name(self) -> str:
        """Return the digest of everything, for the audit log."""
        return digest(self.plain())

    @property
    def checkpoint_id(self) -> str:
        return self.at("")

    def at(self, namespace: str) -> str:
        """Return the checkpoint that is read in a namespace, or an empty string."""
        return next((part.checkpoint_id for part in self.parts if part.namespace == namespace), "")

    def read_by(self, tasks: Collection[str]) -> "Bound":
        """Leave out the namespaces of calls that ended before the thread came here; `tasks` are those that wait.

        A call that began here has a newer checkpoint, or names the one it began at. A namespace without a task id
        belongs to a subgraph that keeps its state, and is read whenever that runs again.
        """
        here = self.checkpoint_id

        def is_over(part: BoundPart) -> bool:
            of = set(_TASK.findall(part.namespace))
            is_older = part.checkpoint_id < here and self.roots.get(part.namespace) != here
            return bool(of) and is_older and of.isdisjoint(tasks)

        over = tuple(part.namespace for part in self.parts if is_over(part))
        return self.without(over)

    def without(self, unread: Collection[str]) -> "Bound":
        parts = tuple(part for part in self.parts if part.namespace not in unread)
        return replace(self, parts=parts, unread=tuple(sorted({*self.unread, *unread})))

    def has_same_rows(self, now: "Bound", *, besides_writes_of: str | None = None) -> bool:
        def rows(part: BoundPart) -> tuple[str, ...]:
            return part.rows[:-1] if part.namespace == besides_writes_of else part.rows

        return list(map(rows, self.parts)) == list(map(rows, now.parts))

    def changes(self, now: "Bound", *, besides_writes_of: str | None = None) -> list[str]:
        """Name what differs; both sides have digests. Writes that wait in one namespace may be left out."""
        before, after = ({part.namespace: part for part in each.parts} for each in (self, now))
        planted = {*now.unread} - {*self.unread, *before}
        found = [f"subgraph {namespace}: appeared" for namespace in sorted(planted)]
        for namespace in sorted(before.keys() | after.keys()):
            old, new = before.get(namespace), after.get(namespace)
            if old is None or new is None:
                found.append(f"{(new or before[namespace]).called}: {'appeared' if new else 'gone'}")
            elif old.checkpoint_id != new.checkpoint_id:
                found.append(f"{new.called}: another checkpoint")
            else:
                if old.digest != new.digest:
                    found.append(f"{new.called}: contents")
                if old.writes_digest != new.writes_digest and namespace != besides_writes_of:
                    found.append(f"{new.called}: writes that wait")
        return found

    def rewritten(self, now: "Bound") -> list[str]:
        """Name what has the same checkpoint as before with other contents.

        An agent that goes on makes another checkpoint.
        """
        before = {part.namespace: part for part in self.parts if part.checkpoint_id}
        same = [(before[part.namespace], part) for part in now.parts if part.namespace in before]
        return [
            f"{new.called}: contents"
            for old, new in same
            if old.checkpoint_id == new.checkpoint_id and old.digest != new.digest
        ]


def changed(tables: "Tables", thread_id: str, was: Bound, *, edited: tuple[str, str] | None = None) -> list[str]:
    """Name what is stored differently than it `was`; empty if nothing. Values are read only where row versions
    differ.

    `edited` is a namespace in which a run has put its own edit over this checkpoint: the checkpoint is compared, and
    not the writes to it.
    """
    now = tables.read_bound(thread_id, unread=was.unread, at=edited)
    namespace = edited[0] if edited else None
    if now and was.has_same_rows(now, besides_writes_of=namespace):
        return []
    now = tables.read_bound(thread_id, unread=was.unread, at=edited, is_hashed=True)
    return was.changes(now, besides_writes_of=namespace) if now else ["state: gone"]


def why(changes: Iterable[str]) -> str:
    """Return the sentence for people.

    An agent goes on with new checkpoints, writes and effects; it never changes stored ones.
    """
    told = list(changes)
    if "state: gone" in told:
        return GONE
    in_place = (each for each in told if each.endswith(": contents") and not each.startswith(EFFECTS))
    return BEHIND if any(in_place) else MOVED


@dataclass(frozen=True)
class Values:
    """What is read in one namespace, where the values are in memory."""

    namespace: str
    checkpoint_id: str
    metadata: dict[str, Any]
    stored: Sequence[Any]
    above: Sequence[Any]
    writes: Sequence[Any]

    def part(self) -> BoundPart:
        contents, writes = hashed(*self.stored, *self.above), hashed(*self.writes)
        return BoundPart(self.namespace, self.checkpoint_id, contents, contents, len(self.writes), writes, writes)

    @property
    def root(self) -> str:
        parents = self.metadata.get("parents")
        return str(parents.get("") or "") if isinstance(parents, dict) else ""


def metadata_of(stored: Any) -> dict[str, Any]:
    """Read what SQLite keeps as JSON, and memory as msgpack; an empty dict for what is neither."""
    if not stored:
        return {}
    try:
        found = json.loads(stored)
    except ValueError:
        found = to_plain(plain_serializer().loads_typed(("msgpack", stored)))
    return found if isinstance(found, dict) else {}


def of_values(values: Sequence[Values], effects: Sequence[Any]) -> Bound:
    """Compute a Bound from values, where no table has them. The digest of each stands for its stamp."""
    parts = [each.part() for each in values]
    if effects:
        parts.append(BoundPart(EFFECTS, "", noted := hashed(*effects), noted, 0, "", ""))
    return Bound(in_order(parts), roots={each.namespace: each.root for each in values})


def hashed(*parts: Any) -> str:
    """Return a digest of values in memory."""
    seen = hashlib.sha256()
    for part in parts:
        packed = part if isinstance(part, bytes) else repr(part).encode("utf-8", "surrogatepass")
        seen.update(b"%d:" % len(packed))
        seen.update(packed)
    return seen.hexdigest()


def in_order(parts: Iterable[BoundPart]) -> tuple[BoundPart, ...]:
    return tuple(sorted(parts))


def of_rows(rows: Sequence[Sequence[Any]]) -> Bound | None:
    """Compute it from the rows that `sql` selects; None if the thread has no checkpoint."""
    parts = in_order(BoundPart(*row[:7]) for row in rows)
    if not any(part.namespace == "" for part in parts):
        return None
    return Bound(parts, roots={row[0]: row[7] for row in rows})


# Parameters: thread, unread (a list), at_ns and at_id: in this namespace that checkpoint is read, not the newest.
# Namespaces are found one after the other, each by one look-up in the primary key.
_SPACES = """
WITH RECURSIVE spaces(ns) AS (
    (SELECT c.checkpoint_ns FROM checkpoints c WHERE c.thread_id = %(thread)s ORDER BY c.checkpoint_ns LIMIT 1)
    UNION ALL
    SELECT (SELECT c.checkpoint_ns FROM checkpoints c
        WHERE c.thread_id = %(thread)s AND c.checkpoint_ns > spaces.ns ORDER BY c.checkpoint_ns LIMIT 1)
    FROM spaces WHERE spaces.ns IS NOT NULL
)
"""
VERSIONS_OF_C = """jsonb_each_text(coalesce(jsonb_path_query_first(
    c.checkpoint, 'strict $.channel_versions ? (@.type() == "object")', '{}', true), '{}'))"""
# One look-up for each, however many versions the thread's history has: LIMIT keeps it from being a join.
BLOBS_OF_C = f"""
{VERSIONS_OF_C} v CROSS JOIN LATERAL (
    SELECT x.*, x.xmin, x.ctid FROM checkpoint_blobs x WHERE x.thread_id = c.thread_id
    AND x.checkpoint_ns = c.checkpoint_ns AND x.channel = v.key AND x.version = v.value LIMIT 1
) b"""
_WRITES = """
checkpoint_writes w WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns
AND w.checkpoint_id = c.checkpoint_id
"""
# Checkpoints of an old format find what was sent in the writes of their parent, whatever its namespace.
_IS_OLD = "coalesce(c.checkpoint ->> 'v', '') !~ '^([4-9]|[1-9][0-9]+)$'"
_SENT = f"""
checkpoint_writes s WHERE s.thread_id = c.thread_id AND s.checkpoint_id = c.parent_checkpoint_id
AND s.channel = '{TASKS}' AND {_IS_OLD}
"""
_SENT_ORDER = 's.checkpoint_ns COLLATE "C", s.task_id COLLATE "C", s.idx'
_HAS_APART = f"c.metadata -> '{DELTAS}' IS NOT NULL"


# Some channels store only their changes. Their value is the last one that an earlier checkpoint stores whole, with all
# writes since then.
def _apart(told: str) -> str:
    """Return SQL for what such channels are put together from, as one aggregate."""
    return f"""(
    WITH RECURSIVE walk(id, names) AS (
        SELECT c.parent_checkpoint_id, ARRAY(SELECT jsonb_object_keys(jsonb_path_query_first(
            c.metadata, 'strict $.{DELTAS} ? (@.type() == "object")', '{{}}', true)))
        UNION
        SELECT p.parent_checkpoint_id, ARRAY(
            SELECT n FROM unnest(walk.names) n
            WHERE coalesce(p.checkpoint -> 'channel_values' -> n, 'null') = 'null' AND NOT EXISTS (
                SELECT FROM checkpoint_blobs b WHERE b.thread_id = c.thread_id AND b.checkpoint_ns = c.checkpoint_ns
                AND b.channel = n AND b.version = p.checkpoint -> 'channel_versions' ->> n AND b.type <> 'empty'
            )
        ) FROM walk JOIN checkpoints p ON p.thread_id = c.thread_id AND p.checkpoint_ns = c.checkpoint_ns
            AND p.checkpoint_id = walk.id
        WHERE cardinality(walk.names) > 0
    )
    SELECT {told} FROM walk JOIN checkpoints p ON p.thread_id = c.thread_id AND p.checkpoint_ns = c.checkpoint_ns
        AND p.checkpoint_id = walk.id CROSS JOIN LATERAL (
            SELECT w.channel AS a, concat(w.task_id, ':', w.idx) AS b, w.xmin AS x, w.ctid AS t,
                jsonb_build_array('w', w.channel, w.task_id, w.idx, w.task_path, w.type) AS told, w.blob AS bytes
            FROM checkpoint_writes w WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns
                AND w.checkpoint_id = p.checkpoint_id AND w.channel = ANY(walk.names)
            UNION ALL
            SELECT b.channel, '', b.xmin, b.ctid, jsonb_build_array('b', b.channel, b.version, b.type), b.blob
            FROM unnest(walk.names) n JOIN checkpoint_blobs b ON b.thread_id = c.thread_id
                AND b.checkpoint_ns = c.checkpoint_ns AND b.channel = n
                AND b.version = p.checkpoint -> 'channel_versions' ->> n
            UNION ALL
            SELECT '', '', p.xmin, p.ctid, jsonb_build_array('c', p.checkpoint_id, p.parent_checkpoint_id,
                (SELECT jsonb_object_agg(n, jsonb_build_array(p.checkpoint -> 'channel_versions' -> n,
                    p.checkpoint -> 'channel_values' -> n)) FROM unnest(walk.names) n)), NULL
        ) each
    WHERE cardinality(walk.names) > 0
)"""


_APART_ORDER = 'ORDER BY p.checkpoint_id COLLATE "C", a COLLATE "C", b COLLATE "C"'


def _sha(text: str) -> str:
    return f"sha256(convert_to({text}, 'UTF8'))"


def _whole(text: str, content: str) -> str:
    return f"{_sha(text)} || sha256(coalesce({content}, ''))"


_BLOB_TOLD = "jsonb_build_array(b.channel, b.version, b.type, b.blob IS NULL)::text"
_WRITE_TOLD = "jsonb_build_array(w.task_id, w.task_path, w.idx, w.channel, w.type)::text"
_SENT_TOLD = "jsonb_build_array(s.checkpoint_ns, s.task_path, s.task_id, s.idx, s.type)::text"


def stamp(*, is_full: bool) -> str:
    sent = f"(SELECT string_agg(concat(s.xmin, s.ctid), ',' ORDER BY {_SENT_ORDER}) FROM {_SENT})"
    apart = _apart(f"string_agg(concat(x, t), ',' {_APART_ORDER})")
    return f"""md5(concat(c.xmin, c.ctid, ';',
    (SELECT string_agg(concat(b.xmin, b.ctid), ',' ORDER BY b.channel) FROM {BLOBS_OF_C}), ';',
    {sent if is_full else "''"}, ';', {f"CASE WHEN {_HAS_APART} THEN {apart} END" if is_full else "''"}
))"""


def _digest(*, is_full: bool) -> str:
    sent = f"(SELECT string_agg({_whole(_SENT_TOLD, 's.blob')}, '' ORDER BY {_SENT_ORDER}) FROM {_SENT})"
    apart = _apart(f"string_agg({_whole('told::text', 'bytes')}, '' {_APART_ORDER})")
    return f"""encode(sha256(
    {_sha("concat(c.type, ';', c.parent_checkpoint_id)")} || {_sha("c.metadata::text")} || {_sha("c.checkpoint::text")}
    || sha256(coalesce((SELECT string_agg({_whole(_BLOB_TOLD, "b.blob")}, '' ORDER BY b.channel COLLATE "C")
        FROM {BLOBS_OF_C}), ''))
    || sha256(coalesce({sent if is_full else "NULL::bytea"}, ''))
    || sha256(coalesce({f"CASE WHEN {_HAS_APART} THEN {apart} END" if is_full else "NULL::bytea"}, ''))
), 'hex')"""


WRITES_STAMP = "coalesce(md5(string_agg(concat(w.xmin, w.ctid), ',' ORDER BY w.task_id, w.idx)), '')"
_WRITES_DIGEST = (
    f"""encode(sha256(string_agg({_whole(_WRITE_TOLD, "w.blob")}, '' ORDER BY w.task_id COLLATE "C", w.idx)), 'hex')"""
)
_EFFECT = "jsonb_build_array(key, result)::text"


def sql(*, is_hashed: bool, is_full: bool) -> str:
    """Return the statement that reads what is bound: with digests every byte, without them only row versions.

    Planning takes longer than running. So what few checkpoints need is left out unless `is_full`, and the last column
    says for each namespace whether it needs that.
    """
    blank = "''"
    return f"""{_SPACES}
SELECT c.checkpoint_ns, c.checkpoint_id, {stamp(is_full=is_full)}, {_digest(is_full=is_full) if is_hashed else blank},
    waiting.count, waiting.stamp, coalesce(waiting.digest, ''),
    coalesce(c.metadata -> 'parents' ->> '', ''), {_IS_OLD} OR {_HAS_APART}
FROM spaces CROSS JOIN LATERAL (
    SELECT h.*, h.xmin, h.ctid FROM checkpoints h WHERE h.thread_id = %(thread)s AND h.checkpoint_ns = spaces.ns
        AND (%(at_ns)s::text IS NULL OR spaces.ns <> %(at_ns)s OR h.checkpoint_id = %(at_id)s)
    ORDER BY h.checkpoint_id DESC LIMIT 1
) c CROSS JOIN LATERAL (
    SELECT count(*), {WRITES_STAMP} AS stamp, {_WRITES_DIGEST if is_hashed else blank} AS digest FROM {_WRITES}
) waiting
WHERE spaces.ns IS NOT NULL AND spaces.ns <> ALL(%(unread)s::text[])
UNION ALL
SELECT '{EFFECTS}', '', md5(string_agg(concat(xmin, ctid), ',' ORDER BY key)),
    {f'''encode(sha256(string_agg({_sha(_EFFECT)}, '' ORDER BY key COLLATE "C")), 'hex')''' if is_hashed else blank},
    0, '', '', '', false
FROM countersign_effects WHERE thread_id = %(thread)s HAVING count(*) > 0
"""


_SQL = {(h, f): sql(is_hashed=h, is_full=f) for h in (False, True) for f in (False, True)}


def read(cursor: Any, where: dict[str, Any], *, is_hashed: bool) -> Bound | None:
    """Read it from PostgreSQL in one statement; in a second one where a checkpoint needs more than most do."""
    cursor.execute(_SQL[is_hashed, False], where)
    rows = cursor.fetchall()
    if any(row[8] for row in rows):
        cursor.execute(_SQL[is_hashed, True], where)
        rows = cursor.fetchall()
    return of_rows(rows)
