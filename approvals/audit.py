"""The audit log: append, verify. The only writer of AuditEntry.

Each entry's hash covers its number, the hash before it and its body (RFC 8785 canonical JSON), so a changed, removed,
added or moved entry breaks the chain at the first entry that is wrong. An entry is written in the transaction of what
it tells: if it cannot be written, nothing happened. Bodies hold names, ids and digests; never a state or a comment.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import rfc8785
from django.db import connection, transaction

from agentcore.serde import to_plain
from approvals.context import current_request_id
from approvals.errors import Denied
from approvals.models import AuditEntry, AuditHead

DOMAIN = b"countersign-audit-v1"
ACTIONS = {
    "approval.superseded": "A pause was closed because the agent moved the thread.",
    "audit.verified": "Somebody asked whether the log is intact.",
    "decision.reached": "A pause was decided.",
    "graph.published": "A worker loaded a graph; its card was new or changed.",
    "permission.refused": "Somebody tried what their role does not allow.",
    "run.cancelled": "A person gave a stopped run up.",
    "run.failed": "A node raised an error.",
    "run.finished": "A graph reached its end.",
    "run.held": "A worker died in the middle of a run; a person must look.",
    "run.paused": "A run stopped for people.",
    "run.queued": "A run was handed to the workers.",
    "run.retried": "A person told a stopped run to go on.",
    "run.started": "A worker began a run.",
    "run.superseded": "A run was not carried out because the thread had moved.",
    "session.refused": "A sign-in failed.",
    "session.started": "Somebody signed in.",
    "state.edited": "A reviewer's edit was written to a thread.",
    "thread.created": "A thread was made.",
    "thread.force_cleaned": "An admin removed a thread's checkpoints.",
    "thread.paused": "A thread waits for people; what they will see was stored.",
    "token.created": "An API token was made.",
    "vote.cast": "Somebody voted.",
}


@dataclass(frozen=True)
class Verification:
    """`first_bad` is the number of the first entry that is wrong, `reason` says how."""

    ok: bool
    entries: int
    head: str
    first_bad: int | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def append(
    action: str,
    *,
    actor: str,
    actor_kind: str = "person",
    thread_id: str = "",
    object: Mapping[str, Any] | None = None,
    digests: Mapping[str, str] | None = None,
    outcome: str = "ok",
) -> AuditEntry:
    """Append an entry inside the caller's transaction. Locks the head: take the thread and approval locks first."""
    assert action in ACTIONS, f"{action} is not an audit action; add it to ACTIONS"
    with transaction.atomic():
        head = AuditHead.objects.select_for_update().get(pk=1)
        seq, at = head.seq + 1, _database_time()
        body = _body(
            v=1,
            seq=seq,
            at=at.isoformat(),
            actor=actor,
            actor_kind=actor_kind,
            action=action,
            thread_id=thread_id,
            object=dict(object or {}),
            digests=dict(digests or {}),
            outcome=outcome,
            request_id=current_request_id(),
        )
        digest = entry_hash(seq, head.hash, body)
        entry = AuditEntry.objects.create(
            seq=seq, at=at, actor=actor, action=action, thread_id=thread_id, body=body, prev_hash=head.hash, hash=digest
        )
        AuditHead.objects.filter(pk=1).update(seq=seq, hash=digest)
    return entry


def append_refusal(denied: Denied, *, actor: str) -> None:
    """Write down that somebody tried what they may not."""
    about = {"permission": str(denied.detail.get("permission", ""))}
    append("permission.refused", actor=actor, object=about, outcome="refused")


def entry_hash(seq: int, prev_hash: str, body: str) -> str:
    """SHA-256 over domain tag, number, previous hash, length of the body and the body, each on a line."""
    text = body.encode()
    parts = [DOMAIN, str(seq).encode(), prev_hash.encode(), str(len(text)).encode(), text]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def verify() -> Verification:
    """Walk every entry, oldest first, and the head row; name the first that is wrong."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        head = AuditHead.objects.filter(pk=1).first()
        rows = AuditEntry.objects.order_by("seq").iterator(chunk_size=5_000)
        return _walk(rows, head)


def _walk(rows: Iterable[AuditEntry], head: AuditHead | None) -> Verification:
    expected_seq, prev_hash, count = 1, "0" * 64, 0
    for row in rows:
        if reason := _fault(row, expected_seq, prev_hash):
            return Verification(False, count, prev_hash, min(expected_seq, row.seq), reason)
        expected_seq, prev_hash, count = row.seq + 1, row.hash, count + 1
    if head is None or (head.seq, head.hash) != (count, prev_hash):
        return Verification(False, count, prev_hash, expected_seq, "The log does not end where its head says.")
    return Verification(True, count, prev_hash)


def _fault(row: AuditEntry, expected_seq: int, prev_hash: str) -> str:
    if row.seq != expected_seq:
        return f"Entry {expected_seq} is missing."
    if row.prev_hash != prev_hash:
        return "It does not follow the entry before it."
    if row.hash != entry_hash(row.seq, row.prev_hash, row.body):
        return "Its body or its hash was changed."
    return _column_fault(row)


def _column_fault(row: AuditEntry) -> str:
    try:
        body = json.loads(row.body)
    except ValueError:
        return "Its body is not JSON."
    shown = (row.seq, row.actor, row.action, row.thread_id, row.at)
    told = (body["seq"], body["actor"], body["action"], body["thread_id"], datetime.fromisoformat(body["at"]))
    return "" if shown == told else "A column differs from its body."


def _body(**fields: Any) -> str:
    return rfc8785.dumps(to_plain(fields)).decode()


def _database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at
