"""Retry, give up or cancel a run."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.views.decorators.http import require_POST

from approvals.actions.runs import controls
from approvals.actions.votes import repairs
from approvals.models import Run
from approvals.views.pages import Request, redirect_after_post


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


def _back(run: Run) -> HttpResponse:
    """Redirect to the approval that the run carries out, or to its thread."""
    if run.decision is not None:
        return redirect_after_post("approval", run.decision.approval_id)
    return redirect_after_post("thread", run.thread_id)
