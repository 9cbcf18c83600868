"""Ask a question again after its node failed with the answer, or after its run was given up. The old answer is kept."""

from django.utils import timezone

from approvals import audit
from approvals.actions.runs import queueing
from approvals.domain import bindings, permissions, policies
from approvals.domain.permissions import User
from approvals.enums import STUCK_RUNS, RunKind, RunStatus, ThreadStatus
from approvals.errors import Conflict, NotFound
from approvals.live import events
from approvals.models import Approval, Run, Thread


def ask_again(*, thread_id: str, by: User) -> Run:
    """Queue a run that removes the stored answer. Raises Denied, NotFound, or Conflict with what prevents it.

    When it is answered, the node runs again from its beginning; nodes of the same step that have ended do not.
    """
    permissions.check_retry_run(by)
    with audit.transaction():
        thread = Thread.objects.find_locked(thread_id)
        permissions.check_again(by, "retry_run")
        if thread is None:
            raise NotFound("There is no such thread.")
        bindings.check(thread)
        if sentence := why_not(thread):
            raise Conflict(sentence)
        rows: audit.Told = {}
        for stuck in Run.objects.filter(thread=thread, status__in=STUCK_RUNS).without_content():
            stuck.status, stuck.updated_at = RunStatus.CANCELLED, timezone.now()
            stuck.save(update_fields=["status", "updated_at"])
            rows |= audit.told(stuck, "status")
        run = Run(
            thread=thread,
            graph_id=thread.graph_id,
            kind=RunKind.REPAIR,
            started_by=by.get_username(),
            resume_from=thread.checkpoint_id,
        )
        queueing.queue_run(run)
        events.publish(thread_id=thread.pk)  # a run that is given up leaves the tab of failed ones
        about = {"run": str(run.pk), "checkpoint": thread.checkpoint_id}
        audit.append(
            "run.repaired", actor=by.get_username(), thread_id=thread.pk, object=about, rows=rows | audit.told(run)
        )
    return run


def why_not(thread: Thread) -> str:
    """Return why no question of this thread can be asked again, or an empty string. One query."""
    asked = Approval.objects.filter(thread=thread, checkpoint_id=thread.checkpoint_id).exclude(interrupt_id="")
    last = asked.order_by("interrupt_id", "-round").distinct("interrupt_id").values_list("status", "allowed_verdicts")
    # Not the thread's status: where one question was answered and one given up, no run holds it, and yet nodes wait.
    is_held = Run.objects.hold(thread)
    return policies.why_not_ask_again(
        status=ThreadStatus.BUSY if is_held else ThreadStatus.IDLE,
        is_cleaned=thread.cleaned_at is not None,
        can_be_answered=[status == "pending" and bool(allowed) for status, allowed in last],
    )
