"""Settle a run: store how it stopped and what waits for people now, and end the lease, in one transaction."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import DataError
from django.db.models import OuterRef, QuerySet
from django.utils import timezone

from agentcore.graphs import resume, snapshots
from agentcore.graphs.pauses import pauses_at
from agentcore.plain.bound_bytes import BEHIND, Bound
from agentcore.plain.errors import UnreadableThread
from agentcore.plain.tables import Head
from agentcore.plain.types import NODE_GONE, NOTHING_RAN, Call, Failed, Finished, Mismatch, Outcome, Paused, Snapshot
from agentcore.testing.failpoints import reach
from approvals import audit, last_writes
from approvals.actions.runs import audit_entries, interference, leases, run_logs, taking
from approvals.actions.runs.kinds import kind_of
from approvals.actions.runs.taken import TakenRun, Work
from approvals.actions.threads import indexing, records
from approvals.compiled import compiled
from approvals.database import in_database
from approvals.domain import answers, bindings
from approvals.domain.run_metadata import RUN_KEY
from approvals.domain.run_traits import traits_of
from approvals.enums import RunStatus, ThreadStatus
from approvals.live import events
from approvals.models import Decision, Run, Thread

logger = logging.getLogger(__name__)

_TRIES = 5
_WRITTEN = ("status", "resume_from", "is_edited", "bound", "interfered", "error", "problem", "ended_at", "updated_at")
_STEPS = ("steps", "calls", "has_log")
NOT_STORABLE = "What the agent asks, or its state, holds something that the database cannot keep. Look at the agent."


class BoundHead:
    """Where a thread stands, and the versions of all rows that its tasks can read. None until `read` was called."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self.head: Head | None = None
        self.bound: Bound | None = None

    async def read(self) -> None:
        reach("run.ended")
        self.head, self.bound = await in_database(indexing.read_head_and_bound)(self._thread_id)


async def settle(
    work: Work, outcome: Outcome, head_at_stop: BoundHead | None = None, steps: Mapping[str, Any] | None = None
) -> None:
    """Store how the run stopped and its pauses, and give the lease back.

    With `head_at_stop`, read before the outcome, the snapshot of the outcome is stored if nothing has changed since.
    `steps` are columns of the run's row that are not written yet.
    """
    seen: records.Seen | None = None
    try:
        seen = await _look(work, outcome, head_at_stop)
    except UnreadableThread as error:
        outcome = outcome if isinstance(outcome, Failed) else Failed("UnreadableThread", str(error))
    if isinstance(outcome, Paused | Finished) and seen is None:
        outcome = Failed("ThreadGone", "The thread was deleted while it ran.")
    try:
        await in_database(store)(work.taken, outcome, seen, steps)
    except DataError:
        logger.exception("what a thread holds could not be stored", extra={"run_id": work.taken.run_id})
        await in_database(store)(work.taken, Failed("NotStorable", NOT_STORABLE), None, steps)


async def _look(work: Work, outcome: Outcome, head_at_stop: BoundHead | None) -> records.Seen | None:
    """Read where the thread stands and the bytes that its questions rest on, both as of one moment."""
    seen: records.Seen | None = None
    known = outcome.snapshot if head_at_stop and head_at_stop.head and isinstance(outcome, Paused | Finished) else None
    for _ in range(_TRIES):
        before = head_at_stop if head_at_stop and known else await _bound_head(work)
        snapshot = known or await snapshots.snapshot(work.graph, work.saver, work.taken.thread_id)
        known = None
        if before.head is None or before.bound is None or snapshot is None:
            return None
        is_asking = isinstance(outcome, Paused | Mismatch) or _has_done_nothing(outcome) or bool(snapshot.interrupts)
        pauses = pauses_at(work.graph, snapshot) if is_asking else []
        is_bound = bool(pauses) or isinstance(outcome, Failed)
        found = await indexing.bind(snapshot.thread_id, before.bound, snapshot) if is_bound else None
        seen = records.Seen(snapshot, pauses, before.head, found)
        if found or not pauses:
            return seen
    assert seen is not None
    # It never stands still: seen as it was a moment ago, and asking nobody until a sweep has found it at rest.
    return replace(seen, pauses=[], head=Head(seen.snapshot.checkpoint_id, ""))


async def _bound_head(work: Work) -> BoundHead:
    here = BoundHead(work.taken.thread_id)
    await here.read()
    return here


