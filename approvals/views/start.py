"""Start a run: choose a graph and fill in its input."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from approvals.actions.runs.starts import start_run
from approvals.actions.threads.creation import create_thread
from approvals.domain import permissions
from approvals.errors import Conflict, Invalid, NotFound
from approvals.forms.schema import SchemaForm
from approvals.models import Graph
from approvals.presenters.graphs import drawing_of
from approvals.views.pages import Request, redirect_after_post


@require_safe
def start(request: Request) -> HttpResponse:
    permissions.check_start_run(request.user)
    graphs = [graph.record for graph in Graph.objects.order_by("pk")]
    return render(request, "start.html", {"graphs": graphs})


@require_http_methods(["GET", "HEAD", "POST"])
def start_graph(request: Request, graph_id: str) -> HttpResponse:
    permissions.check_start_run(request.user)
    graph = Graph.objects.filter(pk=graph_id).first()
    if graph is None:
        raise NotFound("No graph has this name. See the graphs on the start page.")
    form = form_of(graph, request.POST if request.method == "POST" else None)
    context: dict[str, Any] = {"graph": graph, "card": graph.record, "drawing": drawing_of(graph.card), "problem": ""}
    given = request.POST if request.method == "POST" else request.GET
    thread_id, status = given.get("thread_id", "").strip(), 200
    if form.owns(request.POST.get("do", "")):
        form = form.changed(request.POST["do"])
    elif request.method == "POST" and form.is_valid():
        try:
            return _start(request, graph_id, thread_id, form.value())
        except (Invalid, Conflict) as refused:
            context["problem"] = refused.message
            form.add_faults(below_input(refused.detail.get("faults") or []))
    if form.errors or context["problem"]:
        status = 422
    return render(request, "start_graph.html", context | {"form": form, "thread_id": thread_id}, status=status)


def _start(request: Request, graph_id: str, thread_id: str, value: dict[str, Any]) -> HttpResponse:
    thread = create_thread(thread_id=thread_id or None, if_exists="do_nothing", by=request.user)
    start_run(thread_id=thread.pk, graph_id=graph_id, input=value, by=request.user)
    messages.success(request, "Started.")
    return redirect_after_post("thread", thread.pk)


def form_of(graph: Graph, data: Any) -> SchemaForm:
    """Make the form of a graph's input."""
    schema = _ordered(graph)
    return SchemaForm(schema, prefix="input", data=data, label="" if schema else "Input as JSON")


def _ordered(graph: Graph) -> dict[str, Any] | None:
    """Sort the input schema by the graph's channels: jsonb does not keep its order."""
    schema = graph.record.input_schema
    if not schema or not schema.get("properties"):
        return None
    order = dict.fromkeys([*(channel.name for channel in graph.record.channels), *schema["properties"]])
    properties = {name: schema["properties"][name] for name in order if name in schema["properties"]}
    required = [name for name in properties if name in schema.get("required", ())]
    return {**schema, "title": "Input", "properties": properties, "required": required}


def below_input(faults: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return the faults of an input with paths relative to the form."""
    return [{**fault, "path": fault["path"].removeprefix("input").removeprefix("/")} for fault in faults]
