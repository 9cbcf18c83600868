"""The checks of a vote: of the question, the person, the thread, and the ballot."""

from typing import Any

from agentcore.plain import bound_bytes
from agentcore.plain.bound_bytes import MOST_TOLD, Bound
from agentcore.plain.excerpts import has_excerpt
from agentcore.testing.failpoints import is_off
from approvals import checkpoints
from approvals.actions.threads import whole_values
from approvals.actions.votes.ballots import Ballot
from approvals.actions.votes.edits import CheckedEdits
from approvals.actions.votes.locks import Locked
from approvals.audit import vouching
from approvals.domain import answers, bindings, permissions, policies, voters
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.enums import ApprovalStatus, RunStatus, Verdict
from approvals.errors import (
    AlreadyDecided,
    AlreadyVoted,
    Altered,
    Busy,
    Claimed,
    Denied,
    Expired,
    InvalidAnswer,
    Refusal,
    Stale,
    Superseded,
    Unopened,
    Unvouched,
)
from approvals.models import Approval, Run, Thread

READ = ("graph_id", "shown_digest", "rule", "opaque", "blocked")
"""Columns that change when a worker stores a question anew: `check_content` relied on what they say."""
VOTED = "You voted on this already. Withdraw that vote first."
READ_ANEW = "This question was read again while you sent that. Look at it again."


def check_open(approval: Approval, thread: Thread) -> None:
    """Raise Unbound, Superseded, Expired or AlreadyDecided (which says who and when) if nobody can vote any more."""
    if approval.status in (ApprovalStatus.SUPERSEDED, ApprovalStatus.PENDING):
        bindings.check(thread)
    if approval.status == ApprovalStatus.SUPERSEDED:
        raise Superseded("The agent moved on before anyone decided; this question is no longer asked.")
    if approval.status == ApprovalStatus.CLEANED:
        raise Superseded("An admin removed this thread; this question is no longer asked.")
    if not approval.is_pending and not hasattr(approval, "decision"):
        raise Altered(vouching.why_not_altered(["status"]), columns=["status"])
    if approval.status == ApprovalStatus.EXPIRED:
        raise Expired("Nobody decided in time, so it was rejected.", at=approval.decision.decided_at.isoformat())
    if not approval.is_pending:
        decision = approval.decision
        raise AlreadyDecided(
            f"{decision.decided_by} decided this already: {decision.verdict}.",
            by=decision.decided_by,
            verdict=decision.verdict,
            at=decision.decided_at.isoformat(),
        )


def why_refused(approval: Approval, ballot: Ballot, edits: CheckedEdits) -> Refusal | None:
    """Return what `check_content` raises. It is raised later, under the lock, after all checks of the question."""
    try:
        check_content(approval, ballot, edits)
    except Refusal as refused:
        return refused
    return None


def check_open_to(approval: Approval, by: User) -> None:
    """Raise what `check_open` does; Denied for people who may not vote here, so that they do not learn the outcome."""
    try:
        check_open(approval, approval.thread)
    except Refusal:
        if sentence := voters.why_not(approval, by, thread=approval.thread, rule=Rule.of(approval.rule)):
            raise Denied(sentence, permission="policy", policy=approval.rule.get("source", "")) from None
        raise


def check_content(approval: Approval, ballot: Ballot, edits: CheckedEdits) -> None:
    """Raise InvalidEdit or InvalidAnswer for content that the graph cannot take: it would stay with the thread for
    good.

    It needs no lock: `check_ballot` refuses the ballot if the question was stored anew since.
    """
    if has_excerpt([ballot.edits, ballot.answer]):
        raise InvalidAnswer("An excerpt stands here for a value that is too long to be shown: send the value itself.")
    if edits.refused:
        raise edits.refused
    if ballot.is_as_asked and (ballot.verdict != Verdict.APPROVE or ballot.edits):
        raise InvalidAnswer("As the agent asks means to approve without an edit: leave one of the two out.")
    if ballot.is_answered:
        _check_takes_answer(approval)
    if ballot.edits and ballot.verdict == Verdict.RESPOND and approval.kind == answers.BREAKPOINT:
        raise InvalidAnswer("Decide on each task, or edit the state: not both at once.")
    if ballot.is_answered and ballot.verdict != Verdict.RESPOND:
        raise InvalidAnswer(f"To {ballot.verdict} takes no answer: send it with the verdict respond.")
    if ballot.is_answered:
        _check_fits(approval, ballot.answer)


def check_answer(approval: Approval, answer: Any) -> None:
    """Raise InvalidAnswer with a path for each fault."""
    _check_takes_answer(approval)
    _check_fits(approval, answer)


def _check_takes_answer(approval: Approval) -> None:
    if not answers.takes_answer(approval):
        raise InvalidAnswer("This takes no answer; send edits to change the state.")


def _check_fits(approval: Approval, answer: Any) -> None:
    if faults := answers.faults_in(approval, answer):
        raise InvalidAnswer("The answer does not fit the question.", faults=[fault.as_dict() for fault in faults])


