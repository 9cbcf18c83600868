"""The list of threads, and the page of one thread."""

from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agentcore.plain.excerpts import cut_channels
from approvals.actions.threads import diagnosis as diagnose
from approvals.actions.threads import history
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.enums import ThreadStatus
from approvals.errors import NotFound
from approvals.models import Approval, Graph, Run, Thread
from approvals.presenters import queue
from approvals.presenters.graphs import drawing_of
from approvals.presenters.health import diagnosis_of
from approvals.presenters.runs import node_states, run_of
from approvals.presenters.threads import WORDS, row_of, rows_of
from approvals.presenters.values import state_of, value_of
from approvals.views.pages import Request, after_key, filtered_by_hand, one_page, other_query, page_or_part, words
from approvals.views.queue import listed


@require_safe
def threads(request: Request) -> HttpResponse:
    permissions.check_view(request.user)
    given = {name: words(request, name) for name in ("status", "graph", "q")}
    found = filtered(given)
    ordered = found.select_related("started_by").defer("state", "metadata").order_by("-updated_at", "-id")
    page, cursor = one_page(
        after_key(ordered, request.GET.get("cursor", ""), "updated_at", is_descending=True), "updated_at"
    )
    graphs = Graph.objects.in_bulk()
    context = {
        "rows": rows_of(page, graphs, diagnose.diagnose_all(page, by=request.user)),
        "count": found.count(),
        "given": given,
        "is_filtered": any(given.values()),
        "statuses": [(status.value, word) for status, word in WORDS.items()],
        "graphs": sorted(graphs),
        "here": other_query(request),
        "first": other_query(request, cursor="") if request.GET.get("cursor") else "",
        "more": other_query(request, cursor=cursor) if cursor else "",
    }
    return filtered_by_hand(request, page_or_part(request, "threads.html", "list", context))


def filtered(given: dict[str, str]) -> Any:
    found = Thread.objects.all()
    if given["status"] in ThreadStatus.values:
        found = found.filter(status=given["status"])
    if given["graph"]:
        found = found.filter(graph_id=given["graph"])
    if text := given["q"]:
        found = found.filter(Q(id__icontains=text) | Q(title__icontains=text))
    return found


@require_safe
def thread(request: Request, thread_id: str) -> HttpResponse:
    found = get_thread(request.user, thread_id)
    graph = Graph.objects.filter(pk=found.graph_id).first()
    if request.GET.get("part") == "state":
        return _state(request, found)
    runs = list(Run.objects.filter(thread=found).order_by("-created_at")[:20])
    approvals = listed(Approval.objects.filter(thread=found).order_by("-created_at"))[:20]
    diagnosis = diagnose.diagnose(thread_id=found.pk, by=request.user, may_wait=False)
    busy_here = found.next if found.status == ThreadStatus.INTERRUPTED else ()
    context = {
        "thread": found,
        "row": row_of(found, graph, diagnosis),
        "diagnosis": diagnosis_of(diagnosis, found, request.user),
        "drawing": drawing_of(graph.card, here=busy_here, states=node_states(runs[0]) if runs else {})
        if graph
        else None,
        "runs": [run_of(run, graph) for run in runs],
        "approvals": queue.rows_of(list(approvals)),
        "state": state_of(found.state),
        "questions": [value_of(each["value"]) for each in (found.unbound or {}).get("questions", ())],
        "cut": _cut(found),
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
        "why_not_clean": permissions.why_not(request.user, "force_clean"),
        **history.lineage(found),
    }
    return page_or_part(request, "thread.html", "live", context)


def _state(request: Request, found: Thread) -> HttpResponse:
    """Render the state again if the thread moved. Otherwise leave it, with what a person unfolded."""
    if request.GET.get("seen") == found.checkpoint_id:
        return HttpResponse(status=204)
    context = {"thread": found, "state": state_of(found.state), "cut": _cut(found)}
    return render(request, "thread.html#state", context)


def _cut(found: Thread) -> list[str]:
    return [f"state/{name}" for name in cut_channels(found.state)]


def get_thread(user: User, thread_id: str) -> Thread:
    permissions.check_view(user)
    found = Thread.objects.select_related("started_by").filter(pk=thread_id.replace("\x00", "")).first()
    if found is None:
        raise NotFound("There is no such thread.")
    return found
