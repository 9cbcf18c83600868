"""Vote on an approval. One transaction decides; everything after it can be done again from what it stored.

Lock order: thread row, approval row, audit head; the whole of it is in docs/explanation/decisions.md. Counting votes is
reading too, so it happens under the thread's lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User as Person
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet
from django.db.models.functions import Now

from agentcore.plain import bound_bytes
from agentcore.plain.bound_bytes import MOST_TOLD, Bound
from agentcore.plain.excerpts import has_excerpt
from agentcore.plain.json import digest
from agentcore.testing.failpoints import is_off, reach
from approvals import audit, checkpoints
from approvals.actions.runs import queueing
from approvals.actions.threads import whole_values
from approvals.actions.votes import alterations, refusals
from approvals.actions.votes import edits as try_edit
from approvals.audit import rows as told_rows
from approvals.audit import vouching
from approvals.domain import answers, authors, notices, permissions, policies, voters
from approvals.domain.authors import Author
from approvals.domain.permissions import User
from approvals.domain.policies import Proposal, Rule
from approvals.enums import VERDICT_WORDS, ApprovalStatus, RunKind, RunStatus, ThreadStatus, Verdict, VoteEnd
from approvals.errors import (
    AlreadyVoted,
    Altered,
    Busy,
    Claimed,
    Denied,
    Expired,
    Invalid,
    InvalidAnswer,
    InvalidEdit,
    KeyReused,
    NotFound,
    OtherPreview,
    Refusal,
    Stale,
    Superseded,
    Unopened,
    Unvouched,
)
from approvals.live import events
from approvals.models import Approval, Decision, Run, Thread, Vote

LONGEST_KEY = 200
NOTHING_PREVIEWED = "You name a preview, and there is no edit that could lead there. Send the edit with it."
LARGE = ("state", "request", "actions", "answer_schema")
"""Columns that hardly any vote looks at; one that does reads them then."""


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
    is_answered: bool = False
    """`answer` was given; it may be null."""
    is_as_asked: bool = False
    """Approve what the agent asks, whatever somebody proposes instead."""
    preview: dict[str, Any] | None = None
    """What the edit leads to; the vote finds it out by itself."""

    @property
    def fingerprint(self) -> str:
        """Tell two ballots apart that came with the same key."""
        more = ["answered"] if self.is_answered and self.answer is None else []
        more += ["as asked"] if self.is_as_asked else []
        return digest([self.verdict, self.seen_digest, self.edits, self.answer, self.as_node, self.comment, *more])

    @property
    def proposal(self) -> Proposal:
        content = (self.verdict, self.edits, self.answer, self.as_node, self.seen_preview, self.is_answered)
        return Proposal(*content, preview=self.preview)

    def agrees_with(self, standing: Proposal) -> bool:
        """Whether a vote with this ballot is one for what is proposed, or, if nothing is, for what the agent asks."""
        return standing.is_plain if self.is_as_asked else self.proposal.agrees_with(standing)


@dataclass(frozen=True)
class Tried:
    """What the graph made of a ballot on a copy: what it leads to, or why it leads nowhere."""

    preview: dict[str, Any] | None = None
    refused: InvalidEdit | InvalidAnswer | None = None


@dataclass(frozen=True)
class Voted:
    """The vote and what came of it. `is_replay`: the same key had been answered before."""

    vote: Vote
    decision: Decision | None
    run: Run | None
    is_replay: bool = False


@dataclass(frozen=True)
class Locked:
    """A thread and its approval while their rows are locked, with the database's time."""

    thread: Thread
    approval: Approval
    rule: Rule
    now: datetime
    rows: audit.Told = field(default_factory=dict)
    """What was changed beside the vote itself, for its entry."""


@dataclass(frozen=True)
class Outcome:
    """What was decided, by whom, and the vote that completed it: none if its time ran out."""

    verdict: str
    by: str
    proposal: Proposal
    comment: str = ""
    vote: Vote | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def makes_author(self) -> bool:
        """What was proposed is in the thread from here on."""
        return bool(self.proposal.by) and not self.proposal.is_plain


