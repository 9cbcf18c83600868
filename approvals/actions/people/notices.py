"""Notices: sentences to a person about something that happened while they were away."""

from collections.abc import Iterable
from uuid import UUID

from django.utils import timezone

from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import NotFound
from approvals.live import events, relay
from approvals.models import Notice


def tell(told: Iterable[tuple[int, UUID]], text: str) -> None:
    """Store a notice for each pair of user id and approval id, and have their open pages show it."""
    told = set(told)
    Notice.objects.bulk_create(Notice(user_id=user, approval_id=approval, text=text) for user, approval in told)
    if told:
        relay.announce([events.person_topic(user) for user, _ in told])


def see_notice(*, notice_id: int, by: User) -> Notice:
    """Mark a notice as seen. Raises NotFound for somebody else's notice."""
    permissions.check_view(by)
    mine = Notice.objects.filter(pk=notice_id, user_id=by.pk or 0)
    if mine.filter(seen_at=None).update(seen_at=timezone.now()):
        relay.announce([events.person_topic(by.pk or 0)])
    notice = mine.first()
    if notice is None:
        raise NotFound("You have no such notice.")
    return notice
