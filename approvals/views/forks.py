"""Fork a checkpoint, replay a thread from one, and run a thread on from where it stands."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from agentcore.plain import timeline
from agentcore.plain.json import canonical
from approvals.actions.runs import starts
from approvals.actions.threads import forks, history, replays
from approvals.domain import permissions
from approvals.errors import Conflict, Invalid, InvalidEdit, Unavailable
from approvals.forms.edits import EditForm
from approvals.forms.schema import SchemaForm
from approvals.models import Graph, Thread
from approvals.presenters.history import Point, point_of
from approvals.views.pages import Request, redirect_after_post
from approvals.views.start import below_input, form_of
from approvals.views.threads import get_thread

HOW = {"same": "As it is", "edit": "With an edit", "input": "With other input"}


@require_http_methods(["GET", "HEAD", "POST"])
def fork(request: Request, thread_id: str, checkpoint_id: str) -> HttpResponse:
    """Fork to a new thread: unchanged, with an edit, or with new input."""
    permissions.check_fork(request.user)
    thread, graph, point, values = _at(request, thread_id, checkpoint_id)
    how = request.POST.get("how", "same")
    edit, input = _edit_form(thread, graph, values, request, how), _input_form(graph, request, how)
    problem, do = "", request.POST.get("do", "")
    if input.owns(do):
        input, how = input.changed(do), "input"
    elif edit.change(do):
        how = "edit"
    elif request.method == "POST":
        try:
            given = _given(how, edit, input, request)
            if given is not None:
                where = {"thread_id": thread.pk, "checkpoint_id": checkpoint_id}
                made = forks.fork_thread(**where, **given, by=request.user)
                messages.success(request, "Forked. The old thread is as it was.")
                return redirect_after_post("thread", made.pk)
        except (Invalid, Conflict, Unavailable) as refused:
            problem = _placed(refused, how, edit, input)
    context = {
        "thread": thread,
        "graph": graph,
        "point": point,
        "how": how,
        "ways": HOW.items(),
        "edit": edit,
        "groups": list(edit.groups()),
        "input": input,
        "as_node": request.POST.get("as_node", ""),
        "nodes": graph.card["nodes"],
        "problem": problem,
    }
    return render(request, "fork.html", context, status=422 if problem or edit.errors else 200)


def _at(request: Request, thread_id: str, checkpoint_id: str) -> tuple[Thread, Graph, Point, dict[str, Any]]:
    thread = get_thread(request.user, thread_id)
    graph = forks.graph_of(thread)
    [kept] = history.states([(thread, checkpoint_id)])
    point = point_of(kept.moment, history.around(thread, kept.moment), thread, graph)
    return thread, graph, point, timeline.shown(kept, graph.record.secrets)


def _edit_form(thread: Thread, graph: Graph, values: dict[str, Any], request: Request, how: str) -> EditForm:
    card = graph.record
    opaque = [name for name, value in values.items() if '"__type__"' in canonical(value)]
    data = request.POST if request.method == "POST" and how == "edit" else None
    return EditForm(card.channels, values, opaque=opaque, secrets=card.secrets, thread_id=thread.pk, data=data)


def _input_form(graph: Graph, request: Request, how: str) -> SchemaForm:
    return form_of(graph, request.POST if request.method == "POST" and how == "input" else None)


def _given(how: str, edit: EditForm, input: SchemaForm, request: Request) -> dict[str, Any] | None:
    """Return what to fork with; None if a form has faults."""
    if how == "edit" and edit.is_valid():
        given = {"edits": edit.edits(), "as_node": request.POST.get("as_node", "")}
        if not any(given.values()):
            raise Invalid("Nothing is changed yet. Change a field, or fork it as it is.")
        return given
    if how == "edit":
        return None
    if how == "input":
        return {"input": input.value()} if input.is_valid() else None
    return {}


def _placed(refused: Any, how: str, edit: EditForm, input: SchemaForm) -> str:
    """Put each fault at its field; return the faults without a field."""
    faults = refused.detail.get("faults") or []
    if how == "input":
        input.add_faults(below_input(faults))
    elif how == "edit" and isinstance(refused, InvalidEdit) and edit.is_bound:
        edit.add_faults([fault for fault in faults if fault["path"] not in ("", "as_node")])
    return str(refused.message)


@require_http_methods(["GET", "HEAD", "POST"])
def replay(request: Request, thread_id: str, checkpoint_id: str) -> HttpResponse:
    """Replay the same thread, once its id is typed."""
    permissions.check_replay(request.user)
    thread, _, point, _ = _at(request, thread_id, checkpoint_id)
    typed, problem = request.POST.get("typed_id", ""), ""
    if request.method == "POST":
        try:
            where = {"thread_id": thread.pk, "checkpoint_id": checkpoint_id}
            replays.replay_thread(**where, typed_id=typed, by=request.user)
        except (Invalid, Conflict) as refused:
            problem = refused.message
        else:
            messages.success(request, "The thread goes back.")
            return redirect_after_post("thread", thread.pk)
    context = {"thread": thread, "point": point, "typed": typed, "problem": problem}
    return render(request, "replay.html", context, status=422 if problem else 200)


@require_POST
def go_on(request: Request, thread_id: str) -> HttpResponse:
    """Run on a thread that is ready to run, such as a fork in the middle of its graph."""
    thread = get_thread(request.user, thread_id)
    starts.start_run(thread_id=thread.pk, graph_id=thread.graph_id, input=None, by=request.user)
    messages.success(request, "Started.")
    return redirect_after_post("thread", thread.pk)
