"""Sign the newest entry: first into the file outside the database, then as a copy in the database.

An advisory lock lets one process sign at a time. It belongs to the transaction of each step, which the database ends if
the process freezes. A lock beside the files is held while one is written: without it, what thaws would write an old
note behind newer ones. Who freezes there holds up the signing until it goes on or ends, and nothing else.

A crash between the two steps leaves the file one note ahead; the next signing copies that note. A head that contradicts
the log is never signed: the newest signature then grows old, which the audit page shows.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from agentcore.testing.failpoints import reach
from approvals import audit
from approvals.audit import folder, notes
from approvals.audit.chain import GENESIS, entry_hash
from approvals.audit.notes import BadNote, Key, Note
from approvals.errors import Unavailable
from approvals.models import AuditEntry, AuditHead, SignedHead
from approvals.programs import typed

logger = logging.getLogger(__name__)

EVERY_SECONDS = 60
EVERY_ENTRIES = 100
MOST_LISTED = 1_000
"""Most entries that one note lists; a burst makes several notes."""
CUT = "The file of signed heads was cut. Bring it back, or move it away: it is then written anew."
VERIFY = f"Type: {typed('verify_audit_log')}"
LOCK = 0x617564697400
DUE = """
SELECT coalesce(head.seq - signed.size >= %s OR signed.signed_at < clock_timestamp() - make_interval(secs => %s), true)
FROM approvals_audithead AS head
LEFT JOIN LATERAL (SELECT size, signed_at FROM approvals_signedhead ORDER BY id DESC LIMIT 1) AS signed ON true
"""
KEY_ENTRIES = ("audit.key_made", "audit.key_changed")


class _CannotSign(Exception):
    """The reason why this process does not sign."""


class _OthersSign(Exception):
    """Another process signs at this moment."""


def sign_if_due() -> int:
    """Sign if the last time was 60 seconds or 100 entries ago. Return the number of notes written."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, [EVERY_ENTRIES, EVERY_SECONDS])
        is_due = cursor.fetchone() in (None, (True,))
    return sign() if is_due else 0


def sign() -> int:
    """Sign now. Return the number of notes written; 0 if this process may not sign, which is logged once."""
    try:
        _heal()
        return _sign_rest(_recorded_key())
    except _OthersSign:
        return 0
    except (_CannotSign, audit.CannotCheck, OSError) as why:
        _complain(str(why))
        return 0


def change_key(*, reason: str, actor: str) -> notes.PublicKey:
    """Sign with a new key from now on. Old signatures stay valid. Raises Unavailable."""
    try:
        _heal()
        if old := folder.private_key():
            _sign_rest(old)
        new = Key(old.name if old else _origin(), Ed25519PrivateKey.generate())
        with _turn():
            _record(new, "audit.key_changed", actor=actor, kind="operator at the command line", reason=reason)
        folder.keep_key(new)
        _sign_rest(new)
    except _OthersSign:
        raise Unavailable("The log is being signed this moment. Try again.") from None
    except (_CannotSign, audit.CannotCheck, OSError) as why:
        raise Unavailable(str(why)) from why
    return new.public


def _sign_rest(key: Key) -> int:
    """Write notes until every entry is listed; at least one. Stop if another process goes on meanwhile."""
    count, is_more = 0, True
    while is_more:
        try:
            is_more = _sign_some(key)
        except _OthersSign:
            return count
        count += 1
    return count


def _sign_some(key: Key) -> bool:
    """Write one note; return whether entries are left."""
    with _turn():
        last = _last()
        size, root = (last.size, notes.read_head(last.note).root) if last else (0, GENESIS)
        hashes = _new_hashes(size, root)
        at = AuditHead.objects.values_list(Now(), flat=True).get(pk=1)
        head = Note(
            origin=key.name,
            size=size + len(hashes),
            root=hashes[-1] if hashes else root,
            previous=notes.digest(last.note) if last else notes.NONE,
            at=at.isoformat(),
            hashes=tuple(hashes),
        )
        note = key.sign(head.text)
        reach("audit.signed")
        with _files():
            end = folder.append_note(note)  # a crash here leaves the file one note ahead of the copies
        SignedHead.objects.create(size=head.size, note=note, signed_at=at, file_end=end)
    return len(hashes) == MOST_LISTED


def _new_hashes(size: int, root: str) -> list[str]:
    """Return the hashes of the entries after `size`. Raises if an entry breaks the chain: it is not signed."""
    hashes: list[str] = []
    for entry in AuditEntry.objects.filter(seq__gt=size).order_by("seq")[:MOST_LISTED]:
        seq, before = size + len(hashes) + 1, hashes[-1] if hashes else root
        if (entry.seq, entry.prev_hash, entry.hash) != (seq, before, entry_hash(entry.seq, before, entry.body)):
            raise _CannotSign(f"It is broken at entry {seq}. {VERIFY}")
        hashes.append(entry.hash)
    return hashes


