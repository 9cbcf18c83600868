"""Telling people what happened while they looked elsewhere."""

from collections.abc import Iterable
from uuid import UUID

from approvals.models import Notice


def tell(told: Iterable[tuple[int, UUID]], text: str) -> None:
    """Leave a notice for each pair of person and approval."""
    Notice.objects.bulk_create(Notice(user_id=user, approval_id=approval, text=text) for user, approval in set(told))
