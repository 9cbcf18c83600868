"""What is too long for a page, whole: streamed, and remembered as opened."""

from uuid import UUID

from django.http import HttpResponseBase
from django.views.decorators.http import require_GET

from approvals.actions import open_whole
from approvals.presenters.exports import whole_of
from approvals.views.pages import Request


@require_GET
def of_approval(request: Request, approval_id: UUID) -> HttpResponseBase:
    return whole_of(open_whole.of_approval(approval_id=approval_id, part=request.GET.get("part", ""), by=request.user))


@require_GET
def of_thread(request: Request, thread_id: str) -> HttpResponseBase:
    thread_id, part = thread_id.replace("\x00", ""), request.GET.get("part", "")
    return whole_of(open_whole.of_thread(thread_id=thread_id, part=part, by=request.user))
