"""Queue a run: its row, the status of its thread, its job and the message to pages.

Everything is part of the caller's transaction, which has locked the thread: if that rolls back, so does the job. The
caller appends the audit entry, last of all.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models.functions import Now
from django.utils import timezone

from approvals import last_writes
from approvals.enums import RunStatus, ThreadStatus
from approvals.jobs import job_queue
from approvals.live import events
from approvals.models import Run


def queue_run(run: Run, *, changed: Sequence[str] = (), priority: int = 0, in_seconds: int = 0) -> Run:
    """Store and queue a new run. Its thread is busy from then on.

    `changed` are further columns of the thread that the caller has set: they are saved with its status. A run that is
    to begin `in_seconds` has `retry_at` set.
    """
    last_writes.insert(run)
    run.thread.status, run.thread.updated_at = ThreadStatus.BUSY, timezone.now()
    last_writes.update(run.thread, ["status", "updated_at", *changed])
    enqueue(run, priority=priority, in_seconds=in_seconds)
    events.publish(thread_id=run.thread_id, is_queue_changed=False)
    return run


def queue_again(run: Run, *, in_seconds: int | None = None) -> None:
    """Queue a stopped run again, from where its row says. No worker starts it earlier than its row says."""
    run.status, run.entered_at, run.updated_at = RunStatus.QUEUED, None, timezone.now()
    run.save()
    if in_seconds:
        Run.objects.filter(pk=run.pk).update(retry_at=Now() + timedelta(seconds=in_seconds))
    enqueue(run, in_seconds=in_seconds)


def enqueue(run: Run, *, priority: int = 0, in_seconds: int | None = None) -> None:
    """Wake a worker that has the run's graph. An extra job does no harm: the run is taken once."""
    graph = job_queue.graph_queue(run.graph_id)
    job_queue.enqueue("execute_run", queue=graph, priority=priority, in_seconds=in_seconds, run_id=str(run.pk))
