"""Read threads: a snapshot of one checkpoint, the history, and what is pending there."""

import asyncio
import copy
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Interrupt, PregelTask, StateSnapshot
from psycopg import DatabaseError, DataError
from psycopg_pool import PoolTimeout

from agentcore.graphs import questions, sends
from agentcore.graphs.cards import is_gated
from agentcore.graphs.questions import PendingTask
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.secret_paths import secret_paths
from agentcore.graphs.subgraphs import graph_at
from agentcore.plain.blocked import noting_blocked
from agentcore.plain.decoding import plain_serializer
from agentcore.plain.errors import NO_SUCH_CHECKPOINT, UnreadableThread, without_secrets
from agentcore.plain.excerpts import LARGEST_READ, cut, cut_state
from agentcore.plain.json import canonical, has_objects, payload, to_plain, untagged
from agentcore.plain.masks import Mask, hidden_sent, states_in_sent
from agentcore.plain.namespaces import path_of
from agentcore.plain.nodes import INTERNAL
from agentcore.plain.thread_graphs import claims_in, tools_in
from agentcore.plain.types import Gate, GateTask, Look, PendingInterrupt, Shown, Snapshot, Traits
from agentcore.savers.base import Saver
from agentcore.savers.large_values import PageReader, channel_saver, page_reader
from agentcore.savers.postgres import LARGE, off_loop

_LONGEST_WALK = 20
"""Most edits in a row that are skipped to find the node that ran last."""
_BRANCH, _JOIN = "branch:to:", "join:"
_INPUT, _SENDS = "__start__", "__pregel_tasks"


def with_saver(graph: CompiledGraph, saver: Saver) -> CompiledGraph:
    """Return the same compiled graph with another saver."""
    return graph.copy(update={"checkpointer": saver})


def with_serializer(saver: Saver, serializer: SerializerProtocol) -> Saver:
    """Return a saver over the same store with another serializer."""
    other = copy.copy(saver)
    other.serde = serializer
    return other


def config_for(thread_id: str, checkpoint_id: str | None = None, namespace: str = "") -> RunnableConfig:
    configurable = {"thread_id": thread_id, "checkpoint_ns": namespace}
    if checkpoint_id:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


async def snapshot(
    graph: CompiledGraph,
    saver: Saver,
    thread_id: str,
    checkpoint_id: str | None = None,
    *,
    namespace: str = "",
    is_to_ask: bool = True,
) -> Snapshot | None:
    """Return the thread at `checkpoint_id`, or at its head; None if there is no such checkpoint.

    With `namespace` it is that subgraph's checkpoint. At a head, the subgraphs that stand at a breakpoint come with it.
    What is too large for a page is an excerpt (`plain.excerpts`), and its channel opaque. Raises UnreadableThread when
    LangGraph cannot make a state of what is stored. Unless it `is_to_ask` people at a breakpoint, the nodes that ran
    last are left out: only a question names them, and they are read from the checkpoint before.
    """
    reader = await page_reader(saver, thread_id, checkpoint_id, namespace=namespace)
    bound = with_saver(graph, reader.saver)
    with unreadable():
        if reader.questions_at and checkpoint_id is None and not namespace:
            asking = await _at_own_questions(bound, reader, thread_id)
            if asking is not None:
                return await reader.shown(asking)
        state, blocked = await _state_at(bound, config_for(thread_id, checkpoint_id, namespace))
        if not _configurable(state.config).get("checkpoint_id") or state.metadata is None:
            return None
        below = await _below(graph, saver, state, is_to_ask) if checkpoint_id is None else _NOTHING_BELOW
        if checkpoint_id is None and any(task.interrupts for task in state.tasks):
            with noting_blocked() as blocked:
                state = await bound.aget_state(state.config, subgraphs=True)
            found = await _at_questions(bound, reader, state, blocked, below)
        else:
            gate = None
            if not below.has_begun:
                gate = await _gate(graph_at(graph, namespace), bound, reader.saver, state, is_to_ask)
            looked = await _look_at(reader.saver, state) if blocked else None
            found = await _recorded(reader.size, bound, state, gate, blocked, looked)
            sent = await sends.sent_at(reader.saver, state)
            found = replace(found, running=below.running if below.gates else (), sent=sent)
    return replace(await reader.shown(found), inner=below.gates, unseen=below.unseen)


