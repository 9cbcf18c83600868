"""The walk over a log: entries, texts and signed heads in order. Needs no database, so exports are walked the same
way.

The first wrong entry is named. Of entries that a signed head lists the name is exact, whatever was computed anew after
them; of newer ones it is as exact as the chain allows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from approvals.audit import notes
from approvals.audit.chain import GENESIS, SALT_LENGTH, Entry, EntryText, entry_hash, text_digest
from approvals.audit.notes import BadNote, Note, PublicKey


class CannotCheck(Exception):
    """The log could not be checked, and why. It may be intact or not."""


class Broken(Exception):
    """The log is broken: the first entry that is wrong, and how."""

    def __init__(self, seq: int, reason: str) -> None:
        self.seq, self.reason = seq, reason
        super().__init__(reason)


@dataclass(frozen=True)
class Verification:
    """The result. `first_bad` is the number of the first wrong entry, `reason` what is wrong; `entries` before it
    are intact.

    `signed` is the number of the newest entry in a signed head; only the chain covers those after it. `after` is the
    number of the entry from which on it was walked; 0 for the whole log.
    """

    ok: bool
    entries: int
    head: str
    first_bad: int | None = None
    reason: str = ""
    signed: int = 0
    after: int = 0
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evidence:
    """A signed head as it was found; `fault` if its copies differ. A fault of an earlier entry is reported first."""

    note: str
    fault: str = ""


COLUMNS = ("at", "actor", "action", "thread_id", "about")
"""What is kept in columns of its own as well, in this order."""


@dataclass(frozen=True)
class Known:
    """A head that the caller has kept: the number of an entry, and its hash."""

    seq: int
    hash: str


Witness = Callable[[int, dict[str, Any]], None]
"""Called with each entry that is in its place, and what it says."""


class Walk:
    """One walk from the first entry to the last, or from the first of the signed heads on if it is to `go_on`."""

    def __init__(
        self,
        *,
        heads: Iterable[Evidence],
        texts: Iterable[EntryText],
        keys: Sequence[PublicKey],
        witness: Witness = lambda seq, record: None,
        known: Known | None = None,
    ) -> None:
        self.keys, self.witness, self.known = keys, witness, known
        self.count, self.last_hash = 0, GENESIS
        self._heads, self._texts = iter(heads), _Texts(texts)
        self._ahead = next(self._heads, None)
        self._head: Note | None = None
        self._note, self._key = "", 0
        self._pins: Iterator[str] = iter(())
        self._copy_fault: Broken | None = None

    @property
    def signed(self) -> int:
        return self._head.size if self._head else 0

    def go_on(self) -> None:
        """Begin behind the entries that the first of the heads covers. Its signature is checked. Raises Broken."""
        if (found := self._ahead) is None:
            return
        self._ahead = next(self._heads, None)
        try:
            self._head, self._key = notes.open_note(found.note, self.keys)
        except BadNote as bad:
            raise Broken(1, str(bad)) from None
        self._note, self.count, self.last_hash = found.note, self._head.size, self._head.root
        if found.fault:
            self._copy_fault = Broken(max(self.count, 1), found.fault)

    def over(self, entries: Iterable[Entry], end: tuple[int, str] | None) -> None:
        """Walk to the end, which the head row gives as number and hash. Raises Broken."""
        for entry in entries:
            record = self._checked(entry)
            self._texts.check(entry.seq, record)
            self.witness(entry.seq, record)
        while self.signed <= self.count and self._next_head():
            pass
        if self.signed > self.count:
            raise Broken(self.count + 1, f"It is missing: {self.signed} entries were signed.")
        if self.known and self.known.seq > self.count:
            told = f"the log had {self.known.seq} entries when that head was taken, and its end is missing."
            raise Broken(self.count + 1, f"It is missing: {told}")
        self._texts.close()
        self._check_end(end)
        if self._copy_fault:
            raise self._copy_fault

    def _checked(self, entry: Entry) -> dict[str, Any]:
        """Check an entry's number and hash; return its content."""
        seq, prev_hash, found_hash, body, columns = entry
        if seq != self.count + 1:
            is_gap = seq > self.count
            raise Broken(self.count + 1 if is_gap else seq, "It is missing." if is_gap else "Its number appears twice.")
        pin = self._pin()
        if pin and pin != found_hash:
            raise Broken(seq, "It is not the entry that was signed.")
        if entry_hash(seq, prev_hash, body) != found_hash:
            raise Broken(seq, "Its body or its hash was changed.")
        if prev_hash != self.last_hash:
            # The entry itself is consistent, so the entry before it was changed.
            raise Broken(seq if seq == 1 or pin else seq - 1, "The chain is broken here.")
        if self.known and seq == self.known.seq and found_hash != self.known.hash:
            raise Broken(seq, "It is not the entry of the head that was given.")
        record = _parsed(seq, body)
        if columns is not None and columns != tuple(record.get(name, "") for name in COLUMNS):
            raise Broken(seq, "A column differs from its body.")
        self.count, self.last_hash = seq, found_hash
        return record

    def _pin(self) -> str | None:
        """Return the hash that a signed head lists for the next entry, if one does."""
        while (pin := next(self._pins, None)) is None and self._next_head():
            pass
        return pin

    def _next_head(self) -> bool:
        """Take the next signed head; False at the end."""
        if (found := self._ahead) is None:
            return False
        self._ahead = next(self._heads, None)
        try:
            head, key = notes.open_note(found.note, self.keys, is_vouched=self._is_vouched(found.note))
        except BadNote as bad:
            raise Broken(self.signed + 1, str(bad)) from None
        is_idle = head.size == self.signed and not head.hashes
        first = max(self.signed, 1) if is_idle else self.signed + 1
        if misfit := self._misfit(head, key):
            raise Broken(first, misfit)
        if found.fault and self._copy_fault is None:
            self._copy_fault = Broken(first, found.fault)
        self._head, self._note, self._key, self._pins = head, found.note, key, iter(head.hashes)
        return True

    def _is_vouched(self, note: str) -> bool:
        """Return whether the next note names this one and this one lists no entry.

        Most notes are such, and checking a signature takes time.
        """
        is_quiet = "\nentry " not in note
        return is_quiet and self._ahead is not None and f"\nprevious {notes.digest(note)}\n" in self._ahead.note

    def _misfit(self, head: Note, key: int) -> str:
        """Return how a signed head contradicts the one before it, or an empty string."""
        before = notes.digest(self._note) if self._head else notes.NONE
        root = head.hashes[-1] if head.hashes else self._head.root if self._head else GENESIS
        if head.previous != before or head.size != self.signed + len(head.hashes):
            return "A signed head is missing, or out of its place."
        if head.root != root or head.origin != self.keys[key].name:
            return "A signed head contradicts itself."
        return "A signed head is by a key that had been replaced." if key < self._key else ""

    def _check_end(self, end: tuple[int, str] | None) -> None:
        if end is None:
            raise Broken(self.count + 1, "The log has lost its head row, and takes no entry.")
        if end[0] != self.count:
            raise Broken(min(end[0], self.count) + 1, f"The log has {self.count} entries; its head row says {end[0]}.")
        if end[1] != self.last_hash:
            raise Broken(max(self.count, 1), "The log does not end where its head row says.")