def vote(*, approval_id: UUID, ballot: Ballot, by: User) -> Voted:
    """Cast a vote and, when it decides, hand the thread to its graph.

    An edit is bound to what it leads to. Raises NotFound, Denied, AlreadyDecided, AlreadyVoted, Claimed, Superseded,
    Expired, Stale, OtherPreview, Busy, KeyReused, InvalidEdit, InvalidAnswer or Invalid; whatever is raised, nothing
    was stored.
    """
    permissions.check_view(by)
    approval = found(approval_id)
    permissions.check_vote(by, ballot.verdict)
    ballot = replace(ballot, edits=try_edit.encrypted(approval, ballot.edits))
    if replay := _answer_given_before(approval, ballot, by):
        return replay
    try:
        if not is_off("one_decision"):
            _check_open(approval, by)  # what is over stays over: no need to wait in line for the lock
        tried = _try_edit(approval, ballot, by)
        with audit.transaction():
            voted = _vote(approval, ballot, by, tried)
    except Altered as refusal:
        alterations.note(approval, refusal.detail["columns"], by=by)
        raise
    except (Stale, Superseded) as refusal:
        # Only after the rollback: reading the thread again is a job, and a job of a failed transaction is never run.
        raise refusals.explained(refusal, approval_id=approval_id) from None
    reach("decide.committed")
    return voted


def withdraw(*, approval_id: UUID, by: User) -> Vote:
    """Withdraw one's vote before the decision. Raises NotFound, AlreadyDecided, Superseded or Expired."""
    permissions.check_view(by)
    with audit.transaction():
        here = lock(found(approval_id))
        permissions.check_again(by, "view")
        try_edit.check_open(here.approval)
        cast = here.approval.votes.counting().filter(voter_id=by.pk).first()
        if cast is None:
            raise NotFound("You have no vote on this that counts.")
        _end(here, [cast], VoteEnd.WITHDRAWN)
        if here.approval.proposal and not here.approval.votes.counting().exclude(verdict=Verdict.REJECT).exists():
            _propose(here, None)
        events.publish(thread_id=here.thread.pk)
        about = {"approval": str(here.approval.pk), "vote": str(cast.pk), "verdict": cast.verdict}
        audit.append(
            "vote.withdrawn",
            actor=by.get_username(),
            thread_id=here.thread.pk,
            object=about,
            rows=here.rows,
            about=audit.key_of(here.approval),
        )
    return cast


def found(approval_id: UUID) -> Approval:
    """Return the approval as it is now. Raises NotFound."""
    approval = Approval.objects.select_related("decision").defer(*LARGE).filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("There is no such approval.")
    return approval


def lock(seen: Approval) -> Locked:
    """Lock the thread and the approval, in this order, and read both again."""
    thread = Thread.objects.select_related("started_by").locked(seen.thread_id)
    approvals = told_rows.with_marks(Approval.objects.all(), LARGE).select_for_update(of=("self",))
    approvals = approvals.select_related("claimed_by", "decision").defer(*LARGE)
    approval = approvals.annotate(read_at=Now(), voters=ArraySubquery(_voters())).get(pk=seen.pk)
    return Locked(thread, approval, Rule.of(approval.rule), now=getattr(approval, "read_at"))  # noqa: B009


def _check_open(approval: Approval, by: User) -> None:
    """Raise what `check_open` does; only who may vote here learns so what became of it."""
    try:
        try_edit.check_open(approval)
    except Refusal:
        if sentence := voters.why_not(approval, by, thread=approval.thread, rule=Rule.of(approval.rule)):
            raise Denied(sentence, permission="policy", policy=approval.rule.get("source", "")) from None
        raise


def _voters() -> "QuerySet[Vote, int]":
    return Vote.objects.counting().filter(approval=OuterRef("pk")).order_by().values_list("voter_id", flat=True)


def _try_edit(approval: Approval, ballot: Ballot, by: User) -> Tried:
    """Have the real graph try the edit on a copy, before any lock: what it refuses must never be decided."""
    is_skip = ballot.verdict == Verdict.SKIP and Verdict.SKIP in approval.allowed_verdicts
    is_each = approval.kind == answers.BREAKPOINT and ballot.verdict == Verdict.RESPOND and ballot.is_answered
    if not (ballot.edits or is_skip or is_each) or not permissions.can_vote(by, ballot.verdict):
        return Tried()
    if approval.blocked and not ballot.edits and is_skip:
        return Tried()  # a state of which types were not built cannot be tried; it can be skipped as it is
    try:
        if is_each and not ballot.edits:
            given = try_edit.tried_each(approval, ballot.answer)
        else:
            given = try_edit.tried(approval, ballot.edits, as_node=ballot.as_node, is_skip=is_skip)
    except (InvalidEdit, InvalidAnswer) as refused:
        return Tried(refused=refused)
    except Refusal:
        if ballot.edits:
            raise
        return Tried()  # to skip needs no worker; without one, nobody can say where it leads
    return Tried({name: given[name] for name in try_edit.SHOWN})


