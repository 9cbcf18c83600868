"""Threads, in the format of the LangGraph SDK."""

from collections import defaultdict
from dataclasses import asdict
from typing import Any, Literal

from django.db.models import Q
from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from agentcore.plain.errors import NO_SUCH_CHECKPOINT
from approvals import checkpoints
from approvals.actions.threads import cleaning, creation, diagnosis, forks, replays
from approvals.actions.threads.bindings import bind_thread
from approvals.actions.workers import inquiries
from approvals.api.auth import person, viewer
from approvals.api.errors import answers
from approvals.api.fields import Body, CheckpointId, CheckpointRef, JsonObject, PlainValue, Text, ThreadId
from approvals.api.schemas import (
    OF_GRAPH,
    CleaningOut,
    DiagnosisOut,
    RunOut,
    StateOut,
    ThreadOut,
    diagnosis_out,
    empty_state,
    run_out,
    state_out,
    thread_out,
)
from approvals.domain import bindings
from approvals.enums import ThreadStatus
from approvals.errors import THREAD_CLEANED, Gone, NotFound, Unbound
from approvals.models import Approval, Thread

router = Router(tags=["threads"])
MOST_THREADS = 100
MOST_STATES = 100
DEEPEST_OFFSET = 10_000


class NewThread(Body):
    """Without `thread_id` the server makes one. `if_exists` says what to do when it is taken."""

    thread_id: Text | None = Field(None, max_length=255, examples=["order-48213"])
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"


class ThreadSearch(Body):
    """`metadata` finds threads whose metadata holds all of it; cleaned threads are left out."""

    metadata: JsonObject | None = None
    ids: list[Text] | None = Field(None, max_length=1_000)
    status: ThreadStatus | None = None
    limit: int = Field(10, ge=1, le=MOST_THREADS)
    offset: int = Field(0, ge=0, le=DEEPEST_OFFSET)
    sort_by: Literal["thread_id", "status", "created_at", "updated_at"] = "updated_at"
    sort_order: Literal["asc", "desc"] = "desc"


class HistorySearch(Body):
    """Up to `limit` states, newest first, older than the checkpoint `before`."""

    limit: int = Field(default=10, ge=1, le=MOST_STATES)
    before: CheckpointRef | None = None


class AtCheckpoint(Body):
    checkpoint: CheckpointRef
    subgraphs: Literal[False] = False


class Fork(Body):
    """With `edits`, as a vote has them, or with `as_node`, or with `input`: then it runs at once from its beginning."""

    checkpoint_id: CheckpointRef
    edits: JsonObject | None = None
    as_node: Text | None = Field(None, max_length=200)
    input: PlainValue = None


class Replay(Body):
    """`confirm` is the thread's own id, so that nobody does it by mistake."""

    checkpoint_id: CheckpointRef
    confirm: Text = Field(max_length=255)


class BindingIn(Body):
    """`reason` is needed where the graph does not fit what the thread shows."""

    graph_id: Text = Field(max_length=200, examples=["payouts"])
    reason: Text = ""


class Removal(Body):
    reason: Text = Field(examples=["Stuck after the schema change of 3 May."])


@router.post("/threads", response=answers(ThreadOut, 409, 413))
def create_thread(request: HttpRequest, new: NewThread) -> ThreadOut:
    """Make a thread with nothing in it yet. 409 `already_exists` unless `if_exists` is `do_nothing`. Operators."""
    thread = creation.create_thread(
        thread_id=new.thread_id, metadata=new.metadata, if_exists=new.if_exists, by=person(request)
    )
    return thread_out(thread)


