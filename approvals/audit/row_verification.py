"""Comparison of every deciding row with the entries that made it: same content, and neither without the other.

During the walk, what entries say of rows goes into a temporary file, so that memory stays bounded; then each row is
read once. The first entry whose row differs is named.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from approvals.audit import rows
from approvals.audit.walk import Broken

REMOVALS = ("thread.force_cleaned", "thread.retired")
BATCH = 5_000
CHUNK = 1_000
MAY_GO = frozenset({"graph"})
"""Kinds whose rows go without an entry: a graph that no worker has any more."""

SCHEMA = "CREATE TABLE told (key TEXT PRIMARY KEY, seq INTEGER NOT NULL, columns TEXT NOT NULL) WITHOUT ROWID"
GONE = "null"
TELL = f"""
INSERT INTO told VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, columns = CASE
    WHEN '{GONE}' IN (excluded.columns, told.columns) THEN excluded.columns
    ELSE json_patch(told.columns, excluded.columns) END
"""
Columns = dict[str, tuple[Any, int]]
"""What was told last of each column, and by which entry."""


class Records:
    """Receives each entry in order: of the whole log, or `is_part` of it. A part is compared with the rows it tells of,
    in the columns that it tells of.
    """

    def __init__(self, *, is_part: bool = False) -> None:
        self._is_part = is_part
        self._told = sqlite3.connect("")  # a temporary file
        self._told.execute(SCHEMA)
        self._new: dict[str, tuple[int, Columns | None]] = {}
        self._fault: Broken | None = None
        self._last = 0

    def see(self, seq: int, record: dict[str, Any]) -> None:
        self._last = seq
        if record["action"] in REMOVALS:
            self._new[_removal_of(record.get("thread_id", ""))] = seq, {}
        told = record.get("rows")
        for key, columns in told.items() if isinstance(told, dict) else ():
            self._note(key, seq, columns)
        if len(self._new) >= BATCH:
            self._flush()

    def first_fault(self) -> Broken | None:
        """Compare every row. Return the first entry that contradicts its row. Needs a transaction."""
        self._flush()
        for kind in rows.MODELS:
            found = self._iter_told(kind) if self._is_part else rows.iter_rows(kind)
            while chunk := list(islice(found, CHUNK)):
                self._compare(kind, chunk)
        self._find_gone()
        self._told.close()
        return self._fault

    def _iter_told(self, kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield the rows that the entries tell of."""
        to_python = rows.MODELS[kind]._meta.pk.to_python
        last = ""
        while True:
            query = "SELECT key FROM told WHERE key > ? AND key LIKE ? ORDER BY key LIMIT ?"
            keys = [key for (key,) in self._told.execute(query, (last, f"{kind}:%", CHUNK))]
            if not keys:
                return
            last = keys[-1]
            yield from rows.iter_rows(kind, only=[to_python(key.partition(":")[2]) for key in keys])

    def _note(self, key: str, seq: int, columns: dict[str, Any] | None) -> None:
        if columns is None:
            self._new[key] = seq, None
            return
        fresh = {name: (value, seq) for name, value in columns.items()}
        _, before = self._new.get(key, (0, {}))
        if key in self._new and before is None:
            self._flush()
        self._new[key] = seq, {**(before or {}), **fresh}

    def _flush(self) -> None:
        told = ((key, seq, orjson.dumps(columns).decode()) for key, (seq, columns) in self._new.items())
        self._told.executemany(TELL, told)
        self._new.clear()

    def _compare(self, kind: str, chunk: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        keys = [key for key, _, _ in chunk]
        told = dict(self._read({*keys, *(_removal_of(thread) for _, thread, _ in chunk if thread)}))
        for key, thread, columns in chunk:
            removed_at = told[_removal_of(thread)][0] if _removal_of(thread) in told else 0
            self._compare_one(kind, key, columns, told.get(key), removed_at)
        self._told.executemany("DELETE FROM told WHERE key = ?", ((key,) for key in keys))

    def _read(self, keys: set[str]) -> Iterator[tuple[str, tuple[int, Columns | None]]]:
        places = ", ".join("?" * len(keys))
        query = f"SELECT key, seq, columns FROM told WHERE key IN ({places})"
        for key, seq, columns in self._told.execute(query, list(keys)):
            yield key, (seq, orjson.loads(columns))

    def _compare_one(
        self, kind: str, key: str, columns: dict[str, Any], told: tuple[int, Columns | None] | None, removed_at: int
    ) -> None:
        if told is None:
            if not rows.is_untold_by_nature(kind, columns):
                self._blame(self._last + 1, f"{_named(key)} is there, and no entry tells of it.")
            return
        seq, wanted = told
        if wanted is None:
            return self._blame(seq, f"{_named(key)} was removed, as this entry says, and is there again.")
        for name, value in {} if self._is_part else rows.untold(kind).items():
            if name not in wanted and columns[name] != value:
                self._blame(self._last + 1, f"{_named(key)} was changed: no entry tells of its {name}.")
        left = rows.emptied(kind)
        for name, (value, told_at) in wanted.items():
            is_emptied = name in left and removed_at > told_at
            if name in columns and columns[name] != (left[name] if is_emptied else value):
                at = removed_at if is_emptied else told_at
                self._blame(at, f"{_named(key)} was changed: its {name} is not what this entry says.")

    def _find_gone(self) -> None:
        kinds = " OR ".join(f"key LIKE '{kind}:%'" for kind in rows.MODELS if kind not in MAY_GO)
        query = f"SELECT key, seq FROM told WHERE columns <> '{GONE}' AND ({kinds}) ORDER BY seq LIMIT 1"
        for key, seq in self._told.execute(query):
            self._blame(seq, f"{_named(key)} is gone, and no entry says that it was removed.")

    def _blame(self, seq: int, reason: str) -> None:
        if self._fault is None or seq < self._fault.seq:
            self._fault = Broken(seq, reason)


def _removal_of(thread_id: str) -> str:
    return f"removal:{thread_id}"


def _named(key: str) -> str:
    kind, _, pk = key.partition(":")
    return f"The {'version of a policy' if kind == 'policyversion' else kind} {pk}"
