"""Store what somebody typed when they are refused, and offer it on the next question of the same thread."""

from typing import Any

from django.utils import timezone

from approvals.domain.permissions import User
from approvals.models import Draft


def keep_draft(*, thread_id: str, edits: dict[str, Any], answer: Any, comment: str, by: User) -> None:
    assert by.pk is not None
    if edits or comment or answer is not None:
        Draft.objects.update_or_create(
            user_id=by.pk,
            thread_id=thread_id,
            defaults={"edits": edits, "answer": answer, "comment": comment, "updated_at": timezone.now()},
        )


def drop_draft(*, thread_id: str, by: User) -> None:
    assert by.pk is not None
    Draft.objects.filter(user_id=by.pk, thread_id=thread_id).delete()
