"""Questions of `interrupt()` that wait at a checkpoint: where each is asked, and which answers are stored already.

LangGraph keeps the answers of a task (`__resume__`, a list with one for each `interrupt()` of the node, in order) until
the task ends. A failed task keeps them too, so every later answer fails with the same error: the question is
*poisoned*.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import (
    NO_WRITES,
    NULL_TASK_ID,
    RESUME,
)  # no public names; tests/agentcore/test_facts.py pins them
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Interrupt, PregelTask, StateSnapshot, _interrupt_id

from agentcore.graphs.registry import CompiledGraph
from agentcore.plain.json import canonical, digest, has_objects, payload, to_plain
from agentcore.plain.types import PendingInterrupt
from agentcore.savers.base import Saver

_UNKEYED = (NULL_TASK_ID, RESUME)
RAISED = "raised-"
"""Prefix of our id for a question that a node raised. The node's own id may be any text, and need not be unique."""


@dataclass(frozen=True)
class PendingTask:
    """A task that has not ended, at the checkpoint of its own graph. `answers` are those stored with it.

    `root` is the id of the task of the outermost graph that it is part of.
    """

    root: str
    config: RunnableConfig
    task: PregelTask
    path: tuple[str, ...]
    namespace: str
    answers: list[Any]

    def ids(self, count: int) -> list[str]:
        """Return the ids of the task's first `count` interrupts."""
        return [_interrupt_id(self.namespace, index) for index in range(count)]

    @cached_property
    def answered(self) -> dict[str, None]:
        """The ids of the interrupts with an answer, in order. Computed once: a node may ask a thousand questions."""
        return dict.fromkeys(self.ids(len(self.answers)))

    def has_answered(self, interrupt: Interrupt) -> bool:
        return interrupt.id in self.answered

    @cached_property
    def is_poisoned(self) -> bool:
        return any(self.has_answered(interrupt) for interrupt in self.task.interrupts)


async def read_pending_tasks(
    saver: Saver, state: StateSnapshot, path: tuple[str, ...] = (), root: str | None = None
) -> list[PendingTask]:
    """Return every task that waits or has failed; `state` comes with its subgraphs."""
    config = _plain(state.config)
    stored = await saver.aget_tuple(config)
    writes = (stored.pending_writes if stored else None) or []
    answers = {task_id: value for task_id, channel, value in writes if channel == RESUME and task_id != NULL_TASK_ID}
    found: list[PendingTask] = []
    for task in state.tasks:
        if task.result is not None:
            continue
        here = (*path, task.name)
        if isinstance(task.state, StateSnapshot) and task.state.tasks:
            found += await read_pending_tasks(saver, task.state, here, root or task.id)
        else:
            namespace = "|".join(filter(None, [config["configurable"]["checkpoint_ns"], f"{task.name}:{task.id}"]))
            found.append(PendingTask(root or task.id, config, task, here, namespace, _listed(answers.get(task.id))))
    return found


def iter_pending(places: list[PendingTask]) -> Iterator[PendingInterrupt]:
    """Yield the waiting questions in the order of their tasks. No two have the same id."""
    seen: set[str] = set()
    for place in places:
        for number, interrupt in enumerate(place.task.interrupts):
            is_raised = _is_raised(interrupt) or interrupt.id in seen
            seen.add(interrupt.id)
            yield PendingInterrupt(
                id=_raised_id(place, number, interrupt) if is_raised else interrupt.id,
                is_raised=is_raised,
                value=payload(interrupt.value),
                has_objects=has_objects(interrupt.value),
                node=place.path[0],
                response_schema=to_plain(getattr(interrupt, "response_schema", None)),
                path=place.path,
                is_poisoned=place.has_answered(interrupt),
                after=() if place.is_poisoned else tuple(place.answered),
            )


def _is_raised(interrupt: Interrupt) -> bool:
    """Return whether a node raised the question.

    LangGraph gives ids only to questions of `interrupt()`, and answers no other.
    """
    return re.fullmatch(r"[0-9a-f]{32}", str(interrupt.id)) is None


def _raised_id(place: PendingTask, number: int, interrupt: Interrupt) -> str:
    return RAISED + digest([place.namespace, number, str(interrupt.id)])[:32]


def running(state: StateSnapshot, places: list[PendingTask], *, at_gates: Collection[str] = ()) -> tuple[str, ...]:
    """Return the nodes that have neither ended nor asked: if the process died, they may have been running.

    Tasks whose subgraph is known to stand at a breakpoint are left out.
    """
    asking = {place.root for place in places if place.task.interrupts}
    silent = {place.root for place in places if not place.task.interrupts}
    open_tasks = [task for task in state.tasks if task.result is None and task.id not in at_gates]
    return tuple(task.name for task in open_tasks if task.id in silent or task.id not in asking)


