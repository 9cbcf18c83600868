"""Verification of the log in the database: one snapshot, bounded memory, while others append."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import chain
from typing import Any

from django.db import connection, transaction

from approvals.audit import folder
from approvals.audit.chain import Entry, EntryText
from approvals.audit.folder import KeptNote
from approvals.audit.ledger import Ledger
from approvals.audit.notes import PublicKey
from approvals.audit.row_verification import Records
from approvals.audit.tally_verification import Tallies
from approvals.audit.walk import CannotCheck, Evidence, Known, Verification, Walk, check

CHUNK = 5_000
READER_IDLE_SECONDS = 60
ENTRIES = (
    "SELECT seq, prev_hash, hash, body, at, actor, action, thread_id, about FROM approvals_auditentry ORDER BY seq"
)
TEXTS = "SELECT seq, name, salt, text FROM approvals_audittext ORDER BY seq, name"
HEADS = "SELECT note FROM approvals_signedhead ORDER BY id"
END = "SELECT seq, hash FROM approvals_audithead WHERE id = 1"


def verify(*, keys: Sequence[PublicKey] | None = None, known: Known | None = None) -> Verification:
    """Verify every entry, its texts, the rows that entries made, and the signed heads. Raises CannotCheck.

    The first wrong entry is named. `known` is a head that the caller has kept: the log must still contain it.

    The file of signed heads counts, and its copies in the database are compared with it. Without the file the copies
    count, and a warning says so.
    """
    keys = folder.public_keys() if keys is None else keys
    size_before = folder.size_of_heads() or 0
    with snapshot():
        heads = _Heads(size_before)
        if heads.first and not keys:
            raise CannotCheck("There are signed heads but no public key to check them with. Copy it here.")
        ledger, records, tallies = Ledger(), Records(), Tallies()

        def witness(seq: int, record: dict[str, Any]) -> None:
            ledger.see(seq, record)
            records.see(seq, record)
            tallies.see(seq, record)

        walk = Walk(heads=heads.evidence(), texts=iter_texts(), keys=keys, witness=witness, known=known)
        found = check(walk, iter_entries(), end_of_log())
        faults = [records.first_fault() if found.ok else None, ledger.first_fault(is_whole=found.ok), tallies.fault]
        for bad in filter(None, faults):
            if found.first_bad is None or bad.seq < found.first_bad:
                signed = min(found.signed, bad.seq - 1)
                found = Verification(False, bad.seq - 1, found.head, bad.seq, bad.reason, signed)
        found.warnings.extend(heads.warnings)
    return found


@contextmanager
def _own_snapshot() -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            # It locks nothing, and the reader may be slow: a disk, a pipe.
            cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{READER_IDLE_SECONDS}s'")
        yield


def snapshot() -> AbstractContextManager[None]:
    """Read as of one moment: in a transaction of its own, or within the caller's."""
    return transaction.atomic() if connection.in_atomic_block else _own_snapshot()


def iter_entries() -> Iterator[Entry]:
    for seq, prev_hash, found_hash, body, at, *columns in iter_rows(ENTRIES):
        shown = (at.isoformat() if isinstance(at, datetime) else at, *columns)
        yield Entry(seq, prev_hash, found_hash, body, shown)


def iter_texts() -> Iterator[EntryText]:
    return (EntryText(*row) for row in iter_rows(TEXTS))


def iter_notes() -> Iterator[str]:
    return (note for (note,) in iter_rows(HEADS))


def end_of_log() -> tuple[int, str] | None:
    """Return the number and hash that the head row gives."""
    with connection.cursor() as cursor:
        cursor.execute(END)
        found: tuple[int, str] | None = cursor.fetchone()
    return found


def iter_rows(query: str) -> Iterator[tuple[Any, ...]]:
    """Read rows in chunks with a server-side cursor. Needs a transaction."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


class _Heads:
    """The signed heads of the file, side by side with their copies in the database."""

    def __init__(self, size_before: int) -> None:
        self.warnings: list[str] = []
        self._copies = iter_notes()
        self._copy = next(self._copies, None)
        self._size_before = size_before
        self._file = folder.iter_heads()
        self._kept = next(self._file, None)
        self.first = self._copy or (self._kept.note if self._kept else None)

    def evidence(self) -> Iterator[Evidence]:
        while self._kept and self._copy is not None:
            differ = self._kept.note != self._copy
            yield Evidence(self._kept.note, "A signed head in the database differs from the file." if differ else "")
            self._kept, self._copy = next(self._file, None), next(self._copies, None)
        if self._kept:
            yield from self._not_copied(self._kept)
        elif self._copy is not None:
            self._warn_of_file()
            yield from map(Evidence, chain([self._copy], self._copies))
        else:
            self._warn_of_none()

    def _not_copied(self, kept: KeptNote) -> Iterator[Evidence]:
        """A crash between the two leaves one that was not copied; the next signing does. More were taken away."""
        second = next(self._file, None)
        is_one = second is None or second.begin >= self._size_before
        if kept.begin >= self._size_before:
            return  # written after our snapshot
        yield Evidence(kept.note, "" if is_one else "The database lacks signed heads that the file has.")
        for rest in [] if is_one or not second else chain([second], self._file):
            yield Evidence(rest.note)

    def _warn_of_file(self) -> None:
        """Say so when the file is not the whole of what was signed."""
        if folder.size_of_heads() is None:
            self.warnings.append("There is no file of signed heads here; their copies in the database were used.")
        else:
            self.warnings.append("The file of signed heads ends before their copies in the database do.")

    def _warn_of_none(self) -> None:
        if self.first is None:
            self.warnings.append("Nothing has been signed yet: whoever owns the database can make the whole log anew.")
