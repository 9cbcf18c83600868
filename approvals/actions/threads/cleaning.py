"""Force-clean a thread: remove its checkpoints, its open questions and its stored state."""

import time
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db import OperationalError, transaction
from django.utils import timezone

from agentcore.testing.failpoints import reach
from approvals import audit, checkpoints
from approvals.actions.runs import leases, subscriptions
from approvals.actions.threads import records
from approvals.audit.rows import EMPTIED
from approvals.domain import outages, permissions
from approvals.domain.permissions import User
from approvals.enums import ACTIVE_RUNS, STUCK_RUNS, ApprovalStatus, RunStatus, ThreadStatus
from approvals.errors import Gone, Invalid, NotFound
from approvals.jobs import job_queue
from approvals.live import events
from approvals.models import Approval, Decision, Draft, Run, RunLog, Thread, TrialResult, Vote

BATCH_SIZE = 500
"""Most rows of each table that one transaction deletes: longer transactions would block writers."""
PATIENCE_SECONDS = 10.0
"""How long a person who removes a thread waits for its rows to be deleted; a worker deletes the rest."""
MOST_NAMED = 200
"""Subgraphs whose rows the entry counts one by one."""
LOOK_AGAIN_SECONDS = 3.0
SWEEP_SIZE = 50


@dataclass(frozen=True)
class Cleaning:
    """What is, or would be, removed: rows of each checkpoint table, open approvals, runs that are given up.

    `namespaces` counts the same rows by graph: the empty name is the thread's own graph, the others are subgraphs.
    """

    rows: dict[str, int]
    approvals: int
    runs: int
    namespaces: dict[str, int] = field(default_factory=dict)


def plan(*, thread_id: str, by: User) -> Cleaning:
    """Count what a force-clean would remove. Changes nothing."""
    permissions.check_force_clean(by)
    return _plan(_existing(thread_id) or Thread(pk=thread_id))


def _plan(thread: Thread) -> Cleaning:
    return _with_ours(thread, count(thread.pk))


def count(thread_id: str) -> Cleaning:
    """Count the rows of the checkpoint tables. They may be many, so this is done before the thread is locked."""
    with checkpoints.open_tables() as tables:
        return Cleaning(tables.count_rows(thread_id), 0, 0, tables.count_by_namespace(thread_id))


def _with_ours(thread: Thread, counted: Cleaning) -> Cleaning:
    open_runs = Run.objects.filter(thread=thread, status__in=[*ACTIVE_RUNS, *STUCK_RUNS]).count()
    return replace(counted, approvals=Approval.objects.pending().filter(thread=thread).count(), runs=open_runs)


def force_clean(*, thread_id: str, reason: str, by: User) -> Cleaning:
    """Lay a tombstone, raise the fence and delete the thread's rows. Votes, decisions and the audit log stay.

    Once the tombstone is committed nobody can write to the thread. So the rows are deleted in small steps: here for a
    moment, then by a worker, which also deletes what was being written at that moment.
    """
    permissions.check_force_clean(by)
    if not reason.strip():
        raise Invalid("Say why the thread is removed: the reason goes into the record.")
    if _existing(thread_id) is None:
        Thread.objects.get_or_create(pk=thread_id)
    counted = count(thread_id)
    with audit.transaction():
        thread = Thread.objects.locked(thread_id)
        permissions.check_again(by, "force_clean")
        if thread.cleaned_at:
            raise Gone("This thread was force-cleaned before.")
        done = remove(thread, counted, "thread.force_cleaned", reason=reason.strip(), by=by.get_username())
    empty(thread_id)
    return done


def remove(thread: Thread, counted: Cleaning, action: str, *, reason: str, by: str, kind: str = "person") -> Cleaning:
    """Take a thread, whose row is locked, from its worker; close what is open, and refuse further writes.

    Checkpoints in another database refuse them only once the caller has committed and calls `empty`: a rollback here
    would not undo it there. A job does it as well, for callers that die between the two.
    """
    with audit.transaction():
        done = _with_ours(thread, counted)
        rows = _erase(thread, f"Force-cleaned by {by}: {reason}")
        events.publish(thread_id=thread.pk)
        audit.append(
            action,
            actor=by,
            actor_kind=kind,
            thread_id=thread.pk,
            object={
                "rows": done.rows,
                "namespaces": dict(list(done.namespaces.items())[:MOST_NAMED]),
                "approvals": done.approvals,
                "runs": done.runs,
                "graph": thread.graph_id,
                "checkpoint": thread.checkpoint_id,
            },
            texts={"reason": reason},
            rows=rows,
        )
        if checkpoints.is_elsewhere():
            job_queue.enqueue("empty_thread", thread_id=thread.pk)
        else:
            checkpoints.lay_tombstone(thread.pk)
    return done


