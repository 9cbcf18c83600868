"""A run that has a question asked again whose answer its node failed with. No node runs."""

from agentcore.graphs import resume
from agentcore.graphs.resume import RunContext
from agentcore.plain.types import Outcome
from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.taken import TakenRun


class RepairKind(Kind):
    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        return await resume.ask_again(run.graph, run.saver, thread_id=run.thread_id)
