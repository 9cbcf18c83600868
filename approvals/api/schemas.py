"""Shapes of answers, and how rows become them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from approvals import policies
from approvals.api.fields import PlainList, PlainObject, PlainValue
from approvals.enums import ApprovalStatus, RunKind, RunStatus, ThreadStatus, Verdict
from approvals.models import Approval, Decision, Run, Thread, Vote

SdkRunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
SDK_STATUS: dict[str, SdkRunStatus] = {
    RunStatus.QUEUED: "pending",
    RunStatus.RUNNING: "running",
    RunStatus.PAUSED: "interrupted",
    RunStatus.FINISHED: "success",
    RunStatus.FAILED: "error",
    RunStatus.HELD: "error",
    RunStatus.SUPERSEDED: "error",
    RunStatus.CANCELLED: "interrupted",
}


class InterruptOut(BaseModel):
    id: str
    value: PlainValue


class ThreadOut(BaseModel):
    """A thread as the LangGraph SDK has it, and what the console adds. `interrupts` is keyed by interrupt id."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    metadata: PlainObject
    status: ThreadStatus
    values: PlainObject
    interrupts: dict[str, list[InterruptOut]]
    graph_id: str
    title: str
    next: list[str]
    checkpoint_id: str | None
    problem: str
    blocked: list[str]
    notice: str
    cleaned_at: datetime | None


class CheckpointOut(BaseModel):
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None
    checkpoint_map: PlainObject | None = None


class TaskOut(BaseModel):
    """A node that would run, or ran and raised `error`."""

    id: str
    name: str
    error: str | None
    interrupts: list[InterruptOut]
    checkpoint: CheckpointOut | None = None
    state: PlainObject | None = None
    result: PlainObject | None = None


class StateOut(BaseModel):
    """A thread at one checkpoint, as the LangGraph SDK's ThreadState. `blocked` are types that were not built."""

    values: PlainObject
    next: list[str]
    checkpoint: CheckpointOut
    metadata: PlainObject
    created_at: str | None
    parent_checkpoint: CheckpointOut | None
    tasks: list[TaskOut]
    interrupts: list[InterruptOut]
    blocked: list[str]
    notice: str


class CleaningOut(BaseModel):
    """What was removed: rows of each checkpoint table, open approvals, runs that were given up."""

    rows: dict[str, int]
    approvals: int
    runs: int


class RunOut(BaseModel):
    """A run as the LangGraph SDK has it; `countersign_status` is the status in the console's own words."""

    run_id: UUID
    thread_id: str
    assistant_id: str
    created_at: datetime
    updated_at: datetime
    status: SdkRunStatus
    metadata: PlainObject
    multitask_strategy: Literal["reject"]
    countersign_status: RunStatus
    kind: RunKind
    started_by: str
    attempts: int
    steps: PlainList
    error: str
    problem: str
    ended_at: datetime | None


class RunBrief(BaseModel):
    """The run that carries a decision out. `status` is in the console's own words; `problem` says what to do."""

    id: UUID
    status: RunStatus
    steps: PlainList
    error: str
    problem: str
    attempts: int


class DecisionOut(BaseModel):
    id: UUID
    verdict: Verdict
    decided_by: str
    decided_at: datetime


class VoteOut(BaseModel):
    id: UUID
    voter: str
    verdict: Verdict
    edits: PlainObject
    answer: PlainValue
    as_node: str
    comment: str
    seen_digest: str
    created_at: datetime


class ApprovalBrief(BaseModel):
    """One pause that waits, or waited, for people.

    `blocked` are types of the state that were not built, `notice` says what follows; such a state cannot be edited.
    """

    id: UUID
    graph: str
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    interrupt_id: str
    kind: str
    next: list[str]
    status: ApprovalStatus
    title: str
    summary: str
    digest: str
    allowed_verdicts: list[str]
    why_not: str
    blocked: list[str]
    notice: str
    required_votes: int
    due_at: datetime | None
    created_at: datetime
    closed_at: datetime | None
    decision: DecisionOut | None


class ApprovalOut(ApprovalBrief):
    """The whole question: `request`, `actions` and `state` are what people are shown; `digest` names those bytes."""

    request: PlainValue
    actions: PlainList
    state: PlainObject
    opaque: list[str]
    answer_schema: PlainObject | None
    votes: list[VoteOut]
    run: RunBrief | None


class ApprovalPage(BaseModel):
    """`next` is the cursor of the next page, `count` all that the same filters find."""

    items: list[ApprovalBrief]
    next: str | None
    count: int


class ChangeOut(BaseModel):
    channel: str
    before: PlainValue
    after: PlainValue
    op: str


class PreviewOut(BaseModel):
    """What an edit would give. `digest` names the values and `next` after it."""

    values_before: PlainObject
    values: PlainObject
    next_before: list[str]
    next: list[str]
    diff: list[ChangeOut]
    digest: str


class VotedOut(BaseModel):
    """The vote and, if it decided, the decision and the run that carries it out."""

    vote: VoteOut
    decision: DecisionOut | None
    run: RunBrief | None


