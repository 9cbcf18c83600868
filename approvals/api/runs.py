"""Runs of a thread: start, read, and say how a stopped one goes on."""

from typing import Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from approvals.actions.runs import controls, joins, starts
from approvals.actions.votes import repairs
from approvals.api.auth import person, viewer
from approvals.api.errors import answers
from approvals.api.fields import Body, PlainObject, PlainValue, QueryFilters, Text, ThreadId
from approvals.api.schemas import SDK_STATUS, LogLineOut, RunLogOut, RunOut, SdkRunStatus, run_out
from approvals.errors import NotFound
from approvals.models import Run, RunLog, Thread

router = Router(tags=["runs"])
MOST_RUNS = 100
DEEPEST_OFFSET = 10_000


class NewRun(Body):
    """`assistant_id` is the graph's id in langgraph.json; `input` is what LangGraph takes.

    Refused is what certainly does not fit: another type than the graph's schema says, a name that the graph does not
    have. A required field may be missing: the thread may have it, or the graph may do without.

    `context` must fit the graph's context schema; of `config`, `configurable`, `recursion_limit` and `tags` are taken.
    They stay with the thread until its next input, so that decisions go on with them.

    What the LangGraph SDK sends on its own is taken; what would change how the graph runs, such as `command`,
    `checkpoint` or `interrupt_before`, is refused: gates belong to the graph.
    """

    assistant_id: Text = Field(max_length=200, examples=["refund"])
    input: PlainValue = None
    context: PlainValue = None
    config: PlainValue = None
    stream_mode: PlainValue = None
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    multitask_strategy: Literal["reject"] = "reject"
    if_not_exists: Literal["reject"] = "reject"
    durability: Literal["sync"] = "sync"


class RunFilters(QueryFilters):
    status: SdkRunStatus | None = None
    limit: int = Field(10, ge=1, le=MOST_RUNS)
    offset: int = Field(0, ge=0, le=DEEPEST_OFFSET)


@router.post("/threads/{any:thread_id}/runs", response=answers(RunOut, 404, 409, 413))
def create_run(request: HttpRequest, thread_id: ThreadId, new: NewRun) -> RunOut:
    """Give the thread new input and queue a run. 409 `busy` while it is paused or another run holds it. Operators."""
    given = {"input": new.input, "context": new.context, "config": new.config}
    run = starts.start_run(thread_id=thread_id, graph_id=new.assistant_id, **given, by=person(request))
    return run_out(run)


@router.post("/threads/{any:thread_id}/ask_again", response=answers(RunOut, 404, 409))
def ask_question_again(request: HttpRequest, thread_id: ThreadId) -> RunOut:
    """Have the question of a thread asked again: after an answer that its node failed with, or one given up.

    The stored answer is taken back, and a new approval opens; what others of the same step have done stays done. 409
    when there is nothing to ask again.
    """
    return run_out(repairs.ask_again(thread_id=thread_id, by=person(request)))


@router.get("/threads/{any:thread_id}/runs", response=answers(list[RunOut], 404))
def list_runs(request: HttpRequest, thread_id: ThreadId, filters: Query[RunFilters]) -> list[RunOut]:
    """List the thread's runs, newest first."""
    viewer(request)
    if not Thread.objects.filter(pk=thread_id).exists():
        raise NotFound("There is no such thread.")
    found = Run.objects.filter(thread_id=thread_id).order_by("-created_at", "-id")
    if filters.status:
        found = found.filter(status__in=[ours for ours, theirs in SDK_STATUS.items() if theirs == filters.status])
    return [run_out(run) for run in found[filters.offset : filters.offset + filters.limit]]


@router.get("/threads/{any:thread_id}/runs/{run_id}", response=answers(RunOut, 404))
def get_run(request: HttpRequest, thread_id: ThreadId, run_id: UUID) -> RunOut:
    """Read one run. 404 for a run of another thread."""
    viewer(request)
    run = Run.objects.filter(pk=run_id, thread_id=thread_id).first()
    if run is None:
        raise NotFound("The thread has no such run.")
    return run_out(run)


@router.get("/threads/{any:thread_id}/runs/{run_id}/join", response=answers(PlainObject, 404))
def join_run(request: HttpRequest, thread_id: ThreadId, run_id: UUID) -> PlainObject:
    """Wait until the run has stopped, at a pause too; the answer is the thread's values. 503 after 30 s: ask again."""
    viewer(request)
    return joins.join_run(thread_id=thread_id, run_id=run_id).state


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
