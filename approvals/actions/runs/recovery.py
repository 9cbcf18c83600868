"""Recover runs whose worker died, and jobs that were lost. It reads where the thread stands and never guesses.

* It never entered the graph, or no worker took it: queue it again.
* It stopped properly, but its worker died before storing that: store it now.
* Somebody else moved the thread: supersede it, and ask anew what is asked there now.
* It was started by input and died on the way to a gate: go on from its last checkpoint, or from its input.
* It carried out a decision and died: a node with an effect may have been running. The policy's `on_crash` says
  whether a person is asked or the run goes on.

Each attempt waits longer than the one before. After the fifth a person is asked, whatever the policy says.
"""

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from agentcore.graphs import snapshots
from agentcore.graphs.gates import with_gates
from agentcore.plain.bound_bytes import BEHIND, Bound
from agentcore.plain.types import Mismatch, Outcome, Snapshot
from agentcore.testing.failpoints import is_off
from approvals import audit, checkpoints
from approvals.actions.runs import audit_entries, leases, queueing, settling, taking
from approvals.actions.runs.kinds import kind_of
from approvals.actions.runs.taken import TakenRun, Work
from approvals.actions.threads import indexing
from approvals.database import in_database
from approvals.domain import outages
from approvals.domain.run_traits import traits_of
from approvals.enums import RunStatus, ThreadStatus
from approvals.jobs import job_queue, runtime
from approvals.live import events
from approvals.models import Run, Thread

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS = (1, 5, 25, 120, 600)
MOVED = "Its worker died, and somebody else moved the thread since. What is asked there now is asked anew."


def find_lost_runs() -> None:
    """Queue a job for each run that should be going on and is not."""
    untaken = timedelta(seconds=settings.UNTAKEN_SECONDS)
    waiting = Run.objects.filter(status=RunStatus.QUEUED, updated_at__lt=Now() - untaken)
    waiting = waiting.exclude(retry_at__gt=Now())
    for run in waiting.exclude(thread__lease_until__gt=Now()).order_by("updated_at")[:200]:
        with outages.skip_locked("a run that no worker took", run_id=str(run.pk)):
            Run.objects.filter(pk=run.pk).update(updated_at=timezone.now())
            queueing.enqueue(run)
    dead = Run.objects.filter(Q(thread__lease_until=None) | Q(thread__lease_until__lt=Now()), status=RunStatus.RUNNING)
    for run in dead.order_by("updated_at")[:200]:
        job_queue.enqueue("recover_run", queue=job_queue.graph_queue(run.graph_id), run_id=str(run.pk))


async def recover_run(run_id: str) -> None:
    """Take over a run whose worker died, and do what is safe."""
    found = await in_database(taking.take_over)(run_id)
    if found is None:
        return
    taken, is_entered = found
    if not is_entered:
        return await in_database(_queue_again)(taken, None)
    worker = await runtime.worker()
    graph = worker.graphs.get(taken.graph_id)
    if graph is None:
        return await in_database(_hold)(taken, "No worker has its graph any more.", None)
    await _recover(Work(taken, with_gates(graph, taken.options), worker.saver(taken.graph_id)))


async def _recover(work: Work) -> None:
    """Store that the run had stopped, have it begin again, or ask a person."""
    taken, kind = work.taken, kind_of(work.taken.kind)
    before = await in_database(checkpoints.read_bound)(taken.thread_id)
    here = await snapshots.snapshot(work.graph, work.saver, taken.thread_id)
    bound = await indexing.bind(taken.thread_id, before, here) if before and here else None
    if here and (outcome := await _stopped(work, here, bound)):
        return await settling.settle(work, outcome)
    if kind.may_begin_again(taken, here):
        return await in_database(_queue_again)(taken, here, bound)
    await in_database(_hold)(taken, _question(here), here, bound)


async def _stopped(work: Work, here: Snapshot, bound: Bound | None) -> Outcome | None:
    """Say how the run had stopped, or why it cannot go on; None if it can."""
    taken, kind = work.taken, kind_of(work.taken.kind)
    inside = await snapshots.subgraph_snapshot(
        work.graph, work.saver, here, taken.decided.namespace if taken.decided else ""
    )
    if outcome := kind.stopped(taken, here, inside):
        return outcome
    if kind.is_moved(taken, here):
        return Mismatch(taken.resume_from, here.checkpoint_id, MOVED)
    if changes := _changed(taken, bound):
        return Mismatch(taken.resume_from, here.checkpoint_id, BEHIND, tuple(changes))
    return None


def _changed(taken: TakenRun, bound: Bound | None) -> list[str]:
    """Name the checkpoints that somebody changed in place: a run never does that, however far it came."""
    was = taken.decided.bound if taken.decided else None
    return was.rewritten(bound) if was and bound and not is_off("bytes_check") else []


def _question(here: Snapshot | None) -> str:
    nodes = ", ".join(here.waiting) if here and here.waiting else "a node"
    return (
        f"The worker stopped while {nodes} may have been running."
        " See whether its effect happened, then say how to go on."
    )


@audit.transaction()
def _queue_again(taken: TakenRun, here: Snapshot | None, bound: Bound | None = None) -> None:
    """Have it tried again from where the thread stands, after a pause that grows; after the last, ask a person."""
    if taken.attempts > len(BACK_OFF_SECONDS):
        return _hold(
            taken, f"Its worker died {taken.attempts} times. See what kills it, then say how to go on.", here, bound
        )
    if run := _still_ours(taken):
        pause = BACK_OFF_SECONDS[max(taken.attempts, 1) - 1]
        if here and traits_of(run.kind).goes_on_from_head:
            settling.stand_at(run, here)
            run.bound = bound.plain() if bound else None
        queueing.queue_again(run, in_seconds=pause)
        _let_go(taken, run, ThreadStatus.BUSY)
        audit_entries.append(
            "run.queued", run, checkpoint=taken.resume_from, reason="its worker died", attempt=taken.attempts
        )


@audit.transaction()
def _hold(taken: TakenRun, question: str, here: Snapshot | None, bound: Bound | None = None) -> None:
    if run := _still_ours(taken):
        run.status, run.problem, run.updated_at = RunStatus.HELD, question, timezone.now()
        if here:
            settling.stand_at(run, here)
            run.bound = bound.plain() if bound else None
        run.save()
        _let_go(taken, run, ThreadStatus.ERROR)
        audit_entries.append("run.held", run, checkpoint=taken.resume_from)


def _still_ours(taken: TakenRun) -> Run | None:
    thread = Thread.objects.locked(taken.thread_id)
    if (thread.lease_owner, thread.fence) != (taken.owner, taken.fence):
        return None
    runs = Run.objects.select_related("decision__approval").without_content()
    return runs.filter(pk=taken.run_id, status=RunStatus.RUNNING).first()


def _let_go(taken: TakenRun, run: Run, status: ThreadStatus) -> None:
    leases.hold_no_more(taken.thread_id, taken.fence)
    Thread.objects.filter(pk=taken.thread_id).update(
        status=status, problem=run.problem, lease_owner="", lease_until=None, updated_at=timezone.now()
    )
    events.publish(thread_id=taken.thread_id)
