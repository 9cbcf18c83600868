"""Snooze an approval: until a time it is not among what needs this person. Nobody else notices."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from approvals.actions.votes import locks
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import Invalid
from approvals.live import events, relay
from approvals.models import Snooze

LONGEST_DAYS = 60


def snooze(*, approval_id: UUID, minutes: int, by: User) -> Snooze:
    """Snooze it for so many minutes, or until its deadline if that is earlier. Raises Invalid or NotFound."""
    permissions.check_vote(by, "approve")
    asked = locks.find(approval_id)
    if not 0 < minutes <= LONGEST_DAYS * 24 * 60:
        raise Invalid(f"Snooze it until a time within the next {LONGEST_DAYS} days.")
    if not asked.is_pending:
        raise Invalid("This is not open any more, so there is nothing to snooze.")
    until = timezone.now() + timedelta(minutes=minutes)
    if asked.due_at is not None:
        until = min(until, asked.due_at)
    if until <= timezone.now():
        raise Invalid("Its deadline has passed, so it cannot be snoozed.")
    stored, _ = Snooze.objects.update_or_create(user_id=by.pk or 0, approval=asked, defaults={"until": until})
    relay.announce([events.person_topic(by.pk or 0)])
    return stored


def wake(*, approval_id: UUID, by: User) -> None:
    """End one's snooze, if there is one."""
    permissions.check_view(by)
    if Snooze.objects.filter(user_id=by.pk or 0, approval_id=approval_id).delete()[0]:
        relay.announce([events.person_topic(by.pk or 0)])
