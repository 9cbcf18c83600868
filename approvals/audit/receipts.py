"""Receipts: the entries of one decision with the signed heads that list them. Can be checked without a database."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from approvals.audit import notes
from approvals.audit.chain import entry_hash
from approvals.audit.notes import BadNote, PublicKey
from approvals.audit.walk import Broken, CannotCheck
from approvals.models import AuditEntry, SignedHead

VERSION = 1
TOLD = ("vote.cast", "vote.withdrawn", "decision.reached")


def make_receipt(approval_id: str, entries: Iterable[AuditEntry]) -> dict[str, Any]:
    """Return a receipt as plain data. `pending`: some entries are not signed yet, which takes a minute at most."""
    shown = [_entry(entry) for entry in entries]
    is_pending = any(each["note"] is None for each in shown)
    return {"kind": "receipt", "v": VERSION, "approval": approval_id, "pending": is_pending, "entries": shown}


def note_on(seq: int) -> str | None:
    """Return the signed head that lists this entry."""
    found = SignedHead.objects.filter(size__gte=seq).order_by("size", "id").values_list("note", flat=True)
    return found.first()


def check_receipt(path: Path, keys: Sequence[PublicKey]) -> list[dict[str, Any]]:
    """Return what the entries of a receipt say. Raises Broken, which names the first wrong entry, or CannotCheck."""
    try:
        receipt = json.loads(path.read_text())
        if (receipt["kind"], receipt["v"]) != ("receipt", VERSION) or not receipt["entries"]:
            raise ValueError("it does not say so")
        if any(each["note"] is None for each in receipt["entries"]):
            raise CannotCheck("This receipt is not signed yet. Fetch it again in a minute.")
        if not keys:
            raise CannotCheck("There is no public key to check it with. Give --public-key FILE.")
        return _whole([_checked(each, receipt["approval"], keys) for each in receipt["entries"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotCheck(f"This is not a receipt ({type(error).__name__}).") from None


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
        "body": entry.body,
        "note": note_on(entry.seq),
    }


def _whole(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Raise Broken unless the receipt has the decision and each vote that the decision names."""
    votes = {record["object"]["vote"] for record in records if record["action"] == "vote.cast"}
    decided = [record for record in records if record["action"] == "decision.reached"]
    if len(decided) != 1:
        raise Broken(records[-1]["seq"], "The decision's entry is not in it.")
    if not votes.issuperset(decided[0]["object"].get("votes", ())):
        raise Broken(decided[0]["seq"], "A vote that made the decision is not in it.")
    return records


def _checked(entry: dict[str, Any], approval_id: str, keys: Sequence[PublicKey]) -> dict[str, Any]:
    seq = int(entry["seq"])
    if entry_hash(seq, entry["prev_hash"], entry["body"]) != entry["hash"]:
        raise Broken(seq, "Its body or its hash was changed.")
    try:
        head, _ = notes.open_note(entry["note"], keys)
    except BadNote as bad:
        raise Broken(seq, str(bad)) from None
    if not 0 <= seq - head.first < len(head.hashes) or head.hashes[seq - head.first] != entry["hash"]:
        raise Broken(seq, "The signed head does not list it.")
    record: dict[str, Any] = json.loads(entry["body"])
    if record["object"].get("approval") != approval_id:
        raise Broken(seq, "It is about something else.")
    return record
