"""States of threads in the format of the LangGraph SDK: where a thread stands, and its history. A worker reads them."""

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from agentcore.plain.errors import NO_SUCH_CHECKPOINT
from approvals import checkpoints
from approvals.actions.threads import state_updates
from approvals.actions.workers import inquiries
from approvals.api.auth import person, viewer
from approvals.api.errors import answers
from approvals.api.fields import (
    Body,
    CheckpointId,
    CheckpointPlace,
    CheckpointRef,
    JsonObject,
    PlainObject,
    PlainValue,
    QueryFilters,
    Text,
    ThreadId,
)
from approvals.api.known_threads import readable
from approvals.api.schemas import StateOut, empty_state, state_out
from approvals.api.selection import selected
from approvals.domain import bindings
from approvals.errors import Invalid, NotFound, Unbound
from approvals.models import Thread

router = Router(tags=["threads"])
MOST_STATES = 1_000
FIELDS = ("values", "next", "tasks", "checkpoint", "metadata", "created_at", "parent_checkpoint", "interrupts")
StateAnswer = StateOut | PlainObject


class StateFilters(QueryFilters):
    subgraphs: bool = Field(False, description="Read the states of the subgraphs of waiting tasks as well.")
    select: list[Text] | None = Field(None, description="Only these fields; `values.NAME` is one channel.")


class AtCheckpoint(Body):
    """With `checkpoint_ns` it is a checkpoint of that subgraph; without `checkpoint_id`, its newest one."""

    checkpoint: CheckpointPlace
    subgraphs: bool = False
    select: list[Text] | None = None


class HistorySearch(Body):
    """Up to `limit` states, newest first, older than the checkpoint `before`.

    `metadata` finds those whose metadata holds all of it; `checkpoint` names a subgraph, with its `checkpoint_ns`.
    """

    limit: int = Field(default=10, ge=1, le=MOST_STATES)
    before: CheckpointRef | None = None
    metadata: JsonObject | None = None
    checkpoint: CheckpointPlace | None = None
    select: list[Text] | None = None


class StateUpdate(Body):
    values: PlainValue = None
    as_node: Text | None = Field(None, max_length=200)
    checkpoint: CheckpointPlace | None = None
    checkpoint_id: CheckpointId | None = None


# The longer address comes first: `checkpoint` is the name of no checkpoint.
@router.post("/threads/{part:thread_id}/state/checkpoint", response=answers(StateAnswer, 404, 409, 410, 413))
def get_state_at_checkpoint(request: HttpRequest, thread_id: ThreadId, at: AtCheckpoint) -> StateAnswer:
    """Read the thread at a checkpoint, as the SDK asks for it, also of one of its subgraphs."""
    viewer(request)
    id, namespace = at.checkpoint.checkpoint_id, at.checkpoint.checkpoint_ns
    found = _state(thread_id, checkpoint_id=id, namespace=namespace, has_subgraphs=at.subgraphs)
    return _chosen([found], at.select)[0]


@router.get("/threads/{part:thread_id}/state/{checkpoint_id}", response=answers(StateAnswer, 404, 409, 410))
def get_state_at(
    request: HttpRequest, thread_id: ThreadId, checkpoint_id: CheckpointId, filters: Query[StateFilters]
) -> StateAnswer:
    """Read the thread at one of its checkpoints. 404 for a checkpoint of another thread."""
    viewer(request)
    found = _state(thread_id, checkpoint_id=checkpoint_id, has_subgraphs=filters.subgraphs)
    return _chosen([found], filters.select)[0]


@router.get("/threads/{part:thread_id}/state", response=answers(StateAnswer, 404, 409, 410))
def get_state(request: HttpRequest, thread_id: ThreadId, filters: Query[StateFilters]) -> StateAnswer:
    """Read the thread where it stands now. A worker answers; 503 when none does, 409 when none has its graph."""
    viewer(request)
    return _chosen([_state(thread_id, has_subgraphs=filters.subgraphs)], filters.select)[0]


@router.post("/threads/{part:thread_id}/state", response=answers(None, 404, 409, 410, 413, 501, status=204))
def update_state(request: HttpRequest, thread_id: ThreadId, update: StateUpdate) -> None:
    """Refuse an edit of a state, and say where it is made: an edit is part of a vote, or of a fork.

    409 `busy` where the thread asks people, with each approval and its address in `detail.approvals`; 409 while a run
    holds it. 501 where nobody is asked: POST .../fork with `edits` then.
    """
    state_updates.refuse(thread_id=thread_id, by=person(request))


@router.post(
    "/threads/{part:thread_id}/history",
    response=answers(list[StateOut] | list[PlainObject], 404, 409, 410, 413),
)
def get_history(
    request: HttpRequest, thread_id: ThreadId, asked: HistorySearch | None = None
) -> list[StateOut] | list[Any]:
    """Read the thread's states, newest first. A worker answers; 503 when none does."""
    viewer(request)
    asked = asked or HistorySearch()
    thread = readable(thread_id)
    if not _has_checkpoints(thread):
        return []
    namespace = asked.checkpoint.checkpoint_ns if asked.checkpoint else ""
    where = {"thread_id": thread.pk, "graph_id": thread.graph_id, "namespace": namespace}
    found = inquiries.history(**where, limit=asked.limit, before=asked.before, metadata=asked.metadata)
    return _chosen([state_out(snapshot) for snapshot in found], asked.select)


def _state(
    thread_id: str, *, checkpoint_id: str | None = None, namespace: str = "", has_subgraphs: bool = False
) -> StateOut:
    thread = readable(thread_id)
    if not _has_checkpoints(thread):
        if checkpoint_id or namespace:
            raise NotFound(NO_SUCH_CHECKPOINT)
        return empty_state(thread_id)
    asked: dict[str, Any] = {"checkpoint_id": checkpoint_id, "namespace": namespace, "has_subgraphs": has_subgraphs}
    return state_out(inquiries.snapshot(thread_id=thread_id, graph_id=thread.graph_id, **asked))


def _has_checkpoints(thread: Thread) -> bool:
    """Return False for a thread on which nothing ran. Raises Conflict for one that no worker could read."""
    if checkpoints.read_head(thread.pk) is None:
        return False
    if not thread.bound_by and not thread.unbound:
        raise Unbound(bindings.NOT_READ)
    return True


def _chosen(states: list[StateOut], names: list[str] | None) -> list[Any]:
    """Return the fields of each state that are wanted. `values.messages` is a part of `values`."""
    if not names:
        return states
    channels = [name.removeprefix("values.") for name in names if name.startswith("values.")]
    whole = [name for name in names if not name.startswith("values.")]
    if unknown := sorted(set(whole) - set(FIELDS)):
        told = f"There is no field {unknown[0]!r:.60}. Known are {', '.join(FIELDS)} and values.NAME."
        raise Invalid(told, faults=[{"path": "select", "message": told}])
    found = [dict(each) for each in selected(states, whole)]
    if channels and "values" not in whole:
        for plain, state in zip(found, states, strict=True):
            plain["values"] = {name: state.values[name] for name in channels if name in state.values}
    return found