def empty(thread_id: str) -> None:
    """Delete the rows of a removed thread for a short time, after the commit. A worker deletes the rest."""
    with outages.put_off("the emptying of a thread", thread_id=thread_id):
        lay_tombstone_and_empty(thread_id)


def lay_tombstone_and_empty(thread_id: str) -> None:
    """Refuse further writes, if that is not yet so, and delete rows for a short time."""
    if checkpoints.is_elsewhere():
        checkpoints.lay_tombstone(thread_id)
    _empty(thread_id, until=time.monotonic() + PATIENCE_SECONDS)


def _empty(thread_id: str, *, until: float) -> bool:
    """Delete the thread's rows in short transactions. Return False if time ran out."""
    while time.monotonic() < until:
        try:
            with transaction.atomic(using=checkpoints.database()), checkpoints.open_tables() as tables:
                is_empty = not any(tables.delete_rows(thread_id, limit=BATCH_SIZE).values())
                reach("clean.deleted")
            if is_empty:
                return True
        except OperationalError:  # a writer held one of the rows: a worker will try again
            return False
    return False


def look_again() -> None:
    """Delete rows that removed threads still have, and record which have none left. Runs at each sweep."""
    until = time.monotonic() + LOOK_AGAIN_SECONDS
    with checkpoints.open_tables() as tables:
        waiting = tables.threads_to_empty(limit=SWEEP_SIZE)
    for thread_id in waiting:
        _empty(thread_id, until=until)
    with checkpoints.open_tables() as tables:
        emptied = tables.threads_emptied(settled_seconds=settings.EMPTIED_SECONDS)
    if emptied:
        _settle(emptied)


def _settle(emptied: dict[str, int]) -> None:
    """Write the entry first: a crash after it repeats the entry, which is better than losing it."""
    with audit.transaction():
        for thread_id, deleted in emptied.items():
            about = {"deleted": deleted, "left": 0}
            audit.append_by_worker("thread.emptied", thread_id=thread_id, object=about)
    with checkpoints.open_tables() as tables:
        tables.settle(list(emptied))


def _existing(thread_id: str) -> Thread | None:
    """Return the thread; None if it has checkpoints but was not indexed yet. Raises NotFound."""
    thread = Thread.objects.filter(pk=thread_id).first()
    if thread is None and (len(thread_id) > records.LONGEST_ID or checkpoints.read_head(thread_id) is None):
        raise NotFound("There is no such thread.")
    return thread


def _erase(thread: Thread, why: str) -> audit.Told:
    """Close and empty the thread's rows. Return what the entry records of them, apart from emptied columns."""
    now = timezone.now()
    Thread.objects.filter(pk=thread.pk).update(
        cleaned_at=now, updated_at=now, status=ThreadStatus.IDLE, state={}, next=[], metadata={}, problem=why,
        checkpoint_id="", title="", unbound=None, claims={}, **EMPTIED["thread"],
    )  # fmt: skip
    leases.revoke(thread)
    asked = list(Approval.objects.pending().filter(thread=thread).without_content())
    told = "An admin removed this thread. What you voted or reserved no longer counts."
    rows = records.tell_voters(asked, told)
    rows |= {audit.key_of(each): {"status": ApprovalStatus.CLEANED.value} for each in asked}
    Approval.objects.pending().filter(thread=thread).update(status=ApprovalStatus.CLEANED, closed_at=now)
    Approval.objects.filter(thread=thread).update(**EMPTIED["approval"])
    Vote.objects.filter(approval__thread=thread).update(**EMPTIED["vote"])
    Decision.objects.filter(approval__thread=thread).update(**EMPTIED["decision"])
    Draft.objects.filter(thread=thread).delete()
    TrialResult.objects.filter(thread=thread).delete()
    subscriptions.remove(thread.pk)
    given_up = list(Run.objects.filter(thread=thread, status__in=[*ACTIVE_RUNS, *STUCK_RUNS]).only("pk"))
    Run.objects.filter(pk__in=[run.pk for run in given_up]).update(
        status=RunStatus.CANCELLED, ended_at=now, updated_at=now
    )
    rows |= {audit.key_of(run): {"status": RunStatus.CANCELLED.value} for run in given_up}
    emptied = EMPTIED["run"]
    Run.objects.filter(thread=thread).update(**emptied, problem="", steps=[], calls=[], has_log=False, metadata={})
    RunLog.objects.filter(run__thread=thread).delete()
    return rows