async def subgraph_snapshot(graph: CompiledGraph, saver: Saver, here: Snapshot, namespace: str) -> Snapshot | None:
    """Return the snapshot of a subgraph by its namespace; None if the thread's step does not have it."""
    if not namespace:
        return here
    there = await snapshot(graph, saver, here.thread_id, namespace=namespace)
    is_of_step = there is not None and there.metadata.get("parents", {}).get("") == here.checkpoint_id
    return there if is_of_step else None


@dataclass(frozen=True)
class _Below:
    """What is known of the subgraphs of a step. `has_begun`: a task has started, so its own breakpoint was passed.

    `running` are nodes that have neither ended, nor asked, nor stand at a breakpoint; `at_gates` the tasks of those
    that do.
    """

    has_begun: bool
    gates: tuple[Snapshot, ...] = ()
    unseen: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    at_gates: tuple[str, ...] = ()


_NOTHING_BELOW = _Below(False)


async def _below(graph: CompiledGraph, saver: Saver, state: StateSnapshot, is_to_ask: bool) -> _Below:
    """Read the subgraphs of the waiting tasks. A subgraph that has begun in this step stands where it stopped."""
    here = _configurable(state.config)
    namespace, has_begun = here.get("checkpoint_ns", ""), False
    gates: list[Snapshot] = []
    unseen: list[str] = []
    running: list[str] = []
    at_gates: list[str] = []
    for task in state.tasks:
        if task.result is not None or task.interrupts and task.state is None:
            continue
        if task.state is None:
            unseen.append("|".join(filter(None, [namespace, f"{task.name}:{task.id}"])))
            running.append(task.name)
            continue
        place = _namespace_of(graph, task)
        inner = await snapshot(graph, saver, here["thread_id"], namespace=place, is_to_ask=is_to_ask)
        if inner is None or inner.metadata.get("parents", {}).get(namespace) != here["checkpoint_id"]:
            if inner is not None and (
                inner.gate or inner.inner
            ):  # of an earlier step; LangGraph would go on with it without asking
                unseen.append(inner.checkpoint_ns)
            running.append(task.name)
            continue
        has_begun = True
        stand = (inner,) if inner.gate else inner.inner
        gates += stand
        unseen += inner.unseen
        if stand and not inner.running:
            at_gates.append(task.id)
        elif inner.running or not task.interrupts:
            running.append(task.name)
    return _Below(has_begun, tuple(gates), tuple(unseen), tuple(running), tuple(at_gates))


def _namespace_of(graph: CompiledGraph, task: PregelTask) -> str:
    """Return where a task's subgraph keeps its checkpoints. With one history a thread the name has no task id."""
    namespace = str(_configurable(task.state)["checkpoint_ns"])
    inner = graph_at(graph, namespace)
    is_one_history = inner is not None and inner.checkpointer is True
    return "|".join(part.partition(":")[0] for part in namespace.split("|")) if is_one_history else namespace


async def _recorded(size: int, *arguments: Any) -> Snapshot:
    """Convert a state of `size` bytes; a large one outside the event loop, as a million small values take a second."""
    return await off_loop(size, _record, *arguments)


async def read_pending_tasks(graph: CompiledGraph, saver: Saver, config: RunnableConfig) -> list[PendingTask]:
    """Return the tasks that wait or failed at a checkpoint, those in subgraphs too."""
    with unreadable():
        state = await with_saver(graph, saver).aget_state(config, subgraphs=True)
        return await questions.read_pending_tasks(saver, state)


async def _at_own_questions(bound: CompiledGraph, reader: PageReader, thread_id: str) -> Snapshot | None:
    """Read a head whose questions wait in its own graph, in one look; None if none waits, or a task has a subgraph.

    Each look is as much work for LangGraph as the step has tasks. By its id a checkpoint shows which of them ended.
    """
    with noting_blocked() as blocked:
        state = await bound.aget_state(config_for(thread_id, reader.questions_at), subgraphs=True)
    waits = any(task.interrupts for task in state.tasks if task.result is None)
    if not waits or any(task.state is not None for task in state.tasks):
        return None
    below = await _below(bound, reader.saver, state, is_to_ask=True)
    return replace(await _at_questions(bound, reader, state, blocked, below), unseen=below.unseen)


