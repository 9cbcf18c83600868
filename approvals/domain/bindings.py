"""Which graph a thread is kept with, and why nobody may decide or run anything while that is not certain."""

from dataclasses import asdict, dataclass
from typing import Any

from agentcore.plain import thread_graphs
from agentcore.plain.types import Shown, Traits
from approvals import audit
from approvals.audit.rows import BINDING
from approvals.enums import Binding
from approvals.errors import Unbound
from approvals.models import Graph, Thread

NOT_READ = "No worker has read this thread yet, so its graph is not certain. Try again in a moment."


@dataclass(frozen=True)
class Uncertain:
    """Why the graph of a thread is not certain, and what can be said of the thread all the same."""

    why: str
    fitting: tuple[str, ...] = ()
    """Graphs that could have made it, of those that some worker has."""
    waits: tuple[str, ...] = ()
    questions: tuple[dict[str, Any], ...] = ()
    """Those that wait, as `{id, value}`, without secrets."""
    claims: dict[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def traits_here() -> dict[str, Traits]:
    """Return what every graph has that some worker has published."""
    return {graph.pk: thread_graphs.traits_of(graph.record) for graph in Graph.objects.all()}


def check(thread: Thread) -> None:
    """Raise Unbound unless it is certain which graph this thread is of."""
    if sentence := why_not(thread):
        raise Unbound(sentence, fitting=fitting(thread))


def check_of(thread_id: str) -> None:
    """The same, reading no more of the thread than that: its state may be large."""
    check(Thread.objects.only("checkpoint_id", "bound_by", "unbound").get(pk=thread_id))


def why_not(thread: Thread) -> str:
    """Say why nothing may be decided or run on this thread; one with nothing in it yet is nobody's, and free."""
    if thread.unbound:
        return str(thread.unbound["why"])
    return NOT_READ if thread.checkpoint_id and not thread.bound_by else ""


def fitting(thread: Thread) -> list[str]:
    return list(thread.unbound["fitting"]) if thread.unbound else []


def to_run(thread: Thread, graph_id: str) -> None:
    """Bind a thread that nobody has written to: the console is about to run this graph on it. The caller saves it."""
    thread.graph_id, thread.bound_by = graph_id, Binding.RUN


def found(thread: Thread, graph_id: str, how: str, shown: Shown) -> None:
    """Bind a thread to what its checkpoints say, in a transaction that locked it. The caller saves it."""
    thread.graph_id, thread.bound_by, thread.claims = graph_id, Binding(how), shown.claims
    record(thread, actor=audit.WORKER, actor_kind="system")


def record(thread: Thread, *, actor: str, actor_kind: str = "person", reason: str = "", fits: bool = True) -> None:
    """Write down what a thread is bound to, and how that came about."""
    audit.append(
        "thread.bound",
        actor=actor,
        actor_kind=actor_kind,
        thread_id=thread.pk,
        object={
            "graph": thread.graph_id,
            "how": thread.bound_by,
            "claims": thread.claims,
            "checkpoint": thread.checkpoint_id,
            "fits": fits,
        },
        texts={"reason": reason} if reason else None,
        rows=audit.told(thread, *BINDING),
    )


def contested(thread: Thread, metadata: dict[str, Any]) -> Uncertain | None:
    """Say that the newest checkpoint names another graph than the one the thread is bound to."""
    now = thread_graphs.claims_in(metadata)
    agent = Graph.objects.filter(pk=thread.graph_id).values_list("card__agent", flat=True).first() if now else ""
    why = thread_graphs.contested(thread.graph_id, agent or "", thread.claims, now)
    return Uncertain(why, fitting=(thread.graph_id,), claims=now) if why else None


def why_not_run(thread: Thread, graph_id: str, metadata: dict[str, Any]) -> str:
    """Say why a worker must not run this graph on the thread, whose row is locked and whose head says `metadata`."""
    if thread.graph_id != graph_id or not thread.bound_by:
        return f"The thread is not of the graph {graph_id}. Nothing was run."
    uncertain = contested(thread, metadata)
    return uncertain.why if uncertain else why_not(thread)
