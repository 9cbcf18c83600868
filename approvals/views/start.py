"""Start a run: pick a graph, fill in its input."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from approvals import permissions
from approvals.actions.create_thread import create_thread
from approvals.actions.start_run import start_run
from approvals.errors import Conflict, Invalid, NotFound
from approvals.forms import InputForm, JsonForm
from approvals.models import Graph
from approvals.presenters.graphs import drawing_of
from approvals.text import json_text
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
    schema = graph.record.input_schema or {}
    mode = request.POST.get("mode") or ("form" if schema.get("properties") else "json")
    order = [channel.name for channel in graph.record.channels]  # a schema kept as jsonb has lost its order
    form = InputForm(schema, order=order, data=request.POST if request.method == "POST" and mode == "form" else None)
    json_form = _json_form(request.POST if request.method == "POST" and mode == "json" else None)
    used: Any = json_form if mode == "json" else form
    context: dict[str, Any] = {"graph": graph, "card": graph.record, "drawing": drawing_of(graph.card), "problem": ""}
    thread_id = request.POST.get("thread_id", "").strip()
    if request.method == "POST" and used.is_valid():
        if request.POST.get("do") in ("as_json", "as_form"):
            form, json_form, mode, context["problem"] = _switched(schema, order, used.value(), mode)
        else:
            try:
                return _start(request, graph_id, thread_id, used.value())
            except (Invalid, Conflict) as refused:
                context["problem"] = refused.message
                used.add_faults(refused.detail.get("faults") or [])
    is_refused = request.method == "POST" and (not used.is_valid() or context["problem"])
    context |= {"form": form, "json_form": json_form, "mode": mode, "thread_id": thread_id}
    return render(request, "start_graph.html", context, status=422 if is_refused else 200)


def _start(request: Request, graph_id: str, thread_id: str, value: dict[str, Any]) -> HttpResponse:
    thread = create_thread(thread_id=thread_id or None, if_exists="do_nothing", by=request.user)
    start_run(thread_id=thread.pk, graph_id=graph_id, input=value, by=request.user)
    messages.success(request, "Started.")
    return redirect_after_post("thread", thread.pk)


def _switched(schema: Any, order: list[str], value: dict[str, Any], mode: str) -> tuple[InputForm, JsonForm, str, str]:
    """Show the same input in the other mode, or say why that cannot be."""
    as_json = _json_form({"raw": json_text(value)})
    if mode == "form":
        return InputForm(schema), as_json, "json", ""
    texts = InputForm(schema).texts_of(value)
    if texts is None or not schema.get("properties"):
        return InputForm(schema), as_json, "json", "This input has no place on the form. Go on in JSON."
    return InputForm(schema, order=order, data=texts), _json_form(None), "form", ""


def _json_form(data: Any) -> JsonForm:
    return JsonForm(data=data, label="Input as JSON", help_text="An object with the fields of the graph's input.")
