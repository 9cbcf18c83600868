"""Explain a vote that came too late: what changed since the voter looked."""

from typing import Any, TypeVar
from uuid import UUID

from agentcore.plain import edits
from approvals.actions.workers import inquiries
from approvals.enums import ApprovalStatus
from approvals.errors import Stale, Superseded
from approvals.models import Approval, Thread

R = TypeVar("R", bound=Stale | Superseded)


def explained(refused: R, *, approval_id: UUID) -> R:
    """Return the refusal with what changed, after a worker has read the thread again or a time limit has passed."""
    approval = Approval.objects.get(pk=approval_id)
    if approval.is_pending:
        inquiries.wait_for_index(approval.thread_id, until_closed=approval_id if "what" in refused.detail else None)
    if approval.status == ApprovalStatus.CLEANED:
        return refused
    thread = Thread.objects.get(pk=approval.thread_id)
    changed = [
        {"channel": change.channel, "before": change.before, "after": change.after}
        for change in edits.changes(approval.state, thread.state)
    ]
    newer = Approval.objects.pending().filter(thread=thread).exclude(pk=approval.pk)
    newer_id = newer.values_list("pk", flat=True).first()
    detail: dict[str, Any] = {
        "checkpoint_id": thread.checkpoint_id,
        "seen_checkpoint_id": approval.checkpoint_id,
        "next": thread.next,
        "seen_next": approval.next,
        "changed": changed,
        "approval": str(newer_id) if newer_id else None,
        "what": refused.detail.get("what", []),
    }
    names = ", ".join(change["channel"] for change in changed)
    told = f" Changed: {names}." if names else ""
    return type(refused)(refused.message + told + " Nothing was decided.", **detail)
