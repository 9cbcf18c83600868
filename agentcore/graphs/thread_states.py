"""Where the subgraphs of a thread stand, as LangGraph's server tells it in the tasks of a state."""

from dataclasses import replace
from typing import Any

from langgraph.types import PregelTask, StateSnapshot

from agentcore.graphs import snapshots
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.subgraphs import graphs_in
from agentcore.plain.excerpts import cut, cut_state
from agentcore.plain.json import payload, to_plain
from agentcore.plain.masks import Mask
from agentcore.plain.types import Snapshot
from agentcore.savers.base import Saver
from agentcore.savers.large_values import page_reader


async def with_subgraphs(graph: CompiledGraph, saver: Saver, here: Snapshot, *, are_read: bool) -> Snapshot:
    """Return the snapshot with what is known of the subgraphs of its tasks.

    A task that has one gets its `checkpoint`, and its `state` if the subgraphs `are_read`. A task that has ended gets
    its `result`.
    """
    if not here.tasks or len(graphs_in(graph)) == 1 and not are_read:
        return here
    reader = await page_reader(saver, here.thread_id, here.checkpoint_id, namespace=here.checkpoint_ns)
    config = snapshots.config_for(here.thread_id, here.checkpoint_id, here.checkpoint_ns)
    with snapshots.unreadable():
        state = await snapshots.with_saver(graph, reader.saver).aget_state(config, subgraphs=are_read)
    mask = Mask(here.secrets, here.values)
    more = {task.id: _of_task(task, mask) for task in state.tasks}
    return replace(here, tasks=tuple({**task, **more.get(task["id"], {})} for task in here.tasks))


def _of_task(task: PregelTask, mask: Mask) -> dict[str, Any]:
    found: dict[str, Any] = {} if task.result is None else {"result": cut(to_plain(task.result))}
    if isinstance(task.state, StateSnapshot):
        return {**found, "checkpoint": _checkpoint(task.state.config), "state": _state(task.state, mask)}
    return {**found, "checkpoint": _checkpoint(task.state)} if task.state else found


def _state(state: StateSnapshot, mask: Mask) -> dict[str, Any]:
    values = state.values if isinstance(state.values, dict) else {"__root__": state.values}
    plain = {name: to_plain(value) for name, value in values.items()}
    mask.learn(plain)
    return {
        "values": cut_state(plain),
        "next": list(state.next),
        "checkpoint": _checkpoint(state.config),
        "metadata": to_plain(state.metadata or {}),
        "created_at": state.created_at,
        "parent_checkpoint": _checkpoint(state.parent_config) if state.parent_config else None,
        "tasks": [_task(task, mask) for task in state.tasks],
        "interrupts": [{"id": each.id, "value": payload(each.value)} for each in state.interrupts],
    }


def _task(task: PregelTask, mask: Mask) -> dict[str, Any]:
    nothing = {"checkpoint": None, "state": None, "result": None}
    return {**snapshots.plain_task(task, mask), **nothing, **_of_task(task, mask)}


def _checkpoint(config: Any) -> dict[str, Any]:
    here = config["configurable"]
    return {
        "thread_id": here["thread_id"],
        "checkpoint_ns": here.get("checkpoint_ns", ""),
        "checkpoint_id": here.get("checkpoint_id"),
        "checkpoint_map": here.get("checkpoint_map"),
    }
