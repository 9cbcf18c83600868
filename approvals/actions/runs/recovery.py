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
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from agentcore.graphs import snapshots
from agentcore.plain.bound_bytes import BEHIND, Bound
from agentcore.plain.types import Conflict, Finished, Outcome, Paused, Snapshot
from agentcore.testing.failpoints import is_off
from approvals import audit, checkpoints
from approvals.actions.runs import execution, leases
from approvals.actions.runs.execution import Claim
from approvals.actions.threads import indexing
from approvals.actions.threads.indexing import RUN_KEY
from approvals.database import in_database
from approvals.domain import outages
from approvals.enums import OnCrash, RunKind, RunStatus, ThreadStatus
from approvals.jobs import queue as jobs
from approvals.jobs import runtime
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
            jobs.enqueue("execute_run", queue=jobs.graph_queue(run.graph_id), run_id=str(run.pk))
    dead = Run.objects.filter(Q(thread__lease_until=None) | Q(thread__lease_until__lt=Now()), status=RunStatus.RUNNING)
    for run in dead.order_by("updated_at")[:200]:
        jobs.enqueue("recover_run", queue=jobs.graph_queue(run.graph_id), run_id=str(run.pk))


async def recover_run(run_id: str) -> None:
    """Take over a run whose worker died, and do what is safe."""
    found = await in_database(_take_over)(run_id)
    if found is None:
        return
    claim, is_entered = found
    if not is_entered:
        return await in_database(_queue_again)(claim, None)
    worker = await runtime.worker()
    graph = worker.graphs.get(claim.graph_id)
    if graph is None:
        return await in_database(_hold)(claim, "No worker has its graph any more.", None)
    before = await in_database(checkpoints.read_bound)(claim.thread_id)
    here = await snapshots.snapshot(graph, worker.saver(claim.graph_id), claim.thread_id)
    bound = await indexing.bind(claim.thread_id, before, here) if before and here else None
    there = await snapshots.standing(graph, worker.saver(claim.graph_id), here, claim.namespace) if here else None
    if here and (outcome := _stopped_properly(claim, here) or _stopped_inside(claim, here, there)):
        return await execution.settle(claim, graph, worker.saver(claim.graph_id), outcome)
    if here and _is_moved(claim, here):
        conflict = Conflict(claim.resume_from, here.checkpoint_id, MOVED)
        return await execution.settle(claim, graph, worker.saver(claim.graph_id), conflict)
    if here and (changes := _changed(claim, bound)):
        tampered = Conflict(claim.resume_from, here.checkpoint_id, BEHIND, tuple(changes))
        return await execution.settle(claim, graph, worker.saver(claim.graph_id), tampered)
    if claim.kind == RunKind.START or claim.on_crash == OnCrash.RESUME or here and _is_over(claim, here):
        return await in_database(_queue_again)(claim, here, bound)
    await in_database(_hold)(claim, _question(here), here, bound)


def _stopped_properly(claim: Claim, here: Snapshot) -> Outcome | None:
    """A checkpoint of this run, past where it began, at a gate or at the end: it had stopped before its worker died.

    A question of `interrupt()` may be answered, and the next one asked, at one checkpoint. A question is stored when
    its own node stops; other nodes of the step may have been running.
    """
    if here.running:
        return None
    if _is_answered(claim, here):
        return Paused(here) if here.is_paused else None
    if here.metadata.get(RUN_KEY) != claim.run_id or here.checkpoint_id == claim.resume_from:
        return None
    if here.source == "update" and claim.kind == RunKind.RESUME:
        return None  # our own edit, and the graph was called since: a node may have been running
    if here.is_paused:
        return Paused(here)
    return None if here.waiting else Finished(here)


def _stopped_inside(claim: Claim, here: Snapshot, there: Snapshot | None) -> Outcome | None:
    """The same inside a subgraph, which leaves the thread's newest checkpoint as it is: at its next breakpoint."""
    if there is None or not claim.namespace or here.running or there.running:
        return None
    is_past = there.metadata.get(RUN_KEY) == claim.run_id and there.checkpoint_id != claim.namespace_at
    return Paused(here) if is_past and there.is_paused and there.source != "update" else None