async def _at_questions(
    bound: CompiledGraph, reader: PageReader, state: StateSnapshot, blocked: set[str], below: _Below
) -> Snapshot:
    """Read the questions of a checkpoint that was read by its id: as the asking nodes see it, without later writes."""
    with noting_blocked() as more:
        # A task keeps the question that its subgraph has asked before it came to a breakpoint.
        pending = await questions.read_pending_tasks(reader.saver, state)
        places = [place for place in pending if not _is_at_gate(place, below)]
    blocked = blocked | more
    looked = await _look_at(reader.saver, state) if blocked else None
    record = await _recorded(reader.size, bound, state, None, blocked, looked)
    asking = {place.root for place in places if place.task.interrupts and not place.is_poisoned}
    return replace(
        record,
        next=tuple(task.name for task in state.tasks if task.result is None),
        interrupts=tuple(questions.iter_pending(places)),
        # An error from before the task asked again no longer counts.
        tasks=tuple({**task, "error": None} if task["id"] in asking else task for task in record.tasks),
        answers=questions.answers_in(places),
        running=questions.running(state, places, at_gates=below.at_gates),
    )


def _is_at_gate(place: PendingTask, below: _Below) -> bool:
    """Return whether the task is a subgraph at a breakpoint. With one history a thread its namespace has no task id."""
    names = {gate.checkpoint_ns for gate in below.gates}
    return place.namespace in names or "|".join(path_of(place.namespace)) in names


