"""Threads: rows of the list, and the graphs that a thread could belong to."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from approvals.domain import policies
from approvals.domain.diagnosis import Diagnosis
from approvals.enums import Binding, ThreadStatus
from approvals.models import Graph, Thread

WORDS = {
    ThreadStatus.IDLE: "Idle",
    ThreadStatus.BUSY: "Running",
    ThreadStatus.INTERRUPTED: "Waits for people",
    ThreadStatus.ERROR: "Needs a look",
}


@dataclass(frozen=True)
class ThreadRow:
    id: str
    title: str
    graph: str
    bound: str
    """How the graph of the thread is known."""
    health: str
    word: str
    next: str
    problem: str
    notice: str
    started_by: str
    updated_at: datetime
    is_cleaned: bool


def rows_of(
    threads: Iterable[Thread], graphs: Mapping[str, Graph], diagnoses: Mapping[str, Diagnosis]
) -> list[ThreadRow]:
    """The threads come with `started_by`."""
    return [row_of(thread, graphs.get(thread.graph_id), diagnoses[thread.pk]) for thread in threads]


def row_of(thread: Thread, graph: Graph | None, diagnosis: Diagnosis) -> ThreadRow:
    return ThreadRow(
        id=thread.pk,
        title=thread.title or thread.pk,
        graph=thread.graph_id,
        bound=_bound(thread),
        health=chip_of(diagnosis),
        word=diagnosis.word,
        next=_next(thread, graph),
        problem=thread.problem,
        notice=policies.why_not_edit_blocked(blocked=thread.blocked),
        started_by=thread.started_by.get_username() if thread.started_by else "outside",
        updated_at=thread.updated_at,
        is_cleaned=thread.cleaned_at is not None,
    )


def _bound(thread: Thread) -> str:
    if thread.unbound:
        return ""
    words = {
        Binding.METADATA: "as its checkpoints name it",
        Binding.AGENT: "by its agent's name and tools",
        Binding.ADMIN: f"as {thread.bound_who} said",
    }
    return words.get(Binding(thread.bound_by), "") if thread.bound_by else ""


def _next(thread: Thread, graph: Graph | None) -> str:
    is_unread = bool(thread.checkpoint_id) and thread.step is None
    titles = Counter(graph.node_title(node) if graph else node for node in thread.next)
    nodes = ", ".join(f"{title} × {count}" if count > 1 else title for title, count in titles.items())
    return "unknown" if is_unread else nodes


@dataclass(frozen=True)
class GraphChoice:
    """A graph that a thread could be of."""

    id: str
    nodes: str
    tools: str
    fits: bool


def choices_of(graphs: Iterable[Graph], fitting: Iterable[str]) -> list[GraphChoice]:
    fits = set(fitting)
    return [
        GraphChoice(
            graph.pk,
            ", ".join(node["title"] for node in graph.card["nodes"][:_MOST_NODES]),
            ", ".join(graph.card.get("tools", [])[:_MOST_NODES]),
            graph.pk in fits,
        )
        for graph in graphs
    ]


_MOST_NODES = 8


def chip_of(diagnosis: Diagnosis) -> str:
    """Return the colour of a thread: its health, but neutral where there is nothing to do and nothing was reached."""
    return "quiet" if diagnosis.kind in ("new", "cleaned") else diagnosis.health.value
