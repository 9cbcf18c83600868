"""Find threads that moved outside the console, and those whose checkpoints are gone."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from agentcore.plain.urls import Memory
from approvals import checkpoints
from approvals.actions.threads import records
from approvals.domain import outages
from approvals.enums import ACTIVE_RUNS
from approvals.jobs import job_queue
from approvals.models import Run, Thread

logger = logging.getLogger(__name__)

SWEEP_SIZE = 200


def store_lost_threads() -> None:
    """Supersede open approvals whose in-memory checkpoints were lost when the process restarted."""
    if not isinstance(settings.CHECKPOINT_STORE, Memory):
        return
    for thread_id in Thread.objects.filter(cleaned_at=None).exclude(checkpoint_id="").values_list("pk", flat=True):
        if checkpoints.read_head(thread_id) is None:
            records.store_gone(thread_id)


def sweep() -> None:
    """Queue the indexing of every thread that moved outside the console."""
    with checkpoints.open_tables() as tables:
        moved = tables.threads_to_index(limit=SWEEP_SIZE, settled_seconds=settings.SETTLED_SECONDS)
        moving = tables.threads_to_index(limit=SWEEP_SIZE)
    lately = Thread.objects.filter(pk__in=moving, updated_at__gt=Now() - timedelta(seconds=settings.MOVING_SECONDS))
    moved += set(moving).difference(moved, lately.values_list("pk", flat=True))
    held = set(Run.objects.filter(thread_id__in=moved, status__in=ACTIVE_RUNS).values_list("thread_id", flat=True))
    cleaned = set(Thread.objects.filter(pk__in=moved, cleaned_at__isnull=False).values_list("pk", flat=True))
    for thread_id in moved:
        with outages.skip_locked("a thread that moved", thread_id=thread_id):
            _look_at(thread_id, is_held=thread_id in held, is_cleaned=thread_id in cleaned)


def _look_at(thread_id: str, *, is_held: bool, is_cleaned: bool) -> None:
    if is_cleaned:
        checkpoints.lay_tombstone(thread_id)  # removed before there were tombstones
    elif len(thread_id) > records.LONGEST_ID:
        logger.warning("a thread is not listed: its id has %d characters", len(thread_id))
        checkpoints.mark_indexed(thread_id, checkpoints.read_head(thread_id))
    elif not is_held:
        job_queue.enqueue("index_thread", once=f"index {thread_id}", thread_id=thread_id)
