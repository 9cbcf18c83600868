"""The list of threads, and the page of one thread."""

from collections.abc import Collection
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agentcore.plain.excerpts import cut_channels
from approvals.actions.threads import diagnosis, history
from approvals.compiled import planned_by_value
from approvals.counts import Counted, Listed, read
from approvals.domain import permissions, search
from approvals.domain.permissions import User
from approvals.enums import ThreadStatus
from approvals.errors import NotFound
from approvals.models import Approval, Graph, Run, Thread
from approvals.presenters import queue
from approvals.presenters.graphs import Drawing, drawing_of
from approvals.presenters.health import diagnosis_of
from approvals.presenters.runs import node_states, run_of
from approvals.presenters.threads import WORDS, row_of, rows_of
from approvals.presenters.values import state_of, value_of
from approvals.views.lists import listed
from approvals.views.pages import (
    Request,
    after_key,
    filtered_by_hand,
    one_page,
    other_query,
    page_or_part,
    wants_part,
    words,
)

MOST_RUNS = 20
MOST_APPROVALS = 20
_NOT_OF_A_RUN = tuple(f"decision__approval__{name}" for name in ("state", "request", "actions", "opaque"))


@require_safe
def threads(request: Request) -> HttpResponse:
    permissions.check_view(request.user)
    given = {name: words(request, name) for name in ("status", "graph", "q")}
    found = filtered(given)
    ordered = found.select_related("started_by").defer("state", "metadata").order_by("-updated_at", "-id")
    after = after_key(ordered, request.GET.get("cursor", ""), "updated_at", is_descending=True)
    matching = search.matching(found, given["q"]) if given["q"] else found
    with planned_by_value():
        page, cursor = one_page(after, "updated_at", given["q"])
        told = read(
            count=Counted(matching, is_exact=bool(words(request, "exact"))),
            graphs=Listed(Graph.objects.order_by("id").values("id")),
        )
    graphs = diagnosis.graphs_of(page)
    context = {
        "rows": rows_of(page, graphs, diagnosis.diagnose_all(page, by=request.user, graphs=graphs)),
        "count": told["count"],
        "exact": other_query(request, exact="1"),
        "given": given,
        "is_filtered": any(given.values()),
        "statuses": [(status.value, word) for status, word in WORDS.items()],
        "graphs": [each["id"] for each in told["graphs"]],
        "here": other_query(request),
        "first": other_query(request, cursor="") if request.GET.get("cursor") else "",
        "more": other_query(request, cursor=cursor) if cursor else "",
    }
    return filtered_by_hand(request, page_or_part(request, "threads.html", "list", context))


def filtered(given: dict[str, str]) -> Any:
    """Select the threads of a graph and a status. What is searched for is not in it."""
    found = Thread.objects.all()
    if given["status"] in ThreadStatus.values:
        found = found.filter(status=given["status"])
    if given["graph"]:
        found = found.filter(graph_id=given["graph"])
    return found


@require_safe
def thread(request: Request, thread_id: str) -> HttpResponse:
    if request.GET.get("part") == "state":
        return _state(request, get_thread(request.user, thread_id))
    is_live = wants_part(request)
    found = get_thread(request.user, thread_id, without=("state", "metadata") if is_live else ())
    context = _live_context(request, found)
    if not is_live:
        context |= _state_context(found) | {"why_not_clean": permissions.why_not(request.user, "force_clean")}
    return page_or_part(request, "thread.html", "live", context)


def _live_context(request: Request, found: Thread) -> dict[str, Any]:
    """Return the context of the part that asks again when the thread changes.

    It does not read the state.
    """
    graph = Graph.objects.filter(pk=found.graph_id).first()
    recent = Run.objects.filter(thread=found).select_related("decision__approval").defer(*_NOT_OF_A_RUN)
    runs = list(recent.order_by("-created_at")[:MOST_RUNS])
    approvals = listed(Approval.objects.filter(thread=found).order_by("-created_at"))[:MOST_APPROVALS]
    diagnosed = diagnosis.diagnose(thread_id=found.pk, by=request.user, may_wait=False)
    return {
        "thread": found,
        "row": row_of(found, graph, diagnosed),
        "diagnosis": diagnosis_of(diagnosed, found, request.user),
        "drawing": _drawing(found, graph, runs),
        "runs": [run_of(run, graph) for run in runs],
        "approvals": queue.rows_of(list(approvals)),
        "questions": [value_of(each["value"]) for each in (found.unbound or {}).get("questions", ())],
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
        **history.lineage(found),
    }


def _drawing(found: Thread, graph: Graph | None, runs: list[Run]) -> Drawing | None:
    here = found.next if found.status == ThreadStatus.INTERRUPTED else ()
    return drawing_of(graph.card, here=here, states=node_states(runs[0] if runs else None)) if graph else None


def _state_context(found: Thread) -> dict[str, Any]:
    return {"state": state_of(found.state), "cut": [f"state/{name}" for name in cut_channels(found.state)]}


def _state(request: Request, found: Thread) -> HttpResponse:
    """Render the state again if the thread moved. Otherwise leave it, with what a person unfolded."""
    if request.GET.get("seen") == found.checkpoint_id:
        return HttpResponse(status=204)
    return render(request, "thread.html#state", {"thread": found, **_state_context(found)})


def get_thread(user: User, thread_id: str, *, without: Collection[str] = ()) -> Thread:
    """Return a thread, with the person who started it. Columns that the caller does not read can be left out."""
    permissions.check_view(user)
    wanted = Thread.objects.select_related("started_by").defer(*without)
    found = wanted.filter(pk=thread_id.replace("\x00", "")).first()
    if found is None:
        raise NotFound("There is no such thread.")
    return found
