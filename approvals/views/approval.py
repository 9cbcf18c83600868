"""One approval: the action, the state, its place in the graph, and what came of it."""

from typing import Any
from uuid import UUID, uuid4

from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_safe

from approvals import permissions, policies
from approvals.enums import ThreadStatus
from approvals.errors import NotFound
from approvals.models import Approval, Draft, Graph, Run
from approvals.permissions import User
from approvals.presenters import approvals as shown
from approvals.presenters.queue import row_of
from approvals.presenters.runs import run_of
from approvals.presenters.values import conversations_of, differences, state_of
from approvals.text import count_odd, json_text
from approvals.views.editing import Editing, editing_of
from approvals.views.pages import Request, page_or_part
from approvals.views.queue import listed, side_context


@require_safe
def approval(request: Request, approval_id: UUID) -> HttpResponse:
    found = get_approval(request.user, approval_id)
    graph = graph_of(found)
    draft = draft_of(request.user, found.thread_id) if found.is_pending else None
    use = draft if "draft" in request.GET else None
    editing = editing_of(found, graph, edits=use.edits if use else None, mode=request.GET.get("edit", "form"))
    context = page_context(request, found, graph, editing) | {
        "is_edit_open": "edit" in request.GET or bool(use and use.edits),
        "draft": None if use else draft,
        "comment": use.comment if use else "",
    }
    return render(request, "approval.html", context)


@require_GET
def standing(request: Request, approval_id: UUID) -> HttpResponse:
    """Whether an open page is still true: 204 while it is, else who decided. It then asks no more."""
    found = get_approval(request.user, approval_id)
    if found.is_pending:
        return HttpResponse(status=204)
    return render(request, "approval.html#standing", {"approval": found, "row": row_of(found)})


@require_GET
def run(request: Request, approval_id: UUID) -> HttpResponse:
    """The run that carries out the decision; asks again by itself until it has ended."""
    found = get_approval(request.user, approval_id)
    context = run_context(request, found, graph_of(found)) | {"is_fragment": bool(request.htmx)}
    return page_or_part(request, "run.html", "run", context)


@require_safe
def raw(request: Request, approval_id: UUID) -> HttpResponseBase:
    """What was shown, as JSON: its digest is over these values."""
    found = get_approval(request.user, approval_id)
    return JsonResponse(
        {"digest": found.digest, "request": found.request, "actions": found.actions, "state": found.state}
    )


def get_approval(user: User, approval_id: UUID) -> Approval:
    permissions.check_view(user)
    wanted = Approval.objects.select_related("thread__started_by", "decision__vote", "decision__run")
    found = wanted.filter(pk=approval_id).first()
    if found is None:
        raise NotFound("There is no such approval.")
    return found


def draft_of(by: User, thread_id: str) -> Draft | None:
    return Draft.objects.filter(user_id=by.pk or 0, thread_id=thread_id).first()


def graph_of(found: Approval) -> Graph | None:
    return Graph.objects.filter(pk=found.graph_id).first()


def page_context(request: Request, found: Approval, graph: Graph | None, editing: Editing) -> dict[str, Any]:
    actions = shown.actions_of(found, graph)
    return {
        "approval": found,
        "row": row_of(found),
        "thread": found.thread,
        "graph": graph,
        "actions": actions,
        "drawing": shown.picture_of(found, graph),
        "conversations": conversations_of(found.state),
        "odd": count_odd([found.request, found.state]),
        "notice": policies.why_not_edit_blocked(blocked=found.blocked),
        "state": state_of(found.state),
        "request_json": json_text(found.request),
        "choices": shown.choices_of(found, request.user),
        "editing": editing,
        "groups": list(editing.form.groups(shown.shown_first(actions))),
        "key": uuid4(),
        "decision": decision_of(found),
        "next_titles": shown.titles_of(found.next, graph),
        "others": row_list(Approval.objects.filter(thread_id=found.thread_id).exclude(pk=found.pk)),
        **side_context(str(found.pk)),
        **run_context(request, found, graph),
    }


def row_list(found: Any) -> list[Any]:
    return [row_of(item) for item in listed(found.order_by("-created_at"))[:10]]


def decision_of(found: Approval) -> shown.DecisionShown | None:
    decision = getattr(found, "decision", None)
    return shown.decision_of(decision) if decision else None


def run_context(request: Request, found: Approval, graph: Graph | None) -> dict[str, Any]:
    decision = getattr(found, "decision", None)
    carried: Run | None = getattr(decision, "run", None)
    if carried is None:
        return {"run": None, "next_up": None if found.is_pending else next_up(found)}
    newest = Run.objects.filter(thread_id=found.thread_id).order_by("-created_at").values_list("pk", flat=True).first()
    is_last = newest == carried.pk
    waits = Approval.objects.pending().filter(thread_id=found.thread_id).first() if is_last else None
    return {
        "approval": found,
        "run": run_of(carried, graph, upcoming=upcoming_of(found)),
        "is_last_run": is_last,
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
        "changes": differences(found.state, found.thread.state) if is_last and not carried.is_active else [],
        "waits_again": row_of(waits) if waits else None,
        "thread_sentence": str(ThreadStatus(found.thread.status).label),
        "thread": found.thread,
        "next_up": next_up(found),
        "drawing": shown.picture_of(found, graph),
    }


def upcoming_of(found: Approval) -> list[str]:
    """Return the nodes that surely run next: after a rejection none, after an edit it may be others."""
    vote = found.decision.vote
    return found.next if vote.verdict != "reject" and not vote.edits else []


def next_up(found: Approval) -> Any:
    """Return the next in the queue, if anything waits."""
    waiting = listed(Approval.objects.pending().exclude(pk=found.pk).oldest_first()).first()
    return row_of(waiting) if waiting else None
