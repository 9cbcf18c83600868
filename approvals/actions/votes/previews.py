"""Have the real graph try an edit on a copy: for a preview, and for each ballot with an edit before it counts."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from approvals.actions.votes import alterations, checks, locks, trials
from approvals.actions.votes.ballots import Ballot
from approvals.actions.votes.edits import CheckedEdits
from approvals.actions.workers import inquiries
from approvals.domain import answers, permissions, run_options
from approvals.domain.permissions import User
from approvals.enums import Verdict
from approvals.errors import InvalidAnswer, InvalidEdit, Refusal
from approvals.models import Approval


@dataclass(frozen=True)
class Tried:
    """What a ballot leads to, or why it is refused. The refusal is raised under the lock, after all other checks."""

    preview: dict[str, Any] | None = None
    refused: Refusal | None = None


def preview(*, approval_id: UUID, edits: Any, as_node: str = "", answer: Any = None, by: User) -> dict[str, Any]:
    """Return what an edit would lead to: the fields of `agentcore.plain.types.Preview`.

    The thread stays as it is. The result is kept for a vote on the same, which then needs no worker. At a breakpoint
    with several tasks it may be an answer that decides each of them. Raises what a vote would, InvalidEdit or
    InvalidAnswer with a path for each fault, Unavailable if no worker answers.
    """
    permissions.check_preview(by)
    approval = locks.find(approval_id, reads=locks.LARGE)
    alterations.check(approval, by)
    checks.check_open(approval, approval.thread)
    if answer is not None:
        checks.check_answer(approval, answer)
        trial: _AnswerTrial | _EditTrial = _AnswerTrial(approval, answer)
    else:
        read = CheckedEdits.of(approval, edits, as_node=as_node)
        read.check()
        trial = _EditTrial(approval, read.value, as_node)
    found = trial.ask()
    trials.keep(approval, trial.content, found)
    return found


def of_ballot(approval: Approval, ballot: Ballot, edits: CheckedEdits, by: User) -> Tried:
    """Have the graph try a ballot, without a lock, because a worker answers meanwhile.

    Raises Unavailable if no worker answers and there is an edit. A skip needs no worker.
    """
    if not permissions.can_vote(by, ballot.verdict):
        return Tried()
    trial = _trial_of(approval, ballot, edits)
    if trial is None:
        return Tried()
    try:
        return Tried(trials.kept(approval, trial.content) or trials.shown(trial.ask()))
    except (InvalidEdit, InvalidAnswer) as refused:
        return Tried(refused=refused)
    except Refusal:
        if ballot.edits:
            raise
        return Tried()


@dataclass(frozen=True)
class _EditTrial:
    """An edit to try on a copy of the thread."""

    approval: Approval
    edits: Any
    as_node: str

    @property
    def content(self) -> Any:
        return {"edits": self.edits, "as_node": self.as_node}

    def ask(self) -> dict[str, Any]:
        """Have a worker try it; return what it leads to. Raises InvalidEdit, Unavailable."""
        return inquiries.preview(**_place_of(self.approval), edits=self.edits, as_node=self.as_node)


@dataclass(frozen=True)
class _AnswerTrial:
    """An answer to try that decides each task of a breakpoint."""

    approval: Approval
    answer: Any

    @property
    def content(self) -> Any:
        return {"answer": self.answer}

    def ask(self) -> dict[str, Any]:
        """Have a worker try it; return what it leads to. Raises InvalidAnswer, Unavailable."""
        try:
            return inquiries.preview_each(**_place_of(self.approval), answer=self.answer)
        except InvalidEdit as refused:
            raise InvalidAnswer(refused.message, **refused.detail) from None


def _trial_of(approval: Approval, ballot: Ballot, edits: CheckedEdits) -> _EditTrial | _AnswerTrial | None:
    """Return what of the ballot is to be tried; None if there is nothing."""
    is_skip = ballot.verdict == Verdict.SKIP and Verdict.SKIP in approval.allowed_verdicts
    if ballot.edits or is_skip and not approval.blocked:  # a state of which types were not built cannot be tried
        skipped = approval.next[0] if is_skip else ""
        return _EditTrial(approval, edits.value, ballot.as_node or skipped)
    if ballot.is_answered and ballot.verdict == Verdict.RESPOND and approval.kind == answers.BREAKPOINT:
        return _AnswerTrial(approval, ballot.answer)
    return None


def _place_of(approval: Approval) -> dict[str, Any]:
    return {
        "thread_id": approval.thread_id,
        "graph_id": approval.graph_id,
        "checkpoint_id": approval.checkpoint_id,
        "namespace": approval.checkpoint_ns,
        "gates": run_options.gates_of(approval.thread.options),
    }