def _vote(seen: Approval, ballot: Ballot, by: User, tried: Tried) -> Voted:
    here = lock(seen)
    reach("decide.locked")
    permissions.check_again(by, permissions.for_verdict(ballot.verdict))
    check_voter(here, by, ballot.verdict)
    log = vouching.read([here.approval], people=[by.pk or 0, *voters_of(here)], token=permissions.token_of(by))
    _check_vouched(log, by)
    if replay := _answer_given_before(here.approval, ballot, by):
        return replay
    if not is_off("one_decision"):
        try_edit.check_open(here.approval)
    check_question(log, here)
    _check_free(here, by)
    _check_seen(here, ballot)
    check_head(here)
    _check_allowed(here, ballot, by)
    _check_content(here, ballot)
    if tried.refused:
        raise tried.refused
    return _cast(here, _bound(here, ballot, tried), by, log)


def _bound(here: Locked, ballot: Ballot, tried: Tried) -> Ballot:
    """Bind a ballot to what its edit leads to; without one, to what the proposal shows that it agrees with."""
    if ballot.verdict == Verdict.REJECT:
        return replace(ballot, seen_preview="")
    proposal = here.approval.proposal or {}
    if tried.preview:
        leads_to = tried.preview["digest"]
    else:
        leads_to = "" if ballot.is_as_asked else proposal.get("seen_preview", "")
        if proposal.get("edits") and not leads_to and not ballot.is_as_asked:
            raise Stale("This was proposed without what it leads to. Propose it again, and look at that.")
    if ballot.seen_preview not in ("", leads_to):
        raise OtherPreview(
            "This does not lead to what you were shown. Preview it again." if leads_to else NOTHING_PREVIEWED,
            preview=tried.preview,
        )
    return replace(ballot, seen_preview=leads_to, preview=tried.preview)


def voters_of(here: Locked) -> list[int]:
    """Return the people whose votes count now."""
    return list(getattr(here.approval, "voters"))  # noqa: B009 - of `lock`


def _check_vouched(log: vouching.Log, by: User) -> None:
    """Raise Denied where the log knows nothing of a role or the token that the vote rests on."""
    sentence = vouching.why_not_person(log, by.pk, by.get_username(), permissions.memberships_of(by))
    if sentence := sentence or vouching.why_not_token(log, permissions.token_of(by), by.pk):
        raise Denied(sentence, permission="vouched")


def check_question(log: vouching.Log, here: Locked) -> None:
    """Raise Altered for a question that is not as asked, Unvouched for a rule that nobody wrote."""
    differing = vouching.what_differs(log, here.approval)
    if differing:
        raise Altered(vouching.why_not_altered(differing), columns=differing)
    if differing := vouching.thread_differs(log, here.thread):
        raise Altered(vouching.why_not_thread(differing), columns=differing)
    if sentence := vouching.why_not_rule(log, here.approval):
        raise Unvouched(sentence, policy=here.rule.source)


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


def check_head(here: Locked) -> None:
    """Raise Busy or Stale unless the thread stands where the question was asked."""
    if here.thread.status == ThreadStatus.BUSY:
        raise Busy("A run holds this thread. Wait until it stops.")
    if is_off("head_check"):
        return
    if here.approval.interrupt_id and Run.objects.filter(thread=here.thread, status=RunStatus.HELD).exists():
        raise Busy("The answer to another question of this thread is held. Say first how its run goes on.")
    if (was := Bound.of(here.approval.bound)) and not is_off("bytes_check"):
        return _check_bound(here, was)
    head = checkpoints.read_head(here.thread.pk)
    if head is None:
        raise Stale("The thread's checkpoints are gone.", checkpoint_id=None)
    if (head.checkpoint_id, head.writes) != (here.approval.head, here.approval.head_writes):
        raise Stale("The agent moved this thread since you looked.", checkpoint_id=head.checkpoint_id)


def _check_bound(here: Locked, was: Bound) -> None:
    """Raise Stale if any byte that the question rests on has changed."""
    if changes := checkpoints.changed(here.thread.pk, was):
        raise Stale(bound_bytes.why(changes), what=changes[:MOST_TOLD])


