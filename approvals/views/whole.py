"""Send a value whole, as a stream, and record that the person opened it."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.views.decorators.http import require_GET, require_POST

from approvals.actions.threads import whole_values
from approvals.views.pages import Request, redirect_after_post
from approvals.web.downloads import whole_of


@require_GET
def of_approval(request: Request, approval_id: UUID) -> HttpResponseBase:
    return whole_of(
        whole_values.of_approval(approval_id=approval_id, part=request.GET.get("part", ""), by=request.user)
    )


@require_POST
def see_end(request: Request, approval_id: UUID) -> HttpResponse:
    """Remember that somebody has read a folded value to its end: the button for it stands there."""
    part, seen_digest = request.POST.get("part", "").replace("\x00", ""), request.POST.get("seen_digest", "")
    whole_values.see_end(approval_id=approval_id, part=part, seen_digest=seen_digest, by=request.user)
    messages.success(request, "Seen to the end.")
    return redirect_after_post("approval", approval_id)


@require_GET
def of_thread(request: Request, thread_id: str) -> HttpResponseBase:
    thread_id, part = thread_id.replace("\x00", ""), request.GET.get("part", "")
    return whole_of(whole_values.of_thread(thread_id=thread_id, part=part, by=request.user))
