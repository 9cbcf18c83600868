"""Fork a checkpoint into a new thread. The old thread and its questions stay as they are."""

from typing import Any
from uuid import uuid4

from agentcore.plain import edits as state_edit
from agentcore.plain import timeline
from agentcore.plain.errors import NO_SUCH_CHECKPOINT, CannotEdit
from agentcore.plain.json import digest
from approvals import audit, checkpoints
from approvals.actions.runs import queueing, starts
from approvals.actions.threads import creation
from approvals.actions.votes import alterations
from approvals.actions.workers import inquiries
from approvals.domain import authors, bindings, encryption, permissions, run_options
from approvals.domain.authors import Author
from approvals.domain.permissions import User
from approvals.enums import Binding, RunKind, ThreadStatus
from approvals.errors import THREAD_CLEANED, Conflict, Gone, Invalid, InvalidEdit, NotFound
from approvals.jobs import job_queue
from approvals.live import events, relay
from approvals.models import Graph, Run, Thread

WAIT_SECONDS = 10.0


def fork_thread(
    *, thread_id: str, checkpoint_id: str, edits: Any = None, as_node: str = "", input: Any = None, by: User
) -> Thread:
    """Return the new thread once a worker has copied it, or after a time limit. With `input` it runs at once.

    A fork at a gate or a question asks people anew; any other fork can be run. Raises Denied, NotFound, Gone, Conflict
    for a checkpoint that cannot be forked, Invalid or InvalidEdit with a path for each fault, Unavailable.
    """
    permissions.check_fork(by)
    source, graph = _source(thread_id)
    _check(source, graph, edits, as_node, input)
    if not _is_there(thread_id, checkpoint_id):
        raise NotFound(NO_SUCH_CHECKPOINT)
    secrets = graph.record.secrets
    edits = encryption.encrypted(edits, secrets, source.pk)
    _have_it_tried(source, graph, checkpoint_id, edits, as_node)
    input = encryption.encrypted_input(input, secrets, source.pk)
    run = _begin(source, checkpoint_id, edits=edits, as_node=as_node, input=input, by=by)
    return _awaited(run)


def copy_thread(*, thread_id: str, by: User) -> Thread:
    """Fork the thread where it stands; make a thread with the same metadata if nothing has run on it."""
    permissions.check_fork(by)
    source = Thread.objects.filter(pk=thread_id).first()
    if source is None:
        raise NotFound("There is no such thread.")
    if source.cleaned_at:
        raise Gone(THREAD_CLEANED)
    head = checkpoints.read_head(thread_id)
    if head is None:
        return creation.create_thread(metadata=source.metadata, by=by)
    return fork_thread(thread_id=thread_id, checkpoint_id=head.checkpoint_id, by=by)


def check_can_be_forked(thread: Thread) -> None:
    """Raise Gone for a removed thread, Unbound for a thread without a certain graph."""
    if thread.cleaned_at:
        raise Gone(THREAD_CLEANED)
    bindings.check(thread)
    if not thread.graph_id:
        raise Conflict("Nothing has run on this thread yet.")


def _source(thread_id: str) -> tuple[Thread, Graph]:
    thread = Thread.objects.filter(pk=thread_id).first()
    if thread is None:
        raise NotFound("There is no such thread.")
    return thread, graph_of(thread)


def graph_of(thread: Thread) -> Graph:
    """Return the graph of a thread that can be forked. Raises Conflict if no worker has it any more."""
    check_can_be_forked(thread)
    graph = Graph.objects.filter(pk=thread.graph_id).first()
    if graph is None:
        raise Conflict(bindings.graph_gone(thread.graph_id))
    return graph


def _check(source: Thread, graph: Graph, edits: Any, as_node: str, input: Any) -> None:
    if input is not None:
        if edits or as_node:
            raise Invalid("Fork with other input or with an edit, not with both.")
        starts.check_input(graph, input)
    nodes = [node["id"] for node in graph.card["nodes"]]
    if as_node and as_node not in nodes:
        raise _invalid_edit(f"as_node is not right: the graph has {', '.join(nodes)}.", "as_node")
    _check_edits(source, graph, edits or {})


