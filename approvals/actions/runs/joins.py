"""Wait until a run has stopped."""

from uuid import UUID

from django.db.models import QuerySet

from approvals.compiled import compiled
from approvals.enums import ACTIVE_RUNS
from approvals.errors import NotFound, Unavailable
from approvals.live import events, relay
from approvals.models import Run, Thread

LONGEST_SECONDS = 30.0


def join_run(*, thread_id: str, run_id: UUID) -> Thread:
    """Return the thread once the run has stopped: at a pause, at its end, or with an error.

    Raises NotFound for a run of another thread, Unavailable if the run goes on after the time limit.
    """

    def has_stopped() -> bool:
        found = _status(pk=run_id, thread_id=thread_id)
        if not found:
            raise NotFound("The thread has no such run.")
        return found[0] not in ACTIVE_RUNS

    if not relay.wait_for(events.thread_topic(thread_id), has_stopped, seconds=LONGEST_SECONDS):
        raise Unavailable(f"The run goes on after {LONGEST_SECONDS:.0f} s. Ask again.")
    return Thread.objects.get(pk=thread_id)


@compiled
def _status(pk: UUID, thread_id: str) -> "QuerySet[Run, str]":
    return Run.objects.filter(pk=pk, thread_id=thread_id).values_list("status", flat=True)
