"""From one approval of a list to its neighbours: Next, Back, skip, snooze, undo."""

from contextlib import suppress
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from approvals.actions.votes import claims, snoozes
from approvals.actions.votes.undo import undo
from approvals.compiled import planned_by_value
from approvals.errors import NotFound
from approvals.views.approval import get_approval
from approvals.views.lists import came_from, own_list
from approvals.views.pages import Request, redirect_after_post


@require_safe
def next_one(request: Request, approval_id: UUID) -> HttpResponse:
    """Open what follows in the list that the person came from; at its end the first, and without any the queue."""
    return _stepped(request, approval_id, is_back=False)


@require_safe
def one_before(request: Request, approval_id: UUID) -> HttpResponse:
    return _stepped(request, approval_id, is_back=True)


def _stepped(request: Request, approval_id: UUID, *, is_back: bool) -> HttpResponse:
    found = get_approval(request.user, approval_id)
    asked = came_from(request) or own_list(request.user)
    with planned_by_value():
        step = asked.step_back(found) if is_back else asked.step_on(found)
    if step is None:
        return redirect(f"{reverse('queue')}{asked.address}")
    return redirect(f"{reverse('approval', args=[step[0].pk])}{step[1].address}")


@require_POST
def skip(request: Request, approval_id: UUID) -> HttpResponse:
    """Leave it for now: end one's claim, if there is one, and open the next."""
    with suppress(NotFound):
        claims.release(approval_id=approval_id, by=request.user)
    return to_next(request, approval_id)


@require_POST
def snooze(request: Request, approval_id: UUID) -> HttpResponse:
    minutes = request.POST.get("minutes", "")
    is_number = minutes.isascii() and minutes.isdigit() and len(minutes) < 8
    snoozed = snoozes.snooze(approval_id=approval_id, minutes=int(minutes) if is_number else 0, by=request.user)
    messages.success(request, f"Snoozed until {snoozed.until:%d %b %Y, %H:%M} UTC.")
    return to_next(request, approval_id)


@require_POST
def wake(request: Request, approval_id: UUID) -> HttpResponse:
    snoozes.wake(approval_id=approval_id, by=request.user)
    messages.success(request, "It is among what needs you again.")
    return _with_list(request, redirect_after_post("approval", approval_id))


@require_POST
def take_back(request: Request, approval_id: UUID) -> HttpResponse:
    """Undo one's vote before its run begins, and open the question that is asked again."""
    again = undo(approval_id=approval_id, by=request.user)
    messages.success(request, "Taken back: nothing ran. It is asked again, and what you had typed is kept.")
    return _with_list(request, redirect_after_post("approval", again.pk))


def to_next(request: Request, approval_id: UUID) -> HttpResponse:
    """Redirect to what follows in the list that the person came from."""
    return _with_list(request, redirect_after_post("next_one", approval_id))


def _with_list(request: Request, response: HttpResponse) -> HttpResponse:
    came = came_from(request)
    response["Location"] += came.address if came else ""
    return response
