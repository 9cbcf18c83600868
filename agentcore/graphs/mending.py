"""Mending the state where nodes raised questions, so that they run again with it: beside the graph, in one checkpoint.

What other nodes of the step have done, or were answered, is carried over to their tasks: they do not run again.
"""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import ERROR, INTERRUPT, NULL_TASK_ID  # no public names, see `questions`
from langgraph.constants import START
from langgraph.pregel._algo import PregelTaskWrites, apply_writes, task_path_str
from langgraph.types import PregelTask

from agentcore.graphs.next_step import NextStep
from agentcore.graphs.registry import CompiledGraph
from agentcore.plain.errors import CannotEdit, Fault
from agentcore.savers.base import Saver

IN_SUBGRAPH = "A subgraph of this step has begun, and an edit would begin it anew. Go on without an edit, or reject."


async def mend(graph: CompiledGraph, saver: Saver, config: RunnableConfig, values: Mapping[str, Any]) -> None:
    """Write the checkpoint with other values at which the same tasks wait; `config` has the metadata it gets."""
    saved = await saver.aget_tuple(config)
    if saved is None:
        raise CannotEdit([Fault("", "The thread has no checkpoint to edit.")])
    await check(graph, saver, saved.config)
    step = await NextStep.after(graph, saver, saved, ())
    # Edits that came with answers of this step are stored beside it, and not in the state yet.
    beside = [(channel, value) for task, channel, value in saved.pending_writes or () if task == NULL_TASK_ID]
    for writes in (beside, list(values.items())):
        before = dict(step.checkpoint["channel_versions"])
        told = PregelTaskWrites((), START, writes, [])
        apply_writes(step.checkpoint, step.channels, [told], saver.get_next_version, graph.trigger_to_nodes)
        changed = {name for name, version in step.checkpoint["channel_versions"].items() if before.get(name) != version}
        for name in sorted(changed):
            step.touch(name, seen=before.get(name))
    await step.put(config.get("metadata") or {})
    await carry_over(graph, saver, config)


async def check(graph: CompiledGraph, saver: Saver, config: RunnableConfig) -> None:
    """Raise CannotEdit where the state of this step cannot be mended."""
    if any(task.state is not None for task in await _tasks(graph, saver, config)):
        raise CannotEdit([Fault("", IN_SUBGRAPH)])


async def carry_over(graph: CompiledGraph, saver: Saver, config: RunnableConfig) -> None:
    """Give the tasks at the head what their namesakes at the checkpoint before have written. Safe to do again."""
    here = await saver.aget_tuple(_bare(config))
    above = await saver.aget_tuple(here.parent_config) if here and here.parent_config else None
    if here is None or above is None:
        return
    new = {_name(task): task.id for task in await _tasks(graph, saver, here.config)}
    stored: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in above.pending_writes or ():
        stored.setdefault(task_id, []).append((channel, value))
    for task in await _tasks(graph, saver, above.config):
        writes = [(channel, value) for channel, value in stored.get(task.id, ()) if channel not in (INTERRUPT, ERROR)]
        if writes and _name(task) in new:
            await saver.aput_writes(here.config, writes, new[_name(task)], task_path_str(task.path))


async def _tasks(graph: CompiledGraph, saver: Saver, config: RunnableConfig) -> tuple[PregelTask, ...]:
    return (await graph.copy(update={"checkpointer": saver}).aget_state(config)).tasks


def _name(task: PregelTask) -> tuple[Any, ...]:
    return (task.name, *task.path)


def _bare(config: RunnableConfig) -> RunnableConfig:
    place = config["configurable"]
    return {"configurable": {name: place[name] for name in ("thread_id", "checkpoint_ns") if name in place}}