def _check_seen(here: Locked, ballot: Ballot) -> None:
    if ballot.seen_digest == here.approval.digest or is_off("digest_check"):
        return
    if here.approval.proposal is None and here.approval.votes.exclude(ended_at=None).exists():
        raise Stale("What you were shown is no longer proposed: what the agent asks stands again. Look at that.")
    if ballot.seen_digest == here.approval.shown_digest or here.approval.votes.exclude(ended_at=None).exists():
        raise Stale("Somebody proposed something else since you looked. Look at it again.")
    raise Stale("This is not what you were shown: the digest differs. Look at it again.")


def _check_free(here: Locked, by: User) -> None:
    approval = here.approval
    if policies.is_expired(here.rule, due_at=approval.due_at, now=here.now, allowed=approval.allowed_verdicts):
        raise Expired("The time to decide this is over; it is being rejected.")
    claimed_by = approval.claimed_by.get_username() if approval.claimed_by else ""
    if sentence := policies.why_not_claimed(
        claimed_by=claimed_by, claimed_until=approval.claimed_until, now=here.now, voter=by.get_username()
    ):
        raise Claimed(sentence, by=claimed_by)


def _check_allowed(here: Locked, ballot: Ballot, by: User) -> None:
    approval = here.approval
    sentence = policies.why_not_vote(
        verdict=ballot.verdict,
        allowed=approval.allowed_verdicts,
        why_not=approval.why_not,
        comment=ballot.comment,
        has_edits=bool(ballot.edits),
        needs_reason=here.rule.needs_reason,
    )
    if sentence:
        raise InvalidAnswer(sentence, allowed=approval.allowed_verdicts)
    if ballot.verdict != Verdict.REJECT and (parts := whole_values.unopened(approval, by)):
        # Also through the API: a yes to what was not seen is no yes. A rejection needs no more than a reason.
        raise Unopened(policies.why_not_unopened(parts=parts), parts=parts)


def check_voter(here: Locked, by: User, verdict: str = "approve") -> None:
    """Raise Denied if the policy does not let this person vote here."""
    if sentence := voters.why_not(here.approval, by, thread=here.thread, rule=here.rule, verdict=verdict):
        raise Denied(sentence, permission="policy", policy=here.rule.source)


def _check_content(here: Locked, ballot: Ballot) -> None:
    approval = here.approval
    is_skip = ballot.verdict == Verdict.SKIP
    if has_excerpt([ballot.edits, ballot.answer]):
        raise InvalidAnswer("An excerpt stands here for a value that is too long to be shown: send the value itself.")
    try_edit.check_content(approval, ballot.edits, as_node=ballot.as_node, is_skip=is_skip)
    if ballot.is_as_asked and (ballot.verdict != Verdict.APPROVE or ballot.edits):
        raise InvalidAnswer("As the agent asks means to approve without an edit: leave one of the two out.")
    if ballot.is_answered and not answers.takes_answer(approval):
        raise InvalidAnswer("This takes no answer; send edits to change the state.")
    if ballot.edits and ballot.verdict == Verdict.RESPOND and approval.kind == answers.BREAKPOINT:
        raise InvalidAnswer("Decide on each task, or edit the state: not both at once.")
    if ballot.is_answered and ballot.verdict != Verdict.RESPOND:
        raise InvalidAnswer(f"To {ballot.verdict} takes no answer: send it with the verdict respond.")
    if ballot.verdict == Verdict.RESPOND:
        _check_answer(here, ballot)


def _check_answer(here: Locked, ballot: Ballot) -> None:
    """Check it before LangGraph sees it: an answer that a node cannot take would stay with the thread for good."""
    proposal = here.approval.proposal
    if not ballot.is_answered:
        if proposal is None or proposal["verdict"] != Verdict.RESPOND:
            raise InvalidAnswer("Send the answer: nobody has proposed one that you could agree with.")
        return
    try_edit.check_answer(here.approval, ballot.answer)