def thread_out(thread: Thread, pending: Iterable[Approval] = ()) -> ThreadOut:
    return ThreadOut(
        thread_id=thread.pk,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        metadata=thread.metadata,
        status=ThreadStatus(thread.status),
        values=thread.state,
        interrupts={each.interrupt_id: [_interrupt(each)] for each in pending if each.interrupt_id},
        graph_id=thread.graph_id,
        title=thread.title,
        next=thread.next,
        checkpoint_id=thread.checkpoint_id or None,
        problem=thread.problem,
        blocked=thread.blocked,
        notice=policies.why_not_edit_blocked(blocked=thread.blocked),
        cleaned_at=thread.cleaned_at,
    )


def _interrupt(approval: Approval) -> InterruptOut:
    asked = approval.request
    return InterruptOut(
        id=approval.interrupt_id, value=asked["value"] if isinstance(asked, dict) and "value" in asked else asked
    )


def state_out(snapshot: Mapping[str, Any]) -> StateOut:
    """`snapshot` is an agentcore Snapshot as plain data."""
    place = {"thread_id": snapshot["thread_id"], "checkpoint_ns": snapshot["checkpoint_ns"]}
    parent = snapshot["parent_checkpoint_id"]
    return StateOut(
        values=snapshot["values"],
        next=list(snapshot["next"]),
        checkpoint=CheckpointOut(**place, checkpoint_id=snapshot["checkpoint_id"]),
        metadata=snapshot["metadata"],
        created_at=snapshot["created_at"],
        parent_checkpoint=CheckpointOut(**place, checkpoint_id=parent) if parent else None,
        tasks=[TaskOut(**task) for task in snapshot["tasks"]],
        interrupts=[InterruptOut(id=each["id"], value=each["value"]) for each in snapshot["interrupts"]],
        blocked=list(snapshot["blocked"]),
        notice=policies.why_not_edit_blocked(blocked=snapshot["blocked"]),
    )


def empty_state(thread_id: str) -> StateOut:
    """A thread that nothing has run on."""
    return StateOut(
        values={},
        next=[],
        checkpoint=CheckpointOut(thread_id=thread_id, checkpoint_ns="", checkpoint_id=None),
        metadata={},
        created_at=None,
        parent_checkpoint=None,
        tasks=[],
        interrupts=[],
        blocked=[],
        notice="",
    )


def run_out(run: Run) -> RunOut:
    return RunOut(
        run_id=run.pk,
        thread_id=run.thread_id,
        assistant_id=run.graph_id,
        created_at=run.created_at,
        updated_at=run.updated_at,
        status=SDK_STATUS[run.status],
        metadata={},
        multitask_strategy="reject",
        countersign_status=RunStatus(run.status),
        kind=RunKind(run.kind),
        started_by=run.started_by,
        attempts=run.attempts,
        steps=run.steps,
        error=run.error,
        problem=run.problem,
        ended_at=run.ended_at,
    )


def run_brief(run: Run | None) -> RunBrief | None:
    if run is None:
        return None
    return RunBrief(
        id=run.pk,
        status=RunStatus(run.status),
        steps=run.steps,
        error=run.error,
        problem=run.problem,
        attempts=run.attempts,
    )


def decision_out(decision: Decision | None) -> DecisionOut | None:
    if decision is None:
        return None
    return DecisionOut(
        id=decision.pk,
        verdict=Verdict(decision.verdict),
        decided_by=decision.decided_by,
        decided_at=decision.decided_at,
    )


def vote_out(vote: Vote) -> VoteOut:
    return VoteOut(
        id=vote.pk,
        voter=vote.voter.get_username(),
        verdict=Verdict(vote.verdict),
        edits=vote.edits,
        answer=vote.answer,
        as_node=vote.as_node,
        comment=vote.comment,
        seen_digest=vote.seen_digest,
        created_at=vote.created_at,
    )


def approval_brief(approval: Approval) -> ApprovalBrief:
    """The approval comes with its `decision`."""
    return ApprovalBrief(**_brief(approval))


def approval_out(approval: Approval) -> ApprovalOut:
    """The approval comes with its `decision__run` and its `votes__voter`."""
    decision = getattr(approval, "decision", None)
    return ApprovalOut(
        **_brief(approval),
        request=approval.request,
        actions=approval.actions,
        state=approval.state,
        opaque=approval.opaque,
        answer_schema=approval.answer_schema,
        votes=[vote_out(vote) for vote in approval.votes.all()],
        run=run_brief(getattr(decision, "run", None)),
    )


def _brief(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.pk,
        "graph": approval.graph_id,
        "thread_id": approval.thread_id,
        "checkpoint_ns": approval.checkpoint_ns,
        "checkpoint_id": approval.checkpoint_id,
        "interrupt_id": approval.interrupt_id,
        "kind": approval.kind,
        "next": approval.next,
        "status": ApprovalStatus(approval.status),
        "title": approval.title,
        "summary": approval.summary,
        "digest": approval.digest,
        "allowed_verdicts": approval.allowed_verdicts,
        "why_not": approval.why_not,
        "blocked": approval.blocked,
        "notice": policies.why_not_edit_blocked(blocked=approval.blocked),
        "required_votes": approval.required_votes,
        "due_at": approval.due_at,
        "created_at": approval.created_at,
        "closed_at": approval.closed_at,
        "decision": decision_out(getattr(approval, "decision", None)),
    }
