"""Go on from an earlier checkpoint: in a new thread (fork), or on the same thread (replay).

A fork keeps the ids of its checkpoints, so its tasks and questions keep theirs. It copies only those ancestors that
LangGraph reads: the last step, and the changes that a delta channel is made of.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import ERROR, INTERRUPT  # no public names, see `questions`
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import StateSnapshot, _interrupt_id

from agentcore.graphs import state_edits
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.runs import RunContext
from agentcore.graphs.snapshots import config_for, snapshot, with_saver
from agentcore.plain import masks
from agentcore.plain.blocked import blocked_sentence, noting_blocked
from agentcore.plain.edits import Edits
from agentcore.plain.errors import NO_SUCH_CHECKPOINT, CannotFork, UnreadableThread
from agentcore.plain.types import Snapshot
from agentcore.savers.base import Saver
from agentcore.savers.large_values import check_can_be_copied

Writes = dict[str, list[tuple[str, Any]]]
"""Pending writes by task, in order."""


@dataclass(frozen=True)
class _Line:
    """Checkpoints of one namespace, oldest first, each with its pending writes."""

    namespace: str
    checkpoints: Sequence[tuple[CheckpointTuple, Writes]]


async def fork(
    run: RunContext, *, origin: str, checkpoint_id: str, edits: Edits | None = None, as_node: str | None = None
) -> Snapshot:
    """Copy a checkpoint of `origin` to the thread of the run and edit it there. Return where that stands. Runs no node.

    At the head of a thread the pending writes are copied too, with a question inside a subgraph. At an earlier
    checkpoint, and where a node failed, the step begins anew: its first question waits as before, everything else runs
    again. It can be repeated after a crash: a checkpoint that names the run is there already. Raises CannotFork,
    which leaves nothing behind, UnreadableThread and CannotEdit.
    """
    graph, saver, into = run.graph, run.saver, run.thread_id
    if not run.wrote(await snapshot(graph, saver, into)):
        await _copy(graph, saver, saver, origin, checkpoint_id, into)
        await _edit(graph, saver, config_for(into) | {"metadata": dict(run.metadata)}, edits, as_node)
    return await _at_head(graph, saver, into)


async def try_fork(
    graph: CompiledGraph,
    saver: Saver,
    *,
    thread_id: str,
    checkpoint_id: str,
    edits: Edits | None = None,
    as_node: str | None = None,
) -> Snapshot:
    """Return where a fork would stand, from a copy in memory. Nothing is stored. Raises what `fork` raises."""
    memory = InMemorySaver(serde=saver.serde)
    await _copy(graph, saver, memory, thread_id, checkpoint_id, thread_id)
    await _edit(graph, memory, config_for(thread_id), edits, as_node)
    return await _at_head(graph, memory, thread_id)


async def _edit(
    graph: CompiledGraph, saver: Saver, config: RunnableConfig, edits: Edits | None, as_node: str | None
) -> None:
    if edits:
        here = await _at_head(graph, saver, config["configurable"]["thread_id"])
        state_edits.check_nothing_sent(here)
        edits = masks.restored(edits, here.values, here.secrets)
    if edits or as_node:
        await state_edits.apply(graph, saver, config, edits or None, as_node)


async def stand_again(run: RunContext, checkpoint_id: str) -> Snapshot:
    """Make a copy of an earlier checkpoint the head of its own thread. Runs no node.

    The whole step begins anew, its questions too. It can be repeated after a crash, as `fork` can.
    """
    here = await snapshot(run.graph, run.saver, run.thread_id)
    if here is not None and run.wrote(here):
        return here
    found = await run.saver.aget_tuple(config_for(run.thread_id, checkpoint_id))
    if found is None:
        raise CannotFork(NO_SUCH_CHECKPOINT)
    await _put_again(run.saver, found, run.metadata)
    return await _at_head(run.graph, run.saver, run.thread_id)


async def _put_again(saver: Saver, found: CheckpointTuple, metadata: Mapping[str, Any]) -> None:
    """Copy a checkpoint on its thread as `aupdate_state(..., as_node="__copy__")` does, but keep our metadata.

    The copy has the same parent as the original: a delta channel is made of what its ancestors wrote.
    """
    was = found.metadata or {}
    step = was.get("step", -1) + 1
    copy: Checkpoint = {
        **found.checkpoint,
        "id": str(uuid6(clock_seq=step)),
        "ts": datetime.now(UTC).isoformat(),
    }
    kept = {name: was[name] for name in ("parents", "counters_since_delta_snapshot") if name in was}
    told = cast(CheckpointMetadata, {**metadata, **kept, "source": "fork", "step": step})
    above = found.parent_config or config_for(found.config["configurable"]["thread_id"])
    await saver.aput(above, copy, told, {})


async def _at_head(graph: CompiledGraph, saver: Saver, thread_id: str) -> Snapshot:
    here = await snapshot(graph, saver, thread_id)
    if here is None:
        raise CannotFork("The copy is gone: somebody removed the thread.")
    return here


async def _copy(
    graph: CompiledGraph, saver: Saver, target: Saver, thread_id: str, checkpoint_id: str, into: str
) -> None:
    """Read everything, then write, so that a checkpoint that cannot be copied leaves nothing behind."""
    with noting_blocked() as blocked:
        lines = await _lines(graph, saver, thread_id, checkpoint_id)
    if blocked:
        raise CannotFork(blocked_sentence(sorted(blocked)))
    for line in lines:
        await _put(target, line, into)


async def _lines(graph: CompiledGraph, saver: Saver, thread_id: str, checkpoint_id: str) -> list[_Line]:
    await check_can_be_copied(saver, thread_id, checkpoint_id)
    found = await saver.aget_tuple(config_for(thread_id, checkpoint_id))
    if found is None:
        raise CannotFork(NO_SUCH_CHECKPOINT)
    head = await saver.aget_tuple(config_for(thread_id))
    is_head = head is not None and head.checkpoint["id"] == checkpoint_id
    state = await _read(graph, saver, thread_id, checkpoint_id)
    writes = _waiting(_by_task(found), state, is_head=is_head)
    own = [(found, writes), *[(each, _by_task(each)) async for each in _ancestors(graph, saver, found)]]
    lines = [_Line("", own[::-1])]
    here = await snapshot(graph, saver, thread_id) if is_head else None
    gates = {gate.checkpoint_ns for gate in here.inner} if here else set()
    for below in _subgraphs(state):
        is_at_gate = any(gate == below["namespace"] or gate.startswith(f"{below['namespace']}|") for gate in gates)
        if is_head and (below["task"] in writes or is_at_gate):  # in a step that begins anew, subgraphs begin anew too
            lines.append(await _line_below(saver, below["config"]))
    return lines


async def _read(graph: CompiledGraph, saver: Saver, thread_id: str, checkpoint_id: str) -> StateSnapshot:
    try:
        return await with_saver(graph, saver).aget_state(config_for(thread_id, checkpoint_id), subgraphs=True)
    except Exception as error:
        raise UnreadableThread(f"LangGraph cannot read this checkpoint: {type(error).__name__}.") from error


def _by_task(found: CheckpointTuple) -> Writes:
    writes: Writes = {}
    for task_id, channel, value in found.pending_writes or []:
        writes.setdefault(task_id, []).append((channel, value))
    return writes


def _waiting(stored: Writes, state: StateSnapshot, *, is_head: bool) -> Writes:
    """Return the pending writes of the copy.

    Of a finished step or a failed task only a first question is copied: answers and results would count as done again,
    and a later question needs the answer to the first.
    """
    first = {task.id: _interrupt_id(f"{task.name}:{task.id}", 0) for task in state.tasks}
    kept: Writes = {}
    for task_id, writes in stored.items():
        names = {channel for channel, _ in writes}
        if is_head and ERROR not in names:
            kept[task_id] = writes
        elif asked := [
            (name, value) for name, value in writes if name == INTERRUPT and _ids(value) == {first.get(task_id)}
        ]:
            kept[task_id] = asked
    return kept


def _ids(interrupts: Any) -> set[str | None]:
    return {getattr(each, "id", None) for each in interrupts} if isinstance(interrupts, list | tuple) else set()


async def _ancestors(graph: CompiledGraph, saver: Saver, found: CheckpointTuple) -> AsyncIterator[CheckpointTuple]:
    """Yield the ancestors that LangGraph reads: back to the start of the last step, and to a snapshot of each delta
    channel.
    """
    values = found.checkpoint["channel_values"]
    deltas = {name for name, channel in graph.channels.items() if isinstance(channel, DeltaChannel)} - values.keys()
    steps = 0
    while found.parent_config is not None and (deltas or steps == 0):
        steps += (found.metadata or {}).get("source") != "update"
        parent = await saver.aget_tuple(found.parent_config)
        if parent is None:
            return
        found = parent
        deltas -= found.checkpoint["channel_values"].keys()
        yield found


def _subgraphs(state: StateSnapshot) -> list[dict[str, Any]]:
    """Return where the subgraphs of the waiting tasks stand, nested ones too, each with its outermost task."""
    found = []
    for task in state.tasks:
        waiting = [task.state]
        while waiting:
            below = waiting.pop()
            if isinstance(below, StateSnapshot):
                namespace = below.config["configurable"]["checkpoint_ns"]
                found.append({"task": task.id, "config": below.config, "namespace": namespace})
                waiting.extend(inner.state for inner in below.tasks)
    return found


async def _line_below(saver: Saver, config: RunnableConfig) -> _Line:
    """Return all checkpoints of a subgraph: it is one call of a node, so there are few."""
    names = ("thread_id", "checkpoint_ns", "checkpoint_id")
    place = {name: value for name, value in config["configurable"].items() if name in names}
    found = await saver.aget_tuple({"configurable": place})
    line: list[tuple[CheckpointTuple, Writes]] = []
    while found is not None:
        line.append((found, _by_task(found)))
        found = await saver.aget_tuple(found.parent_config) if found.parent_config else None
    return _Line(place["checkpoint_ns"], line[::-1])


async def _put(target: Saver, line: _Line, into: str) -> None:
    parent = ""
    known: ChannelVersions = {}
    for found, writes in line.checkpoints:
        checkpoint = found.checkpoint
        place: dict[str, Any] = {"thread_id": into, "checkpoint_ns": line.namespace}
        above: RunnableConfig = {"configurable": place | ({"checkpoint_id": parent} if parent else {})}
        versions = checkpoint["channel_versions"]
        new = {name: version for name, version in versions.items() if known.get(name) != version}
        here = await target.aput(above, checkpoint, found.metadata, new)
        for index, (task_id, waiting) in enumerate(writes.items()):
            # LangGraph reads writes in the order of their paths, but returns no paths: a number keeps the order.
            await target.aput_writes(here, waiting, task_id, f"{index:09}")
        parent, known = checkpoint["id"], versions
