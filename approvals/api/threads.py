"""Threads, in the format of the LangGraph SDK."""

from dataclasses import asdict
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status
from pydantic import Field

from approvals.actions.threads import cleaning, creation, diagnosis, forks, replays
from approvals.actions.threads.bindings import bind_thread
from approvals.actions.threads.thread_metadata import merge_metadata
from approvals.api.auth import person, viewer
from approvals.api.errors import answers
from approvals.api.fields import Body, CheckpointRef, JsonObject, PlainObject, PlainValue, Text, ThreadId
from approvals.api.known_threads import existing, interrupts_of
from approvals.api.schemas import (
    CleaningOut,
    DiagnosisOut,
    RunOut,
    ThreadOut,
    diagnosis_out,
    run_out,
    thread_out,
)
from approvals.api.thread_searches import ThreadFilters, ThreadSearch
from approvals.errors import NotOffered

router = Router(tags=["threads"])


TIME_TO_LIVE = "Threads are kept, or removed by age for the whole server: see RETENTION_DAYS. Leave ttl out."
STEPS = "A thread begins with a run, or as a fork of another: its steps cannot be given. Leave supersteps out."


class NewThread(Body):
    """Without `thread_id` the server makes one. `if_exists` says what to do when it is taken."""

    thread_id: Text | None = Field(None, max_length=255, examples=["order-48213"])
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"
    supersteps: PlainValue = None
    ttl: PlainValue = None


class ThreadPatch(Body):
    """Names that are not given stay as they are."""

    metadata: JsonObject
    ttl: PlainValue = None


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


@router.post("/threads", response=answers(ThreadOut, 409, 413, 501))
def create_thread(request: HttpRequest, new: NewThread) -> ThreadOut:
    """Make a thread with nothing in it yet. 409 `already_exists` unless `if_exists` is `do_nothing`. Operators."""
    if new.supersteps:
        raise NotOffered(STEPS)
    if new.ttl is not None:
        raise NotOffered(TIME_TO_LIVE)
    thread = creation.create_thread(
        thread_id=new.thread_id, metadata=new.metadata, if_exists=new.if_exists, by=person(request)
    )
    return thread_out(thread)


@router.post("/threads/search", response=answers(list[ThreadOut] | list[PlainObject], 413, 501))
def search_threads(request: HttpRequest, asked: ThreadSearch) -> list[ThreadOut] | list[Any]:
    """Find threads, last changed first unless `sort_by` says otherwise."""
    viewer(request)
    threads = asked.page()
    interrupts = interrupts_of(threads)
    return asked.shown([thread_out(thread, interrupts[thread.pk]) for thread in threads])


@router.post("/threads/count", response=answers(int, 413, 501))
def count_threads(request: HttpRequest, asked: ThreadFilters) -> int:
    """Count the threads that a search with the same filters finds."""
    viewer(request)
    return asked.found().count()


@router.get("/threads/{part:thread_id}/diagnosis", response=answers(DiagnosisOut, 404))
def diagnose_thread(request: HttpRequest, thread_id: ThreadId) -> DiagnosisOut:
    """Say why the thread is not moving, and what is to be done; read by a worker first if it moved just now."""
    return diagnosis_out(diagnosis.diagnose(thread_id=thread_id, by=person(request)))


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
    return thread_out(thread, interrupts_of([thread])[thread.pk])


@router.post("/threads/{part:thread_id}/copy", response=answers(ThreadOut, 404, 409, 410))
def copy_thread(request: HttpRequest, thread_id: ThreadId) -> ThreadOut:
    """Fork the thread where it stands: the copy begins with that checkpoint. One without a state is made anew.

    A copy that stands at a gate or a question asks people of its own. Operators.
    """
    thread = forks.copy_thread(thread_id=thread_id, by=person(request))
    return thread_out(thread, interrupts_of([thread])[thread.pk])


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
    return thread_out(thread, interrupts_of([thread])[thread.pk])


@router.get("/threads/{part:thread_id}", response=answers(ThreadOut, 404))
def get_thread(request: HttpRequest, thread_id: ThreadId) -> ThreadOut:
    """Read a thread as the console last saw it. One that was cleaned stays readable, without its state."""
    viewer(request)
    thread = existing(thread_id)
    return thread_out(thread, interrupts_of([thread])[thread.pk])


@router.patch(
    "/threads/{part:thread_id}",
    response={**answers(ThreadOut, 404, 410, 413, 501), **answers(None, status=204)},
)
def update_thread(request: HttpRequest, thread_id: ThreadId, patch: ThreadPatch) -> ThreadOut | Status[None]:
    """Set names in the metadata of the thread; `null` is a value. 204 with `Prefer: return=minimal`. Operators."""
    if patch.ttl is not None:
        raise NotOffered(TIME_TO_LIVE)
    thread = merge_metadata(thread_id=thread_id, metadata=patch.metadata, by=person(request))
    if request.headers.get("Prefer") == "return=minimal":
        return Status(204, None)
    return thread_out(thread, interrupts_of([thread])[thread.pk])


@router.delete("/threads/{part:thread_id}", response=answers(CleaningOut, 404, 410, 413))
def delete_thread(
    request: HttpRequest, thread_id: ThreadId, removal: Removal | None = None, reason: Text = ""
) -> CleaningOut:
    """Force-clean: delete the checkpoints, close what is open. Votes, decisions and the audit log stay. Admins.

    Say why in the body, `{"reason": "..."}`; a client that sends no body with DELETE says it as `?reason=`.
    """
    why = removal.reason if removal else reason
    return CleaningOut(**asdict(cleaning.force_clean(thread_id=thread_id, reason=why, by=person(request))))
