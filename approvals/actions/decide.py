"""Vote on an approval. One transaction decides; everything after it can be done again from what it stored.

Lock order: thread row, approval row, audit head. Never take them in another order.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agentcore import state_edit
from agentcore.errors import Fault
from agentcore.errors import InvalidEdit as CoreInvalidEdit
from agentcore.serde import digest
from agentcore.types import GraphCard
from approvals import audit, events, jobs, permissions, policies, runtime
from approvals.actions import index_thread, inquire
from approvals.enums import DECIDED_AS, ApprovalStatus, RunKind, ThreadStatus, Verdict
from approvals.errors import (
    AlreadyDecided,
    Busy,
    Denied,
    Invalid,
    InvalidAnswer,
    InvalidEdit,
    KeyReused,
    NotFound,
    Stale,
    Superseded,
    Unavailable,
)
from approvals.models import Approval, Decision, Graph, Run, Thread, Vote
from approvals.permissions import User

LONGEST_KEY = 200


@dataclass(frozen=True)
class Ballot:
    """What one person sends: the verdict, the digest of what they saw, and an edit or an answer."""

    verdict: str
    seen_digest: str
    edits: dict[str, Any]
    answer: Any = None
    as_node: str = ""
    comment: str = ""
    seen_preview: str = ""
    idempotency_key: str | None = None

    @property
    def fingerprint(self) -> str:
        """Tell two ballots apart that came with the same key."""
        return digest([self.verdict, self.seen_digest, self.edits, self.answer, self.as_node, self.comment])


@dataclass(frozen=True)
class Voted:
    """The vote and what came of it. `is_replay`: the same key had been answered before."""

    vote: Vote
    decision: Decision | None
    run: Run | None
    is_replay: bool = False


def vote(*, approval_id: UUID, ballot: Ballot, by: User) -> Voted:
    """Cast a vote and, when it decides, hand the thread to its graph.

    Raises NotFound, Denied, AlreadyDecided, Superseded, Stale, Busy, KeyReused, InvalidEdit, InvalidAnswer or Invalid;
    whatever is raised, nothing was stored.
    """
    permissions.check_view(by)
    approval = Approval.objects.filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("There is no such approval.")
    refused = _try_edit(approval, ballot, by)
    try:
        with transaction.atomic():
            return _vote(approval, ballot, by, refused)
    except (Stale, Superseded) as refusal:
        # Only after the rollback: reading the thread again is a job, and a job of a failed transaction is never run.
        raise index_thread.explained(refusal, approval_id=approval_id) from None


def _try_edit(approval: Approval, ballot: Ballot, by: User) -> InvalidEdit | None:
    """Have the real graph try the edit on a copy, before any lock: what it refuses must never be decided."""
    may_count = approval.is_pending and permissions.can_vote(by, ballot.verdict) and not _is_sent_again(ballot, by)
    if not ballot.edits or not may_count:
        return None
    try:
        _previewed(approval, ballot.edits, as_node=ballot.as_node, is_skip=ballot.verdict == Verdict.SKIP)
    except InvalidEdit as refused:
        return refused
    return None


def _is_sent_again(ballot: Ballot, by: User) -> bool:
    key = ballot.idempotency_key or ""
    return key != "" and key.isprintable() and Vote.objects.filter(voter_id=by.pk, idempotency_key=key).exists()


def preview(*, approval_id: UUID, edits: Any, as_node: str = "", by: User) -> dict[str, Any]:
    """Return what an edit would give: `values_before, values, next_before, next, diff, digest`; nothing is stored.

    Raises what a vote would, InvalidEdit with a path for each fault, Unavailable when no worker answers.
    """
    permissions.check_preview(by)
    approval = Approval.objects.select_related("decision").filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("There is no such approval.")
    _check_open(approval)
    return _previewed(approval, edits, as_node=as_node)


def _previewed(approval: Approval, edits: Any, *, as_node: str, is_skip: bool = False) -> dict[str, Any]:
    _check_one_waits(approval)
    _check_nothing_blocked(approval)
    _check_node(approval, as_node, is_skip=is_skip)
    check_edits(_card(approval).channels, edits, opaque=approval.opaque)
    if is_skip and not as_node:
        as_node = approval.next[0]
    return inquire.preview(
        thread_id=approval.thread_id,
        graph_id=approval.graph_id,
        checkpoint_id=approval.checkpoint_id,
        edits=edits,
        as_node=as_node,
    )


def _vote(seen: Approval, ballot: Ballot, by: User, refused: InvalidEdit | None) -> Voted:
    thread = Thread.objects.select_for_update().get(pk=seen.thread_id)
    approval = Approval.objects.select_for_update().get(pk=seen.pk)
    if replay := _answer_given_before(approval, ballot, by):
        return replay
    _check_open(approval)
    _check_fresh(approval, thread, ballot)
    _check_allowed(approval, thread, ballot, by)
    _check_content(approval, ballot)
    if refused:
        raise refused
    return _decide(approval, thread, ballot, by)


def _answer_given_before(approval: Approval, ballot: Ballot, by: User) -> Voted | None:
    if ballot.idempotency_key is None:
        return None
    if not (0 < len(ballot.idempotency_key) <= LONGEST_KEY and ballot.idempotency_key.isprintable()):
        raise Invalid(f"An idempotency key is 1 to {LONGEST_KEY} printable characters.")
    given = Vote.objects.filter(voter_id=by.pk, idempotency_key=ballot.idempotency_key).first()
    if given is None:
        return None
    if given.approval_id != approval.pk or given.request_digest != ballot.fingerprint:
        raise KeyReused("You used this idempotency key for another vote. Send a new key.")
    decision = Decision.objects.filter(vote=given).first()
    return Voted(given, decision, Run.objects.filter(decision=decision).first() if decision else None, is_replay=True)


def _check_open(approval: Approval) -> None:
    if approval.status == ApprovalStatus.SUPERSEDED:
        raise Superseded("The agent moved on before anyone decided; this question is no longer asked.")
    if approval.status == ApprovalStatus.CLEANED:
        raise Superseded("An admin removed this thread; this question is no longer asked.")
    if not approval.is_pending:
        decision = approval.decision
        raise AlreadyDecided(
            f"{decision.decided_by} decided this already: {decision.verdict}.",
            by=decision.decided_by,
            verdict=decision.verdict,
            at=decision.decided_at.isoformat(),
        )


def _check_fresh(approval: Approval, thread: Thread, ballot: Ballot) -> None:
    if ballot.seen_digest != approval.digest:
        raise Stale("This is not what you were shown: the digest differs. Look at it again.")
    if thread.status == ThreadStatus.BUSY:
        raise Busy("A run holds this thread. Wait until it stops.")
    head = runtime.read_head(thread.pk)
    if head is None:
        raise Stale("The thread's checkpoints are gone.", checkpoint_id=None)
    if (head.checkpoint_id, head.writes) != (approval.checkpoint_id, approval.head_writes):
        raise Stale("The agent moved this thread since you looked.", checkpoint_id=head.checkpoint_id)


def _check_allowed(approval: Approval, thread: Thread, ballot: Ballot, by: User) -> None:
    permissions.check_vote(by, ballot.verdict)
    starter = thread.started_by.get_username() if thread.started_by else ""
    if sentence := policies.why_not_own_run(started_by=starter, voter=by.get_username()):
        raise Denied(sentence)
    sentence = policies.why_not_vote(
        verdict=ballot.verdict,
        allowed=approval.allowed_verdicts,
        why_not=approval.why_not,
        comment=ballot.comment,
        has_edits=bool(ballot.edits),
    )
    if sentence:
        raise InvalidAnswer(sentence, allowed=approval.allowed_verdicts)


def _check_content(approval: Approval, ballot: Ballot) -> None:
    if ballot.answer is not None:
        raise InvalidAnswer("A breakpoint takes no answer; send edits to change the state.")
    if ballot.edits or ballot.verdict == Verdict.SKIP:
        _check_one_waits(approval)
    _check_node(approval, ballot.as_node, is_skip=ballot.verdict == Verdict.SKIP)
    check_edits(_card(approval).channels, ballot.edits, opaque=approval.opaque)


def _check_one_waits(approval: Approval) -> None:
    if sentence := policies.why_not_edit(waiting=approval.next):
        raise InvalidEdit(sentence, faults=[Fault("", sentence).as_dict()])


def _check_nothing_blocked(approval: Approval) -> None:
    if sentence := policies.why_not_edit_blocked(blocked=approval.blocked):
        raise InvalidEdit(sentence, faults=[Fault("", sentence).as_dict()])


def _check_node(approval: Approval, as_node: str, *, is_skip: bool) -> None:
    """An edit comes from a node that ran just before the pause; from any other it would jump over what lies between."""
    if not as_node:
        return
    allowed = approval.next if is_skip else [node for node in approval.request["ran"] if node not in approval.next]
    if as_node not in allowed:
        names = ", ".join(allowed) or "leave it out"
        told = "only a node that waits here can be skipped" if is_skip else "an edit comes from the node that ran last"
        sentence = f"as_node is not right: {told} ({names})."
        raise InvalidEdit(sentence, faults=[Fault("as_node", sentence).as_dict()])


def _card(approval: Approval) -> GraphCard:
    graph = Graph.objects.filter(pk=approval.graph_id).first()
    if graph is None:
        raise Unavailable(f"No worker has the graph {approval.graph_id} any more. Is it in langgraph.json?")
    return graph.record


def check_edits(channels: Any, edits: Any, *, opaque: list[str]) -> None:
    """Check edits against the graph's card; raise our InvalidEdit with a path for each fault."""
    try:
        state_edit.check_edits(channels, edits, opaque=opaque)
    except CoreInvalidEdit as error:
        raise InvalidEdit(
            "The edit does not fit the graph.", faults=[fault.as_dict() for fault in error.faults]
        ) from None


