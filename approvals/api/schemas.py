"""Schemas of responses, and how rows become them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.utils import timezone

from agentcore.plain.checkpoint_times import written_at
from approvals.actions.threads import whole_values
from approvals.actions.threads.thread_metadata import OF_GRAPH
from approvals.api.fields import ApiRecord, PlainList, PlainObject, PlainValue
from approvals.domain import bindings, policies
from approvals.domain.answers import given
from approvals.domain.diagnosis import Diagnosis, Health
from approvals.domain.graphs_here import GraphsHere
from approvals.domain.policies import Rule
from approvals.enums import (
    ApprovalStatus,
    ChangeKind,
    ChangeStatus,
    OnCrash,
    OnDeadline,
    RunKind,
    RunStatus,
    ThreadStatus,
    Verdict,
    VoteEnd,
)
from approvals.models import Approval, Change, Decision, Notice, Policy, Run, Thread, Vote
from approvals.presenters.policies import sentences_of

SdkRunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
SDK_STATUS: dict[str, SdkRunStatus] = {
    RunStatus.QUEUED: "pending",
    RunStatus.RUNNING: "running",
    RunStatus.PAUSED: "success",  # so does LangGraph's server: it is the thread that is interrupted
    RunStatus.FINISHED: "success",
    RunStatus.FAILED: "error",
    RunStatus.HELD: "error",
    RunStatus.SUPERSEDED: "error",
    RunStatus.CANCELLED: "interrupted",
}


STOPPED = "Stopped"


class InterruptOut(ApiRecord):
    id: str
    value: PlainValue


class ForkOut(ApiRecord):
    """Where a fork comes from. The checkpoint has the same id in both threads."""

    thread_id: str
    checkpoint_id: str


class BindingOut(ApiRecord):
    """How it is known which graph the thread is of: `run`, `metadata`, `agent` or `admin`; empty while it is not.

    `problem` is a sentence while nothing can be decided or run; `fitting` are graphs that could have made the thread.
    """

    graph_id: str
    bound_by: str
    bound_who: str
    fitting: list[str]
    problem: str


class ThreadErrorOut(ApiRecord):
    """Why a thread has the status `error`. `message` is `problem` of the thread."""

    error: str
    message: str


class ThreadOut(ApiRecord):
    """A thread as the LangGraph SDK has it, and what the console adds. `interrupts` is keyed by the id of the task.

    `state_updated_at` is when its newest checkpoint was written. `config` is empty: that of its runs stays inside.
    """

    thread_id: str
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: PlainObject
    status: ThreadStatus
    config: PlainObject
    error: ThreadErrorOut | None
    values: PlainObject
    interrupts: dict[str, list[InterruptOut]]
    graph_id: str
    title: str
    next: list[str]
    checkpoint_id: str | None
    problem: str
    blocked: list[str]
    notice: str
    binding: BindingOut
    forked_from: ForkOut | None
    cleaned_at: datetime | None


class StepOut(ApiRecord):
    """Something that can be done: `call` does it here, where it is a call; `action` is one word for it."""

    action: str
    text: str
    why: str
    who: str
    call: str


class DiagnosisOut(ApiRecord):
    """Why a thread is not moving. `steps` are sentences, the first one first; `actions` the same for programs.

    `kind` is finer than `health`; `is_moving` is false where somebody has to do something.
    """

    health: Health
    kind: str
    sentence: str
    steps: list[str]
    actions: list[StepOut]
    is_moving: bool
    facts: dict[str, str | int | datetime]


class CheckpointOut(ApiRecord):
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None
    checkpoint_map: PlainObject | None = None


class TaskOut(ApiRecord):
    """A node that would run, or ran and raised `error`."""

    id: str
    name: str
    path: PlainList = []
    error: str | None
    interrupts: list[InterruptOut]
    checkpoint: CheckpointOut | None = None
    state: PlainObject | None = None
    result: PlainObject | None = None


class StateOut(ApiRecord):
    """A thread at one checkpoint, as the LangGraph SDK's ThreadState. `blocked` are types that were not built."""

    values: PlainObject
    next: list[str]
    checkpoint: CheckpointOut
    metadata: PlainObject
    created_at: str | None
    parent_checkpoint: CheckpointOut | None
    tasks: list[TaskOut]
    interrupts: list[InterruptOut]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None
    blocked: list[str]
    notice: str