@router.post("/threads/search", response=answers(list[ThreadOut], 413))
def search_threads(request: HttpRequest, asked: ThreadSearch) -> list[ThreadOut]:
    """Find threads, last changed first unless `sort_by` says otherwise."""
    viewer(request)
    found = Thread.objects.filter(cleaned_at=None)
    if asked.metadata:
        found = found.filter(_of_metadata(asked.metadata))
    if asked.ids is not None:
        found = found.filter(pk__in=asked.ids)
    if asked.status:
        found = found.filter(status=asked.status)
    column = "pk" if asked.sort_by == "thread_id" else asked.sort_by
    sign = "-" if asked.sort_order == "desc" else ""
    threads = list(found.order_by(f"{sign}{column}", f"{sign}pk")[asked.offset : asked.offset + asked.limit])
    interrupts = _interrupts(threads)
    return [thread_out(thread, interrupts[thread.pk]) for thread in threads]


def _of_metadata(wanted: dict[str, Any]) -> Q:
    """Find threads by metadata, which also names the graph that ran on a thread."""
    rest = {name: value for name, value in wanted.items() if name not in OF_GRAPH}
    found = Q(metadata__contains=rest) if rest else Q()
    for name in OF_GRAPH:
        if name in wanted:
            found &= Q(graph_id=str(wanted[name])) | Q(metadata__contains={name: wanted[name]})
    return found


# The longer addresses come first: a thread id may hold slashes.
@router.post("/threads/{part:thread_id}/state/checkpoint", response=answers(StateOut, 404, 409, 410, 413))
def get_state_at_checkpoint(request: HttpRequest, thread_id: ThreadId, at: AtCheckpoint) -> StateOut:
    """Read the thread at a checkpoint, as the SDK asks for it. States of subgraphs are not served."""
    viewer(request)
    return _state(thread_id, at.checkpoint)


@router.get("/threads/{part:thread_id}/state/{checkpoint_id}", response=answers(StateOut, 404, 409, 410))
def get_state_at(request: HttpRequest, thread_id: ThreadId, checkpoint_id: CheckpointId) -> StateOut:
    """Read the thread at one of its checkpoints. 404 for a checkpoint of another thread."""
    viewer(request)
    return _state(thread_id, checkpoint_id)


@router.get("/threads/{part:thread_id}/state", response=answers(StateOut, 404, 409, 410))
def get_state(request: HttpRequest, thread_id: ThreadId) -> StateOut:
    """Read the thread where it stands now. A worker answers; 503 when none does, 409 when none has its graph."""
    viewer(request)
    return _state(thread_id, None)


@router.get("/threads/{part:thread_id}/diagnosis", response=answers(DiagnosisOut, 404))
def diagnose_thread(request: HttpRequest, thread_id: ThreadId) -> DiagnosisOut:
    """Say why the thread is not moving, and what is to be done; read by a worker first if it moved just now."""
    return diagnosis_out(diagnosis.diagnose(thread_id=thread_id, by=person(request)))


@router.post("/threads/{part:thread_id}/history", response=answers(list[StateOut], 404, 409, 410, 413))
def get_history(request: HttpRequest, thread_id: ThreadId, asked: HistorySearch | None = None) -> list[StateOut]:
    """Read the thread's states, newest first. A worker answers; 503 when none does."""
    viewer(request)
    asked = asked or HistorySearch()
    thread = _readable(thread_id)
    if not _has_checkpoints(thread):
        return []
    found = inquiries.history(thread_id=thread.pk, graph_id=thread.graph_id, limit=asked.limit, before=asked.before)
    return [state_out(snapshot) for snapshot in found]


@router.post("/threads/{part:thread_id}/fork", response=answers(ThreadOut, 404, 409, 410, 413))
def fork(request: HttpRequest, thread_id: ThreadId, asked: Fork) -> ThreadOut:
    """Copy a checkpoint into a new thread, with an edit or with other input. The old thread stays as it is. Operators.

    The new thread is paused where the copy stands at a gate or a question, and asks people of its own. Any other is
    ready to run: POST .../runs with `"input": null`. It is `busy` while the copy is being made. 409 for what cannot be
    copied, 422 `invalid_edit` with a path for each fault; nothing is stored then.
    """
    thread = forks.fork_thread(
        thread_id=thread_id,
        checkpoint_id=asked.checkpoint_id,
        edits=asked.edits,
        as_node=asked.as_node or "",
        input=asked.input,
        by=person(request),
    )
    return thread_out(thread, _interrupts([thread])[thread.pk])


