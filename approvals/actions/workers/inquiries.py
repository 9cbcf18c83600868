"""Ask a worker about a graph, and wait for the answer within a time limit. Web processes load no graphs."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from approvals import checkpoints, last_writes
from approvals.domain import bindings
from approvals.errors import Conflict, InvalidEdit, NotFound, Refusal, Unavailable
from approvals.jobs import job_queue
from approvals.live import events, relay
from approvals.models import Approval, Graph, Inquiry, Thread

WHOLE_WAIT_SECONDS = 30.0
"""Time limit for one large value."""
INDEX_WAIT_SECONDS = 3.0
_KEPT_FOR = timedelta(minutes=5)
_TAKE_SQL = "DELETE FROM approvals_inquiry WHERE id = %s AND answer IS NOT NULL RETURNING answer"


def preview(
    *,
    thread_id: str,
    graph_id: str,
    checkpoint_id: str,
    namespace: str,
    gates: Mapping[str, Any],
    edits: Any,
    as_node: str,
) -> dict[str, Any]:
    """Return what an edit would lead to: the fields of `agentcore.plain.types.Preview`.

    `gates` are those that the thread's runs have beside the graph's own.
    """
    where = {"thread_id": thread_id, "checkpoint_id": checkpoint_id, "namespace": namespace, "gates": gates}
    return _ask_for("preview", graph_id, **where, edits=edits, as_node=as_node)


def preview_each(
    *, thread_id: str, graph_id: str, namespace: str, checkpoint_id: str, gates: Mapping[str, Any], answer: Any
) -> dict[str, Any]:
    """Return what an answer would lead to that decides each task of a breakpoint, as `preview` does."""
    where = {"thread_id": thread_id, "namespace": namespace, "checkpoint_id": checkpoint_id, "gates": gates}
    return _ask_for("preview_each", graph_id, **where, answer=answer)


def snapshot(
    *, thread_id: str, graph_id: str, checkpoint_id: str | None, namespace: str = "", has_subgraphs: bool = False
) -> dict[str, Any]:
    """Return one snapshot as plain data, also of a subgraph by its namespace, and with the states of subgraphs."""
    where = {"thread_id": thread_id, "checkpoint_id": checkpoint_id, "namespace": namespace}
    return _ask_for("snapshot", graph_id, **where, has_subgraphs=has_subgraphs)


def history(
    *,
    thread_id: str,
    graph_id: str,
    limit: int,
    before: str | None,
    namespace: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return snapshots as plain data, newest first: of a subgraph by its namespace, and of those with this metadata."""
    asked = {"limit": limit, "before": before, "namespace": namespace, "metadata": metadata}
    found: list[dict[str, Any]] = _ask("history", graph_id, thread_id=thread_id, **asked)["snapshots"]
    return found


def try_fork(
    *, thread_id: str, graph_id: str, checkpoint_id: str, gates: Mapping[str, Any], edits: Any, as_node: str
) -> dict[str, Any]:
    """Return where a fork would stand: `next`, and the `opaque` channels that no edit can set."""
    where = {"thread_id": thread_id, "checkpoint_id": checkpoint_id, "gates": gates}
    return _ask_for("try_fork", graph_id, **where, edits=edits, as_node=as_node)


def whole(*, thread_id: str, graph_id: str, checkpoint_id: str, namespace: str, part: str) -> str:
    """Return one channel, as `state/CHANNEL`, or the question, as `request`: whole, as JSON text."""
    where = {"thread_id": thread_id, "checkpoint_id": checkpoint_id, "namespace": namespace}
    return str(_ask_for("whole", graph_id, **where, part=part)["text"])


def look_into_store(*, thread_id: str, graph_id: str, namespace: list[str]) -> dict[str, Any]:
    """Return the store's `namespaces`, and the `items` of one, masked as the thread's state is."""
    return _ask_for("store", graph_id, thread_id=thread_id, namespace=namespace)


def wait_for_index(thread_id: str, *, until_closed: UUID | None = None) -> None:
    """Have a worker index the thread now. Return when that is done, or after a time limit."""
    graph_id = Thread.objects.values_list("graph_id", flat=True).get(pk=thread_id)
    queue = job_queue.graph_queue(graph_id) if graph_id else job_queue.CONSOLE_QUEUE
    job_queue.enqueue("index_thread", queue=queue, priority=job_queue.URGENT, thread_id=thread_id)
    head = checkpoints.read_head(thread_id)
    wanted = head.checkpoint_id if head else ""

    def is_indexed() -> bool:
        is_read = Thread.objects.filter(pk=thread_id, checkpoint_id=wanted).exists()
        return is_read and not (until_closed and Approval.objects.pending().filter(pk=until_closed).exists())

    relay.wait_for(events.thread_topic(thread_id), is_indexed, seconds=INDEX_WAIT_SECONDS)


def _ask_for(kind: str, graph_id: str, **payload: Any) -> dict[str, Any]:
    return dict(_ask(kind, graph_id, **payload))


def _ask(kind: str, graph_id: str, **payload: Any) -> Any:
    if not graph_id and kind not in _NEED_NO_GRAPH:
        raise Conflict("No worker can do this: it is not certain which graph the thread is of.")
    if graph_id and not Graph.objects.filter(pk=graph_id).exists():
        raise Unavailable(bindings.graph_gone(graph_id))
    asked = Inquiry(graph_id=graph_id, kind=kind, payload={"graph_id": graph_id, **payload})
    with last_writes.gathering():
        last_writes.insert(asked)
        relay.announce([events.inquiry_topic(graph_id)])
    reply = _wait(asked)
    if "ok" in reply:
        return reply["ok"]
    raise _REFUSALS.get(reply["refusal"], Unavailable)(reply["message"], **reply["detail"])


def _wait(asked: Inquiry) -> dict[str, Any]:
    longest = WHOLE_WAIT_SECONDS if asked.kind == "whole" else settings.REPLY_SECONDS

    def take() -> dict[str, Any] | None:
        with connection.cursor() as cursor:
            cursor.execute(_TAKE_SQL, [asked.pk])
            row = cursor.fetchone()
        return dict(json.loads(row[0])) if row else None

    reply = relay.wait_for(events.reply_topic(str(asked.pk)), take, seconds=longest)
    if reply is None:
        raise Unavailable(f"No worker answered within {longest:.0f} s. Is one running? See /readyz.")
    return reply


def forget_old() -> None:
    """Delete inquiries whose askers did not wait for the answer."""
    Inquiry.objects.filter(created_at__lt=Now() - _KEPT_FOR).delete()


_NEED_NO_GRAPH = ("snapshot", "history")
"""What any worker answers of a thread whose graph is not certain, as plain data."""
_REFUSALS: dict[str, type[Refusal]] = {"Conflict": Conflict, "InvalidEdit": InvalidEdit, "NotFound": NotFound}
