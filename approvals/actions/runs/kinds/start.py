"""A run that begins with new input, or goes on from where the thread stands."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agentcore.graphs import resume
from agentcore.graphs.runs import RunContext
from agentcore.plain.types import Outcome
from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.taken import TakenRun
from approvals.domain import encryption


class StartKind(Kind):
    """Gives the graph new input; without input it goes on, and passes no gate and no question."""

    def decrypted(self, taken: TakenRun, secrets: Iterable[str]) -> TakenRun:
        return replace(taken, input=encryption.decrypted_input(taken.input, secrets, taken.thread_id))

    def states_given(self, taken: TakenRun) -> list[Mapping[str, Any]]:
        return [taken.input] if isinstance(taken.input, Mapping) else []

    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        return await resume.start(run, taken.input)
