"""The tie of a thread to one graph, and why nobody may decide or run anything without it."""

from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import QuerySet, Subquery
from django.db.models.fields.json import KT

from agentcore.plain import thread_graphs
from agentcore.plain.types import Traits
from approvals.compiled import compiled
from approvals.enums import Binding
from approvals.errors import Unbound
from approvals.models import Graph, Thread

NOT_READ = "No worker has read this thread yet, so its graph is not certain. Try again in a moment."


def graph_gone(graph_id: str) -> str:
    """Say that no worker has a graph that one needs."""
    return f"No worker has the graph {graph_id!r:.60} any more. Is it in langgraph.json?"


@dataclass(frozen=True)
class Uncertain:
    """The reason why a thread has no certain graph, and what its page can show all the same."""

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
    """Return the traits of every graph that a worker has published. Cards are large, so only these fields are read."""
    cards = Graph.objects.values_list("pk", "card__agent", "card__nodes", "card__all_channels", "card__tools")
    return {
        graph_id: Traits(
            agent or "", frozenset(str(node["id"]) for node in nodes), frozenset(channels or ()), frozenset(tools or ())
        )
        for graph_id, agent, nodes, channels, tools in cards
    }


def check(thread: Thread) -> None:
    """Raise Unbound unless the thread is bound to a graph."""
    if sentence := why_not(thread):
        raise Unbound(sentence, fitting=fitting(thread))


def why_not(thread: Thread) -> str:
    """Return why nothing may be decided or run on the thread, or an empty string.

    A thread without checkpoints is free.
    """
    if thread.unbound:
        return str(thread.unbound["why"])
    return NOT_READ if thread.checkpoint_id and not thread.bound_by else ""


def fitting(thread: Thread) -> list[str]:
    return list(thread.unbound["fitting"]) if thread.unbound else []


def to_run(thread: Thread, graph_id: str) -> None:
    """Bind a thread without checkpoints to the graph that the console is about to run. The caller saves the thread."""
    thread.graph_id, thread.bound_by = graph_id, Binding.RUN


NOT_SELECTED = "\0"
"""Stands for an agent that nobody has read."""


def agent_of(graph_id: Any) -> Any:
    """Return the expression for the agent that the card of a graph names."""
    return Subquery(Graph.objects.filter(pk=graph_id).values_list(KT("card__agent")))


def contested(thread: Thread, metadata: dict[str, Any], *, agent: str | None = NOT_SELECTED) -> Uncertain | None:
    """Say that the newest checkpoint names another graph than the one the thread is bound to.

    `agent` is what `agent_of` selected; otherwise it is read.
    """
    now = thread_graphs.claims_in(metadata)
    if now and agent == NOT_SELECTED:
        agent = next(iter(_agents(pk=thread.graph_id)), None)
    why = thread_graphs.contested(thread.graph_id, agent or "", thread.claims, now)
    return Uncertain(why, fitting=(thread.graph_id,), claims=now) if why else None


@compiled
def _agents(pk: str) -> "QuerySet[Graph, str | None]":
    return Graph.objects.filter(pk=pk).values_list("card__agent", flat=True)


def why_not_run(thread: Thread, graph_id: str, metadata: dict[str, Any], *, agent: str | None = NOT_SELECTED) -> str:
    """Return why a worker must not run this graph on the thread, or an empty string.

    The caller holds the thread's lock; `metadata` is that of the thread's newest checkpoint.
    """
    if thread.graph_id != graph_id or not thread.bound_by:
        return f"The thread is not of the graph {graph_id}. Nothing was run."
    uncertain = contested(thread, metadata, agent=agent)
    return uncertain.why if uncertain else why_not(thread)