async def history(
    graph: CompiledGraph,
    saver: Saver,
    thread_id: str,
    *,
    limit: int = 10,
    before: str | None = None,
    namespace: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> list[Snapshot]:
    """Return up to `limit` snapshots, newest first, older than the checkpoint id `before`.

    They are of a subgraph, by its `namespace`, and of those whose metadata has all of `metadata`. Large values are
    excerpts; the more snapshots, the smaller the limit. Raises UnreadableThread as `snapshot` does.
    """
    reader = await page_reader(saver, thread_id, namespace=namespace, most=LARGEST_READ // limit)  # of the head only
    where = config_for(thread_id, namespace=namespace)
    asked: dict[str, Any] = {"limit": limit, "filter": dict(metadata) if metadata else None}
    asked["before"] = config_for(thread_id, before, namespace) if before else None
    found = await _history(graph, reader.saver, where, asked)
    return [await reader.shown(each) for each in found]


async def _history(
    graph: CompiledGraph, saver: Saver, where: RunnableConfig, asked: Mapping[str, Any]
) -> list[Snapshot]:
    bound = with_saver(graph, saver)
    with unreadable():
        with noting_blocked() as blocked:
            states = [state async for state in bound.aget_state_history(where, **asked)]
        if not blocked:
            return [_with_results(await _recorded(LARGE, bound, state, None), state) for state in states]
        # LangGraph reads all before it yields the first, so an error does not say which one: read them one by one.
        again = [await _state_at(bound, state.config) for state in states]
        return [
            await _recorded(LARGE, bound, state, None, names, await _look_at(saver, state) if names else None)
            for state, names in again
        ]


def _with_results(record: Snapshot, state: StateSnapshot) -> Snapshot:
    """Add what tasks returned: in a history each step has ended but the newest."""
    ended = {task.id: cut(to_plain(task.result)) for task in state.tasks if task.result is not None}
    return replace(record, tasks=tuple({**task, "result": ended.get(task["id"])} for task in record.tasks))


async def _state_at(bound: CompiledGraph, config: RunnableConfig) -> tuple[StateSnapshot, set[str]]:
    """Read a state, and the types in it that were not built."""
    with noting_blocked() as blocked:
        return await bound.aget_state(config), blocked


async def look(saver: Saver, thread_id: str, checkpoint_id: str | None = None, *, namespace: str = "") -> Look | None:
    """Read a checkpoint without its graph, building no object; None if it does not exist.

    Raises UnreadableThread if the row is not LangGraph's.
    """
    reader = await page_reader(saver, thread_id, checkpoint_id, namespace=namespace)
    plain = with_serializer(reader.saver, plain_serializer())
    with unreadable():
        found = await plain.aget_tuple(config_for(thread_id, checkpoint_id, namespace))
        return await asyncio.to_thread(_looked, found, reader.is_whole) if found else None


async def look_back(
    saver: Saver,
    thread_id: str,
    *,
    limit: int = 10,
    before: str | None = None,
    namespace: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> list[Look]:
    """Read checkpoints without their graph: those that `history` returns."""
    reader = await page_reader(saver, thread_id, namespace=namespace, most=LARGEST_READ // limit)
    plain = with_serializer(reader.saver, plain_serializer())
    older_than = config_for(thread_id, before, namespace) if before else None
    where, wanted = config_for(thread_id, namespace=namespace), dict(metadata) if metadata else None
    with unreadable():
        found = [each async for each in plain.alist(where, filter=wanted, before=older_than, limit=limit)]
        return [await asyncio.to_thread(_looked, each, reader.is_whole) for each in found]


def snapshot_of(look: Look, thread_id: str, namespace: str = "") -> Snapshot:
    """Convert what was read without a graph to a Snapshot. Its next nodes are a guess, and it has no gate."""
    tasks: tuple[dict[str, Any], ...] = tuple(
        {"id": f"unknown-{node}", "name": node, "error": None, "interrupts": []} for node in look.waits
    )
    asked = tuple(PendingInterrupt(each["id"], each["value"], node="") for each in look.asked)
    return Snapshot(
        thread_id=thread_id,
        checkpoint_ns=namespace,
        checkpoint_id=look.checkpoint_id,
        parent_checkpoint_id=look.parent_checkpoint_id,
        created_at=look.created_at or None,
        step=look.metadata.get("step"),
        source=look.metadata.get("source"),
        metadata=look.metadata,
        values=look.values,
        next=look.waits,
        interrupts=asked,
        tasks=tasks,
        opaque=tuple(look.values),
    )


def _looked(found: CheckpointTuple, is_whole: bool) -> Look:
    metadata = to_plain(found.metadata) if isinstance(found.metadata, dict) else {}
    channels = found.checkpoint["channel_values"].items()
    values = {name: to_plain(value) for name, value in channels if not name.startswith(INTERNAL)}
    seen = found.checkpoint["versions_seen"]
    ran = tuple(name for name in seen if not name.startswith("__"))
    asked = tuple(_asked(found.pending_writes or ()))
    claims = claims_in(metadata)
    known = {name for name in (*values, *found.checkpoint["channel_versions"]) if not name.startswith(INTERNAL)}
    traits = Traits(
        claims.get("agent", ""),
        frozenset(ran),
        frozenset(known.difference(ran)),  # older versions of LangGraph have a channel for each node
        frozenset(tools_in([list(values.values()), [each["value"] for each in asked]])),
    )
    here = _configurable(found.config)
    return Look(
        metadata=metadata,
        ran=ran,
        values=cut_state(values),
        checkpoint_id=str(here.get("checkpoint_id", "")),
        created_at=str(found.checkpoint.get("ts") or ""),
        parent_checkpoint_id=_configurable(found.parent_config).get("checkpoint_id"),
        waits=tuple(_waits(found.checkpoint, seen)),
        asked=asked,
        has_ended=_has_ended(found),
        shown=Shown(claims, traits, is_whole),
    )


def _asked(writes: Iterable[tuple[str, str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the questions among pending writes, as the plain serializer returns them."""
    for _, channel, value in writes:
        for each in value if channel == "__interrupt__" and isinstance(value, list) else ():
            inside = each.get("value") if isinstance(each, dict) and "__type__" in each else each
            if isinstance(inside, dict) and "value" in inside:
                yield {"id": str(inside.get("id") or ""), "value": cut(to_plain(inside["value"]))}


def _waits(checkpoint: Checkpoint, seen: Any) -> Iterator[str]:
    """Yield the nodes whose channel is set and newer than what they have seen. Nodes can wait in other ways too."""
    for channel in checkpoint["channel_values"]:
        node = channel.removeprefix(_BRANCH)
        if node != channel and (seen.get(node) or {}).get(channel) != checkpoint["channel_versions"].get(channel):
            yield node


def _has_ended(found: CheckpointTuple) -> bool:
    """Return whether the graph, whichever it is, has reached its end here.

    Steps of an older LangGraph have a channel for each node: nobody can tell then.
    """
    values, seen = found.checkpoint["channel_values"], found.checkpoint["versions_seen"]
    if found.pending_writes or found.metadata.get("step", -1) < 0:
        return False
    if any(values.get(channel) for channel in (_INPUT, _SENDS)) or next(_waits(found.checkpoint, seen), None):
        return False
    return not any(_is_full(channel, value) or channel in seen for channel, value in values.items())


def _is_full(channel: str, value: Any) -> bool:
    """Return whether all nodes have ended that a node waits for: `join:a+b:c` holds their names."""
    if not channel.startswith(_JOIN):
        return False
    names = to_plain(value)
    inside = names.get("value") if isinstance(names, dict) else names
    wanted = channel.removeprefix(_JOIN).rpartition(":")[0].split("+")
    return not isinstance(inside, list) or set(wanted) <= {str(name) for name in inside}


async def read_part(
    graph: CompiledGraph, saver: Saver, thread_id: str, checkpoint_id: str, part: str, *, namespace: str = ""
) -> str:
    """Return one channel (`state/CHANNEL`), or the question (`request`), whole: as JSON text, without secrets.

    Builds no object. Other large values stay in the database.
    """
    channel = part.removeprefix("state/")
    excerpts = await channel_saver(saver, thread_id, checkpoint_id, channel, namespace=namespace)
    reader = with_serializer(excerpts, plain_serializer())
    with unreadable():
        found = await reader.aget_tuple(config_for(thread_id, checkpoint_id, namespace))
        if found is None:
            raise UnreadableThread(NO_SUCH_CHECKPOINT)
        if part == "request":
            asked = [value for _, name, value in found.pending_writes or () if name == "__interrupt__"]
            sent = sends.sends_in(found.checkpoint["channel_values"])
            return await asyncio.to_thread(_request_text, secret_paths(graph), asked, sent)
        values = {channel: found.checkpoint["channel_values"].get(channel)}
        return await asyncio.to_thread(_masked_text, secret_paths(graph), values, channel)


def _masked_text(secrets: Iterable[str], values: dict[str, Any], channel: str) -> str:
    return json.dumps(Mask(secrets, values).state(values)[channel])


def _request_text(secrets: Iterable[str], asked: list[Any], sent: list[Any]) -> str:
    if asked or not sent:
        return json.dumps(asked)
    carried = [each["value"][:2] for each in sent]  # node and arguments, as the plain serializer has a Send
    mask = Mask(secrets, *(state for _, args in carried for state in states_in_sent(args)))
    return json.dumps([{"node": node, "args": hidden_sent(mask, args)} for node, args in carried])


@contextmanager
def unreadable() -> Iterator[None]:
    """Turn errors into UnreadableThread.

    LangGraph applies pending writes to read a state, so any stored value may raise.
    """
    try:
        yield
    except DataError as error:  # PostgreSQL parses it, and what is stored is not what LangGraph stores
        raise UnreadableThread("This is no checkpoint of LangGraph's.") from error
    except (DatabaseError, PoolTimeout, sqlite3.Error, UnreadableThread):
        raise
    except Exception as error:
        raise UnreadableThread(f"LangGraph cannot read this thread: {type(error).__name__}.") from error


async def _look_at(saver: Saver, state: StateSnapshot) -> Look | None:
    here = _configurable(state.config)
    return await look(saver, here["thread_id"], here["checkpoint_id"], namespace=here.get("checkpoint_ns", ""))


async def _gate(
    graph: CompiledGraph | None, bound: CompiledGraph, saver: Saver, state: StateSnapshot, is_to_ask: bool
) -> Gate | None:
    """Return the breakpoint at which the thread stands. No table says so: it follows from what would run and what
    ran.

    `graph` is the one of the checkpoint, `bound` the outermost. A subgraph may stop after its last node: then its node
    in the outer graph is what waits.
    """
    path = path_of(_configurable(state.config).get("checkpoint_ns", ""))
    is_over = bool(path) and not state.tasks
    if graph is None or not (state.next or is_over) or any(task.interrupts for task in state.tasks):
        return None
    before = tuple(name for name in state.next if is_gated(graph.interrupt_before_nodes, name))
    if not before and not graph.interrupt_after_nodes:
        return None
    ran = await _ran_last(bound, state) if is_to_ask or not before else ()
    after = tuple(name for name in ran if is_gated(graph.interrupt_after_nodes, name))
    if not before and not after:
        return None
    tasks = (_end_of(state, path),) if is_over else await sends.gate_tasks(saver, state, path)
    return Gate("before", before, ran, tasks) if before else Gate("after", after, ran, tasks)


def _end_of(state: StateSnapshot, path: tuple[str, ...]) -> GateTask:
    here = _configurable(state.config)
    return GateTask("", path[-1], path, here["checkpoint_ns"], here["checkpoint_id"])


async def _ran_last(graph: CompiledGraph, state: StateSnapshot) -> tuple[str, ...]:
    """Return the nodes of the last step: those that were next at its parent, edits left out."""
    for _ in range(_LONGEST_WALK):
        if state.parent_config is None or state.metadata is None:
            return ()
        is_edit = state.metadata.get("source") == "update"  # a copy ("fork") has the parent of what it is a copy of
        state = await graph.aget_state(state.parent_config)
        if not is_edit:
            return state.next
    return ()


def _record(
    graph: CompiledGraph,
    state: StateSnapshot,
    gate: Gate | None,
    blocked: Iterable[str] = (),
    looked: Look | None = None,
) -> Snapshot:
    """Convert a state. `looked` is the same checkpoint as plain data if types were blocked: it has their names."""
    here, metadata = _configurable(state.config), state.metadata or {}
    values = state.values if isinstance(state.values, dict) else {"__root__": state.values}
    plain = {name: to_plain(value) for name, value in values.items()}
    shown = {name: _with_names(value, looked.values.get(name)) if looked else value for name, value in plain.items()}
    secrets = secret_paths(graph)
    mask = Mask(secrets, plain if any(task.error for task in state.tasks) else {})
    return Snapshot(
        thread_id=here["thread_id"],
        checkpoint_ns=here.get("checkpoint_ns", ""),
        checkpoint_id=here["checkpoint_id"],
        parent_checkpoint_id=_configurable(state.parent_config).get("checkpoint_id"),
        created_at=state.created_at,
        step=metadata.get("step"),
        source=metadata.get("source"),
        metadata=to_plain(metadata),
        values=shown,
        next=tuple(state.next),
        interrupts=tuple(_pending(task, interrupt) for task in state.tasks for interrupt in task.interrupts),
        gate=gate,
        tasks=tuple(plain_task(task, mask) for task in state.tasks),
        opaque=tuple(name for name, value in values.items() if has_objects(value) or shown[name] != plain[name]),
        blocked=tuple(sorted(blocked)),
        secrets=secrets,
    )


def _with_names(plain: Any, looked: Any) -> Any:
    """Return what was read as plain data if it differs only in names of types: it has no pending writes."""
    return looked if canonical(untagged(looked)) == canonical(untagged(plain)) else plain


def _configurable(config: Any) -> dict[str, Any]:
    return dict((config or {}).get("configurable", {}))


def _pending(task: PregelTask, interrupt: Interrupt) -> PendingInterrupt:
    return PendingInterrupt(
        id=interrupt.id,
        value=payload(interrupt.value),
        has_objects=has_objects(interrupt.value),
        node=task.name,
        response_schema=to_plain(getattr(interrupt, "response_schema", None)),
    )


def plain_task(task: PregelTask, mask: Mask) -> dict[str, Any]:
    """Convert a task to what every reader of a snapshot has of it.

    Its error is masked before what looks like a password in it is blanked, which may be a part of a secret.
    """
    return {
        "id": task.id,
        "name": task.name,
        "path": to_plain(task.path),
        "error": without_secrets(mask.anywhere(str(task.error))) if task.error else None,
        "interrupts": [{"id": interrupt.id, "value": payload(interrupt.value)} for interrupt in task.interrupts],
    }