class CleaningOut(ApiRecord):
    """What was removed: rows of each checkpoint table, open approvals, runs that were given up.

    `namespaces` counts the same rows by graph: an empty name is the thread's own, the others are its subgraphs.
    """

    rows: dict[str, int]
    approvals: int
    runs: int
    namespaces: dict[str, int]


class RunOut(ApiRecord):
    """A run as the LangGraph SDK has it; `countersign_status` is the status in the console's own words.

    `interfered` are sentences that say what others wrote to the thread beside it.
    """

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
    interfered: list[str]
    ended_at: datetime | None


class LogLineOut(ApiRecord):
    """`source` is `stdout`, `stderr`, `warning` or the name of a logger; `level` that of its record, or empty."""

    at: datetime
    source: str
    level: str
    text: str


class RunLogOut(ApiRecord):
    """The newest lines, oldest first; `dropped` is how many older ones are not kept."""

    run_id: UUID
    lines: list[LogLineOut]
    dropped: int


class RunBrief(ApiRecord):
    """The run that carries a decision out. `status` is in the console's own words; `problem` says what to do."""

    id: UUID
    status: RunStatus
    steps: PlainList
    error: str
    problem: str
    interfered: list[str]
    attempts: int


class DecisionOut(ApiRecord):
    """What was decided. `decided_by` names everybody whose vote made it, or `the deadline`.

    `answer` is what people sent; `given`, of the approval, what the graph was given. `deviations` are sentences that
    say what ran otherwise than was decided: look at those at once.
    """

    id: UUID
    verdict: Verdict
    decided_by: str
    decided_at: datetime
    comment: str
    edits: PlainObject
    answer: PlainValue
    as_node: str
    deviations: list[str]


class VoteOut(ApiRecord):
    """One person's verdict. It counts while `ended_as` is null.

    `is_own`: its voter proposed what it is for, and the policy asks for others, so it is no approval.
    """

    id: UUID
    voter: str
    verdict: Verdict
    edits: PlainObject
    answer: PlainValue
    as_node: str
    comment: str
    seen_digest: str
    is_own: bool
    created_at: datetime
    ended_at: datetime | None
    ended_as: VoteEnd | None


class VotersOut(ApiRecord):
    """These people, and the members of these groups."""

    people: list[str]
    groups: list[str]


class RuleOut(ApiRecord):
    """How a question is decided. `source` is the policy and its version, or where else it was written.

    A voter must be among each of `voters`; an empty list is every reviewer. `sentences` say the same in words.
    """

    source: str
    approvals: int
    voters: list[VotersOut]
    one_reject_ends: bool
    may_decide_own: bool
    needs_reason: bool
    deadline_minutes: int | None
    on_deadline: OnDeadline
    escalate_to: list[str]
    on_crash: OnCrash
    may_edit: list[str] | None
    edit_needs_another: bool
    sentences: list[str]


class PolicyOut(ApiRecord):
    """A policy of the admins. Empty `graph`, `node` and `tool` fit any; the most specific policy that fits counts."""

    id: int
    graph: str
    node: str
    tool: str
    version: int
    changed_at: datetime
    rule: RuleOut


class ChangeOut(ApiRecord):
    channel: str
    before: PlainValue
    after: PlainValue
    op: str


class LeadsTo(ApiRecord):
    """What an edit, or skipping, leads to: what changes, what runs next before and after, and its actions.

    `digest` names the values and `next` after it. `title`, `summary` and `actions` are those of what would run then.
    """

    next_before: list[str]
    next: list[str]
    title: str
    summary: str
    actions: PlainList
    diff: list[ChangeOut]
    digest: str


