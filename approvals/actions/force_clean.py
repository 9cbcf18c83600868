"""Remove a thread that is beyond help: its checkpoints, its open questions and what was stored of its state."""

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from agentcore.serde import digest
from approvals import audit, events, permissions, runtime
from approvals.actions import index_thread, lease
from approvals.enums import ACTIVE_RUNS, STUCK_RUNS, ApprovalStatus, RunStatus, ThreadStatus
from approvals.errors import Gone, Invalid, NotFound
from approvals.models import Approval, Decision, Draft, Run, Thread, Vote
from approvals.permissions import User


@dataclass(frozen=True)
class Cleaning:
    """What is, or would be, removed: rows of each checkpoint table, open approvals, runs that are given up."""

    rows: dict[str, int]
    approvals: int
    runs: int


def plan(*, thread_id: str, by: User) -> Cleaning:
    """Count what a force-clean would remove; change nothing."""
    permissions.check_force_clean(by)
    return _plan(_existing(thread_id))


def _plan(thread: Thread) -> Cleaning:
    with runtime.checkpoint_tables() as tables:
        rows = tables.count_rows(thread.pk)
    open_runs = Run.objects.filter(thread=thread, status__in=[*ACTIVE_RUNS, *STUCK_RUNS]).count()
    return Cleaning(rows, Approval.objects.pending().filter(thread=thread).count(), open_runs)


def force_clean(*, thread_id: str, reason: str, by: User) -> Cleaning:
    """Tombstone the thread, fence off its worker and delete its rows. Votes, decisions and the audit log stay.

    A writer that is at work this moment may put rows back; the sweep empties a tombstoned thread again.
    """
    permissions.check_force_clean(by)
    if not reason.strip():
        raise Invalid("Say why the thread is removed: the reason goes into the record.")
    _existing(thread_id)
    with transaction.atomic():
        thread = Thread.objects.select_for_update().get(pk=thread_id)
        if thread.cleaned_at:
            raise Gone("This thread was force-cleaned before.")
        done = _plan(thread)
        _erase(thread, f"Force-cleaned by {by.get_username()}: {reason.strip()}")
        events.publish(thread_id=thread_id)
        audit.append(
            "thread.force_cleaned",
            actor=by.get_username(),
            thread_id=thread_id,
            object={"rows": done.rows, "approvals": done.approvals, "runs": done.runs},
            digests={"reason": digest(reason)},
        )
        with runtime.checkpoint_tables() as tables:  # last: where they are elsewhere, no rollback brings them back
            tables.delete_rows(thread_id)
    return done


def _existing(thread_id: str) -> Thread:
    thread = Thread.objects.filter(pk=thread_id).first()
    if thread is None:
        raise NotFound("There is no such thread.")
    return thread


def _erase(thread: Thread, why: str) -> None:
    now = timezone.now()
    Thread.objects.filter(pk=thread.pk).update(
        cleaned_at=now, updated_at=now, status=ThreadStatus.IDLE, state={}, next=[], metadata={}, problem=why,
        checkpoint_id="", title="",
    )  # fmt: skip
    lease.revoke(thread)
    asked = list(Approval.objects.pending().filter(thread=thread))
    index_thread.tell_voters(asked, "An admin removed this thread. What you voted or reserved no longer counts.")
    Approval.objects.pending().filter(thread=thread).update(status=ApprovalStatus.CLEANED, closed_at=now)
    Approval.objects.filter(thread=thread).update(state={}, request={}, actions=[], summary="", proposal=None)
    Vote.objects.filter(approval__thread=thread).update(edits={}, answer=None)
    Decision.objects.filter(approval__thread=thread).update(edits={}, answer=None)
    Draft.objects.filter(thread=thread).delete()
    given_up = Run.objects.filter(thread=thread, status__in=[*ACTIVE_RUNS, *STUCK_RUNS])
    given_up.update(status=RunStatus.CANCELLED, ended_at=now, updated_at=now)
    Run.objects.filter(thread=thread).update(input=None, problem="", steps=[], calls=[])
