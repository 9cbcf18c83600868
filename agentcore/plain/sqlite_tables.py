"""The tables of checkpoints in a SQLite file, and the lock that keeps the file to one process at a time."""

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasteners import InterProcessLock

from agentcore.plain import bound_bytes
from agentcore.plain.bound_bytes import Bound
from agentcore.plain.errors import CheckpointsElsewhere, FileUnusable
from agentcore.plain.tables import (
    MOST_WRITTEN,
    Head,
    Measured,
    Sizes,
    StoredValue,
    Written,
    fingerprint,
    measured,
    object_of,
)

BUSY_SECONDS = 10.0
"""How long a write waits for another connection of this process to end its own."""
TABLES = ("checkpoints", "writes", "countersign_effects")
NOW = "(julianday('now') - 2440587.5) * 86400"
_HEAD_SQL = """
SELECT checkpoint_id, (SELECT change FROM countersign_heads WHERE thread_id = ?) FROM checkpoints
WHERE thread_id = ? AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1
"""
_HAS_ROWS_SQL = " OR ".join(f"EXISTS (SELECT 1 FROM {table} r WHERE r.thread_id = t.thread_id)" for table in TABLES)
FENCE_SQL = "SELECT fence FROM countersign_fences WHERE thread_id = ?"
HELD_SQL = f"SELECT lets_others FROM countersign_holds WHERE thread_id = ? AND held_until > {NOW}"
_WRITES_SQL = """
SELECT task_id, idx, channel, coalesce(type, ''), CAST(coalesce(value, '') AS BLOB) FROM writes
WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ?
"""
_NEWEST_SQL = "SELECT checkpoint_ns, max(checkpoint_id) FROM checkpoints WHERE thread_id = ? GROUP BY checkpoint_ns"
_CHECKPOINT_SQL = """
SELECT parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
"""
_ALL_WRITES_SQL = """
SELECT task_id, idx, channel, type, value FROM writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? ORDER BY task_id, idx
"""
# Channels that keep changes apart are read from all that lies above; what an old format sends, from the parent.
_ABOVE_SQL = """
WITH RECURSIVE above(id) AS (
    SELECT ?3 WHERE ?3 IS NOT NULL
    UNION SELECT c.parent_checkpoint_id FROM above JOIN checkpoints c
        ON c.thread_id = ?1 AND c.checkpoint_ns = ?2 AND c.checkpoint_id = above.id
    WHERE json_array_length(?4) > 0
)
SELECT w.checkpoint_id, w.task_id, w.idx, w.channel, w.type, w.value FROM above JOIN writes w
    ON w.thread_id = ?1 AND w.checkpoint_ns = ?2 AND w.checkpoint_id = above.id
WHERE w.channel IN (SELECT value FROM json_each(?4)) OR w.channel = ?5 AND w.checkpoint_id = ?3
UNION ALL SELECT c.checkpoint_id, c.parent_checkpoint_id, 0, '', c.type, c.checkpoint FROM above JOIN checkpoints c
    ON c.thread_id = ?1 AND c.checkpoint_ns = ?2 AND c.checkpoint_id = above.id
WHERE json_array_length(?4) > 0
ORDER BY 1, 2, 3, 4
"""
_EFFECTS_SQL = "SELECT key, result FROM countersign_effects WHERE thread_id = ? ORDER BY key"
_SENTENCES = {
    "SQLITE_NOTADB": "is not a SQLite database. Name another file",
    "SQLITE_CORRUPT": "is damaged. Name another file, or put a copy of it in its place",
    "SQLITE_READONLY": "may not be written. Make the file and its folder writable",
    "SQLITE_CANTOPEN": "cannot be opened. Make the file and its folder writable",
    "SQLITE_FULL": "cannot grow: the disk is full. Make room",
    "SQLITE_BUSY": "is being written by another program. Stop that program",
}


@contextmanager
def open_tables(path: Path) -> Iterator["SqliteTables"]:
    """Open the tables of an existing file on a connection of their own. Commits if the block ends without an error.

    Raises what `open_sqlite` raises. In the process of the saver it may be used beside it.
    """
    with hold(path) as file, telling_errors(file):
        address = f"{file.as_uri()}?mode=rw"  # do not make one
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection, connection:
            yield SqliteTables(connection)


