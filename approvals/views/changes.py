"""Changes of policies, people and groups that another admin has to confirm."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals.actions.people import changes, people
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.models import Change
from approvals.presenters.changes import ChangeShown, change_of, title_of
from approvals.views.pages import Request, redirect_after_post

MOST_CLOSED = 50


@require_safe
def show(request: Request) -> HttpResponse:
    permissions.check_set_policy(request.user)
    found = Change.objects.select_related("proposed_by", "closed_by")
    waiting = list(changes.open_changes().select_related("proposed_by", "closed_by").order_by("proposed_at"))
    closed = list(found.exclude(pk__in=[change.pk for change in waiting]).order_by("-proposed_at")[:MOST_CLOSED])
    context = {
        "is_on": changes.is_guarded(),
        "admins": people.count_admins(),
        "waiting": [_open(change, request.user) for change in waiting],
        "closed": [change_of(change, request.user, is_open=False) for change in closed],
        "days": Change.OPEN_DAYS,
    }
    return render(request, "changes.html", context)


def _open(change: Change, by: User) -> ChangeShown:
    return change_of(change, by, is_open=True, why_not_confirm=changes.why_not_confirm(change, by))


@require_POST
def confirm(request: Request, change_id: UUID) -> HttpResponse:
    change = changes.confirm(change_id=change_id, by=request.user)
    messages.success(request, f"Confirmed: {title_of(change)}.")
    return redirect_after_post("changes")


@require_POST
def refuse(request: Request, change_id: UUID) -> HttpResponse:
    change = changes.refuse(change_id=change_id, reason=request.POST.get("reason", ""), by=request.user)
    messages.success(request, f"{change.get_status_display()}: {title_of(change)}.")
    return redirect_after_post("changes")


@require_POST
def two_admins(request: Request) -> HttpResponse:
    if request.POST.get("do") == "on":
        changes.turn_on(by=request.user)
        messages.success(request, "From now on two admins are needed.")
    else:
        changes.turn_off(by=request.user)
        messages.success(request, "Proposed. It is off once another admin has confirmed it.")
    return redirect_after_post("changes")