class ChangeProposed(ApiRecord):
    """What an admin proposed while two are needed. `before` null: it is new; `after` null: it is removed."""

    id: UUID
    kind: ChangeKind
    name: str
    before: PlainValue
    after: PlainValue
    status: ChangeStatus
    proposed_by: str
    proposed_at: datetime
    closed_by: str
    closed_at: datetime | None
    reason: str


class TwoAdminsOut(ApiRecord):
    """`change` is what another admin has to confirm before the rule is off."""

    on: bool
    change: ChangeProposed | None


class ProposalOut(ApiRecord):
    """What is voted on when it is more than what the agent asks. A vote with no content of its own agrees with it."""

    verdict: Verdict
    edits: PlainObject
    answer: PlainValue
    as_node: str
    by: str
    preview: LeadsTo | None


class ClaimOut(ApiRecord):
    """Who has reserved the approval. It ends by itself."""

    by: str
    until: datetime


class NoticeOut(ApiRecord):
    """Something that happened while its reader looked elsewhere."""

    id: int
    approval_id: UUID
    text: str
    created_at: datetime
    seen_at: datetime | None


class WarningOut(ApiRecord):
    """What may not be what it seems: `text`, at `place` (a JSON Pointer into the approval), and the sentence why."""

    kind: str
    place: str
    text: str
    sentence: str


class ApprovalBrief(ApiRecord):
    """One pause that waits, or waited, for people.

    `checkpoint_ns` names the subgraph that stands at a breakpoint, `path` the nodes on the way down to it.
    `blocked` are types of the state that were not built, `notice` says what follows; such a state cannot be edited.
    `approvals_so_far` of `required_votes` are in. `claim` is null unless somebody has reserved it. `warnings` are of
    letters, hosts, figures and characters that may not be what they seem, 50 at most; they forbid nothing.
    """

    id: UUID
    graph: str
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    path: list[str]
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
    warnings: list[WarningOut]
    altered: str
    """Why nobody can decide it: the stored question differs from the audit log. Empty if it does not."""
    required_votes: int
    approvals_so_far: int
    due_at: datetime | None
    escalated_at: datetime | None
    claim: ClaimOut | None
    created_at: datetime
    closed_at: datetime | None
    decision: DecisionOut | None


class ApprovalOut(ApprovalBrief):
    """The whole question: `request`, `actions` and `state` are what people are shown.

    `digest` names those bytes and the `proposal`, if there is one. `votes` holds also those that no longer count.
    `cut` names what is too long to be shown: it holds excerpts, with size and SHA-256; open each whole before a yes.
    `folded` names arguments, and parts of the proposal, that are taller than a screen: open each, or see its end, too.
    An answer must fit `answer_schema`, where there is one; `given` is the value that a decided question was given.
    """

    request: PlainValue
    actions: PlainList
    state: PlainObject
    cut: list[str]
    folded: list[str]
    opaque: list[str]
    answer_schema: PlainObject | None
    policy: RuleOut
    proposal: ProposalOut | None
    votes: list[VoteOut]
    given: PlainValue
    run: RunBrief | None


class ApprovalPage(ApiRecord):
    """`next` is the cursor of the next page, `count` how many the same filters find.

    Without `exact=true` it counts to 1,000; then `count_is_exact` is false if there are more.
    """

    items: list[ApprovalBrief]
    next: str | None
    count: int
    count_is_exact: bool


class SentOut(ApiRecord):
    """What a Send carries to a node that runs next: it is not in the state."""

    node: str
    args: Any


class PreviewOut(LeadsTo):
    """What an edit would give, with the whole state before and after."""

    values_before: PlainObject
    values: PlainObject
    sent: list[SentOut]


class VotedOut(ApiRecord):
    """The vote, how many approvals there are of how many needed, and, if it decided, the decision and its run."""

    vote: VoteOut
    required_votes: int
    approvals_so_far: int
    decision: DecisionOut | None
    run: RunBrief | None


