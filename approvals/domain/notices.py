"""Notices: sentences to a person about something that happened while they were away."""

from collections.abc import Iterable
from uuid import UUID

from approvals.models import Notice


def tell(told: Iterable[tuple[int, UUID]], text: str) -> None:
    """Store a notice for each pair of user id and approval id."""
    Notice.objects.bulk_create(Notice(user_id=user, approval_id=approval, text=text) for user, approval in set(told))
