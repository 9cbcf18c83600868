"""Rows of the queue."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from approvals.enums import ApprovalStatus
from approvals.models import Approval

OUTCOMES = {
    ApprovalStatus.PENDING: "Open",
    ApprovalStatus.APPROVED: "Approved",
    ApprovalStatus.REJECTED: "Rejected",
    ApprovalStatus.SKIPPED: "Skipped",
    ApprovalStatus.SUPERSEDED: "Superseded",
    ApprovalStatus.CLEANED: "Cleaned",
}
KINDS = {"breakpoint": "Breakpoint", "interrupt": "Question"}


@dataclass(frozen=True)
class Row:
    """One approval in a list."""

    id: UUID
    title: str
    summary: str
    graph: str
    node: str
    kind: str
    thread_id: str
    started_by: str
    created_at: datetime
    closed_at: datetime | None
    status: str
    outcome: str
    decided_by: str


def rows_of(approvals: Iterable[Approval]) -> list[Row]:
    """The approvals come with `thread__started_by` and `decision`."""
    return [row_of(approval) for approval in approvals]


def row_of(approval: Approval) -> Row:
    starter = approval.thread.started_by
    decision = getattr(approval, "decision", None)
    return Row(
        id=approval.pk,
        title=approval.title,
        summary=approval.summary,
        graph=approval.graph_id or "unknown graph",
        node=", ".join(approval.next),
        kind=KINDS.get(approval.kind, approval.kind),
        thread_id=approval.thread_id,
        started_by=starter.get_username() if starter else "outside",
        created_at=approval.created_at,
        closed_at=approval.closed_at,
        status=approval.status,
        outcome=OUTCOMES[ApprovalStatus(approval.status)],
        decided_by=decision.decided_by if decision else "",
    )