def _cast(here: Locked, ballot: Ballot, by: User, log: vouching.Log) -> Voted:
    """Store the vote, count, and decide if that is enough."""
    approval, standing = here.approval, _standing(here, log)
    for vote in standing:
        if sentence := vouching.why_not_person(
            log, vote.voter_id, vote.voter.username, permissions.memberships_of(vote.voter)
        ):
            raise Unvouched(sentence)
    if any(vote.voter_id == by.pk for vote in standing):
        raise AlreadyVoted("You voted on this already. Withdraw that vote first.")
    proposal = Proposal(**approval.proposal) if approval.proposal else Proposal()
    is_new = ballot.verdict != Verdict.REJECT and not ballot.agrees_with(proposal)
    if is_new:
        _end(here, standing, VoteEnd.CLEARED)
        text = "Somebody proposed something else, so your vote on this no longer counts. Look at it again."
        notices.tell(((vote.voter_id, approval.pk) for vote in standing), text)
        proposal, standing = replace(ballot.proposal, by=by.get_username()), []
    is_own = ballot.verdict != Verdict.REJECT and _needs_others(here, proposal) == by.get_username()
    cast = _stored(approval, ballot, by, is_own=is_own)
    reach("decide.voted")
    outcome = _outcome(here, proposal, [*standing, cast])
    if is_new:
        _propose(here, proposal)  # also when it decides at once: the pages say then what was decided
    if not outcome:
        _release(here)
        events.publish(thread_id=here.thread.pk)
        _record_vote(here, cast, is_new=is_new)
        return Voted(cast, None, None)
    decision, run = _store(here, outcome)
    _record_vote(here, cast, is_new=is_new)
    _record_decision(here, outcome, decision, run)
    return Voted(cast, decision, run)


def _standing(here: Locked, log: vouching.Log) -> list[Vote]:
    """Return the votes that count, oldest first; those of people who may no longer vote count no more.

    Raises Altered where they are not those that were cast.
    """
    cast = list(here.approval.votes.counting().select_related("voter").order_by("created_at"))
    if sentence := vouching.why_not_votes(log, here.approval, cast):
        raise Altered(sentence, columns=["votes"])
    lapsed = [vote for vote in cast if not _may_still_vote(here, vote)]
    if lapsed:
        _end(here, lapsed, VoteEnd.LAPSED)
    return [vote for vote in cast if vote not in lapsed]


def _may_still_vote(here: Locked, vote: Vote) -> bool:
    return permissions.can_vote(vote.voter, vote.verdict) and not voters.why_not(
        here.approval, vote.voter, thread=here.thread, rule=here.rule, verdict=vote.verdict
    )


def _needs_others(here: Locked, proposal: Proposal) -> str:
    """Return who proposed this, if the policy lets them not approve it themselves."""
    return proposal.by if here.rule.edit_needs_another and not proposal.is_plain else ""


def _stored(approval: Approval, ballot: Ballot, by: User, *, is_own: bool) -> Vote:
    assert isinstance(by, Person)
    return Vote.objects.create(
        approval=approval,
        voter=by,
        verdict=ballot.verdict,
        edits=ballot.edits,
        answer=ballot.answer,
        as_node=ballot.as_node,
        comment=ballot.comment,
        seen_digest=ballot.seen_digest,
        seen_preview=ballot.seen_preview,
        idempotency_key=ballot.idempotency_key,
        request_digest=ballot.fingerprint,
        is_own=is_own,
    )


def _outcome(here: Locked, proposal: Proposal, standing: Sequence[Vote]) -> Outcome | None:
    against = [vote for vote in standing if vote.verdict == Verdict.REJECT]
    approving = [vote for vote in standing if vote.verdict != Verdict.REJECT]
    proposer = _needs_others(here, proposal)
    number = 0
    if against and not here.rule.one_reject_ends:
        number = _count_voters(here, without=proposer)
        number += any(vote.voter.get_username() == proposer for vote in against)
    others = [vote for vote in approving if vote.voter.get_username() != proposer]
    result = policies.tally(here.rule, approving=len(others), rejecting=len(against), voters=number)
    if not result:
        return None
    made_by = against if result == "reject" else approving
    return Outcome(
        verdict=Verdict.REJECT if result == "reject" else proposal.verdict,
        by=", ".join(vote.voter.get_username() for vote in made_by),
        proposal=Proposal() if result == "reject" else proposal,
        comment="\n".join(filter(None, (vote.comment for vote in made_by))),
        vote=standing[-1],
        votes=tuple(made_by),
    )


def _count_voters(here: Locked, *, without: str) -> int:
    is_escalated, asked_at = here.approval.escalated_at is not None, here.approval.asked_at
    excluded = voters.owners(here.thread, here.rule) | ({without} if without else set())
    return voters.count(here.rule, without=excluded, asked_at=asked_at, is_escalated=is_escalated)


def settle(here: Locked, outcome: Outcome) -> None:
    """Store the decision, the run that carries it out, its job and its entry. The caller holds the locks."""
    _record_decision(here, outcome, *_store(here, outcome))


