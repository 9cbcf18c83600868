"""Remove finished threads by age. Threads that wait, run, are stuck, or moved since they were read stay."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Exists, Min, OuterRef
from django.db.models.functions import Now

from approvals import audit, checkpoints
from approvals.actions.threads import cleaning
from approvals.domain import outages, permissions
from approvals.domain.permissions import User
from approvals.enums import ACTIVE_RUNS, STUCK_RUNS, ThreadStatus
from approvals.errors import Invalid
from approvals.models import Approval, Run, Thread, ThreadQuerySet

BY_ITSELF = "retention"
"""The actor of what a worker removes because of RETENTION_DAYS."""
MOST_AT_ONCE = 200
LONGEST_SECONDS = 60.0
LONGEST_DAYS = 36_500


@dataclass(frozen=True)
class Retirement:
    """How many threads of a graph would be removed, and when the one that moved first did so."""

    graph: str
    threads: int
    oldest: datetime


def plan(*, days: int, graph_id: str = "", by: User) -> list[Retirement]:
    """Count what would be removed, by graph. Changes nothing. Raises Denied or Invalid."""
    permissions.check_force_clean(by)
    found = over(days, graph_id).values("graph_id").annotate(threads=Count("pk"), oldest=Min("updated_at"))
    return [Retirement(each["graph_id"], each["threads"], each["oldest"]) for each in found.order_by("graph_id")]


def retire(*, days: int, graph_id: str = "", by: User) -> int:
    """Remove the threads; return their number. Raises Denied or Invalid."""
    permissions.check_force_clean(by)
    count = 0
    while done := _retire(days, graph_id, by=by.get_username(), kind="person", until=time.monotonic() + 3600):
        count += done
        permissions.check_again(by, "force_clean")
    return count


def retire_by_itself() -> int:
    """Remove a few hundred threads, if RETENTION_DAYS is set. Runs every hour."""
    if not settings.RETENTION_DAYS:
        return 0
    until = time.monotonic() + LONGEST_SECONDS
    return _retire(settings.RETENTION_DAYS, "", by=BY_ITSELF, kind="system", until=until)


def over(days: int, graph_id: str = "") -> ThreadQuerySet:
    """Select threads whose graph reached its end that long ago and that nothing of ours holds."""
    if not 0 < days <= LONGEST_DAYS:
        raise Invalid(f"Say how many days, from 1 to {LONGEST_DAYS}.")
    held = Run.objects.filter(thread=OuterRef("pk"), status__in=[*ACTIVE_RUNS, *STUCK_RUNS])
    asked = Approval.objects.pending().filter(thread=OuterRef("pk"))
    found = Thread.objects.filter(
        ~Exists(held),
        ~Exists(asked),
        status=ThreadStatus.IDLE,
        next=[],
        cleaned_at=None,
        updated_at__lt=Now() - timedelta(days=days),
    ).exclude(checkpoint_id="")
    return found.filter(graph_id=graph_id) if graph_id else found


def _retire(days: int, graph_id: str, *, by: str, kind: str, until: float) -> int:
    count = 0
    for thread_id in over(days, graph_id).order_by("updated_at").values_list("pk", flat=True)[:MOST_AT_ONCE]:
        if time.monotonic() > until:
            break
        with outages.skip_locked("a thread to retire", thread_id=thread_id):
            count += _retire_one(thread_id, days, by=by, kind=kind)
    return count


def _retire_one(thread_id: str, days: int, *, by: str, kind: str) -> bool:
    """Check again under the lock: the thread may have been started anew, or moved by its agent."""
    counted = cleaning.count(thread_id)
    with audit.transaction():
        thread = over(days).find_locked(thread_id)
        head = checkpoints.read_head(thread_id)
        if thread is None or head is None or head.checkpoint_id != thread.checkpoint_id:
            return False
        reason = f"It was over, and older than {days} days."
        cleaning.remove(thread, counted, "thread.retired", reason=reason, by=by, kind=kind)
    cleaning.empty(thread_id)
    return True
