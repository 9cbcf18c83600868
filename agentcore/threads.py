"""Reading threads: a snapshot of one checkpoint, the history, and what is pending there."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Interrupt, PregelTask, StateSnapshot
from psycopg import DatabaseError
from psycopg_pool import PoolTimeout

from agentcore.cards import is_gated
from agentcore.errors import UnreadableThread, without_secrets
from agentcore.registry import Graph
from agentcore.serde import has_objects, to_plain
from agentcore.types import Gate, PendingInterrupt, Snapshot

Saver = BaseCheckpointSaver[Any]

_LONGEST_WALK = 20
"""Edits in a row that are looked through to find the node that ran last."""


def with_saver(graph: Graph, saver: Saver) -> Graph:
    """Return the same compiled graph over another saver."""
    return graph.copy(update={"checkpointer": saver})


def config_for(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    configurable = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


async def snapshot(graph: Graph, saver: Saver, thread_id: str, checkpoint_id: str | None = None) -> Snapshot | None:
    """Return the thread at `checkpoint_id`, or at its head; None if there is no such checkpoint.

    Raises UnreadableThread when LangGraph cannot make a state of what is stored.
    """
    bound = with_saver(graph, saver)
    try:
        state = await bound.aget_state(config_for(thread_id, checkpoint_id))
        if not _configurable(state.config).get("checkpoint_id") or state.metadata is None:
            return None
        return _record(state, await _gate(bound, state))
    except (DatabaseError, PoolTimeout):
        raise
    except Exception as error:  # LangGraph applies pending writes to read a state, so whatever a node wrote can raise
        raise UnreadableThread(f"LangGraph cannot read this thread: {type(error).__name__}.") from error


async def history(
    graph: Graph, saver: Saver, thread_id: str, *, limit: int = 10, before: str | None = None
) -> list[Snapshot]:
    """Return up to `limit` snapshots, newest first, older than the checkpoint id `before`."""
    bound = with_saver(graph, saver)
    older_than = config_for(thread_id, before) if before else None
    states = bound.aget_state_history(config_for(thread_id), before=older_than, limit=limit)
    return [_record(state, None) async for state in states]


async def _gate(graph: Graph, state: StateSnapshot) -> Gate | None:
    """Say at which breakpoint the thread stands. The tables do not tell, so this reads what would run and what ran."""
    if not state.next or any(task.interrupts for task in state.tasks):
        return None
    before = tuple(name for name in state.next if is_gated(graph.interrupt_before_nodes, name))
    if not before and not graph.interrupt_after_nodes:
        return None
    ran = await _ran_last(graph, state)
    after = tuple(name for name in ran if is_gated(graph.interrupt_after_nodes, name))
    if before:
        return Gate("before", before, ran)
    return Gate("after", after, ran) if after else None


async def _ran_last(graph: Graph, state: StateSnapshot) -> tuple[str, ...]:
    """Return the nodes of the last step: those that were next at the parent, looking through edits."""
    for _ in range(_LONGEST_WALK):
        if state.parent_config is None or state.metadata is None:
            return ()
        is_edit = state.metadata.get("source") in ("update", "fork")
        state = await graph.aget_state(state.parent_config)
        if not is_edit:
            return state.next
    return ()


def _record(state: StateSnapshot, gate: Gate | None) -> Snapshot:
    here, metadata = _configurable(state.config), state.metadata or {}
    values = to_plain(state.values) if isinstance(state.values, dict) else {"__root__": to_plain(state.values)}
    return Snapshot(
        thread_id=here["thread_id"],
        checkpoint_ns=here.get("checkpoint_ns", ""),
        checkpoint_id=here["checkpoint_id"],
        parent_checkpoint_id=_configurable(state.parent_config).get("checkpoint_id"),
        created_at=state.created_at,
        step=metadata.get("step"),
        source=metadata.get("source"),
        metadata=to_plain(metadata),
        values=values,
        next=tuple(state.next),
        interrupts=tuple(_pending(task, interrupt) for task in state.tasks for interrupt in task.interrupts),
        gate=gate,
        tasks=tuple(_task(task) for task in state.tasks),
        opaque=tuple(name for name, value in state.values.items() if has_objects(value))
        if isinstance(state.values, dict)
        else ("__root__",),
    )


def _configurable(config: Any) -> dict[str, Any]:
    return dict((config or {}).get("configurable", {}))


def _pending(task: PregelTask, interrupt: Interrupt) -> PendingInterrupt:
    return PendingInterrupt(
        id=interrupt.id,
        value=to_plain(interrupt.value),
        node=task.name,
        response_schema=to_plain(getattr(interrupt, "response_schema", None)),
    )


def _task(task: PregelTask) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "error": without_secrets(str(task.error)) if task.error else None,
        "interrupts": [{"id": interrupt.id, "value": to_plain(interrupt.value)} for interrupt in task.interrupts],
    }
