"""A person says how a run that failed or was held goes on: retry it, or give it up."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from approvals import audit, events, jobs, permissions, runtime
from approvals.enums import RunKind, RunStatus, ThreadStatus
from approvals.errors import Conflict, NotFound
from approvals.models import Run, Thread
from approvals.permissions import User


def retry_run(*, run_id: UUID, by: User) -> Run:
    """Queue the run again, from where it stopped. The pending node runs again from its top."""
    with transaction.atomic():
        thread, run = _stuck(run_id, by)
        head = runtime.read_head(thread.pk)
        if run.kind == RunKind.RESUME and (head is None or head.checkpoint_id != run.resume_from):
            # Going on from a head nobody looked at could pass a gate that nobody approved.
            raise Conflict(
                "The agent moved the thread since this run stopped. Give the run up; a new pause is asked anew."
            )
        run.status, run.entered_at, run.error, run.problem = RunStatus.QUEUED, None, "", ""
        run.ended_at, run.updated_at = None, timezone.now()
        run.save()
        _thread_becomes(thread, ThreadStatus.BUSY)
        jobs.enqueue("execute_run", queue=jobs.graph_queue(run.graph_id), run_id=str(run.pk))
        _record("run.retried", run, by, checkpoint=run.resume_from)
    return run


def give_up_run(*, run_id: UUID, by: User) -> Run:
    """Leave the thread where it stands; nothing more runs."""
    with transaction.atomic():
        thread, run = _stuck(run_id, by)
        run.status, run.ended_at, run.updated_at = RunStatus.CANCELLED, timezone.now(), timezone.now()
        run.save()
        _thread_becomes(thread, ThreadStatus.IDLE)
        _record("run.cancelled", run, by)
    return run


def _stuck(run_id: UUID, by: User) -> tuple[Thread, Run]:
    permissions.check_retry_run(by)
    thread_id = Run.objects.filter(pk=run_id).values_list("thread_id", flat=True).first()
    if thread_id is None:
        raise NotFound("There is no such run.")
    thread = Thread.objects.select_for_update().get(pk=thread_id)
    run = Run.objects.get(pk=run_id)
    newest = Run.objects.filter(thread=thread).order_by("-created_at").values_list("pk", flat=True).first()
    if not run.is_stuck or newest != run.pk:
        raise Conflict(
            f"This run is {run.status}; only the last run of a thread can be retried, after it failed or was held."
        )
    return thread, run


def _thread_becomes(thread: Thread, status: ThreadStatus) -> None:
    thread.status, thread.problem, thread.updated_at = status, "", timezone.now()
    thread.save(update_fields=["status", "problem", "updated_at"])
    events.publish(thread_id=thread.pk)


def _record(action: str, run: Run, by: User, **about: Any) -> None:
    audit.append(action, actor=by.get_username(), thread_id=run.thread_id, object={"run": str(run.pk), **about})
