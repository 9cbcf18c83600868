"""What a `Send` carries to a node: it stands in the checkpoint beside the state, and no node reads it but its own."""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import PregelTask, Send, StateSnapshot

from agentcore.serde import to_plain
from agentcore.types import GateTask

Saver = BaseCheckpointSaver[Any]
_PUSH = "__pregel_push"  # how the path of a task begins that came by a Send; tests/agentcore/test_facts.py pins it


def place_of(task: PregelTask) -> int | None:
    """Return which of the checkpoint's Sends the task came by; None for one that reads the state."""
    return task.path[1] if task.path and task.path[0] == _PUSH and isinstance(task.path[1], int) else None


async def pending_sends(saver: Saver, config: RunnableConfig) -> list[Any]:
    """Return the Sends that wait at a checkpoint, in their order."""
    found = await saver.aget_tuple(config)
    stored = found.checkpoint["channel_values"].get(TASKS) if found else None
    if isinstance(stored, tuple):  # as early versions wrote it
        stored = stored[1]
    return list(stored) if isinstance(stored, Sequence) and not isinstance(stored, str) else []


async def gate_tasks(saver: Saver, state: StateSnapshot, path: tuple[str, ...] = ()) -> tuple[GateTask, ...]:
    """Return the tasks that wait at a checkpoint, each with what a Send carries to it.

    `state` is of the graph of one namespace, `path` the nodes down to that graph.
    """
    waiting = [task for task in state.tasks if task.result is None]
    is_any_sent = any(place_of(task) is not None for task in waiting)
    carried = await pending_sends(saver, state.config) if is_any_sent else []
    return tuple(_gate_task(task, state, path, carried) for task in waiting)


def _gate_task(task: PregelTask, state: StateSnapshot, path: tuple[str, ...], carried: list[Any]) -> GateTask:
    place, here = place_of(task), state.config["configurable"]
    send = carried[place] if place is not None and place < len(carried) else None
    return GateTask(
        id=task.id,
        node=task.name,
        path=(*path, task.name),
        namespace=here.get("checkpoint_ns", ""),
        checkpoint_id=here["checkpoint_id"],
        is_sent=place is not None,
        sent=to_plain(send.arg) if isinstance(send, Send) else None,
    )