_guard = threading.Lock()
_locks: dict[Path, InterProcessLock] = {}
_holders: dict[Path, int] = {}


@contextmanager
def hold(path: Path) -> Iterator[Path]:
    """Lock the file against other processes until the block ends; yield the real path of the file.

    The operating system keeps one lock a process, not one an object, and drops it with the first object that is closed.
    So the process has one lock, and counts its users.
    """
    file = Path(os.path.realpath(path))
    with _guard:
        if file not in _locks:
            _locks[file] = _locked(file)
        _holders[file] = _holders.get(file, 0) + 1
    try:
        yield file
    finally:
        with _guard:
            _holders[file] -= 1
            if not _holders[file]:
                del _holders[file]
                _let_go(_locks.pop(file))


def _locked(file: Path) -> InterProcessLock:
    if not file.parent.is_dir():  # the lock would make it
        raise FileUnusable(f"{file} has no folder to be in. Make it, or name another file.")
    beside = f"{file}.lock"
    lock = InterProcessLock(beside)
    try:
        is_ours = lock.acquire(blocking=False)
    except (OSError, threading.ThreadError):
        raise FileUnusable(f"{beside} cannot be made or locked. Make the file and its folder writable.") from None
    if not is_ours:
        lock.lockfile.close()
        raise CheckpointsElsewhere(
            f"{_owner(beside)} has {file} open, and SQLite checkpoints belong to one process at a time."
            " Stop it first, or keep the checkpoints in PostgreSQL, which takes many."
        )
    lock.lockfile.truncate(0)
    lock.lockfile.write(str(os.getpid()))
    lock.lockfile.flush()
    return lock


def _owner(beside: str) -> str:
    pid = Path(beside).read_text()
    return f"Process {pid}" if pid.isdecimal() else "Another process"


def _let_go(lock: InterProcessLock) -> None:
    lock.lockfile.truncate(0)  # keep the file: removing it could remove the next process's lock
    lock.release()


@contextmanager
def telling_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        name = "_".join(
            (getattr(error, "sqlite_errorname", None) or "").split("_")[:2]
        )  # SQLITE_READONLY_DIRECTORY too
        raise FileUnusable(f"{file} {_SENTENCES.get(name) or f'cannot be used. SQLite says: {error}'}.") from None


