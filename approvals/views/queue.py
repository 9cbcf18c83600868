"""The queue: what waits for people, and what was decided."""

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from approvals import permissions
from approvals.models import Approval, Graph
from approvals.presenters.queue import KINDS, rows_of
from approvals.views.pages import Request, after_key, filtered_by_hand, one_page, other_query, page_or_part, words

HEAVY = ("state", "request", "actions", "opaque", "thread__state", "thread__metadata")
SIDE_SIZE = 50


@require_safe
def queue(request: Request) -> HttpResponse:
    permissions.check_view(request.user)
    tab = "done" if request.GET.get("tab") == "done" else "open"
    found = filtered(request)
    open_ones, done = found.pending(), found.exclude(status="pending")
    shown, column = (open_ones.oldest_first(), "created_at") if tab == "open" else (newest_closed(done), "closed_at")
    page, cursor = one_page(
        after_key(listed(shown), request.GET.get("cursor", ""), column, is_descending=tab == "done"), column
    )
    context = {
        "tab": tab,
        "rows": rows_of(page),
        "counts": {"open": open_ones.count(), "done": done.count()},
        "query": {"open": other_query(request, tab="", cursor=""), "done": other_query(request, tab="done", cursor="")},
        "here": other_query(request),
        "first": other_query(request, cursor="") if request.GET.get("cursor") else "",
        "more": other_query(request, cursor=cursor) if cursor else "",
        "graphs": list(Graph.objects.order_by("pk").values_list("pk", flat=True)),
        "kinds": KINDS,
        "given": given(request),
        "is_filtered": any(given(request).values()),
    }
    return filtered_by_hand(request, page_or_part(request, "queue.html", "list", context))


@require_safe
def open_count(request: Request) -> HttpResponse:
    """The badge of the menu, and with it the notice under the menu: every page asks for them."""
    permissions.check_view(request.user)
    return render(request, "open_count.html", {"count": Approval.objects.pending().count()})


@require_safe
def side(request: Request) -> HttpResponse:
    """The list beside an open approval."""
    permissions.check_view(request.user)
    return render(request, "approval.html#side", side_context(request.GET.get("current", "")))


def side_context(current: str) -> dict[str, Any]:
    open_ones = Approval.objects.pending()
    rows = rows_of(listed(open_ones.oldest_first())[:SIDE_SIZE])
    return {"rows": rows, "current": current, "open_count": open_ones.count()}


def listed(found: QuerySet[Approval]) -> QuerySet[Approval]:
    """What a list needs, in one query, without the large columns."""
    return found.select_related("thread__started_by", "decision").defer(*HEAVY)


def newest_closed(found: QuerySet[Approval]) -> QuerySet[Approval]:
    return found.order_by("-closed_at", "-id")


def given(request: Request) -> dict[str, str]:
    return {name: words(request, name) for name in ("graph", "kind", "q")}


def filtered(request: Request) -> Any:
    asked = given(request)
    found = Approval.objects.all()
    if asked["graph"]:
        found = found.filter(graph_id=asked["graph"])
    if asked["kind"]:
        found = found.filter(kind=asked["kind"])
    if text := asked["q"]:
        found = found.filter(Q(title__icontains=text) | Q(summary__icontains=text) | Q(thread__id__icontains=text))
    return found
