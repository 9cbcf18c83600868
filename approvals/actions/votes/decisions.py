"""The decision on an approval, stored with the run that carries it out, its job and its entry."""

from dataclasses import dataclass
from datetime import timedelta

from agentcore.plain.json import digest
from agentcore.testing.failpoints import reach
from approvals import audit, last_writes
from approvals.actions.runs import queueing
from approvals.actions.votes.locks import Locked
from approvals.domain import answers, authors, policies
from approvals.domain.authors import Author
from approvals.domain.policies import Proposal
from approvals.enums import VERDICT_WORDS, ApprovalStatus, RunKind
from approvals.models import Decision, Run, Vote

_WRITTEN = ("status", "closed_at", "proposal", "digest", "bound", "head_writes", "claimed_by", "claimed_until")


@dataclass(frozen=True)
class ReachedDecision:
    """What was decided, by whom, and the vote that completed it; none if the deadline passed."""

    verdict: str
    by: str
    proposal: Proposal
    comment: str = ""
    vote: Vote | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def makes_author(self) -> bool:
        """Whether the proposed content becomes part of the thread, so that its proposer is an author from then on."""
        return bool(self.proposal.by) and not self.proposal.is_plain


def settle(here: Locked, reached: ReachedDecision, *, hold_seconds: int = 0) -> tuple[Decision, Run]:
    """Store the decision, the run that carries it out, its job and its entry. The caller holds the locks.

    No worker begins the run for so many seconds: until then it can be taken back (`undo.py`).
    """
    approval, proposal = here.approval, reached.proposal
    decision = Decision(
        approval=approval,
        vote=reached.vote,
        verdict=reached.verdict,
        edits=proposal.edits or {},
        answer=proposal.answer,
        as_node=proposal.as_node,
        comment=reached.comment,
        decided_by=reached.by,
        seen_preview=proposal.seen_preview,
        answer_digest=policies.answer_digest(
            verdict=reached.verdict,
            edits=proposal.edits or {},
            answer=proposal.answer,
            as_node=proposal.as_node,
            comment=reached.comment,
        ),
    )
    last_writes.insert(decision)
    if reached.makes_author:
        authors.keep_author(here.thread, Author(proposal.by, "edit", after=approval.checkpoint_id))
    approval.status = VERDICT_WORDS[reached.verdict].status if reached.vote else ApprovalStatus.EXPIRED
    approval.closed_at, approval.claimed_by, approval.claimed_until = decision.decided_at, None, None
    rests_on = here.thread.reading_for(approval)
    approval.bound, approval.head_writes = rests_on.bound, rests_on.head_writes
    last_writes.update(approval, _WRITTEN)
    run = _queue(here, decision, hold_seconds)
    reach("decide.decided")
    _record(here, reached, decision, run)
    return decision, run


def _record(here: Locked, reached: ReachedDecision, decision: Decision, run: Run) -> None:
    content = policies.content_digest(edits=decision.edits, answer=decision.answer, as_node=decision.as_node)
    rows = audit.told(here.approval, "status", "bound", "head_writes") | audit.told(decision) | audit.told(run)
    rows |= audit.told(here.thread, "authors") if reached.makes_author else {}
    audit.append(
        "decision.reached",
        actor=decision.vote.voter.get_username() if decision.vote else "countersign",
        actor_kind="person" if decision.vote else "system",
        thread_id=here.thread.pk,
        object={
            "approval": str(here.approval.pk),
            "decision": str(decision.pk),
            "run": str(run.pk),
            "verdict": decision.verdict,
            "by": decision.decided_by,
            "votes": [str(vote.pk) for vote in reached.votes],
            "checkpoint": here.approval.checkpoint_id,
        },
        digests={
            "shown": here.approval.shown_digest,
            "answer": decision.answer_digest,
            "given": digest(answers.given(here.approval, decision)),
            "content": content,
            "rule": digest(here.approval.rule),
            **policies.preview_digest(decision.seen_preview),
            "bytes": policies.bytes_digest(here.approval.bound),
        },
        policy_version=here.rule.source,
        rows=rows,
        about=audit.key_of(here.approval),
    )


def _queue(here: Locked, decision: Decision, hold_seconds: int) -> Run:
    run = Run(
        thread=here.thread,
        decision=decision,
        graph_id=here.thread.graph_id,
        kind=RunKind.RESUME,
        started_by=decision.decided_by[:150],
        resume_from=here.approval.head,
        retry_at=here.now + timedelta(seconds=hold_seconds) if hold_seconds else None,
    )
    return queueing.queue_run(run, changed=["authors"], in_seconds=hold_seconds)
