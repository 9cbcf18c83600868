"""Have the real graph try an edit on a copy: for a preview, and for each ballot with an edit before it counts."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from approvals.actions.votes import alterations, checks, locks
from approvals.actions.votes.ballots import Ballot
from approvals.actions.votes.edits import CheckedEdits
from approvals.actions.workers import inquiries
from approvals.domain import answers, permissions
from approvals.domain.permissions import User
from approvals.enums import Verdict
from approvals.errors import InvalidAnswer, InvalidEdit, Refusal
from approvals.models import Approval

SHOWN = ("next_before", "next", "diff", "title", "summary", "actions", "digest")
"""What of a preview stays with a proposal: what changes and what it leads to, without the two whole states."""


@dataclass(frozen=True)
class Tried:
    """What a ballot leads to, or why it is refused. The refusal is raised under the lock, after all other checks."""

    preview: dict[str, Any] | None = None
    refused: Refusal | None = None


def preview(*, approval_id: UUID, edits: Any, as_node: str = "", answer: Any = None, by: User) -> dict[str, Any]:
    """Return what an edit would lead to: the fields of `agentcore.plain.types.Preview`. Nothing is stored.

    At a breakpoint with several tasks it may be an answer that decides each of them. Raises what a vote would,
    InvalidEdit or InvalidAnswer with a path for each fault, Unavailable if no worker answers.
    """
    permissions.check_preview(by)
    approval = locks.find(approval_id, reads=locks.LARGE)
    alterations.check(approval, by)
    checks.check_open(approval, approval.thread)
    if answer is not None:
        checks.check_answer(approval, answer)
        return _try_answer(approval, answer)
    read = CheckedEdits.of(approval, edits, as_node=as_node)
    read.check()
    return _try_edits(approval, read, as_node)


def of_ballot(approval: Approval, ballot: Ballot, edits: CheckedEdits, by: User) -> Tried:
    """Have the graph try a ballot, without a lock, because a worker answers meanwhile.

    Raises Unavailable if no worker answers and there is an edit. A skip needs no worker.
    """
    if not permissions.can_vote(by, ballot.verdict):
        return Tried()
    try:
        given = _try(approval, ballot, edits)
    except (InvalidEdit, InvalidAnswer) as refused:
        return Tried(refused=refused)
    except Refusal:
        if ballot.edits:
            raise
        return Tried()
    return Tried({name: given[name] for name in SHOWN} if given else None)


def _try(approval: Approval, ballot: Ballot, edits: CheckedEdits) -> dict[str, Any] | None:
    """Return what the ballot leads to; None if it has nothing to try."""
    is_skip = ballot.verdict == Verdict.SKIP and Verdict.SKIP in approval.allowed_verdicts
    if ballot.edits or is_skip and not approval.blocked:  # a state of which types were not built cannot be tried
        skipped = approval.next[0] if is_skip else ""
        return _try_edits(approval, edits, ballot.as_node or skipped)
    if ballot.is_answered and ballot.verdict == Verdict.RESPOND and approval.kind == answers.BREAKPOINT:
        return _try_answer(approval, ballot.answer)
    return None


def _try_edits(approval: Approval, edits: CheckedEdits, as_node: str) -> dict[str, Any]:
    return inquiries.preview(
        thread_id=approval.thread_id,
        graph_id=approval.graph_id,
        checkpoint_id=approval.checkpoint_id,
        namespace=approval.checkpoint_ns,
        edits=edits.value,
        as_node=as_node,
    )


def _try_answer(approval: Approval, answer: Any) -> dict[str, Any]:
    """Try an answer that decides each task of a breakpoint."""
    try:
        return inquiries.preview_each(
            thread_id=approval.thread_id,
            graph_id=approval.graph_id,
            namespace=approval.checkpoint_ns,
            checkpoint_id=approval.checkpoint_id,
            answer=answer,
        )
    except InvalidEdit as refused:
        raise InvalidAnswer(refused.message, **refused.detail) from None