def check_person(here: Locked, verdict: str, by: User) -> vouching.Log:
    """Raise Denied unless this person may cast such a vote now. Return what the log says of everybody concerned."""
    permissions.take_rights(by, here.rights)
    permissions.check_vote(by, verdict)
    check_voter(here, by, verdict)
    token = permissions.token_of(by)
    log = vouching.read([here.approval], people=[by.pk or 0, *here.voters], token=token)
    _check_vouched(log, by)
    return log


def check_ballot(
    here: Locked, seen: Approval, ballot: Ballot, log: vouching.Log, by: User, *, refused: Refusal | None
) -> None:
    """Raise whatever prevents this ballot from counting. `seen` and `refused` are from before the lock."""
    if not is_off("one_decision"):
        check_open(here.approval, here.thread)
    check_question(log, here)
    _check_free(here, by)
    _check_seen(here, ballot, by)
    check_head(here)
    _check_allowed(here, ballot, by)
    if ballot.has_content and any(getattr(here.approval, name) != getattr(seen, name) for name in READ):
        raise Stale(READ_ANEW)
    if refused:
        raise refused
    is_proposed = here.approval.proposal is not None and here.approval.proposal["verdict"] == Verdict.RESPOND
    if ballot.verdict == Verdict.RESPOND and not ballot.is_answered and not is_proposed:
        raise InvalidAnswer("Send the answer: nobody has proposed one that you could agree with.")


def check_voter(here: Locked, by: User, verdict: str = "approve") -> None:
    """Raise Denied if the policy does not let this person vote here."""
    if sentence := voters.why_not(here.approval, by, thread=here.thread, rule=here.rule, verdict=verdict):
        raise Denied(sentence, permission="policy", policy=here.rule.source)


def _check_vouched(log: vouching.Log, by: User) -> None:
    """Raise Denied if the log does not have a role or the token that the vote rests on."""
    sentence = vouching.why_not_person(log, by.pk, by.get_username(), permissions.memberships_of(by))
    if sentence := sentence or vouching.why_not_token(log, permissions.token_of(by), by.pk):
        raise Denied(sentence, permission="vouched")


def check_question(log: vouching.Log, here: Locked) -> None:
    """Raise Altered for a question that is not as asked, Unvouched for a rule that nobody wrote."""
    differing = vouching.what_differs(log, here.approval)
    if differing:
        raise Altered(vouching.why_not_altered(differing), columns=differing)
    if differing := vouching.thread_differs(log, here.thread) or vouching.reading_differs(log, here.thread):
        raise Altered(vouching.why_not_thread(differing), columns=differing)
    if sentence := vouching.why_not_rule(log, here.approval):
        raise Unvouched(sentence, policy=here.rule.source)


def check_head(here: Locked) -> None:
    """Raise Busy or Stale unless the thread stands where the question was asked."""
    if sentence := policies.why_not_held(status=here.thread.status):
        raise Busy(sentence)
    if is_off("head_check"):
        return
    if here.approval.interrupt_id and Run.objects.filter(thread=here.thread, status=RunStatus.HELD).exists():
        raise Busy("The answer to another question of this thread is held. Say first how its run goes on.")
    rests_on = here.thread.reading_for(here.approval)
    if (was := Bound.of(rests_on.bound)) and not is_off("bytes_check"):
        return _check_bound(here, was)
    head = checkpoints.read_head(here.thread.pk)
    if head is None:
        raise Stale("The thread's checkpoints are gone.", checkpoint_id=None)
    if (head.checkpoint_id, head.writes) != (here.approval.head, rests_on.head_writes):
        raise Stale("The agent moved this thread since you looked.", checkpoint_id=head.checkpoint_id)


def _check_bound(here: Locked, was: Bound) -> None:
    """Raise Stale if any byte that the question rests on has changed."""
    if changes := checkpoints.changed(here.thread.pk, was):
        raise Stale(bound_bytes.why(changes), what=changes[:MOST_TOLD])


def _check_seen(here: Locked, ballot: Ballot, by: User) -> None:
    if ballot.seen_digest == here.approval.digest or is_off("digest_check"):
        return
    if by.pk in here.voters:  # what is proposed is their own, or has their vote
        raise AlreadyVoted(VOTED)
    if here.approval.proposal is None and here.approval.votes.exclude(ended_at=None).exists():
        raise Stale("What you were shown is no longer proposed: what the agent asks stands again. Look at that.")
    if ballot.seen_digest == here.approval.shown_digest or here.approval.votes.exclude(ended_at=None).exists():
        raise Stale("Somebody proposed something else since you looked. Look at it again.")
    raise Stale("This is not what you were shown: the digest differs. Look at it again.")


def _check_free(here: Locked, by: User) -> None:
    approval = here.approval
    if sentence := policies.why_not_expired(
        here.rule, due_at=approval.due_at, now=here.now, allowed=approval.allowed_verdicts
    ):
        raise Expired(sentence)
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
