"""The tray: what became of a person's own last votes, on whatever page they are."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.domain import permissions, queries
from approvals.presenters.steps import tray_of
from approvals.views.pages import Request

COOKIE = "countersign_tray"
LASTS_SECONDS = 600
"""So long after a vote a page asks what became of it."""
MOST_SHOWN = 3
SHOWN_SECONDS = 20.0


def note_vote(response: HttpResponse) -> HttpResponse:
    """Have the pages of the next minutes ask what became of the vote."""
    secure = settings.SESSION_COOKIE_SECURE
    response.set_cookie(COOKIE, "1", LASTS_SECONDS, samesite="Lax", httponly=True, secure=secure)
    return response


@require_safe
def tray(request: Request) -> HttpResponse:
    """The fragment asks again while a run goes on. It has no words that change with time alone, so that most of its
    answers are `unchanged`.
    """
    permissions.check_view(request.user)
    now = timezone.now()
    votes = queries.decided_by(request.user, since=now - timedelta(seconds=LASTS_SECONDS))[: 2 * MOST_SHOWN]
    items = tray_of(list(votes), now, shown_seconds=SHOWN_SECONDS)[:MOST_SHOWN]
    context = {
        "items": items,
        "is_moving": any(item.state in ("waiting", "running") for item in items),
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
    }
    return render(request, "tray.html", context)
