"""Edits of a paused thread: validated, previewed on a copy in memory, applied.

An edit is `{channel: {"op": "set" | "append" | "replace", "value": ...}}`. `set` is for channels that keep the last
value; a channel with a reducer takes `append` (merged by the reducer) or `replace` (stored in its place).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._typing import MISSING  # LangGraph's own word for an empty channel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.types import Overwrite
from psycopg import DatabaseError
from psycopg_pool import PoolTimeout

from agentcore.graphs import author_code, mending, messages, per_task, questions
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.secret_paths import secret_paths
from agentcore.graphs.snapshots import config_for, snapshot, with_saver
from agentcore.graphs.subgraphs import graph_at
from agentcore.plain import masks
from agentcore.plain.blocked import blocked_sentence
from agentcore.plain.edits import Edits, changes
from agentcore.plain.errors import Ambiguous, CannotEdit, Fault, FenceLost, UnreadableThread
from agentcore.plain.json import digest, to_plain
from agentcore.plain.sends import SENDS_WAIT
from agentcore.plain.types import Choice, Gate, GateTask, Pause, Preview, Snapshot
from agentcore.savers.base import Saver
from agentcore.savers.large_values import check_can_be_copied

EDITED_ALREADY = "This was edited with another answer of the same step. It can be edited again once that step is over."
AMBIGUOUS = "Parallel branches stand here: say in as_node which node the edit comes from."


async def preview(
    graph: CompiledGraph,
    saver: Saver,
    config: RunnableConfig,
    edits: Edits,
    as_node: str | None = None,
    *,
    limit_seconds: float = author_code.LIMIT_SECONDS,
) -> Preview:
    """Return the preview of an edit, from the real graph on a copy in memory. Nothing is stored.

    Raises CannotEdit; also if the graph refuses the update (Ambiguous: name `as_node`), if its routing or a reducer
    raises, and if they exceed the time limit.
    """
    thread_id, namespace = config["configurable"]["thread_id"], config["configurable"].get("checkpoint_ns", "")
    at = config["configurable"].get("checkpoint_id")
    before = await snapshot(graph, saver, thread_id, at, namespace=namespace, is_to_ask=False)
    if before is None:
        raise CannotEdit([Fault("", f"Thread {thread_id} has no checkpoint to edit.")])
    check_nothing_blocked(before)
    await check_can_be_copied(saver, thread_id, before.checkpoint_id, namespace=namespace)
    edits = masks.restored(edits, before.values, before.secrets)
    if any(not each.is_raised for each in before.interrupts):
        await check_not_edited_already(saver, config_for(thread_id, before.checkpoint_id), edits)
    copy = await _copy_in_memory(saver, before)
    if not before.interrupts and as_node not in before.next:
        check_nothing_sent(before)
    is_raised = any(each.is_raised for each in before.interrupts)
    if is_raised:
        await mending.check(graph, saver, config_for(thread_id, before.checkpoint_id))
    work = _mended if is_raised else _merged if before.interrupts else _tried
    after = await _apart(lambda: work(graph, copy, before, edits, as_node), limit_seconds)
    return _preview(graph, before, after, edits)


async def preview_each(
    graph: CompiledGraph,
    saver: Saver,
    config: RunnableConfig,
    choices: Sequence[Choice],
    *,
    limit_seconds: float = author_code.LIMIT_SECONDS,
) -> Preview:
    """Return the preview of deciding each task of a gate by itself, on a copy in memory. Nothing is stored."""
    thread_id, namespace = config["configurable"]["thread_id"], config["configurable"].get("checkpoint_ns", "")
    at = config["configurable"].get("checkpoint_id")
    before = await snapshot(graph, saver, thread_id, at, namespace=namespace, is_to_ask=False)
    inner = graph_at(graph, namespace)
    if before is None or before.gate is None or inner is None:
        raise CannotEdit([Fault("", f"Thread {thread_id} stands at no breakpoint.")])
    check_nothing_blocked(before)
    await check_can_be_copied(saver, thread_id, before.checkpoint_id, namespace=namespace)
    copy = await _copy_in_memory(saver, before)

    async def work() -> Snapshot:
        place = config_for(thread_id, namespace=namespace)
        await per_task.write(inner, copy, place, before, choices)
        after = await snapshot(graph, copy, thread_id, namespace=namespace, is_to_ask=False)
        assert after is not None
        return after

    return _preview(graph, before, await _apart(work, limit_seconds))


async def _apart(work: Callable[[], Coroutine[Any, Any, Snapshot]], limit_seconds: float) -> Snapshot:
    try:
        return await author_code.apart(work, limit_seconds=limit_seconds)
    except (author_code.TrialTooLong, author_code.TrialsStuck) as error:
        raise CannotEdit([Fault("", f"The graph's own routing or reducers did not answer. {error}")]) from error
    except author_code.TrialStopped as error:
        raise CannotEdit([Fault("", f"The graph refused the edit: {error}.")]) from error


def _preview(graph: CompiledGraph, before: Snapshot, after: Snapshot, edits: Edits | None = None) -> Preview:
    asked = _asked_at(graph, after)
    return Preview(
        values_before=before.values,
        values=after.values,
        next_before=before.next,
        next=after.next,
        diff=tuple(changes(before.values, after.values, edits)),
        digest=result_digest(after),
        sent=after.sent,
        title=" + ".join(pause.title for pause in asked),
        summary=" + ".join(pause.summary for pause in asked if pause.summary),
        actions=tuple(action for pause in asked for action in pause.actions),
    )


def _asked_at(graph: CompiledGraph, after: Snapshot) -> list[Pause]:
    """Read the next nodes as if they were gated: people see what their edit leads to, even without a gate there."""
    if after.interrupts or not after.next:
        return []
    try:
        return pauses_at(graph, replace(after, gate=after.gate or _as_if_gated(after)))
    except UnreadableThread:
        return []


def _as_if_gated(after: Snapshot) -> Gate:
    sent = [GateTask("", each["node"], (), after.checkpoint_ns, "", True, each["args"]) for each in after.sent]
    read = list(after.next)
    for task in sent:
        if task.node in read:
            read.remove(task.node)
    reading = [GateTask("", node, (), after.checkpoint_ns, "") for node in read]
    return Gate("before", after.next, tasks=(*reading, *sent))


async def _tried(graph: CompiledGraph, copy: Saver, before: Snapshot, edits: Edits, as_node: str | None) -> Snapshot:
    """Apply the edit to a copy in memory with the real graph."""
    await apply(graph, copy, config_for(before.thread_id, namespace=before.checkpoint_ns), edits, as_node)
    after = await snapshot(graph, copy, before.thread_id, namespace=before.checkpoint_ns, is_to_ask=False)
    assert after is not None
    return after


async def _mended(graph: CompiledGraph, copy: Saver, before: Snapshot, edits: Edits, as_node: str | None) -> Snapshot:
    """Apply the edit where nodes raise their questions: those nodes run again with the edited state."""
    config = config_for(before.thread_id)
    writes = await writes_of(graph, copy, config, edits)
    try:
        await mending.mend(graph, copy, config, writes)
    except (CannotEdit, DatabaseError, PoolTimeout, FenceLost):
        raise
    except Exception as error:  # reducers may raise anything
        raise CannotEdit([Fault("", f"The graph refused the edit: {type(error).__name__}.")]) from error
    after = await snapshot(graph, copy, before.thread_id)
    assert after is not None
    return after


async def _merged(graph: CompiledGraph, copy: Saver, before: Snapshot, edits: Edits, as_node: str | None) -> Snapshot:
    """Write an edit that comes with an answer straight into the channels: no routing, and the same nodes wait."""
    state = await with_saver(graph, copy).aget_state(config_for(before.thread_id, before.checkpoint_id))
    try:
        merged = {name: to_plain(_updated(graph, state.values, name, edit)) for name, edit in edits.items()}
        return replace(before, values=before.values | merged)
    except Exception as error:  # reducers may raise anything
        raise CannotEdit([Fault("", f"The graph refused the edit: {type(error).__name__}.")]) from error


def _updated(graph: CompiledGraph, values: dict[str, Any], name: str, edit: Mapping[str, Any]) -> Any:
    channel: Any = graph.channels[name]
    copy = channel.from_checkpoint(values[name] if name in values else MISSING)
    copy.update([_written(graph, name, edit, values.get(name))])
    return copy.get()


async def writes_of(graph: CompiledGraph, saver: Saver, config: RunnableConfig, edits: Edits) -> dict[str, Any]:
    """Return the edits as LangGraph takes them. Raises CannotEdit for a mask without a secret, and for an invalid
    message.

    With a namespace in `config` the channels are those of that subgraph.
    """
    secrets = secret_paths(graph)
    values: dict[str, Any] = {}
    inner = _graph_of(graph, config)
    if secrets or any(messages.merges_messages(inner, name) for name in edits):
        values = (await with_saver(graph, saver).aget_state(config)).values
    if secrets:
        edits = masks.restored(edits, {name: to_plain(value) for name, value in values.items()}, secrets)
    return {name: _written(inner, name, edit, values.get(name)) for name, edit in edits.items()}


def _graph_of(graph: CompiledGraph, config: RunnableConfig) -> CompiledGraph:
    namespace = config["configurable"].get("checkpoint_ns", "")
    inner = graph_at(graph, namespace)
    if inner is None:
        raise CannotEdit([Fault("", f"The graph of {namespace!r:.60} cannot be found, so its state cannot be edited.")])
    return inner


async def check_not_edited_already(saver: Saver, config: RunnableConfig, edits: Edits) -> None:
    """Raise CannotEdit for a channel that an edit with another answer of this step has closed."""
    if names := await questions.edited_already(saver, config, edits):
        raise CannotEdit([Fault(name, EDITED_ALREADY) for name in names])


def check_nothing_blocked(before: Snapshot) -> None:
    """Raise CannotEdit if types of the state were not built: reducers would receive bare data."""
    if before.blocked:
        raise CannotEdit([Fault("", blocked_sentence(before.blocked))])


def check_nothing_sent(before: Snapshot) -> None:
    """Raise CannotEdit while Sends are pending: on an edit LangGraph drops them, or makes others."""
    if before.sent:
        raise CannotEdit([Fault("", SENDS_WAIT)])


async def apply(
    graph: CompiledGraph,
    saver: Saver,
    config: RunnableConfig,
    edits: Edits | None,
    as_node: str | None = None,
) -> str:
    """Write the edit as a new checkpoint and return its id. Raises CannotEdit if the graph refuses it."""
    update = None if edits is None else await writes_of(graph, saver, config, edits)
    try:
        written = await with_saver(graph, saver).aupdate_state(config, update, as_node=as_node)
    except InvalidUpdateError as error:
        if "Ambiguous" in str(error):
            raise Ambiguous([Fault("", AMBIGUOUS)]) from error
        raise CannotEdit([Fault("", _refusal(error))]) from error
    except (DatabaseError, PoolTimeout, FenceLost):
        raise
    except Exception as error:  # the edit runs the graph's own routing and reducers, which may raise anything
        raise CannotEdit([Fault("", f"The graph refused the edit: {type(error).__name__}.")]) from error
    return str(written["configurable"]["checkpoint_id"])


def result_digest(after: Snapshot) -> str:
    """Return the digest of what an edit leads to: the values, the next nodes and what Sends carry to them.

    Message ids are left out, as reducers make them up.
    """
    sent = {"sent": without_message_ids(list(after.sent))} if after.sent else {}
    return digest({"values": without_message_ids(after.values), "next": list(after.next), **sent})


def without_message_ids(plain: Any) -> Any:
    """Return plain data without message ids: reducers make them up, so no two runs have the same."""
    if isinstance(plain, list):
        return [without_message_ids(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    is_message = {"type", "content"} <= plain.keys()
    return {key: without_message_ids(item) for key, item in plain.items() if not (is_message and key == "id")}


async def _copy_in_memory(saver: Saver, at: Snapshot) -> InMemorySaver:
    found = await saver.aget_tuple(config_for(at.thread_id, at.checkpoint_id, at.checkpoint_ns))
    assert found is not None
    copy = InMemorySaver(serde=saver.serde)
    parent = found.parent_config or config_for(at.thread_id, namespace=at.checkpoint_ns)
    versions = found.checkpoint["channel_versions"]
    await asyncio.to_thread(copy.put, parent, found.checkpoint, found.metadata, versions)  # it may be large
    by_task: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in found.pending_writes or []:
        by_task.setdefault(task_id, []).append((channel, value))
    for task_id, writes in by_task.items():
        await copy.aput_writes(found.config, writes, task_id)
    return copy


def _written(graph: CompiledGraph, name: str, edit: Mapping[str, Any], there: Any) -> Any:
    value = edit["value"]
    if messages.merges_messages(graph, name):
        try:
            value = messages.written(graph.channels[name], edit["op"], value, there)
        except Exception as error:  # LangChain raises many kinds for what is no message
            raise CannotEdit([Fault(f"{name}/value", f"These are no messages: {type(error).__name__}.")]) from error
    return Overwrite(value) if edit["op"] == "replace" else value


def _refusal(error: InvalidUpdateError) -> str:
    return f"The graph refused the edit: {str(error).partition(chr(10))[0]}"
