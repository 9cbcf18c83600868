"""Claims: one person reserves an approval for a while, so that two do not read the same thing."""

from datetime import timedelta
from uuid import UUID

from approvals import audit
from approvals.actions.votes import checks, locks
from approvals.domain import permissions, policies
from approvals.domain.permissions import User
from approvals.errors import Claimed, NotFound
from approvals.live import events
from approvals.models import Approval

CLAIM_MINUTES = 15


def claim(*, approval_id: UUID, is_take_over: bool = False, by: User) -> Approval:
    """Claim it for 15 minutes, or renew the claim. Raises Claimed while somebody else has it, unless it is taken
    over.

    Raises Denied, NotFound, AlreadyDecided, Superseded or Expired as a vote would.
    """
    permissions.check_vote(by, "approve")
    with audit.transaction():
        here = locks.lock(locks.find(approval_id))
        permissions.check_again(by, "vote")
        approval = here.approval
        checks.check_voter(here, by)
        checks.check_open(approval, here.thread)
        holder = approval.claimed_by.get_username() if approval.claimed_by else ""
        held = policies.why_not_claimed(
            claimed_by=holder, claimed_until=approval.claimed_until, now=here.now, voter=by.get_username()
        )
        if held and not is_take_over:
            raise Claimed(held, by=holder)
        is_renewal = not held and holder == by.get_username()
        approval.claimed_by_id, approval.claimed_until = by.pk, here.now + timedelta(minutes=CLAIM_MINUTES)
        approval.save(update_fields=["claimed_by", "claimed_until"])
        events.publish(thread_id=approval.thread_id)
        if not is_renewal:
            _record("approval.taken_over" if held else "approval.claimed", approval, by, held_by=holder if held else "")
    return approval


def release(*, approval_id: UUID, by: User) -> Approval:
    """End one's claim. Raises NotFound if there is none."""
    permissions.check_view(by)
    with audit.transaction():
        approval = locks.lock(locks.find(approval_id)).approval
        permissions.check_again(by, "view")
        if approval.claimed_by_id is None or approval.claimed_by_id != by.pk:
            raise NotFound("You hold no claim on this.")
        approval.claimed_by, approval.claimed_until = None, None
        approval.save(update_fields=["claimed_by", "claimed_until"])
        events.publish(thread_id=approval.thread_id)
        _record("approval.released", approval, by)
    return approval


def _record(action: str, approval: Approval, by: User, **about: str) -> None:
    told = {"approval": str(approval.pk), **{name: value for name, value in about.items() if value}}
    audit.append(action, actor=by.get_username(), thread_id=approval.thread_id, object=told)