def _store(here: Locked, outcome: Outcome) -> tuple[Decision, Run]:
    """Entries come after this, last of all: from the first one on, everybody who decides anything waits for us."""
    approval, proposal = here.approval, outcome.proposal
    decision = Decision.objects.create(
        approval=approval,
        vote=outcome.vote,
        verdict=outcome.verdict,
        edits=proposal.edits or {},
        answer=proposal.answer,
        as_node=proposal.as_node,
        comment=outcome.comment,
        decided_by=outcome.by,
        seen_preview=proposal.seen_preview,
        answer_digest=policies.answer_digest(
            verdict=outcome.verdict,
            edits=proposal.edits or {},
            answer=proposal.answer,
            as_node=proposal.as_node,
            comment=outcome.comment,
        ),
    )
    if outcome.makes_author:
        authors.keep_author(here.thread, Author(proposal.by, "edit", after=approval.checkpoint_id))
    decided_as = VERDICT_WORDS[outcome.verdict].status if outcome.vote else ApprovalStatus.EXPIRED
    assert decided_as is not None
    approval.status = decided_as
    approval.closed_at, approval.claimed_by, approval.claimed_until = decision.decided_at, None, None
    approval.save(update_fields=["status", "closed_at", "claimed_by", "claimed_until"])
    run = _queue(here, decision)
    reach("decide.decided")
    return decision, run


def _queue(here: Locked, decision: Decision) -> Run:
    run = Run(
        thread=here.thread,
        decision=decision,
        graph_id=here.thread.graph_id,
        kind=RunKind.RESUME,
        started_by=decision.decided_by[:150],
        resume_from=here.approval.head,
    )
    return queueing.queue_run(run, changed=["authors"])


def _propose(here: Locked, proposal: Proposal | None) -> None:
    """Store a new proposal. Votes on the earlier one end, and their voters are notified."""
    approval = here.approval
    approval.proposal = proposal.as_dict() if proposal and not proposal.is_plain else None
    approval.digest = policies.digest_with(approval.shown_digest, approval.proposal)
    approval.save(update_fields=["proposal", "digest"])
    here.rows.update(audit.told(approval, "proposal", "digest"))


def _release(here: Locked) -> None:
    """End the voter's claim."""
    if here.approval.claimed_by_id is not None:
        here.approval.claimed_by, here.approval.claimed_until = None, None
        here.approval.save(update_fields=["claimed_by", "claimed_until"])


def _end(here: Locked, votes: Sequence[Vote], why: VoteEnd) -> None:
    Vote.objects.filter(pk__in=[vote.pk for vote in votes]).update(ended_at=here.now, ended_as=why)
    for vote in votes:
        vote.ended_at, vote.ended_as = here.now, why
        here.rows.update(audit.told(vote, "ended_at", "ended_as"))


def _record_vote(here: Locked, cast: Vote, *, is_new: bool) -> None:
    about = {"approval": str(here.approval.pk), "vote": str(cast.pk), "verdict": cast.verdict, "is_new": is_new}
    audit.append(
        "vote.cast",
        actor=cast.voter.get_username(),
        thread_id=here.thread.pk,
        object=about,
        digests={
            "seen": cast.seen_digest,
            "content": policies.content_digest(edits=cast.edits, answer=cast.answer, as_node=cast.as_node),
            **_preview_digest(cast.seen_preview),
        },
        texts={"comment": cast.comment},
        policy_version=here.rule.source,
        rows={**here.rows, **audit.told(cast)},
        about=audit.key_of(here.approval) if is_new else "",
    )


def _preview_digest(seen_preview: str) -> dict[str, str]:
    """Return the digest of the shown preview, if there was one."""
    return {"preview": seen_preview} if seen_preview else {}


def _record_decision(here: Locked, outcome: Outcome, decision: Decision, run: Run) -> None:
    content = policies.content_digest(edits=decision.edits, answer=decision.answer, as_node=decision.as_node)
    authors = audit.told(here.thread, "authors") if outcome.makes_author else {}
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
            "votes": [str(vote.pk) for vote in outcome.votes],
            "checkpoint": here.approval.checkpoint_id,
        },
        digests={
            "shown": here.approval.shown_digest,
            "answer": decision.answer_digest,
            "given": digest(answers.given(here.approval, decision)),
            "content": content,
            "rule": digest(here.approval.rule),
            **_preview_digest(decision.seen_preview),
            "bytes": policies.bytes_digest(here.approval.bound),
        },
        policy_version=here.rule.source,
        rows=audit.told(here.approval, "status") | audit.told(decision) | audit.told(run) | authors,
        about=audit.key_of(here.approval),
    )
