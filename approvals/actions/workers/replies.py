"""Answer, in a worker, the inquiries of web processes about a graph."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from agentcore import dialects
from agentcore.graphs import forks, snapshots, state_edits, thread_states
from agentcore.graphs.gates import with_gates
from agentcore.graphs.secret_paths import secret_paths
from agentcore.plain import masks
from agentcore.plain.errors import NO_SUCH_CHECKPOINT, Ambiguous, CannotEdit, CannotFork, UnreadableThread
from agentcore.plain.json import to_plain
from agentcore.plain.types import Question
from agentcore.savers import stores
from approvals import last_writes
from approvals.database import in_database
from approvals.domain import bindings, encryption
from approvals.errors import Conflict, InvalidEdit, NotFound, Refusal, Unavailable
from approvals.jobs import runtime
from approvals.live import events, relay
from approvals.models import Inquiry

_TAKE_SQL = """
UPDATE approvals_inquiry SET taken_at = clock_timestamp() WHERE id = (
    SELECT id FROM approvals_inquiry WHERE taken_at IS NULL AND graph_id = ANY(%s)
    ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING *
"""


def take(graph_ids: Collection[str]) -> Inquiry | None:
    """Return the longest waiting inquiry about one of these graphs, which no other worker takes then."""
    return next(iter(Inquiry.objects.raw(_TAKE_SQL, [["", *graph_ids]])), None)


async def answer(found: Inquiry) -> None:
    """Answer an inquiry. Errors are answers too, because somebody waits."""
    reply: dict[str, Any]
    try:
        given = await _answers[found.kind](**found.payload)
        reply = {"ok": masks.hidden_answer(given, await _secrets_of(found.payload["graph_id"]))}
    except Refusal as refusal:
        reply = {"refusal": type(refusal).__name__, "message": refusal.message, "detail": refusal.detail}
    except UnreadableThread as error:
        reply = {"refusal": "Conflict", "message": str(error), "detail": {}}
    except Exception as error:  # noqa: BLE001 - a graph may raise anything; the page says so instead of waiting
        reply = {
            "refusal": "Unavailable",
            "message": f"The worker could not answer: {type(error).__name__}.",
            "detail": {},
        }
    found.answer = to_plain(reply)
    await in_database(_store)(found)


def _store(answered: Inquiry) -> None:
    """Store an answer, and tell who asked; nothing if the row is gone, because nobody waits any more."""
    with suppress(last_writes.NotWritten), last_writes.gathering():
        last_writes.update(answered, ["answer"])
        relay.announce([events.reply_topic(str(answered.pk))])


async def _preview(
    *,
    graph_id: str,
    thread_id: str,
    checkpoint_id: str,
    namespace: str,
    gates: Mapping[str, Any],
    edits: Any,
    as_node: str,
) -> dict[str, Any]:
    graph, worker = await _loaded(graph_id, gates)
    edits = encryption.decrypted(edits, secret_paths(graph), thread_id)
    config = snapshots.config_for(thread_id, checkpoint_id, namespace)
    with _as_refusal():
        return asdict(await state_edits.preview(graph, worker.saver(graph_id), config, edits, as_node or None))


async def _preview_each(
    *, graph_id: str, thread_id: str, namespace: str, checkpoint_id: str, gates: Mapping[str, Any], answer: Any
) -> dict[str, Any]:
    graph, worker = await _loaded(graph_id, gates)
    config = snapshots.config_for(thread_id, checkpoint_id, namespace)
    choices = dialects.choices_in(Question("breakpoint", None, []), answer)
    with _as_refusal():
        return asdict(await state_edits.preview_each(graph, worker.saver(graph_id), config, choices))


@contextmanager
def _as_refusal() -> Iterator[None]:
    try:
        yield
    except CannotEdit as error:
        faults = [fault.as_dict() for fault in error.faults]
        ambiguous = {"ambiguous": True} if isinstance(error, Ambiguous) else {}
        raise InvalidEdit(error.faults[0].message, faults=faults, **ambiguous) from error


async def _snapshot(
    *, graph_id: str, thread_id: str, checkpoint_id: str | None, namespace: str, has_subgraphs: bool
) -> dict[str, Any]:
    if not graph_id:
        saver = (await runtime.worker()).saver(None)
        look = await snapshots.look(saver, thread_id, checkpoint_id, namespace=namespace)
        if look is None:
            raise NotFound(NO_SUCH_CHECKPOINT)
        return asdict(snapshots.snapshot_of(look, thread_id, namespace))
    graph, worker = await _loaded(graph_id)
    saver = worker.saver(graph_id, reads="notified")
    found = await snapshots.snapshot(graph, saver, thread_id, checkpoint_id, namespace=namespace)
    if found is None:
        raise NotFound(NO_SUCH_CHECKPOINT)
    return asdict(await thread_states.with_subgraphs(graph, saver, found, are_read=has_subgraphs))


async def _whole(*, graph_id: str, thread_id: str, checkpoint_id: str, namespace: str, part: str) -> dict[str, Any]:
    graph, worker = await _loaded(graph_id)
    saver = worker.saver(graph_id)
    return {"text": await snapshots.read_part(graph, saver, thread_id, checkpoint_id, part, namespace=namespace)}


async def _store_of(*, graph_id: str, thread_id: str, namespace: list[str]) -> dict[str, Any]:
    graph, worker = await _loaded(graph_id)
    saver, secrets = worker.saver(graph_id), secret_paths(graph)
    seen = await stores.look(worker.store_of(saver), namespace)
    here = await snapshots.snapshot(graph, saver, thread_id) if secrets else None
    return dict(masks.Mask(secrets, here.values).anywhere(seen)) if here else seen


async def _history(*, graph_id: str, thread_id: str, namespace: str, **asked: Any) -> dict[str, Any]:
    if not graph_id:
        saver = (await runtime.worker()).saver(None)
        looks = await snapshots.look_back(saver, thread_id, namespace=namespace, **asked)
        return {"snapshots": [asdict(snapshots.snapshot_of(look, thread_id, namespace)) for look in looks]}
    graph, worker = await _loaded(graph_id)
    saver = worker.saver(graph_id, reads="notified")
    found = await snapshots.history(graph, saver, thread_id, namespace=namespace, **asked)
    return {"snapshots": [asdict(item) for item in found]}


async def _try_fork(
    *, graph_id: str, thread_id: str, checkpoint_id: str, gates: Mapping[str, Any], edits: Any, as_node: str
) -> dict[str, Any]:
    graph, worker = await _loaded(graph_id, gates)
    where = {"thread_id": thread_id, "checkpoint_id": checkpoint_id}
    edits = encryption.decrypted(edits, secret_paths(graph), thread_id)
    saver = worker.saver(graph_id)
    try:
        found = await forks.try_fork(graph, saver, **where, edits=edits or None, as_node=as_node or None)
    except CannotFork as error:
        raise Conflict(str(error)) from error
    except CannotEdit as error:
        faults = [fault.as_dict() for fault in error.faults]
        raise InvalidEdit(error.faults[0].message, faults=faults) from error
    return {"next": found.waiting, "opaque": found.opaque}


async def _secrets_of(graph_id: str) -> tuple[str, ...]:
    """Return the secret paths of the graph; those of all graphs while the thread's graph is not certain."""
    if not graph_id:
        graphs = (await runtime.worker()).graphs.values()
        return tuple(path for graph in graphs for path in secret_paths(graph))
    graph, _ = await _loaded(graph_id)
    return secret_paths(graph)


async def _loaded(graph_id: str, gates: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, runtime.WorkerRuntime]:
    worker = await runtime.worker()
    if graph_id not in worker.graphs:
        raise Unavailable(bindings.graph_gone(graph_id))
    return with_gates(worker.graphs[graph_id], gates), worker


_answers: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "preview": _preview,
    "preview_each": _preview_each,
    "try_fork": _try_fork,
    "snapshot": _snapshot,
    "whole": _whole,
    "history": _history,
    "store": _store_of,
}
