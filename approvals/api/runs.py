"""Runs of a thread: start, read, and say how a stopped one goes on."""

from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from ninja.responses import Status
from pydantic import Field

from approvals.actions.runs import controls
from approvals.actions.votes import repairs
from approvals.api.auth import person, viewer
from approvals.api.errors import answers
from approvals.api.fields import PlainObject, QueryFilters, ThreadId
from approvals.api.new_runs import NewRun, begin_run
from approvals.api.schemas import SDK_STATUS, LogLineOut, RunLogOut, RunOut, SdkRunStatus, run_out
from approvals.api.selection import RunField, selected
from approvals.domain import permissions
from approvals.errors import NotFound, NotOffered
from approvals.models import Run, RunLog, Thread

router = Router(tags=["runs"])
MOST_RUNS = 100
DEEPEST_OFFSET = 10_000
ROLLING_BACK = (
    "What a run has written stays: cancel it with action=interrupt, and fork an earlier checkpoint to go back."
)


class RunFilters(QueryFilters):
    status: SdkRunStatus | None = None
    limit: int = Field(10, ge=1, le=MOST_RUNS)
    offset: int = Field(0, ge=0, le=DEEPEST_OFFSET)
    select: list[RunField] | None = Field(None, description="Only these fields of each run.")


class CancelFilters(QueryFilters):
    wait: bool = Field(False, description="A run is over as soon as it is cancelled, so there is nothing to wait for.")
    action: Literal["interrupt", "rollback"] = "interrupt"


@router.post("/threads/{part:thread_id}/runs", response=answers(RunOut, 404, 409, 410, 413, 501))
def create_run(request: HttpRequest, response: HttpResponse, thread_id: ThreadId, new: NewRun) -> RunOut:
    """Give the thread new input and queue a run; or, with `command.resume`, vote on what it asks.

    Input: operators; 409 `busy` while the thread is paused or another run holds it. A vote: whom the policy lets vote,
    as `POST /api/approvals/{id}/votes`; the answer is the run of the decision, or 409 `undecided` if the vote counts
    and others have to vote as well: `detail.may_vote` names them. 501 for what is not offered here.
    """
    run = begin_run(thread_id, new, by=person(request), key=request.headers.get("Idempotency-Key"))
    response["Content-Location"] = location_of(run)
    return run_out(run)


@router.post("/threads/{part:thread_id}/ask_again", response=answers(RunOut, 404, 409))
def ask_question_again(request: HttpRequest, thread_id: ThreadId) -> RunOut:
    """Have the question of a thread asked again: after an answer that its node failed with, or one given up.

    The stored answer is taken back, and a new approval opens; what others of the same step have done stays done. 409
    when there is nothing to ask again.
    """
    return run_out(repairs.ask_again(thread_id=thread_id, by=person(request)))


@router.get("/threads/{part:thread_id}/runs", response=answers(list[RunOut] | list[PlainObject], 404))
def list_runs(request: HttpRequest, thread_id: ThreadId, filters: Query[RunFilters]) -> list[RunOut] | list[Any]:
    """List the thread's runs, newest first."""
    viewer(request)
    if not Thread.objects.filter(pk=thread_id).exists():
        raise NotFound("There is no such thread.")
    found = Run.objects.filter(thread_id=thread_id).order_by("-created_at", "-id")
    if filters.status:
        found = found.filter(status__in=[ours for ours, theirs in SDK_STATUS.items() if theirs == filters.status])
    runs = [run_out(run) for run in found[filters.offset : filters.offset + filters.limit]]
    return selected(runs, filters.select) if filters.select else runs


@router.get("/threads/{part:thread_id}/runs/{run_id}", response=answers(RunOut, 404))
def get_run(request: HttpRequest, thread_id: ThreadId, run_id: UUID) -> RunOut:
    """Read one run. 404 for a run of another thread."""
    viewer(request)
    run = Run.objects.filter(pk=run_id, thread_id=thread_id).first()
    if run is None:
        raise NotFound("The thread has no such run.")
    return run_out(run)


@router.post("/threads/{part:thread_id}/runs/{run_id}/cancel", response=answers(None, 404, 409, 501, status=204))
def cancel_run_of_thread(
    request: HttpRequest, thread_id: ThreadId, run_id: UUID, how: Query[CancelFilters]
) -> Status[None]:
    """Stop a queued or running run, as `POST /api/runs/{run_id}/cancel` does. 404 for a run of another thread."""
    by = person(request)
    permissions.check_retry_run(by)
    if how.action == "rollback":
        raise NotOffered(ROLLING_BACK)
    if not Run.objects.filter(pk=run_id, thread_id=thread_id).exists():
        raise NotFound("The thread has no such run.")
    controls.cancel_run(run_id=run_id, by=by)
    return Status(204, None)


@router.get("/runs/{run_id}/log", response=answers(RunLogOut, 404))
def get_run_log(request: HttpRequest, run_id: UUID) -> RunLogOut:
    """Read what the code of a run printed, logged and warned of, so far. Secrets are masked."""
    viewer(request)
    kept = RunLog.objects.filter(pk=run_id).first()
    if kept is None and not Run.objects.filter(pk=run_id).exists():
        raise NotFound("There is no such run.")
    lines = [LogLineOut(**line) for line in kept.lines] if kept else []
    return RunLogOut(run_id=run_id, lines=lines, dropped=kept.dropped if kept else 0)


@router.post("/runs/{run_id}/retry", response=answers(RunOut, 404, 409))
def retry_run(request: HttpRequest, run_id: UUID) -> RunOut:
    """Queue a failed or held run again, from where it stopped: the pending node runs again from its top."""
    return run_out(controls.retry_run(run_id=run_id, by=person(request)))


@router.post("/runs/{run_id}/give_up", response=answers(RunOut, 404, 409))
def give_up_run(request: HttpRequest, run_id: UUID) -> RunOut:
    """Leave the thread of a failed or held run where it stands; nothing more runs."""
    return run_out(controls.give_up_run(run_id=run_id, by=person(request)))


@router.post("/runs/{run_id}/cancel", response=answers(RunOut, 404, 409))
def cancel_run(request: HttpRequest, run_id: UUID) -> RunOut:
    """Stop a queued or running run: nothing its worker writes is accepted any more. A node may still be running."""
    return run_out(controls.cancel_run(run_id=run_id, by=person(request)))


def location_of(run: Run) -> str:
    """Return where the run is found, as clients of a LangGraph server look for it."""
    return f"/threads/{quote(run.thread_id, safe='')}/runs/{run.pk}"
