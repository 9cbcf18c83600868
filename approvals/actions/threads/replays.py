"""Replay: a thread goes back to an earlier checkpoint of its own and on from there. What waited is superseded."""

from django.utils import timezone

from agentcore.plain import timeline
from agentcore.plain.errors import NO_SUCH_CHECKPOINT
from approvals import audit, checkpoints
from approvals.actions.runs import queueing
from approvals.actions.threads.forks import check_can_be_forked
from approvals.actions.votes import alterations
from approvals.domain import authors, permissions, policies
from approvals.domain.authors import Author
from approvals.domain.permissions import User
from approvals.enums import STUCK_RUNS, RunKind, RunStatus
from approvals.errors import Busy, Invalid, NotFound
from approvals.models import Run, Thread


def replay_thread(*, thread_id: str, checkpoint_id: str, typed_id: str, by: User) -> Run:
    """Queue the run. At a gate people are asked anew; elsewhere nodes run again with all their effects.

    `typed_id` is the thread's id as the person typed it. Raises Denied, NotFound, Gone, Busy, Conflict or Invalid.
    """
    permissions.check_replay(by)
    with audit.transaction():
        thread = Thread.objects.find_locked(thread_id)
        permissions.check_again(by, "replay")
        if thread is None:
            raise NotFound("There is no such thread.")
        check_can_be_forked(thread)
        if typed_id.strip() != thread.pk.strip():
            raise Invalid("What you typed is not this thread's id. Nothing was run.")
        if sentence := policies.why_not_held(status=thread.status):
            raise Busy(sentence, status=thread.status)
        with checkpoints.open_tables() as tables:
            if not timeline.has(tables, thread_id, checkpoint_id):
                raise NotFound(NO_SUCH_CHECKPOINT)
        return _begin(thread, checkpoint_id, by)


def _begin(thread: Thread, checkpoint_id: str, by: User) -> Run:
    alterations.check_thread(thread)
    now = timezone.now()
    stuck = list(Run.objects.filter(thread=thread, status__in=STUCK_RUNS).values_list("pk", flat=True))
    Run.objects.filter(pk__in=stuck).update(status=RunStatus.CANCELLED, ended_at=now, updated_at=now)
    head = checkpoints.read_head(thread.pk)
    run = Run(
        thread=thread,
        graph_id=thread.graph_id,
        kind=RunKind.REPLAY,
        input={"checkpoint_id": checkpoint_id},
        started_by=by.get_username(),
        resume_from=head.checkpoint_id if head else "",
    )
    authors.keep_author(thread, Author(by.get_username(), "replay", after=run.resume_from))
    thread.started_by_id, thread.problem = by.pk, ""
    queueing.queue_run(run, changed=["problem", "started_by", "authors"])
    rows = audit.told(run) | audit.told(thread, "started_by_id", "authors")
    rows |= {f"run:{pk}": {"status": RunStatus.CANCELLED.value} for pk in stuck}
    about = {"run": str(run.pk), "checkpoint": checkpoint_id, "from": run.resume_from}
    audit.append("thread.replayed", actor=by.get_username(), thread_id=thread.pk, object=about, rows=rows)
    return run
