"""A run that asks a question again after its node failed with the answer. No node runs."""

from agentcore.graphs import resume
from agentcore.graphs.runs import RunContext
from agentcore.plain.types import Outcome
from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.taken import TakenRun


class RepairKind(Kind):
    """Removes the answer that a node failed with, so that its question waits again."""

    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        return await resume.ask_again(run)
