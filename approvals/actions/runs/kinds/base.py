"""What differs between the kinds of run. Everything else is the same for all: take, enter, watch the steps, settle."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from agentcore.graphs.resume import RunContext
from agentcore.plain.types import Failed, Finished, Outcome, Paused, Snapshot
from approvals.actions.runs.metadata import RUN_KEY
from approvals.actions.runs.taken import TakenRun
from approvals.models import Run


class Kind(ABC):
    """Has no state of its own. Methods without `async` may use the database, and are called in a thread for it."""

    def decrypted(self, taken: TakenRun, secrets: Iterable[str]) -> TakenRun:
        """Return the run with its secrets in plain text; from here on they are in this worker only. Raises Refusal."""
        return taken

    def states_given(self, taken: TakenRun) -> list[Mapping[str, Any]]:
        """Return what the run brings to the thread, laid out like a state: its secrets are hidden in all that is told.

        It is read after `decrypted`.
        """
        return []

    def why_not(self, taken: TakenRun) -> Failed | None:
        """Say why nothing may be run; a query."""
        return None

    @abstractmethod
    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        """Run the graph, or do to the thread what the run is for, and say how it stopped.

        Safe to do again after a crash. Raises UnreadableThread, CannotFork, CannotEdit, FenceLost.
        """

    def finished_as(self, run: Run) -> str:
        """Return the audit action for a run that reached the end."""
        return "run.finished"

    # After a crash: the worker died with the run, which had entered the graph.

    def stopped(self, taken: TakenRun, here: Snapshot, inside: Snapshot | None) -> Outcome | None:
        """Say how the run had stopped, if it had: at a checkpoint of its own, at a gate or at the end.

        `inside` is the subgraph whose breakpoint was decided. A question is stored when its own node stops; other nodes
        of the step may have been running.
        """
        is_own = here.metadata.get(RUN_KEY) == taken.run_id and here.checkpoint_id != taken.resume_from
        if here.running or not is_own:
            return None
        if here.is_paused:
            return Paused(here)
        return None if here.waiting else Finished(here)

    def is_moved(self, taken: TakenRun, here: Snapshot) -> bool:
        """True if somebody else moved the thread, so that nobody knows what the run would do there."""
        return False

    def may_begin_again(self, taken: TakenRun, here: Snapshot | None) -> bool:
        """True if it may go on without a person, although a node may have been running."""
        return True