def _decide(approval: Approval, thread: Thread, ballot: Ballot, by: User) -> Voted:
    assert by.pk is not None
    cast = Vote.objects.create(
        approval=approval,
        voter_id=by.pk,
        verdict=ballot.verdict,
        edits=ballot.edits,
        as_node=ballot.as_node,
        comment=ballot.comment,
        seen_digest=ballot.seen_digest,
        idempotency_key=ballot.idempotency_key,
        request_digest=ballot.fingerprint,
    )
    decision = Decision.objects.create(
        approval=approval,
        vote=cast,
        verdict=ballot.verdict,
        decided_by=by.get_username(),
        seen_preview=ballot.seen_preview,
    )
    approval.status, approval.closed_at = DECIDED_AS[Verdict(ballot.verdict)], decision.decided_at
    approval.save(update_fields=["status", "closed_at"])
    run = Run.objects.create(
        thread=thread,
        decision=decision,
        graph_id=approval.graph_id,
        kind=RunKind.RESUME,
        started_by=by.get_username(),
        resume_from=approval.checkpoint_id,
    )
    thread.status, thread.updated_at = ThreadStatus.BUSY, timezone.now()
    thread.save(update_fields=["status", "updated_at"])
    jobs.enqueue("execute_run", queue=jobs.graph_queue(approval.graph_id), run_id=str(run.id))
    events.publish(thread_id=thread.pk)
    _record(approval, cast, decision, run)
    return Voted(cast, decision, run)


def _record(approval: Approval, cast: Vote, decision: Decision, run: Run) -> None:
    digests = {"seen": cast.seen_digest, "ballot": cast.request_digest, "comment": digest(cast.comment)}
    about = {"approval": str(approval.pk), "vote": str(cast.pk), "verdict": cast.verdict}
    actor = decision.decided_by
    audit.append("vote.cast", actor=actor, thread_id=approval.thread_id, object=about, digests=digests)
    about = {**about, "decision": str(decision.pk), "run": str(run.pk), "checkpoint": approval.checkpoint_id}
    audit.append("decision.reached", actor=actor, thread_id=approval.thread_id, object=about, digests=digests)
