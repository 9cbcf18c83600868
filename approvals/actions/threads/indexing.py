"""Read a thread at its newest checkpoint, in a worker, and have it stored as people will see it."""

from dataclasses import replace

from agentcore.graphs import snapshots
from agentcore.graphs.gates import with_gates
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.secret_paths import secret_paths
from agentcore.plain import masks, thread_graphs
from agentcore.plain.bound_bytes import Bound
from agentcore.plain.errors import UnreadableThread
from agentcore.plain.tables import Head
from agentcore.plain.types import Look, Snapshot, Traits
from approvals import checkpoints
from approvals.actions.threads import records
from approvals.actions.threads.records import FoundBinding, Unread
from approvals.database import in_database
from approvals.domain import bindings
from approvals.domain.bindings import Uncertain
from approvals.enums import Binding
from approvals.jobs import job_queue, runtime
from approvals.models import Graph, Thread

_TRIES = 5
NO_CHECKPOINT = "What is stored is no checkpoint of LangGraph's, so nothing tells its graph."


async def index_thread(thread_id: str) -> None:
    """Update our rows to the thread's head. Does nothing while a run holds it: the run will do it."""
    worker = await runtime.worker()
    for tried in range(1, _TRIES + 1):
        head, before = await in_database(read_head_and_bound)(thread_id)
        if head is None or before is None:
            return await in_database(records.store_gone)(thread_id)
        bond = await _bond(worker, thread_id, head)
        graph_id = bond.graph_id
        if bond.uncertain:
            return await _list_unread(worker, thread_id, bond, head, bond.uncertain.why, may_have_ended=True)
        graph = worker.graphs.get(graph_id)
        if graph is None and await in_database(Graph.objects.filter(pk=graph_id).exists)():
            return await in_database(_hand_on)(thread_id, graph_id)
        if graph is None:
            gone = bindings.graph_gone(graph_id)
            return await _list_unread(worker, thread_id, bond, head, gone, may_have_ended=True)
        try:
            graph = with_gates(graph, bond.options)
            snapshot = await snapshots.snapshot(graph, worker.saver(graph_id), thread_id)
            pauses = pauses_at(graph, snapshot) if snapshot else []
        except UnreadableThread as error:
            return await _list_unread(worker, thread_id, bond, head, str(error))
        if snapshot is None:
            continue
        if tried == _TRIES:  # it never stands still: seen as it was a moment ago, and asking nobody
            await in_database(records.store_if_free)(bond, snapshot, [], None, None)
        elif snapshot.checkpoint_id != head.checkpoint_id:
            continue  # it moved between the two reads
        bound = await bind(thread_id, before, snapshot) if pauses else before
        if bound and await in_database(records.store_if_free)(bond, snapshot, pauses, head, bound):
            return None
    return None


def read_head_and_bound(thread_id: str) -> tuple[Head | None, Bound | None]:
    """Read where the thread stands, and the versions of all rows that its tasks can read."""
    return checkpoints.read_head(thread_id), checkpoints.read_bound(thread_id)


async def bind(thread_id: str, before: Bound, snapshot: Snapshot) -> Bound | None:
    """Return the stored bytes that a snapshot's questions rest on; None if they changed since `before`."""
    return await in_database(checkpoints.bind)(thread_id, before, [task["id"] for task in snapshot.tasks])


async def _bond(worker: runtime.WorkerRuntime, thread_id: str, head: Head) -> FoundBinding:
    """Return the graph of a thread: the stored one, or the one that its newest checkpoint names and shows.

    Never a guess.
    """
    kept = await in_database(_kept)(thread_id)
    if kept and kept.bound_by != Binding.AGENT:
        return FoundBinding(kept.graph_id, options=kept.options)
    look = await _looked(worker, thread_id, head.checkpoint_id)
    if look is None or look.shown is None:
        unknown = Uncertain(f"{NO_CHECKPOINT} {thread_graphs.ADVICE}")
        return FoundBinding(kept.graph_id, options=kept.options) if kept else FoundBinding("", uncertain=unknown)
    graphs = await in_database(bindings.traits_here)()
    if kept:
        lacks = graphs[kept.graph_id].lacks(look.shown.traits) if kept.graph_id in graphs else ""
        why = f"It is not of the agent that it was taken for: {lacks}. {thread_graphs.ADVICE}"
        uncertain = _uncertain(why, look, graphs) if lacks else None
        return FoundBinding(kept.graph_id, uncertain=uncertain, options=kept.options)
    graph_id, how = thread_graphs.bound_to(look.shown, graphs)
    if graph_id:
        return FoundBinding(graph_id, how, look.shown)
    return FoundBinding("", uncertain=_uncertain(thread_graphs.why_not(look.shown, graphs), look, graphs))


def _kept(thread_id: str) -> Thread | None:
    """Return the thread if it is bound, else None."""
    return Thread.objects.only("graph_id", "bound_by", "options").exclude(bound_by="").filter(pk=thread_id).first()


def _uncertain(why: str, look: Look, graphs: dict[str, Traits]) -> Uncertain:
    assert look.shown is not None
    fits = tuple(thread_graphs.fitting(look.shown, graphs))
    return Uncertain(why, fitting=fits, waits=look.waits, questions=look.asked, claims=look.shown.claims)


async def _list_unread(
    worker: runtime.WorkerRuntime,
    thread_id: str,
    bond: FoundBinding,
    head: Head,
    problem: str,
    *,
    may_have_ended: bool = False,
) -> None:
    """List a thread without its graph. It is done if nothing of it waits or failed, where no more is to be known."""
    found = await _looked(worker, thread_id, head.checkpoint_id)
    values = found.values if found else {}
    here = [worker.graphs[bond.graph_id]] if bond.graph_id in worker.graphs else worker.graphs.values()
    secrets = [path for graph in here for path in secret_paths(graph)]  # of any graph, if nobody knows which it is
    mask = masks.Mask(secrets, values)
    if bond.uncertain:
        questions = tuple(mask.anywhere(list(bond.uncertain.questions)))
        bond = replace(bond, uncertain=replace(bond.uncertain, questions=questions))
    has_ended = may_have_ended and found is not None and found.has_ended
    listed = Unread(head, problem, mask.state(values), has_ended)
    await in_database(records.store_unread)(thread_id, bond, listed)


async def _looked(worker: runtime.WorkerRuntime, thread_id: str, checkpoint_id: str | None = None) -> Look | None:
    """Read the thread without a graph; None if that fails."""
    try:
        return await snapshots.look(worker.saver(None), thread_id, checkpoint_id)
    except UnreadableThread:
        return None


def _hand_on(thread_id: str, graph_id: str) -> None:
    """Queue the job again for a worker that has the graph."""
    job_queue.enqueue(
        "index_thread", queue=job_queue.graph_queue(graph_id), once=f"index {thread_id}", thread_id=thread_id
    )