@dataclass(frozen=True)
class SqliteTables:
    """The tables of a SQLite file."""

    connection: sqlite3.Connection

    def is_set_up(self) -> bool:
        names = (*TABLES, "countersign_heads", "countersign_fences", "countersign_tombstones")
        places = ", ".join("?" * len(names))
        query = f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ({places})"
        return self._one(query, *names) == (len(names),)

    def read_head(self, thread_id: str) -> Head | None:
        row = self._one(_HEAD_SQL, thread_id, thread_id)
        if row is None:
            return None
        writes = self.connection.execute(_WRITES_SQL, [thread_id, row[0]])
        return Head(row[0], fingerprint(writes), row[1])

    def read_bound(
        self,
        thread_id: str,
        *,
        unread: Collection[str] = (),
        at: tuple[str, str] | None = None,
        is_hashed: bool = False,
    ) -> Bound | None:
        """Always with digests: SQLite has no row versions."""
        newest = self.connection.execute(_NEWEST_SQL, [thread_id])
        places = {namespace: found for namespace, found in newest if namespace not in unread}
        places |= {namespace: found for namespace, found in [at] if namespace in places} if at else {}
        if "" not in places:
            return None
        read = [self._part(thread_id, *place) for place in places.items()]
        effects = self.connection.execute(_EFFECTS_SQL, [thread_id]).fetchall()
        return bound_bytes.of_values(read, effects).without(unread)

    def _part(self, thread_id: str, namespace: str, checkpoint_id: str) -> bound_bytes.Values:
        here = [thread_id, namespace, checkpoint_id]
        parent, kind, stored, metadata = self._one(_CHECKPOINT_SQL, *here) or (None, "", b"", b"")
        told = bound_bytes.metadata_of(metadata)
        names = json.dumps(list(told.get(bound_bytes.DELTAS) or {}))
        return bound_bytes.Values(
            *(namespace, checkpoint_id, told),
            stored=[parent, kind, stored, metadata],
            above=self.connection.execute(
                _ABOVE_SQL, [thread_id, namespace, parent, names, bound_bytes.TASKS]
            ).fetchall(),
            writes=self.connection.execute(_ALL_WRITES_SQL, here).fetchall(),
        )

    def read_head_and_metadata(self, thread_id: str) -> tuple[Head | None, dict[str, Any]]:
        row = self._one(
            "SELECT metadata FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
            " ORDER BY checkpoint_id DESC LIMIT 1",
            thread_id,
        )
        return self.read_head(thread_id), object_of(row[0]) if row and row[0] else {}

    def threads_to_index(self, *, limit: int, settled_seconds: float = 0) -> list[str]:
        rows = self.connection.execute(
            f"SELECT thread_id FROM countersign_heads WHERE NOT is_indexed AND changed_at <= {NOW} - ?"
            " ORDER BY change LIMIT ?",
            [settled_seconds, limit],
        )
        return [row[0] for row in rows]

    def mark_indexed(self, thread_id: str, head: Head | None) -> None:
        if head is None:
            self.connection.execute(
                "DELETE FROM countersign_heads WHERE thread_id = ?"
                " AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '')",
                [thread_id, thread_id],
            )
            return
        self.connection.execute(
            "UPDATE countersign_heads SET is_indexed = 1 WHERE thread_id = ? AND checkpoint_id = ? AND change = ?",
            [thread_id, head.checkpoint_id, head.change],
        )

    def value_sizes(self, thread_id: str, checkpoint_id: str | None = None, *, namespace: str = "") -> Sizes | None:
        """A checkpoint is one piece here, whatever it holds."""
        row = self._one(
            "SELECT checkpoint_id, length(checkpoint) FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?3"
            " AND (?2 IS NULL OR checkpoint_id = ?2) ORDER BY checkpoint_id DESC LIMIT 1",
            thread_id,
            checkpoint_id,
            namespace,
        )
        if row is None:
            return None
        writes = self.connection.execute(
            "SELECT 'write', channel, idx || ':' || task_id, coalesce(length(value), 0) FROM writes"
            " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            [thread_id, namespace, row[0]],
        )
        whole = StoredValue("whole", "", "", row[1], namespace)
        return Sizes(
            row[0], (whole, *(StoredValue(place, name, key, size, namespace) for place, name, key, size in writes))
        )

    def measure(self, thread_id: str, checkpoint_id: str, values: list[StoredValue]) -> list[Measured]:
        return [
            measured(value, "msgpack", self.read_slice(thread_id, checkpoint_id, value, 0, value.size))
            for value in values
        ]

    def read_slice(self, thread_id: str, checkpoint_id: str, value: StoredValue, offset: int, length: int) -> bytes:
        place, key = ("checkpoint FROM checkpoints", "") if value.place == "whole" else ("value FROM writes", value.key)
        column, _, rest = place.partition(" ")
        row = self._one(
            f"SELECT substr({column}, ?4, ?5) {rest} WHERE thread_id = ?1 AND checkpoint_ns = ?6 AND checkpoint_id = ?2"
            + (" AND idx || ':' || task_id = ?3" if key else " AND ?3 = ''"),
            *(thread_id, checkpoint_id, key, offset + 1, length, value.namespace),
        )
        return bytes(row[0]) if row and row[0] else b""

    def raise_fence(
        self, thread_id: str, fence: int, *, held_seconds: float | None = None, lets_others: bool = False
    ) -> None:
        if fence < self.read_fence(thread_id):
            return
        self.connection.execute(
            "INSERT INTO countersign_fences VALUES (?, ?) ON CONFLICT (thread_id) DO UPDATE SET fence = excluded.fence",
            [thread_id, fence],
        )
        if held_seconds is None:
            self.connection.execute("DELETE FROM countersign_holds WHERE thread_id = ?", [thread_id])
            return
        self.connection.execute(
            "INSERT INTO countersign_holds (thread_id, fence, held_until, lets_others)"
            f" VALUES (?, ?, {NOW} + ?, ?) ON CONFLICT (thread_id) DO UPDATE SET"
            " fence = excluded.fence, held_until = excluded.held_until, lets_others = excluded.lets_others",
            [thread_id, fence, held_seconds, lets_others],
        )

    def hold_on(self, thread_id: str, fence: int, *, held_seconds: float) -> None:
        self.connection.execute(
            f"UPDATE countersign_holds SET held_until = {NOW} + ? WHERE thread_id = ? AND fence = ?",
            [held_seconds, thread_id, fence],
        )

    def let_go(self, thread_id: str, fence: int) -> bool:
        mine = "countersign_holds WHERE thread_id = ? AND fence = ?"
        row = self._one(f"SELECT has_others FROM {mine}", thread_id, fence)
        self.connection.execute(f"DELETE FROM {mine}", [thread_id, fence])
        return bool(row and row[0])

    def written(self, thread_id: str, *, since: str, run_key: str) -> list[Written]:
        rows = self.connection.execute(
            "SELECT checkpoint_id, coalesce(parent_checkpoint_id, ''),"
            " coalesce(json_extract(CAST(metadata AS TEXT), '$.' || ?), '') FROM checkpoints"
            " WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id > ? ORDER BY checkpoint_id DESC LIMIT ?",
            [run_key, thread_id, since, MOST_WRITTEN],
        )
        return [Written(*row) for row in rows]

    def read_fence(self, thread_id: str) -> int:
        row = self._one(FENCE_SQL, thread_id)
        return row[0] if row else 0

    def lay_tombstone(self, thread_id: str) -> None:
        self.connection.execute(
            f"INSERT OR IGNORE INTO countersign_tombstones (thread_id, laid_at, deleted) VALUES (?, {NOW}, 0)",
            [thread_id],
        )

    def count_rows(self, thread_id: str) -> dict[str, int]:
        query = "SELECT count(*) FROM {} WHERE thread_id = ?"
        return {table: (self._one(query.format(table), thread_id) or (0,))[0] for table in TABLES}

    def count_by_namespace(self, thread_id: str) -> dict[str, int]:
        spaces = zip(TABLES, ("checkpoint_ns", "checkpoint_ns", "''"), strict=True)
        each = " UNION ALL ".join(f"SELECT {space} AS ns FROM {table} WHERE thread_id = ?1" for table, space in spaces)
        rows = self.connection.execute(f"SELECT ns, count(*) FROM ({each}) GROUP BY ns ORDER BY ns", [thread_id])
        return dict(rows)

    def delete_rows(self, thread_id: str, *, limit: int | None = None) -> dict[str, int]:
        def delete(table: str) -> int:
            found = f"SELECT rowid FROM {table} WHERE thread_id = ? LIMIT ?"
            most = -1 if limit is None else limit
            return self.connection.execute(f"DELETE FROM {table} WHERE rowid IN ({found})", [thread_id, most]).rowcount

        counts = {table: delete(table) for table in TABLES}
        self.connection.execute(
            "DELETE FROM countersign_heads WHERE thread_id = ?1"
            " AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = ?1)",
            [thread_id],
        )
        self.connection.execute(
            "UPDATE countersign_tombstones SET deleted = deleted + ? WHERE thread_id = ?",
            [sum(counts.values()), thread_id],
        )
        return counts

    def threads_to_empty(self, *, limit: int) -> list[str]:
        rows = self.connection.execute(
            f"SELECT thread_id FROM countersign_tombstones t WHERE NOT is_settled AND ({_HAS_ROWS_SQL})"
            " ORDER BY laid_at LIMIT ?",
            [limit],
        )
        return [row[0] for row in rows]

    def threads_emptied(self, *, settled_seconds: float) -> dict[str, int]:
        rows = self.connection.execute(
            "SELECT thread_id, deleted FROM countersign_tombstones t WHERE NOT is_settled"
            f" AND laid_at <= {NOW} - ? AND NOT ({_HAS_ROWS_SQL})",
            [settled_seconds],
        )
        return dict(rows)

    def settle(self, thread_ids: list[str]) -> None:
        settled = "UPDATE countersign_tombstones SET is_settled = 1 WHERE thread_id = ?"
        self.connection.executemany(settled, [[each] for each in thread_ids])

    def _one(self, query: str, *parameters: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self.connection.execute(query, parameters).fetchone()
        return row
