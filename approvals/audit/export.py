"""Copies of the log: JSON Lines, which can be verified offline if whole, and CSV for people.

Each line has a `kind`: `export` first; then each `entry`, each `text` of an entry and each signed `head`; `end` last,
with the counts. Only a copy of the whole log can be verified, and the first line says whether it is one.
"""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from approvals.audit.chain import Entry, EntryText
from approvals.audit.filters import Filters
from approvals.audit.notes import PublicKey
from approvals.audit.verifier import end_of_log, iter_notes, iter_rows, iter_texts, snapshot
from approvals.audit.walk import CannotCheck, Evidence, Known, Verification, Walk, check

VERSION = 1
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of cells that a spreadsheet might run."""
COLUMNS = (
    *("seq", "at", "actor", "actor_kind", "action", "thread_id", "outcome", "object", "digests"),
    *("policy_version", "request_id", "prev_hash", "hash"),
)
ENTRIES = "SELECT seq, prev_hash, hash, body FROM approvals_auditentry ORDER BY seq"


def write_jsonl(out: IO[str], filters: Filters) -> int:
    """Write the log as of one moment, or the selected entries. Return the number of entries."""
    with snapshot():
        end = end_of_log()
        about = {"v": VERSION, "at": datetime.now(UTC).isoformat(), "filters": filters.told(), "end": end}
        _write(out, "export", **about)
        counts = {"entries": 0, "texts": 0, "heads": 0}
        for seq, prev_hash, found_hash, body in _entries(filters):
            _write(out, "entry", seq=seq, prev_hash=prev_hash, hash=found_hash, body=body)
            counts["entries"] += 1
        if not filters:
            for text in iter_texts():
                _write(out, "text", **text._asdict())
                counts["texts"] += 1
            for note in iter_notes():
                _write(out, "head", note=note)
                counts["heads"] += 1
        _write(out, "end", **counts)
    return counts["entries"]


def write_csv(out: IO[str], filters: Filters) -> int:
    """Write a table for people and return the number of rows.

    Cells that a spreadsheet would run begin with an apostrophe.
    """
    writer, count = csv.writer(out, lineterminator="\n"), 0
    writer.writerow(COLUMNS)
    with snapshot():
        for entry in _entries(filters):
            writer.writerow(_cells(*entry))
            count += 1
    return count


FORMATS: dict[str, Callable[[IO[str], Filters], int]] = {"jsonl": write_jsonl, "csv": write_csv}


def verify_export(path: Path, keys: list[PublicKey], known: Known | None = None) -> Verification:
    """Verify an export without a database. Raises CannotCheck for a part of a log, and for a file that is no export.

    `known` is a head that the caller has kept. Without one, nobody can tell that the end of a log was left out.
    """
    try:
        end = _end_in(path)
        texts = (EntryText(line["seq"], line["name"], line["salt"], line["text"]) for line in _lines(path, "text"))
        entries = (Entry(line["seq"], line["prev_hash"], line["hash"], line["body"]) for line in _lines(path, "entry"))
        heads = [*_first(path, "head")]
        if heads and not keys:
            raise CannotCheck("There are signed heads but no public key to check them with. Give --public-key FILE.")
        if keys and not heads:
            raise CannotCheck("Nothing in this export is signed, so the public key checks nothing. Export it again.")
        signed = (Evidence(line["note"]) for line in _lines(path, "head"))
        walk = Walk(heads=signed, texts=texts, keys=keys, known=known)
        found = check(walk, entries, end)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotCheck(f"This is not a whole export: {_why(error)}") from None
    if not heads:
        found.warnings.append("It holds no signed head: whoever owned the database could make the whole log anew.")
    if known is None:
        found.warnings.append("Give --head, a head that you have kept: without one, a missing end is not found.")
    return found


def _entries(filters: Filters) -> Iterator[tuple[Any, ...]]:
    if not filters:
        return iter_rows(ENTRIES)
    found: Iterator[tuple[Any, ...]] = (
        filters.entries().order_by("seq").values_list("seq", "prev_hash", "hash", "body").iterator()
    )
    return found


def _write(out: IO[str], kind: str, **fields: Any) -> None:
    out.write(json.dumps({"kind": kind, **fields}, ensure_ascii=False, separators=(",", ":")) + "\n")


def _cells(seq: int, prev_hash: str, found_hash: str, body: str) -> list[str]:
    try:
        told = dict(json.loads(body))
    except (ValueError, TypeError):  # a tampered log must still be readable
        told = {}
    told |= {"seq": seq, "prev_hash": prev_hash, "hash": found_hash}
    return [_cell(told.get(name, "")) for name in COLUMNS]


def _cell(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _lines(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of one kind. The walk reads the file three times side by side, once for each kind."""
    begin = f'{{"kind":"{kind}"'
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.startswith(begin):
                yield json.loads(line)


def _first(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    for line in _lines(path, kind):
        yield line
        return


def _end_in(path: Path) -> tuple[int, str] | None:
    """Return the end of the log as the first line gives it. Raises CannotCheck for a part of a log."""
    with path.open(encoding="utf-8") as file:
        first = json.loads(file.readline(100_000))
    if first["kind"] != "export" or first["v"] != VERSION:
        raise ValueError("its first line does not say so.")
    if first["filters"]:
        raise CannotCheck("This export is a part of the log, so it cannot be verified: export it without filters.")
    if not [*_first(path, "end")]:
        raise ValueError("its last line is missing; it was cut off.")
    return (first["end"][0], first["end"][1]) if first["end"] else None


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}."
    return str(error) if type(error) is ValueError else f"a line is not as it should be ({type(error).__name__})."
