"""Give a thread new input, and queue the run."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from agentcore.plain import schemas
from approvals import audit, checkpoints
from approvals.actions.runs import queueing
from approvals.actions.votes import alterations
from approvals.audit.rows import BINDING
from approvals.domain import authors, bindings, encryption, permissions, policies, run_options
from approvals.domain.authors import Author
from approvals.domain.permissions import User
from approvals.enums import RunKind
from approvals.errors import Busy, Invalid, NotFound, Stale, Unavailable, Unbound
from approvals.models import Approval, Graph, Run, Thread

ELSEWHERE = (
    "The thread does not stand at this checkpoint. Leave the checkpoint out to go on from where it stands."
    " To go on from an earlier one, fork it: POST /api/threads/ID/fork."
)


def start_run(
    *,
    thread_id: str,
    graph_id: str,
    input: Any,
    by: User,
    context: Any = None,
    config: Any = None,
    gates: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    stands_at: str = "",
) -> Run:
    """Queue a run. Raises Busy while the thread is paused or held by another run, Invalid with a path for each
    fault, Stale if the thread is not at the checkpoint `stands_at`.

    Without input the thread goes on from where it stands, if the waiting nodes need no approval. `context` and `config`
    are those of LangGraph, `gates` nodes to stop at beside the graph's own gates; they stay with the thread until its
    next input.
    """
    permissions.check_start_run(by)
    graph = Graph.objects.filter(pk=graph_id).first()
    if graph is None:
        raise NotFound(f"No graph is called {graph_id!r:.60}. See the graphs on the start page.")
    if input is not None:
        check_input(graph, input)
    options = run_options.options_of(graph.record, context=context, config=config, gates=gates)
    run_options.check_metadata(metadata or {})
    with audit.transaction():
        thread = Thread.objects.find_locked(thread_id)
        permissions.check_again(by, "start_run")
        if thread is None:
            raise NotFound("There is no such thread. Make it first.")
        _check_can_start(thread, graph_id, input)
        check_stands_at(thread.pk, stands_at)
        kept = encryption.encrypted_input(input, graph.record.secrets, thread.pk)
        about = {"started_by": by.get_username(), "metadata": metadata or {}}
        run = Run(thread=thread, graph_id=graph_id, kind=RunKind.START, input=kept, **about)
        changed = ["started_by_id"]
        if not thread.bound_by:
            bindings.to_run(thread, graph_id)
            changed += BINDING
        if input is not None:
            authors.keep_author(thread, Author(by.get_username(), "input", after=thread.checkpoint_id))
            changed.append("authors")
        if options or input is not None and thread.options:
            thread.options = options
            changed.append("options")
        thread.started_by_id = by.pk
        queueing.queue_run(run, changed=["graph_id", "bound_by", "started_by", "authors", "options"])
        audit.append(
            "run.queued",
            actor=by.get_username(),
            thread_id=thread_id,
            object={"run": str(run.id), "graph": graph_id},
            rows=audit.told(run) | audit.told(thread, *changed),
        )
    return run


def _check_can_start(thread: Thread, graph_id: str, input: Any) -> None:
    """Raise what `start_run` says unless this graph can run on the thread, whose row is locked."""
    if not thread.cleaned_at:
        bindings.check(thread)
    if sentence := why_not_input(thread):
        raise Busy(sentence, status=thread.status)
    if not thread.bound_by and _has_checkpoints(thread):
        raise Unbound(bindings.NOT_READ)
    if thread.bound_by and thread.graph_id != graph_id:
        raise Busy(f"This thread belongs to the graph {thread.graph_id}. Start a new thread for {graph_id}.")
    if input is None and (sentence := why_not_go_on(thread)):
        raise Invalid(sentence)
    alterations.check_thread(thread)


def check_stands_at(thread_id: str, checkpoint_id: str) -> None:
    """Raise Stale if the thread stands elsewhere than a client believes, which may be nowhere."""
    if not checkpoint_id:
        return
    head = checkpoints.read_head(thread_id)
    if head is None or head.checkpoint_id != checkpoint_id:
        stands_at = head.checkpoint_id if head else None
        raise Stale(ELSEWHERE, checkpoint_id=stands_at)


def _has_checkpoints(thread: Thread) -> bool:
    """Return whether the thread has run already. The worker asks again before it runs anything."""
    try:
        return checkpoints.read_head(thread.pk) is not None
    except Unavailable:
        return False


def why_not_go_on(thread: Thread) -> str:
    """Return why the thread cannot go on without input, or an empty string. One query."""
    stands_at = Q(checkpoint_id=thread.checkpoint_id) | Q(head_id=thread.checkpoint_id)
    asked = Approval.objects.filter(stands_at, thread=thread)
    return policies.why_not_go_on(
        waiting=thread.next,
        refusal=why_not_input(thread),
        was_asked=asked.exists(),
    )


def why_not_input(thread: Thread) -> str:
    """Return why the thread takes no new input, or an empty string."""
    return policies.why_not_start(status=thread.status, is_cleaned=thread.cleaned_at is not None)


def check_input(graph: Graph, input: Any) -> None:
    """Raise Invalid for what is certainly wrong. On the rest LangGraph decides, in the run."""
    limits = graph.record.input_limits or {}
    if limits.get("type") == "object" and not isinstance(input, dict):
        raise Invalid("The input of this graph is an object, such as {}.")
    if faults := list(schemas.faults(limits, input, "input", is_coerced=True)):
        raise Invalid("The input does not fit the graph.", faults=[fault.as_dict() for fault in faults])
