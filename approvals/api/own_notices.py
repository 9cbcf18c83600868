"""Notices to the person who asks: what happened while they were away."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from approvals.actions.people.notices import see_notice
from approvals.api.auth import person, viewer
from approvals.api.errors import answers
from approvals.api.schemas import NoticeOut, notice_out
from approvals.models import Notice

router = Router(tags=["notices"])
MOST_NOTICES = 100
NoticeId = Annotated[int, Field(ge=1, lt=2**63)]


@router.get("/notices", response=answers(list[NoticeOut]))
def list_notices(request: HttpRequest) -> list[NoticeOut]:
    """List your own notices that you have not put away, newest first, at most 100."""
    found = Notice.objects.filter(user_id=viewer(request).pk, seen_at=None).order_by("-created_at", "-id")
    return [notice_out(notice) for notice in found[:MOST_NOTICES]]


@router.post("/notices/{notice_id}/seen", response=answers(NoticeOut, 404))
def put_notice_away(request: HttpRequest, notice_id: NoticeId) -> NoticeOut:
    """Put one of your own notices away. Doing it again changes nothing."""
    return notice_out(see_notice(notice_id=notice_id, by=person(request)))