@router.post("/threads/{part:thread_id}/replay", response=answers(RunOut, 404, 409, 410, 413))
def replay(request: HttpRequest, thread_id: ThreadId, asked: Replay) -> RunOut:
    """Have the thread itself go back to a checkpoint and on from there. What waits on it is superseded. Admins.

    Nodes run again, with all that they do; gates ask again. Fork the checkpoint instead wherever that will do.
    """
    where = {"thread_id": thread_id, "checkpoint_id": asked.checkpoint_id}
    return run_out(replays.replay_thread(**where, typed_id=asked.confirm, by=person(request)))


@router.post("/threads/{part:thread_id}/binding", response=answers(ThreadOut, 404, 409, 410, 413))
def bind(request: HttpRequest, thread_id: ThreadId, asked: BindingIn) -> ThreadOut:
    """Say which graph a thread is of that an outside program made: `binding` of the thread says which fit. Admins.

    Before that nobody can decide on it or run anything. 409 where it is bound to another graph, or while a run has it;
    422 for a graph that is not here, with those that are, and for one that does not fit, unless a reason is given.
    """
    thread = bind_thread(thread_id=thread_id, graph_id=asked.graph_id, reason=asked.reason, by=person(request))
    return thread_out(thread, _interrupts([thread])[thread.pk])


@router.get("/threads/{part:thread_id}", response=answers(ThreadOut, 404))
def get_thread(request: HttpRequest, thread_id: ThreadId) -> ThreadOut:
    """Read a thread as the console last saw it. One that was cleaned stays readable, without its state."""
    viewer(request)
    thread = _existing(thread_id)
    return thread_out(thread, _interrupts([thread])[thread.pk])


@router.delete("/threads/{part:thread_id}", response=answers(CleaningOut, 404, 410, 413))
def delete_thread(
    request: HttpRequest, thread_id: ThreadId, removal: Removal | None = None, reason: Text = ""
) -> CleaningOut:
    """Force-clean: delete the checkpoints, close what is open. Votes, decisions and the audit log stay. Admins.

    Say why in the body, `{"reason": "..."}`; a client that sends no body with DELETE says it as `?reason=`.
    """
    why = removal.reason if removal else reason
    return CleaningOut(**asdict(cleaning.force_clean(thread_id=thread_id, reason=why, by=person(request))))


def _state(thread_id: str, checkpoint_id: str | None) -> StateOut:
    thread = _readable(thread_id)
    if not _has_checkpoints(thread):
        if checkpoint_id:
            raise NotFound(NO_SUCH_CHECKPOINT)
        return empty_state(thread_id)
    return state_out(inquiries.snapshot(thread_id=thread_id, graph_id=thread.graph_id, checkpoint_id=checkpoint_id))


def _has_checkpoints(thread: Thread) -> bool:
    """Return False for a thread on which nothing ran. Raises Conflict for one that no worker could read."""
    if checkpoints.read_head(thread.pk) is None:
        return False
    if not thread.bound_by and not thread.unbound:
        raise Unbound(bindings.NOT_READ)
    return True


def _readable(thread_id: str) -> Thread:
    thread = _existing(thread_id)
    if thread.cleaned_at:
        raise Gone(THREAD_CLEANED)
    return thread


def _existing(thread_id: str) -> Thread:
    thread = Thread.objects.filter(pk=thread_id).first()
    if thread is None:
        raise NotFound("There is no such thread.")
    return thread


def _interrupts(threads: list[Thread]) -> dict[str, list[Approval]]:
    found = Approval.objects.pending().filter(thread__in=threads).exclude(interrupt_id="").defer("state", "actions")
    grouped: dict[str, list[Approval]] = defaultdict(list)
    for approval in found:
        grouped[approval.thread_id].append(approval)
    return grouped
