"""A run that copies a checkpoint of another thread to its own thread. It can edit the copy, and go on with new
input.

Its input is `{"thread_id", "checkpoint_id", "edits", "as_node", "input"}`; the first two name the original.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agentcore.graphs import forks, resume
from agentcore.graphs.runs import RunContext
from agentcore.plain.types import Finished, Outcome, Paused
from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.taken import TakenRun
from approvals.domain import encryption
from approvals.models import Run


class ForkKind(Kind):
    """Copies a checkpoint of another thread to its own, with an edit or new input where some was given."""

    def decrypted(self, taken: TakenRun, secrets: Iterable[str]) -> TakenRun:
        source, given = taken.input["thread_id"], taken.input  # encrypted for the thread it was asked for at
        opened = {
            "edits": encryption.decrypted(given["edits"], secrets, source),
            "input": encryption.decrypted_input(given["input"], secrets, source),
        }
        return replace(taken, input=given | opened)

    def states_given(self, taken: TakenRun) -> list[Mapping[str, Any]]:
        edited = {name: edit["value"] for name, edit in taken.input["edits"].items()}
        given = taken.input["input"]
        return [given, edited] if isinstance(given, Mapping) else [edited]

    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        copied = await _copy(taken, run)
        return copied if taken.input["input"] is None else await resume.start(run, taken.input["input"])

    def finished_as(self, run: Run) -> str:
        return "run.finished" if run.entered_at else "run.copied"


async def _copy(taken: TakenRun, run: RunContext) -> Outcome:
    given = taken.input
    here = await forks.fork(
        run,
        origin=given["thread_id"],
        checkpoint_id=given["checkpoint_id"],
        edits=given["edits"],
        as_node=given["as_node"] or None,
    )
    return Paused(here) if here.is_paused else Finished(here)