def _heal() -> None:
    """Make file and copies agree after a crash, and check that the log still contains what was signed last."""
    with _turn():
        last, size = _last(), folder.size_of_heads()
        end = last.file_end if last else 0
        if size is None and last:
            _restore_file()
        elif size is not None and size < end:
            raise _CannotSign(CUT)
        elif size is not None and size > end:
            _copy_rest(end)
    if (last := _last()) and not _fits(notes.read_head(last.note)):
        raise _CannotSign(f"It is not the log that was signed last. {VERIFY}")


def _copy_rest(end: int) -> None:
    """Copy notes that only the file has. One is normal after a crash; more were removed, which becomes an entry."""
    copied = 0
    for kept in folder.iter_heads(end):
        head, last = _opened(kept.note), _last()
        if not _fits(head) or head.previous != (notes.digest(last.note) if last else notes.NONE):
            raise _CannotSign(f"The file of signed heads is of another log, or entries are gone. {VERIFY}")
        SignedHead.objects.create(size=head.size, note=kept.note, signed_at=head.at, file_end=kept.end)
        end, copied = kept.end, copied + 1
    with _files():
        folder.cut_heads(end)
    if copied > 1:
        _record_copies(copied, into="database")


def _restore_file() -> None:
    """Write the file from its copies, which are signed. The loss of the file becomes an entry.

    The entry is appended at the end of the turn: the log's head is free while each note is checked and written.
    """
    copies = SignedHead.objects.order_by("id").values_list("note", flat=True)
    _record_copies(copies.count(), into="file")
    with _files():
        folder.write_heads(note for note in copies.iterator() if _opened(note))


def _record_copies(count: int, *, into: str) -> None:
    about = {"heads": count, "into": into}
    audit.append_by_console("audit.heads_copied", object=about)


def _opened(note: str) -> Note:
    try:
        return notes.open_note(note, folder.public_keys())[0]
    except BadNote as bad:
        raise _CannotSign(f"{bad} {VERIFY}") from None


def _fits(head: Note) -> bool:
    return AuditEntry.objects.filter(seq=head.size, hash=head.root).exists()


def _recorded_key() -> Key:
    """Return the key that the log names; if it names none, make a key and record it."""
    own, recorded = folder.private_key(), _recorded_digest()
    if recorded is None:
        own = _make_key(own)
    elif own is None or own.public.digest != recorded:
        raise _CannotSign("Another machine has the key of the audit log, so it is not signed here. Set AUDIT_DIR.")
    return own


def _make_key(own: Key | None) -> Key:
    """Keep and record the first key of the log, unless another process did so meanwhile."""
    with _turn():
        if _recorded_digest() is not None:
            raise _OthersSign
        own = own or Key(_origin(), Ed25519PrivateKey.generate())
        with _files():
            folder.keep_key(own)
        _record(own, "audit.key_made", actor="countersign", kind="system")
    return own


def _recorded_digest() -> str | None:
    entry = AuditEntry.objects.filter(action__in=KEY_ENTRIES).order_by("-seq").first()
    return str(entry.record["digests"]["public_key"]) if entry else None


def _record(key: Key, action: str, *, actor: str, kind: str, reason: str = "") -> None:
    digests = {"public_key": key.public.digest}
    about = {"public_key": str(key.public)}
    audit.append(action, actor=actor, actor_kind=kind, object=about, digests=digests, texts={"reason": reason})


def _origin() -> str:
    return f"{urlsplit(settings.PUBLIC_URL).hostname}/countersign"


def _last() -> SignedHead | None:
    return SignedHead.objects.order_by("-id").first()


@contextmanager
def _turn() -> Iterator[None]:
    """Open a transaction in which no other process signs. Raises _OthersSign.

    A process that freezes in it loses its turn after a few seconds, with all that the transaction wrote.
    """
    with audit.transaction():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                raise _OthersSign
        reach("audit.turn")
        yield


@contextmanager
def _files() -> Iterator[None]:
    """Hold the files of this turn. Raises _OthersSign.

    Raises a database error if this process was frozen and lost its turn: another may have signed meanwhile.
    """
    lock = folder.lock()
    if not lock.acquire(blocking=False):
        raise _OthersSign
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        reach("audit.writing")
        yield
    finally:
        lock.release()


@cache
def _complain(why: str) -> None:
    """Log a reason once: the worker asks every five seconds."""
    logger.error("The audit log is not signed: %s", why)
