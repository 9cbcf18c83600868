"""What differs between the kinds of run. The rest is the same for all: take, enter, record the steps, settle."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from agentcore.graphs.runs import RunContext
from agentcore.plain.types import Failed, Finished, Outcome, Paused, Snapshot
from approvals.actions.runs.taken import TakenRun
from approvals.domain.run_metadata import RUN_KEY
from approvals.models import Run


class Kind(ABC):
    """A kind of run, without state. Methods without `async` may query the database, and are called in a thread."""

    def decrypted(self, taken: TakenRun, secrets: Iterable[str]) -> TakenRun:
        """Return the run with decrypted secrets, which only this worker has. Raises Refusal."""
        return taken

    def states_given(self, taken: TakenRun) -> list[Mapping[str, Any]]:
        """Return what the run brings to the thread, in the layout of a state. Its secrets are masked in everything
        reported.

        It is called after `decrypted`.
        """
        return []

    def why_not(self, taken: TakenRun) -> Failed | None:
        """Return the failure if nothing may be run, else None. It may query."""
        return None

    @abstractmethod
    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        """Run the graph, or do what this kind does to the thread. Return how it stopped.

        It can be repeated after a crash. Raises UnreadableThread, CannotFork, CannotEdit, FenceLost.
        """

    def finished_as(self, run: Run) -> str:
        """Return the audit action for a run that reached the end."""
        return "run.finished"

    # After a crash: the worker died with the run, which had entered the graph.

    def stopped(self, taken: TakenRun, here: Snapshot, inside: Snapshot | None) -> Outcome | None:
        """Return how the run had stopped, if it had: at a checkpoint of its own, at a gate or at the end.

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
        """Return whether somebody else moved the thread, so that the effect of the run there is unknown."""
        return False

    def may_begin_again(self, taken: TakenRun, here: Snapshot | None) -> bool:
        """Return whether the run may go on without asking a person, although a node may have been running."""
        return True