class _Texts:
    """The texts of entries, read side by side with them."""

    def __init__(self, texts: Iterable[EntryText]) -> None:
        self._rest = iter(texts)
        self._next = next(self._rest, None)
        self._erased: set[tuple[int, str]] = set()

    def check(self, seq: int, record: dict[str, Any]) -> None:
        """Check the texts of an entry, and that no text before it belongs to nothing. Raises Broken."""
        names = list(record.get("texts") or ())
        while self._next and self._next.seq <= seq:
            if self._next.seq != seq or self._next.name not in names:
                raise Broken(self._next.seq, "A text beside it was added.")
            names.remove(self._next.name)
            self._check_one(self._next, record)
            self._next = next(self._rest, None)
        if names:
            raise Broken(seq, "A text beside it was removed.")
        if record["action"] == "text.erased":
            about = record["object"]
            self._erased.discard((about.get("seq"), about.get("name")))

    def _check_one(self, text: EntryText, record: dict[str, Any]) -> None:
        if not text.salt and not text.text:
            self._erased.add((text.seq, text.name))
        elif len(text.salt) != SALT_LENGTH or text_digest(text.salt, text.text) != record["digests"].get(text.name):
            raise Broken(text.seq, "A text beside it was changed.")

    def close(self) -> None:
        """Check at the end that no text is left over, and that each erasure has an entry. Raises Broken."""
        if self._erased:
            raise Broken(min(seq for seq, _ in self._erased), "A text beside it was removed.")
        if self._next:
            raise Broken(self._next.seq, "A text stands beside an entry that is not there.")


def _parsed(seq: int, body: str) -> dict[str, Any]:
    try:
        record = orjson.loads(body)
    except (ValueError, RecursionError):
        raise Broken(seq, "Its body is not JSON.") from None
    if not isinstance(record, dict) or record.get("seq") != seq or not _is_shaped(record):
        raise Broken(seq, "Its body is not that of an entry of this number.")
    return record


def _is_shaped(record: dict[str, Any]) -> bool:
    is_told = isinstance(record.get("object"), dict) and isinstance(record.get("digests"), dict)
    return is_told and isinstance(record.get("action"), str) and isinstance(record.get("texts", []), list)


def check(walk: Walk, entries: Iterable[Entry], end: tuple[int, str] | None) -> Verification:
    """Walk, and say what was found."""
    try:
        walk.over(entries, end)
    except Broken as bad:
        return Verification(False, bad.seq - 1, walk.last_hash, bad.seq, bad.reason, min(walk.signed, bad.seq - 1))
    return Verification(True, walk.count, walk.last_hash, signed=walk.signed)
