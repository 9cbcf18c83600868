"""Vote on an approval. One transaction decides; everything after it can be repeated from what it stored."""

from uuid import UUID

from agentcore.testing.failpoints import is_off, reach
from approvals import audit
from approvals.actions.votes import alterations, ballots, checks, late_votes, locks, previews, tallies
from approvals.actions.votes.ballots import Ballot, Voted
from approvals.actions.votes.edits import CheckedEdits
from approvals.actions.votes.previews import Tried
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.enums import Verdict, VoteEnd
from approvals.errors import Altered, NotFound, Refusal, Stale, Superseded
from approvals.live import events
from approvals.models import Approval, Vote


def cast(*, approval_id: UUID, ballot: Ballot, by: User) -> Voted:
    """Cast a vote. If it decides, queue the run that carries the decision out.

    A vote with an edit is bound to what the edit leads to. Raises NotFound, Denied, AlreadyDecided, AlreadyVoted,
    Claimed, Superseded, Expired, Stale, OtherPreview, Busy, KeyReused, InvalidEdit, InvalidAnswer or Invalid; nothing
    is stored then.
    """
    permissions.check_view(by)
    seen = locks.find(approval_id, reads=locks.CONTENT if ballot.has_content else ())
    permissions.check_vote(by, ballot.verdict)
    edits = CheckedEdits.of(seen, ballot.edits, as_node=ballot.as_node, is_skip=ballot.verdict == Verdict.SKIP)
    ballot = ballots.read(ballot, edits.value)
    if answered := ballots.answered_before(seen, ballot, by):
        return answered
    try:
        if not is_off("one_decision"):
            checks.check_open_to(seen, by)  # a closed approval stays closed: do not wait for the lock
        refused = checks.why_refused(seen, ballot, edits)
        tried = Tried() if refused else previews.of_ballot(seen, ballot, edits, by)
        with audit.transaction():
            voted = _cast(seen, ballot, tried, refused, by)
    except Altered as refusal:
        alterations.note(seen, refusal.detail["columns"], by=by)
        raise
    except (Stale, Superseded) as refusal:
        # Only after the rollback: indexing the thread is a job, and a rolled-back job never runs.
        raise late_votes.explained(refusal, approval_id=approval_id) from None
    reach("decide.committed")
    return voted


def withdraw(*, approval_id: UUID, by: User) -> Vote:
    """Withdraw one's vote before the decision. Raises NotFound, AlreadyDecided, Superseded or Expired."""
    permissions.check_view(by)
    with audit.transaction():
        here = locks.lock(locks.find(approval_id))
        permissions.check_again(by, "view")
        checks.check_open(here.approval, here.thread)
        cast = here.approval.votes.counting().filter(voter_id=by.pk).first()
        if cast is None:
            raise NotFound("You have no vote on this that counts.")
        tallies.end(here, [cast], VoteEnd.WITHDRAWN)
        if here.approval.proposal and not here.approval.votes.counting().exclude(verdict=Verdict.REJECT).exists():
            tallies.propose(here, None)
            here.approval.save(update_fields=["proposal", "digest"])
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


def _cast(seen: Approval, ballot: Ballot, tried: Tried, refused: Refusal | None, by: User) -> Voted:
    here = locks.lock(seen, by=by)
    reach("decide.locked")
    log = checks.check_person(here, ballot.verdict, by)
    if answered := ballots.answered_before(here.approval, ballot, by):
        return answered
    checks.check_ballot(here, seen, ballot, log, by, refused=refused or tried.refused)
    return tallies.count(here, ballot, tried.preview, log, by)
