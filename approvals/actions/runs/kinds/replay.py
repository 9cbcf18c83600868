"""A run that moves a thread back to an earlier checkpoint, named by its input, and goes on from there."""

from agentcore.graphs import forks, resume, snapshots
from agentcore.graphs.runs import RunContext
from agentcore.plain.types import Mismatch, Outcome
from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.taken import TakenRun
from approvals.domain.run_metadata import RUN_KEY

MOVED = "The agent moved the thread before this run began, so it did not go back. Look at the thread again."


class ReplayKind(Kind):
    """Has its thread go back to an earlier checkpoint, and goes on from there."""

    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        return await _go_back(taken, run) or await resume.start(run, None)


async def _go_back(taken: TakenRun, run: RunContext) -> Mismatch | None:
    """Put the thread where the replay begins; Mismatch if it moved since that was asked for."""
    here = await snapshots.snapshot(run.graph, run.saver, taken.thread_id)
    is_ours = here is not None and here.metadata.get(RUN_KEY) == taken.run_id
    if here is None or (here.checkpoint_id != taken.resume_from and not is_ours):
        return Mismatch(taken.resume_from, here.checkpoint_id if here else None, MOVED)
    await forks.stand_again(run, taken.input["checkpoint_id"])
    return None