@audit.transaction()
def store(taken: TakenRun, outcome: Outcome, seen: records.Seen | None, steps: Mapping[str, Any] | None = None) -> None:
    """Store it, unless the worker has lost the thread. `seen` is None if the thread could not be read."""
    # What is large and stays as it is, now that the run has stopped, is read before the lock.
    [run] = _run(pk=UUID(taken.run_id))
    told = dict(steps or {})
    log = told.pop("log", None)
    for name, value in told.items():
        setattr(run, name, value)
    deviations = _deviations(run)
    Thread.objects.lock(taken.thread_id)
    taking.read_again(run)
    thread = run.thread
    if (thread.lease_owner, thread.fence, run.status) != (taken.owner, taken.fence, RunStatus.RUNNING):
        logger.error("a worker that lost its lease had a result; it is dropped", extra={"run_id": taken.run_id})
        return
    if run.decision:
        _note(run, run.decision, deviations)
    has_others = leases.let_go(taken.thread_id, taken.fence)
    if not isinstance(outcome, Mismatch):
        interference.note(run, has_others=has_others, since=taken.resume_from or taken.stood_at)
    if run.decision and run.decision.edits and not _is_refused(outcome):
        audit_entries.append("state.edited", run, approval=str(run.decision.approval_id), by=run.started_by)
    run.has_log = run.has_log or log is not None
    _store_outcome(run, outcome, seen)
    if log is not None:
        last_writes.write(run_logs.AT_END_SQL, run_logs.params_at_end(taken.run_id, log))
    _store_thread(thread, run, outcome, seen)


@compiled
def _run(pk: UUID) -> "QuerySet[Run]":
    runs = Run.objects.select_related("decision__approval").defer("steps", "decision__approval__state")
    return runs.annotate(agent=bindings.agent_of(OuterRef("graph_id"))).filter(pk=pk)


def _store_outcome(run: Run, outcome: Outcome, seen: records.Seen | None) -> None:
    match outcome:
        case Paused():
            _end(run, RunStatus.PAUSED, "run.paused")
        case Finished():
            _end(run, RunStatus.FINISHED, kind_of(run.kind).finished_as(run))
        case Failed():
            run.error, run.problem = outcome.error, outcome.message
            if seen:
                stand_at(run, seen.snapshot)
                run.bound = seen.bound.plain() if seen.bound and run.entered_at else None
            _end(run, RunStatus.FAILED, "run.failed", error=outcome.error, node=outcome.node)
        case Mismatch():
            run.problem = outcome.reason
            _end(run, RunStatus.SUPERSEDED, "run.superseded", expected=outcome.expected, found=outcome.found)
            if outcome.reason == BEHIND and run.decision:
                records.record_tampering(run.decision.approval, outcome.changes)


def _store_thread(thread: Thread, run: Run, outcome: Outcome, seen: records.Seen | None) -> None:
    thread.lease_owner, thread.lease_until = "", None
    if seen is None:
        thread.status, thread.updated_at = ThreadStatus.ERROR, timezone.now()
        last_writes.update(thread)
        events.publish(thread_id=thread.pk)
        return
    # Also what was decided, but not carried out: nobody else would ever ask it again.
    is_undone = isinstance(outcome, Mismatch) or _has_done_nothing(outcome)
    is_asked_again = is_undone or traits_of(run.kind).asks_again
    records.store(thread, seen, is_asked_again=is_asked_again, after=run)


def stand_at(run: Run, here: Snapshot) -> None:
    """Have the next attempt of the run go on from where its thread stands."""
    is_own = here.source == "update" and here.metadata.get(RUN_KEY) == str(run.pk)
    asked_at = run.decision.approval.head if run.decision else None
    run.is_edited = is_own and here.parent_checkpoint_id == asked_at
    run.resume_from = here.checkpoint_id


def _end(run: Run, status: RunStatus, action: str, **about: Any) -> None:
    run.status, run.ended_at, run.updated_at = status, timezone.now(), timezone.now()
    last_writes.update(run, [*_WRITTEN, *(_STEPS if "steps" in vars(run) else ())])
    audit_entries.append(action, run, **about)


def _has_done_nothing(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.error == NOTHING_RAN


def _is_refused(outcome: Outcome) -> bool:
    is_nothing_done = isinstance(outcome, Failed) and outcome.error in (resume.INVALID_EDIT, NODE_GONE)
    return isinstance(outcome, Mismatch) or is_nothing_done


def _deviations(run: Run) -> list[str]:
    """Name tools that ran against the decision: an agent may skip an answer, and run a rejected call.

    It reads what may be large, so it is called before the thread is locked. Nobody adds calls to a run that stopped.
    """
    decision = run.decision
    return answers.deviations(decision.approval, decision, [Call(**call) for call in run.calls]) if decision else []


def _note(run: Run, decision: Decision, found: list[str]) -> None:
    if set(found) <= set(decision.deviations):
        return
    decision.deviations = list(dict.fromkeys([*decision.deviations, *found]))
    decision.save(update_fields=["deviations"])
    about = {"run": str(run.pk), "approval": str(decision.approval_id), "decision": str(decision.pk)}
    audit.append_by_worker(
        "decision.not_followed",
        thread_id=run.thread_id,
        object={**about, "what": found},
        outcome="deviated",
        rows=audit.told(decision, "deviations"),
    )
