"""Verification of the log in the database: one snapshot, bounded memory, while others append.

It begins at the first entry, or goes on from a signed head. That head's signature then stands for all entries before:
they were checked when they were signed, and are not read again. Nor are rows that only they tell of.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from django.db import connection, transaction

from approvals.audit import folder, notes
from approvals.audit.chain import Entry, EntryText, entry_hash
from approvals.audit.folder import KeptNote
from approvals.audit.ledger import Ledger
from approvals.audit.notes import BadNote, PublicKey
from approvals.audit.row_verification import Records
from approvals.audit.tally_verification import Tallies
from approvals.audit.walk import Broken, CannotCheck, Evidence, Known, Verification, Walk, check
from approvals.models import AuditEntry, SignedHead

CHUNK = 5_000
READER_IDLE_SECONDS = 60
ENTRIES = (
    "SELECT seq, prev_hash, hash, body, at, actor, action, thread_id, about FROM approvals_auditentry"
    " WHERE seq > %s ORDER BY seq"
)
TEXTS = "SELECT seq, name, salt, text FROM approvals_audittext WHERE seq > %s ORDER BY seq, name"
BEFORE_ALL = -(2**63)
"""Below any number that somebody may give an entry."""
HEADS = "SELECT note FROM approvals_signedhead WHERE id >= %s ORDER BY id"
END = "SELECT seq, hash FROM approvals_audithead WHERE id = 1"


@dataclass(frozen=True)
class Place:
    """Where a signed head stands: its copy in the database, its first byte in the file, and what it covers."""

    copy_id: int = 0
    begin: int = 0
    size: int = 0
    root: str = ""


BEGINNING = Place()


def verify(
    *, keys: Sequence[PublicKey] | None = None, known: Known | None = None, since: datetime | None = None
) -> Verification:
    """Verify every entry, its texts, the rows that entries made, and the signed heads. Raises CannotCheck.

    The first wrong entry is named. `known` is a head that the caller has kept: the log must still contain it.

    With `since` it goes on from the last head that was signed before; where there is none it verifies all.

    The file of signed heads counts, and its copies in the database are compared with it. Without the file the copies
    count, and a warning says so.
    """
    keys = folder.public_keys() if keys is None else keys
    size_before = folder.size_of_heads() or 0
    with snapshot():
        place = _place_before(since) if since else BEGINNING
        heads = _Heads(size_before, place)
        if heads.first and not keys:
            raise CannotCheck("There are signed heads but no public key to check them with. Copy it here.")
        ledger, records = Ledger(), Records(is_part=place.size > 0)
        tallies = Tallies(earlier=partial(earlier, until=place.size) if place.size else None)

        def witness(seq: int, record: dict[str, Any]) -> None:
            ledger.see(seq, record)
            records.see(seq, record)
            tallies.see(seq, record)

        walk = Walk(
            heads=heads.evidence(), texts=iter_texts(place.size or BEFORE_ALL), keys=keys, witness=witness, known=known
        )
        found = _walked(walk, place)
        is_whole = found.ok and not place.size
        faults = [records.first_fault() if found.ok else None, ledger.first_fault(is_whole=is_whole), tallies.fault]
        for bad in filter(None, faults):
            if found.first_bad is None or bad.seq < found.first_bad:
                signed = min(found.signed, bad.seq - 1)
                found = Verification(False, bad.seq - 1, found.head, bad.seq, bad.reason, signed)
        found.warnings.extend(heads.warnings)
    return replace(found, after=place.size)


def _place_before(since: datetime) -> Place:
    """Return where the last head stands that was signed before a time, or the beginning.

    The copies say where to look; what counts is the note itself, which the walk checks.
    """
    copies = SignedHead.objects.order_by("-id")
    found = copies.filter(signed_at__lte=since).first()
    if found is None:
        return BEGINNING
    try:
        note = notes.read_head(found.note)
        is_later = datetime.fromisoformat(note.at) > since
    except (BadNote, ValueError):
        return BEGINNING
    if is_later:
        return BEGINNING
    before = copies.filter(pk__lt=found.pk).first()
    return Place(found.pk, before.file_end if before else 0, note.size, note.root)


def _walked(walk: Walk, place: Place) -> Verification:
    """Walk from a place on. The log must have the entry that was signed there, and the file the head."""
    if not place.size:
        return check(walk, iter_entries(), end_of_log())
    try:
        walk.go_on()
        if (walk.count, walk.last_hash) != (place.size, place.root):
            raise Broken(place.size, "A signed head in the database differs from the file.")
        if not AuditEntry.objects.filter(seq=place.size, hash=place.root).exists():
            raise Broken(place.size, "It is not the entry that was signed.")
    except Broken as bad:
        return Verification(False, bad.seq - 1, walk.last_hash, bad.seq, bad.reason)
    return check(walk, iter_entries(place.size), end_of_log())


def earlier(thread_id: str, people: Iterable[str], *, until: int) -> list[dict[str, Any]]:
    """Return the entries up to a number on a thread, and the newest about some people, as they were written."""
    entries = AuditEntry.objects.filter(seq__lte=until)
    newest = entries.filter(about__in=list(people)).order_by("about", "-seq").distinct("about")
    on_thread = entries.filter(thread_id=thread_id).order_by("seq") if thread_id else ()
    found = [*newest, *on_thread]
    return [each.record for each in found if entry_hash(each.seq, each.prev_hash, each.body) == each.hash]


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


def iter_entries(after: int = BEFORE_ALL) -> Iterator[Entry]:
    for seq, prev_hash, found_hash, body, at, *columns in iter_rows(ENTRIES, after):
        shown = (at.isoformat() if isinstance(at, datetime) else at, *columns)
        yield Entry(seq, prev_hash, found_hash, body, shown)


def iter_texts(after: int = BEFORE_ALL) -> Iterator[EntryText]:
    return (EntryText(*row) for row in iter_rows(TEXTS, after))


def iter_notes(first: int = 0) -> Iterator[str]:
    return (note for (note,) in iter_rows(HEADS, first))


def end_of_log() -> tuple[int, str] | None:
    """Return the number and hash that the head row gives."""
    with connection.cursor() as cursor:
        cursor.execute(END)
        found: tuple[int, str] | None = cursor.fetchone()
    return found


def iter_rows(query: str, *parameters: int) -> Iterator[tuple[Any, ...]]:
    """Read rows in chunks with a server-side cursor. Needs a transaction."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


class _Heads:
    """The signed heads of the file, side by side with their copies in the database."""

    def __init__(self, size_before: int, place: Place = BEGINNING) -> None:
        self.warnings: list[str] = []
        self._copies = iter_notes(place.copy_id)
        self._copy = next(self._copies, None)
        self._size_before = size_before
        self._file = folder.iter_heads(place.begin)
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
