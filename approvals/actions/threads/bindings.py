"""Bind a thread of an outside program to a graph, when the thread names none. For admins."""

from django.utils import timezone

from approvals import audit, checkpoints
from approvals.actions.threads.records import LONGEST_ID, record_binding
from approvals.domain import bindings, permissions, policies
from approvals.domain.permissions import User
from approvals.enums import Binding
from approvals.errors import THREAD_CLEANED, Busy, Conflict, Gone, Invalid, NotFound, Unbound
from approvals.jobs import job_queue
from approvals.live import events, relay
from approvals.models import Graph, Run, Thread

WAIT_SECONDS = 3.0
_MOST_NAMED = 50


def bind_thread(*, thread_id: str, graph_id: str, reason: str = "", by: User) -> Thread:
    """Bind the thread, have a worker read it again, and return it. Repeating it for the same graph changes nothing.

    Raises Denied, NotFound, Gone, Busy while a run has it, Conflict if it is bound to another graph, Invalid for an
    unknown graph, and for a graph that does not fit unless a reason is given.
    """
    permissions.check_bind(by)
    with audit.transaction():
        thread = Thread.objects.find_locked(thread_id)
        permissions.check_again(by, "bind")
        _check(thread, thread_id)
        assert thread is not None
        _check_graph(graph_id)
        if thread.bound_by and thread.graph_id != graph_id:
            raise Conflict(
                f"This thread is of the graph {thread.graph_id}, and a thread keeps its graph. Start another thread.",
                graph_id=thread.graph_id,
            )
        if thread.bound_by and not thread.unbound:
            return thread
        fits = graph_id in bindings.fitting(thread)
        if not fits and not reason.strip():
            raise Invalid(f"{graph_id} does not fit this thread: {_told(thread)} Say why it is that one all the same.")
        _bind(thread, graph_id, reason.strip(), fits, by)
    return _read(thread)


def _check(thread: Thread | None, thread_id: str) -> None:
    if thread is None:
        if len(thread_id) <= LONGEST_ID and checkpoints.read_head(thread_id) is not None:
            raise Unbound(bindings.NOT_READ)
        raise NotFound("There is no such thread.")
    if thread.cleaned_at:
        raise Gone(THREAD_CLEANED)
    if Run.objects.hold(thread):
        raise Busy(policies.THREAD_HELD, status=thread.status)
    if not thread.bound_by and not thread.unbound:
        told = "It takes the graph that is run on it first." if not thread.checkpoint_id else bindings.NOT_READ
        raise Unbound(told)


def _check_graph(graph_id: str) -> None:
    here = list(Graph.objects.order_by("pk").values_list("pk", flat=True))
    if graph_id not in here:
        names = ", ".join(here[:_MOST_NAMED]) or "none"
        raise Invalid(f"No graph is called {graph_id!r:.60}. There are: {names}.", graphs=here)


def _told(thread: Thread) -> str:
    found = bindings.fitting(thread)
    return f"what it shows fits {', '.join(found)}." if found else "it shows what no graph here has."


def _bind(thread: Thread, graph_id: str, reason: str, fits: bool, by: User) -> None:
    thread.claims = (thread.unbound or {}).get("claims") or {}
    thread.graph_id, thread.bound_by, thread.bound_who = graph_id, Binding.ADMIN, by.get_username()
    thread.unbound, thread.problem, thread.step, thread.updated_at = None, "", None, timezone.now()
    thread.save()
    job_queue.enqueue(
        "index_thread", queue=job_queue.graph_queue(graph_id), priority=job_queue.URGENT, thread_id=thread.pk
    )
    events.publish(thread_id=thread.pk)
    record_binding(thread, actor=by.get_username(), reason=reason, fits=fits)


def _read(thread: Thread) -> Thread:
    """Return the thread once a worker has read it with its graph, or after a time limit."""

    def is_read() -> bool:
        thread.refresh_from_db()
        return thread.step is not None or bool(thread.problem)

    relay.wait_for(events.thread_topic(thread.pk), is_read, seconds=WAIT_SECONDS)
    return thread