def answers_in(places: list[PendingTask]) -> dict[str, Any]:
    """Return the stored answers by interrupt id, as plain data."""
    return {
        interrupt_id: to_plain(answer)
        for place in places
        for interrupt_id, answer in zip(place.answered, place.answers, strict=True)
    }


async def take_back(saver: Saver, places: list[PendingTask]) -> None:
    """Remove the answer that a task failed with. Its question then waits again, under the same id.

    Results of other tasks of the step stay: nothing runs again.
    """
    for place in places:
        if place.is_poisoned:
            await saver.aput_writes(place.config, [(RESUME, place.answers[:-1])], place.task.id)


async def forget_unkeyed(saver: Saver, stored: CheckpointTuple) -> bool:
    """Remove an answer that was given without the id of its question, such as `Command(resume="yes")`.

    LangGraph has given it to the node already, but keeps it, and would answer the next question with it too. Return
    whether there was one.
    """
    given = [value for task_id, channel, value in stored.pending_writes or [] if (task_id, channel) == _UNKEYED]
    if any(value is not None for value in given):
        await saver.aput_writes(_plain(stored.config), [(RESUME, None)], NULL_TASK_ID)
        return True
    return False


async def send_on(saver: Saver, config: RunnableConfig, node: str, update: Mapping[str, Any] | None) -> None:
    """Have a subgraph go on with `node`, as `Command(goto=node, update=...)` does for a thread: with writes of no
    task.
    """
    await saver.aput_writes(config, [*(update or {}).items(), (f"branch:to:{node}", None)], NULL_TASK_ID)


async def read_updates(saver: Saver, config: RunnableConfig) -> list[tuple[str, Any]]:
    """Return the edits that came with answers at this checkpoint, oldest first, as `(channel, plain value)`."""
    written = await _given_beside(saver, config)
    return [(channel, to_plain(value)) for channel, value in written if channel not in (RESUME, NO_WRITES)]


def signed(update: Mapping[str, Any], run: str) -> list[tuple[str, Any]]:
    """Return an edit for a Command, marked with its run's name: nothing else stored tells whose edit it is.

    The name is stored where LangGraph notes that a task wrote nothing, which it never reads.
    """
    return [*update.items(), (NO_WRITES, run)]


async def is_signed(saver: Saver, config: RunnableConfig, run: str) -> bool:
    """Return whether an edit of this run is stored at this checkpoint.

    Writing it again would give it to reducers twice.
    """
    return (NO_WRITES, run) in await _given_beside(saver, config)


async def _given_beside(saver: Saver, config: RunnableConfig) -> list[tuple[str, Any]]:
    """Return the writes that came with answers at this checkpoint and belong to no task."""
    stored = await saver.aget_tuple(config)
    writes = (stored.pending_writes if stored else None) or []
    return [(channel, value) for task, channel, value in writes if task == NULL_TASK_ID]


async def answer_of_ended(graph: CompiledGraph, saver: Saver, config: RunnableConfig, interrupt_id: str) -> list[Any]:
    """Return the stored answer of this question's task at the top level, though the task has ended: none or one,
    plain.
    """
    state = await graph.copy(update={"checkpointer": saver}).aget_state(config)
    stored = await saver.aget_tuple(config)
    given = {task: value for task, channel, value in (stored and stored.pending_writes) or [] if channel == RESUME}
    for task in state.tasks:
        answers = _listed(given.get(task.id))
        ids = [_interrupt_id(f"{task.name}:{task.id}", index) for index in range(len(answers))]
        if interrupt_id in ids:
            return [to_plain(answers[ids.index(interrupt_id)])]
    return []


async def edited_already(saver: Saver, config: RunnableConfig, edits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the channels of `edits` that an edit with another answer of this step has closed until the step ends.

    LangGraph applies all edits of a step at once. Two edits of a channel that keeps the last value fail, and fail again
    with every answer; an appended value beside a replacing one is lost.
    """
    stored = await read_updates(saver, config)
    closed = {name for name, value in stored if "__overwrite__" in canonical(value)}
    seen = {name for name, _ in stored}
    return [name for name, edit in edits.items() if name in closed or name in seen and edit["op"] != "append"]


def _listed(answers: Any) -> list[Any]:
    return list(answers) if isinstance(answers, list | tuple) else []


def _plain(config: RunnableConfig) -> RunnableConfig:
    names = ("thread_id", "checkpoint_ns", "checkpoint_id")
    return {"configurable": {name: config["configurable"].get(name, "") for name in names}}
