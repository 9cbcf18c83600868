"""What a person does to a run: retry or give up a stopped one, cancel an active one."""

from typing import Any
from uuid import UUID

from django.utils import timezone

from agentcore.plain.types import NOTHING_RAN
from approvals import audit, checkpoints
from approvals.actions.runs import leases, queueing
from approvals.actions.runs.audit_entries import EACH_TIME
from approvals.domain import bindings, permissions
from approvals.domain.permissions import User
from approvals.domain.run_traits import traits_of
from approvals.enums import RunStatus, ThreadStatus
from approvals.errors import Conflict, NotFound
from approvals.jobs import job_queue
from approvals.live import events
from approvals.models import Run, Thread


def retry_run(*, run_id: UUID, by: User) -> Run:
    """Queue the run again from where it stopped. The pending node runs again from its beginning."""
    with audit.transaction():
        thread, run = _stuck(run_id, by)
        if run.error == NOTHING_RAN:
            raise Conflict("Nothing was carried out, and the question is open again: decide it anew.")
        bindings.check(thread)
        head = checkpoints.read_head(thread.pk)
        is_moved = head is None or head.checkpoint_id != run.resume_from
        if is_moved and traits_of(run.kind).goes_on_from_head:
            # Going on from a head that nobody saw could pass a gate that nobody approved.
            raise Conflict(
                "The agent moved the thread since this run stopped. Give the run up; a new pause is asked anew."
            )
        run.error, run.problem, run.ended_at, run.retry_at = "", "", None, None
        queueing.queue_again(run)
        _thread_becomes(thread, ThreadStatus.BUSY)
        _record("run.retried", run, by, checkpoint=run.resume_from)
    return run


def give_up_run(*, run_id: UUID, by: User) -> Run:
    """Give a stopped run up. The thread stays where it stands; nothing more runs."""
    with audit.transaction():
        thread, run = _stuck(run_id, by)
        run.status, run.ended_at, run.updated_at = RunStatus.CANCELLED, timezone.now(), timezone.now()
        run.save()
        _thread_becomes(thread, ThreadStatus.IDLE)
        _record("run.cancelled", run, by)
    return run


def cancel_run(*, run_id: UUID, by: User) -> Run:
    """Take the thread from its worker, whose writes are refused from then on. A node may still be running."""
    with audit.transaction():
        thread, run = _locked(run_id, by)
        if not run.is_active:
            raise Conflict(f"This run is {run.status}; only one that is queued or running can be cancelled.")
        leases.revoke(thread)
        run.status, run.ended_at, run.updated_at = RunStatus.CANCELLED, timezone.now(), timezone.now()
        doubt = " A node may have been running." if run.entered_at else ""
        run.problem = f"Cancelled by {by.get_username()}.{doubt}"
        run.save()
        _thread_becomes(thread, ThreadStatus.IDLE)
        job_queue.enqueue("index_thread", queue=job_queue.graph_queue(run.graph_id), thread_id=thread.pk)
        _record("run.cancelled", run, by, was_entered=run.entered_at is not None)
    return run


def _stuck(run_id: UUID, by: User) -> tuple[Thread, Run]:
    thread, run = _locked(run_id, by)
    if not run.is_stuck or Run.objects.newest_of(thread.pk) != run.pk:
        raise Conflict(
            f"This run is {run.status}; only the last run of a thread can be retried, after it failed or was held."
        )
    return thread, run


def _locked(run_id: UUID, by: User) -> tuple[Thread, Run]:
    """Lock the thread and read its run. Raises Denied or NotFound."""
    permissions.check_retry_run(by)
    thread_id = Run.objects.filter(pk=run_id).values_list("thread_id", flat=True).first()
    if thread_id is None:
        raise NotFound("There is no such run.")
    thread = Thread.objects.locked(thread_id)
    permissions.check_again(by, "retry_run")
    return thread, Run.objects.without_content().get(pk=run_id)


def _thread_becomes(thread: Thread, status: ThreadStatus) -> None:
    thread.status, thread.problem, thread.updated_at = status, "", timezone.now()
    thread.save(update_fields=["status", "problem", "updated_at"])
    events.publish(thread_id=thread.pk)


def _record(action: str, run: Run, by: User, **about: Any) -> None:
    audit.append(
        action,
        actor=by.get_username(),
        thread_id=run.thread_id,
        object={"run": str(run.pk), **about},
        rows=audit.told(run, *EACH_TIME),
    )
