"""The history of a thread: timeline, one checkpoint, and comparisons. Read without a worker."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from agentcore.plain import timeline
from agentcore.plain.timeline import KeptState
from approvals.actions.threads import history
from approvals.domain import permissions, policies
from approvals.errors import THREAD_CLEANED, Gone, Invalid
from approvals.models import Graph, Thread
from approvals.presenters.history import drawing_at, point_of, points_of
from approvals.presenters.values import differences_of, state_of
from approvals.views.pages import Request, page_or_part, words
from approvals.views.threads import get_thread


@require_safe
def show(request: Request, thread_id: str) -> HttpResponse:
    """List the checkpoints, newest first, in pages."""
    found, graph = _opened(request, thread_id)
    before = words(request, "before")
    page = history.page(found, before=before)
    context = {
        "thread": found,
        "points": points_of(page, found, graph),
        "more": page.more,
        "before": before,
        "drawing": drawing_at(page.moments, found, graph),
        "notice": policies.why_not_edit_blocked(blocked=found.blocked),
        **_rights(request),
    }
    return page_or_part(request, "history.html", "rows", context)


@require_safe
def compare(request: Request, thread_id: str) -> HttpResponse:
    """Redirect from two picked checkpoints to their comparison, the older one first."""
    found = get_thread(request.user, thread_id)
    one, other = words(request, "one"), words(request, "other")
    if not one or not other:
        raise Invalid("Pick two checkpoints to compare.")
    address = reverse("checkpoint", args=[found.pk, max(one, other)])
    return redirect(f"{address}?{urlencode({'with': min(one, other)})}")


@require_safe
def checkpoint(request: Request, thread_id: str, checkpoint_id: str) -> HttpResponse:
    """Show the state at a checkpoint, or the changes since another: `?with=CHECKPOINT`, `?with=THREAD:CHECKPOINT`."""
    found, graph = _opened(request, thread_id)
    other = _other(request, found)
    secrets = graph.record.secrets if graph else ()
    kept = history.states([(found, checkpoint_id), *([other] if other else [])])
    moment = kept[0].moment
    context: dict[str, Any] = {"thread": found, "graph": graph, **_rights(request)}
    context["point"] = point_of(moment, history.around(found, moment), found, graph)
    context["parent"] = moment.parent_id
    if other:
        context |= _comparison(found, kept, other, secrets)
    else:
        path = history.page(found, before=checkpoint_id).moments
        context["drawing"] = drawing_at([moment, *path], found, graph)
        context["state"] = state_of(timeline.shown(kept[0], secrets))
    return render(request, "checkpoint.html", context)


def _comparison(
    found: Thread, kept: list[KeptState], other: tuple[Thread, str], secrets: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "other_thread": other[0],
        "other_id": other[1],
        "other_step": kept[-1].moment.step,
        "is_other_thread": other[0].pk != found.pk,
        "differences": differences_of(timeline.changes(kept[-1], kept[0], secrets)),
    }


def _other(request: Request, found: Thread) -> tuple[Thread, str] | None:
    """Parse `with`: a checkpoint of this thread, or of another thread whose id stands before it."""
    given = request.GET.get("with", "").replace("\x00", "").strip()
    if not given:
        return None
    thread_id, _, checkpoint_id = given.rpartition(":")
    return (get_thread(request.user, thread_id) if thread_id else found), checkpoint_id


def _opened(request: Request, thread_id: str) -> tuple[Thread, Graph | None]:
    found = get_thread(request.user, thread_id)
    if found.cleaned_at:
        raise Gone(THREAD_CLEANED)
    return found, Graph.objects.filter(pk=found.graph_id).first()


def _rights(request: Request) -> dict[str, str]:
    return {
        "why_not_fork": permissions.why_not(request.user, "fork"),
        "why_not_replay": permissions.why_not(request.user, "replay"),
        "why_not_audit": permissions.why_not(request.user, "read_audit"),
    }
