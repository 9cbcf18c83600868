"""Start a run: choose a graph and fill in its input."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from agentcore.plain.types import GraphCard
from approvals.actions.runs.starts import start_run
from approvals.actions.threads.creation import create_thread
from approvals.actions.workers.presence import broken_graphs
from approvals.domain import permissions
from approvals.errors import Conflict, Invalid, NotFound
from approvals.forms.options import OptionsForm
from approvals.forms.schema import SchemaForm
from approvals.models import Graph, Thread
from approvals.presenters.graphs import drawing_of
from approvals.views.pages import Request, redirect_after_post


@require_safe
def start(request: Request) -> HttpResponse:
    permissions.check_start_run(request.user)
    graphs = [graph.record for graph in Graph.objects.order_by("pk")]
    return render(request, "start.html", {"graphs": graphs, "broken": broken_graphs().items()})


@require_http_methods(["GET", "HEAD", "POST"])
def start_graph(request: Request, graph_id: str) -> HttpResponse:
    permissions.check_start_run(request.user)
    graph = Graph.objects.filter(pk=graph_id).first()
    if graph is None:
        raise NotFound("No graph has this name. See the graphs on the start page.")
    given = request.POST if request.method == "POST" else request.GET
    thread_id, status = given.get("thread_id", "").strip(), 200
    posted = request.POST if request.method == "POST" else None
    form = form_of(graph, posted, is_new=not _has_run(thread_id))
    options = OptionsForm(graph.record, posted)
    context: dict[str, Any] = {"graph": graph, "card": graph.record, "drawing": drawing_of(graph.card), "problem": ""}
    if form.owns(request.POST.get("do", "")):
        form = form.changed(request.POST["do"])
    elif options.change(request.POST.get("do", "")):
        pass
    elif request.method == "POST" and form.is_valid() & options.is_valid():
        try:
            return _start(request, graph_id, thread_id, {"input": form.value(), **options.given()})
        except (Invalid, Conflict) as refused:
            context["problem"] = refused.message
            faults = refused.detail.get("faults") or []
            options.add_faults(faults)
            form.add_faults(below_input(fault for fault in faults if fault["path"].startswith("input")))
    if form.errors or options.has_errors or context["problem"]:
        status = 422
    context |= {"form": form, "options": options, "thread_id": thread_id}
    return render(request, "start_graph.html", context, status=status)


def _start(request: Request, graph_id: str, thread_id: str, given: dict[str, Any]) -> HttpResponse:
    thread = create_thread(thread_id=thread_id or None, if_exists="do_nothing", by=request.user)
    start_run(thread_id=thread.pk, graph_id=graph_id, **given, by=request.user)
    messages.success(request, "Started.")
    return redirect_after_post("thread", thread.pk)


def _has_run(thread_id: str) -> bool:
    is_id = bool(thread_id) and "\x00" not in thread_id
    return is_id and Thread.objects.filter(pk=thread_id).exclude(checkpoint_id="").exists()


def form_of(graph: Graph, data: Any, *, is_new: bool = True) -> SchemaForm:
    """Make the form of a graph's input. A thread that has run needs no field of it."""
    schema = graph.record.input_schema or {}
    if schema.get("properties"):
        return SchemaForm(_of_fields(graph.record, schema, is_new), prefix="input", data=data)
    is_known = schema.get("type") not in (None, "object")
    return SchemaForm(
        schema if is_known else None, prefix="input", data=data, label="Input" if is_known else "Input as JSON"
    )


def _of_fields(card: GraphCard, schema: dict[str, Any], is_new: bool) -> dict[str, Any]:
    """Few fields are needed: LangGraph demands none."""
    required = [name for name in card.needed if is_new and name in schema["properties"]]
    return {**schema, "title": "Input", "required": required}


def below_input(faults: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return the faults of an input with paths relative to the form."""
    return [{**fault, "path": fault["path"].removeprefix("input").removeprefix("/")} for fault in faults]