def _is_answered(claim: Claim, here: Snapshot) -> bool:
    """Whether the question that this run answers waits no longer, at the checkpoint where it was asked."""
    asked = claim.answer.interrupt_id if claim.answer else ""
    if not asked or not here.interrupts or here.checkpoint_id != claim.resume_from:
        return False
    waits = {pending.id for pending in here.interrupts if not pending.is_poisoned}
    is_followed = any(asked in pending.after for pending in here.interrupts)
    return is_followed or asked not in waits | here.answers.keys()


def _is_over(claim: Claim, here: Snapshot) -> bool:
    """Whether the nodes of the step that was answered have all ended; that the step has is not stored. None ran."""
    is_there = bool(claim.answer and claim.answer.interrupt_id) and here.checkpoint_id == claim.resume_from
    return is_there and bool(here.waiting) and not (here.next or here.interrupts or here.errors)


def _is_moved(claim: Claim, here: Snapshot) -> bool:
    """True if the newest checkpoint is neither of this run nor the one it began at: then nobody knows what it meant."""
    is_ours = here.metadata.get(RUN_KEY) == claim.run_id
    return claim.kind == RunKind.RESUME and not is_ours and here.checkpoint_id != claim.resume_from


def _changed(claim: Claim, bound: Bound | None) -> list[str]:
    """Name the checkpoints that somebody changed in place: a run never does that, however far it came."""
    return claim.bound.rewritten(bound) if claim.bound and bound and not is_off("bytes_check") else []


def _question(here: Snapshot | None) -> str:
    nodes = ", ".join(here.waiting) if here and here.waiting else "a node"
    return (
        f"The worker stopped while {nodes} may have been running."
        " See whether its effect happened, then say how to go on."
    )


@audit.transaction()
def _take_over(run_id: str) -> tuple[Claim, bool] | None:
    taken = execution.take(run_id, when=RunStatus.RUNNING)
    if taken is None:
        return None
    run, claim = taken
    return claim, run.entered_at is not None


@audit.transaction()
def _queue_again(claim: Claim, here: Snapshot | None, bound: Bound | None = None) -> None:
    """Have it tried again from where the thread stands, after a pause that grows; after the last, ask a person."""
    if claim.attempts > len(BACK_OFF_SECONDS):
        return _hold(
            claim, f"Its worker died {claim.attempts} times. See what kills it, then say how to go on.", here, bound
        )
    if run := _still_ours(claim):
        pause = BACK_OFF_SECONDS[max(claim.attempts, 1) - 1]
        run.status, run.entered_at = RunStatus.QUEUED, None
        if here and claim.kind == RunKind.RESUME:
            execution.stand_at(run, here)
            run.bound = bound.plain() if bound else None
        _let_go(claim, run, ThreadStatus.BUSY)
        Run.objects.filter(pk=run.pk).update(retry_at=Now() + timedelta(seconds=pause))
        queue = jobs.graph_queue(run.graph_id)
        jobs.enqueue("execute_run", queue=queue, in_seconds=pause, run_id=claim.run_id)
        _audit("run.queued", claim, run, reason="its worker died", attempt=claim.attempts)


@audit.transaction()
def _hold(claim: Claim, question: str, here: Snapshot | None, bound: Bound | None = None) -> None:
    if run := _still_ours(claim):
        run.status, run.problem = RunStatus.HELD, question
        if here:
            execution.stand_at(run, here)
            run.bound = bound.plain() if bound else None
        _let_go(claim, run, ThreadStatus.ERROR)
        _audit("run.held", claim, run)


def _still_ours(claim: Claim) -> Run | None:
    thread = Thread.objects.locked(claim.thread_id)
    if (thread.lease_owner, thread.fence) != (claim.owner, claim.fence):
        return None
    return Run.objects.filter(pk=claim.run_id, status=RunStatus.RUNNING).first()


def _let_go(claim: Claim, run: Run, status: ThreadStatus) -> None:
    run.updated_at = timezone.now()
    run.save()
    leases.hold_no_more(claim.thread_id, claim.fence)
    Thread.objects.filter(pk=claim.thread_id).update(
        status=status, problem=run.problem, lease_owner="", lease_until=None, updated_at=timezone.now()
    )
    events.publish(thread_id=claim.thread_id)


def _audit(action: str, claim: Claim, run: Run, **about: Any) -> None:
    audit.append_by_worker(
        action,
        thread_id=claim.thread_id,
        object={"run": claim.run_id, "checkpoint": claim.resume_from, **about},
        rows=audit.told(run, *execution.EACH_TIME),
    )