def thread_out(thread: Thread, pending: Iterable[Approval] = ()) -> ThreadOut:
    return ThreadOut(
        thread_id=thread.pk,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        state_updated_at=written_at(thread.checkpoint_id) or thread.created_at,
        metadata=thread.metadata | (dict.fromkeys(OF_GRAPH, thread.graph_id) if thread.graph_id else {}),
        status=ThreadStatus(thread.status),
        config={},
        error=ThreadErrorOut(error=STOPPED, message=thread.problem) if thread.status == ThreadStatus.ERROR else None,
        values=thread.state,
        interrupts=_by_task(pending)
        or {each["id"]: [InterruptOut(**each)] for each in (thread.unbound or {}).get("questions", ())},
        graph_id=thread.graph_id,
        title=thread.title,
        next=thread.next,
        checkpoint_id=thread.checkpoint_id or None,
        problem=thread.problem,
        blocked=thread.blocked,
        notice=policies.why_not_edit_blocked(blocked=thread.blocked),
        binding=BindingOut(
            graph_id=thread.graph_id,
            bound_by=thread.bound_by,
            bound_who=thread.bound_who,
            fitting=bindings.fitting(thread),
            problem=bindings.why_not(thread),
        ),
        forked_from=_forked_from(thread),
        cleaned_at=thread.cleaned_at,
    )


def _by_task(pending: Iterable[Approval]) -> dict[str, list[InterruptOut]]:
    """Return what is asked by the task that asks. Questions from before tasks were kept stand under their own id."""
    found: dict[str, list[InterruptOut]] = {}
    for each in pending:
        if each.interrupt_id:
            found.setdefault(each.task_id or each.interrupt_id, []).append(_interrupt(each))
    return found


def _forked_from(thread: Thread) -> ForkOut | None:
    return ForkOut(thread_id=thread.forked_from, checkpoint_id=thread.forked_at) if thread.forked_from else None


def _interrupt(approval: Approval) -> InterruptOut:
    asked = approval.request
    return InterruptOut(
        id=approval.interrupt_id, value=asked["value"] if isinstance(asked, dict) and "value" in asked else asked
    )


def state_out(snapshot: Mapping[str, Any]) -> StateOut:
    """Convert an agentcore Snapshot, given as plain data."""
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
        checkpoint_id=snapshot["checkpoint_id"],
        parent_checkpoint_id=parent,
        blocked=list(snapshot["blocked"]),
        notice=policies.why_not_edit_blocked(blocked=snapshot["blocked"]),
    )


def diagnosis_out(found: Diagnosis) -> DiagnosisOut:
    return DiagnosisOut.model_validate(found.as_dict())


def empty_state(thread_id: str) -> StateOut:
    """Return the state of a thread on which nothing ran."""
    return StateOut(
        values={},
        next=[],
        checkpoint=CheckpointOut(thread_id=thread_id, checkpoint_ns="", checkpoint_id=None),
        metadata={},
        created_at=None,
        parent_checkpoint=None,
        tasks=[],
        interrupts=[],
        checkpoint_id=None,
        parent_checkpoint_id=None,
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
        metadata=run.metadata,
        multitask_strategy="reject",
        countersign_status=RunStatus(run.status),
        kind=RunKind(run.kind),
        started_by=run.started_by,
        attempts=run.attempts,
        steps=run.steps,
        error=run.error,
        problem=run.problem,
        interfered=run.interfered,
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
        interfered=run.interfered,
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
        comment=decision.comment,
        edits=decision.edits,
        answer=decision.answer,
        as_node=decision.as_node,
        deviations=decision.deviations,
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
        is_own=vote.is_own,
        created_at=vote.created_at,
        ended_at=vote.ended_at,
        ended_as=VoteEnd(vote.ended_as) if vote.ended_as else None,
    )