def _check_edits(source: Thread, graph: Graph, edits: Any, opaque: tuple[str, ...] = ()) -> None:
    card = graph.record
    edits = encryption.decrypted(edits, card.secrets, source.pk)
    try:
        state_edit.check_edits(card.channels, edits, opaque=opaque, secrets=card.secrets)
    except CannotEdit as error:
        faults = [fault.as_dict() for fault in error.faults]
        raise InvalidEdit("The edit does not fit the graph.", faults=faults) from None


def _invalid_edit(sentence: str, path: str) -> InvalidEdit:
    return InvalidEdit(sentence, faults=[{"path": path, "message": sentence}])


def _is_there(thread_id: str, checkpoint_id: str) -> bool:
    with checkpoints.open_tables() as tables:
        return timeline.has(tables, thread_id, checkpoint_id)


def _have_it_tried(source: Thread, graph: Graph, checkpoint_id: str, edits: Any, as_node: str) -> None:
    """Have a worker make the fork in memory first, so that a refused fork leaves no thread behind."""
    where = {"thread_id": source.pk, "graph_id": source.graph_id, "checkpoint_id": checkpoint_id}
    found = inquiries.try_fork(**where, gates=run_options.gates_of(source.options), edits=edits or {}, as_node=as_node)
    _check_edits(source, graph, edits or {}, tuple(found["opaque"]))


@audit.transaction()
def _begin(source: Thread, checkpoint_id: str, *, edits: Any, as_node: str, input: Any, by: User) -> Run:
    permissions.check_again(by, "fork")
    alterations.check_thread(Thread.objects.defer("state").get(pk=source.pk))
    thread = Thread(
        id=str(uuid4()),
        graph_id=source.graph_id,
        bound_by=Binding.RUN,
        title=source.title,
        status=ThreadStatus.BUSY,
        metadata=source.metadata,
        options=source.options,
        started_by_id=by.pk,
        authors=[author.as_dict() for author in _authors_of(source, checkpoint_id)],
        forked_from=source.pk,
        forked_at=checkpoint_id,
    )
    authors.keep_author(thread, Author(by.get_username(), "fork"))
    thread.save(force_insert=True)
    run = Run(
        thread=thread,
        graph_id=thread.graph_id,
        kind=RunKind.FORK,
        input={
            "thread_id": source.pk,
            "checkpoint_id": checkpoint_id,
            "edits": edits or {},
            "as_node": as_node,
            "input": input,
        },
        started_by=by.get_username(),
    )
    queueing.queue_run(run, priority=job_queue.URGENT)
    about = {"run": str(run.pk), "from": source.pk, "checkpoint": checkpoint_id, "as_node": as_node}
    given = {name: digest(value) for name, value in {"edits": edits, "input": input}.items() if value}
    told = {name: value for name, value in about.items() if value}
    rows = audit.told(run) | audit.told(thread)
    audit.append("thread.forked", actor=by.get_username(), thread_id=thread.pk, object=told, digests=given, rows=rows)
    return run


def _authors_of(source: Thread, checkpoint_id: str) -> list[Author]:
    """Return the authors of the fork: whoever gave the original its content up to that checkpoint."""
    kept = authors.authors_of(Thread.objects.values_list("authors", flat=True).get(pk=source.pk))
    return authors.authors_at(kept, checkpoint_id, thread_id=source.pk)


def _awaited(run: Run) -> Thread:
    """Return the thread once the copy exists, or after a time limit; a slow copy is made all the same."""

    def is_there() -> bool:
        run.refresh_from_db()
        return bool(run.entered_at) or not run.is_active

    relay.wait_for(events.thread_topic(run.thread_id), is_there, seconds=WAIT_SECONDS)
    return Thread.objects.get(pk=run.thread_id)
