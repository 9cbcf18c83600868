"""Retry, give up or cancel a run, and see what its code printed."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from approvals.actions.runs import controls
from approvals.actions.votes import repairs
from approvals.domain import permissions
from approvals.errors import NotFound
from approvals.models import RUN_CONTENT, Run, RunLog, Thread
from approvals.presenters.runs import log_of
from approvals.views.pages import Request, page_or_part, redirect_after_post


@require_POST
def retry_run(request: Request, run_id: UUID) -> HttpResponse:
    run = controls.retry_run(run_id=run_id, by=request.user)
    messages.success(request, "Retrying.")
    return _back(run)


@require_POST
def give_up_run(request: Request, run_id: UUID) -> HttpResponse:
    run = controls.give_up_run(run_id=run_id, by=request.user)
    messages.success(request, "Given up. Nothing more runs.")
    return _back(run)


@require_POST
def cancel_run(request: Request, run_id: UUID) -> HttpResponse:
    run = controls.cancel_run(run_id=run_id, by=request.user)
    messages.success(request, "Cancelled. Nothing more is written.")
    return _back(run)


@require_POST
def ask_again(request: Request, thread_id: str) -> HttpResponse:
    repairs.ask_again(thread_id=thread_id, by=request.user)
    messages.success(request, "It is being asked again.")
    return redirect_after_post("thread", thread_id)


@require_safe
def log(request: Request, run_id: UUID) -> HttpResponse:
    """What the code of a run printed, logged and warned of."""
    permissions.check_view(request.user)
    if not Run.objects.filter(pk=run_id).exists():
        raise NotFound("There is no such run.")
    return _log(request, RunLog.objects.filter(run=run_id), run_id=run_id)


@require_safe
def newest_log(request: Request, thread_id: str) -> HttpResponse:
    """The log of the thread's newest run that has one. The fragment asks again when it is told of lines."""
    permissions.check_view(request.user)
    if "\x00" in thread_id or not Thread.objects.filter(pk=thread_id).exists():
        raise NotFound("There is no such thread.")
    found = RunLog.objects.filter(run__thread=thread_id).order_by("-run__created_at")
    return _log(request, found, thread_id=thread_id)


def _log(request: Request, found: QuerySet[RunLog], **of: Any) -> HttpResponse:
    kept = found.select_related("run").defer(*(f"run__{name}" for name in RUN_CONTENT)).first()
    return page_or_part(request, "log.html", "lines", {"log": log_of(kept) if kept else None, **of})


def _back(run: Run) -> HttpResponse:
    """Redirect to the approval that the run carries out, or to its thread."""
    if run.decision is not None:
        return redirect_after_post("approval", run.decision.approval_id)
    return redirect_after_post("thread", run.thread_id)