def change_proposed(change: Change) -> ChangeProposed:
    return ChangeProposed(
        id=change.pk,
        kind=ChangeKind(change.kind),
        name=change.name,
        before=change.before,
        after=change.after,
        status=ChangeStatus(change.status),
        proposed_by=change.proposed_by.get_username(),
        proposed_at=change.proposed_at,
        closed_by=change.closed_by.get_username() if change.closed_by else "",
        closed_at=change.closed_at,
        reason=change.reason,
    )


def rule_out(rule: Rule) -> RuleOut:
    return RuleOut(**rule.as_dict(), sentences=sentences_of(rule))


def policy_out(policy: Policy, rule: Rule) -> PolicyOut:
    return PolicyOut(
        id=policy.pk,
        graph=policy.graph_id,
        node=policy.node,
        tool=policy.tool,
        version=policy.version,
        changed_at=policy.changed_at,
        rule=rule_out(rule),
    )


def notice_out(notice: Notice) -> NoticeOut:
    return NoticeOut(
        id=notice.pk,
        approval_id=notice.approval_id,
        text=notice.text,
        created_at=notice.created_at,
        seen_at=notice.seen_at,
    )


def approval_brief(approval: Approval, altered: str = "", here: GraphsHere | None = None) -> ApprovalBrief:
    """Convert an approval that was read with its `decision`, `claimed_by` and `approvals_so_far`."""
    return ApprovalBrief(**_brief(approval, here), altered=altered)


def approval_out(approval: Approval, altered: str = "", here: GraphsHere | None = None) -> ApprovalOut:
    """Convert an approval that was read with `decision__run`, `claimed_by`, `approvals_so_far` and `votes__voter`."""
    decision = getattr(approval, "decision", None)
    return ApprovalOut(
        **_brief(approval, here),
        altered=altered,
        request=approval.request,
        actions=approval.actions,
        state=approval.state,
        cut=approval.cut,
        folded=whole_values.folded(approval),
        opaque=approval.opaque,
        answer_schema=approval.answer_schema,
        policy=rule_out(Rule.of(approval.rule)),
        proposal=_proposal(approval.proposal),
        votes=[vote_out(vote) for vote in approval.votes.all()],
        given=given(approval, decision) if decision else None,
        run=run_brief(getattr(decision, "run", None)),
    )


def _brief(approval: Approval, here: GraphsHere | None) -> dict[str, Any]:
    gone = here.why_gone(approval) if here and approval.is_pending else None
    notices = [gone.sentence if gone else "", policies.why_not_edit_blocked(blocked=approval.blocked)]
    return {
        "id": approval.pk,
        "graph": approval.graph_id,
        "thread_id": approval.thread_id,
        "checkpoint_ns": approval.checkpoint_ns,
        "checkpoint_id": approval.checkpoint_id,
        "path": list(approval.path),
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
        "notice": " ".join(filter(None, notices)),
        "warnings": [WarningOut(**mark) for mark in approval.marks],
        "required_votes": approval.required_votes,
        "approvals_so_far": getattr(approval, "approvals_so_far"),  # noqa: B009 - of `queries.with_tally`
        "due_at": approval.due_at,
        "escalated_at": approval.escalated_at,
        "claim": _claim(approval),
        "created_at": approval.created_at,
        "closed_at": approval.closed_at,
        "decision": decision_out(getattr(approval, "decision", None)),
    }


def _claim(approval: Approval) -> ClaimOut | None:
    if approval.claimed_by is None or approval.claimed_until is None or approval.claimed_until <= timezone.now():
        return None
    return ClaimOut(by=approval.claimed_by.get_username(), until=approval.claimed_until)


def _proposal(plain: Mapping[str, Any] | None) -> ProposalOut | None:
    if plain is None:
        return None
    return ProposalOut(
        verdict=Verdict(plain["verdict"]),
        edits=plain["edits"] or {},
        answer=plain["answer"],
        as_node=plain["as_node"],
        by=plain.get("by", ""),
        preview=LeadsTo(**plain["preview"]) if plain.get("preview") else None,
    )
