"""Subgraphs: which graph a namespace belongs to, and how a run is kept from passing a breakpoint inside one.

To go on from a breakpoint in one subgraph, LangGraph runs the whole thread on, and so past every other breakpoint that
waits beside it. `held` keeps those where they are.
"""

import copy
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.errors import GraphInterrupt
from langgraph.pregel import Pregel

from agentcore.graphs import questions
from agentcore.graphs.registry import CompiledGraph
from agentcore.plain.namespaces import path_of
from agentcore.savers.base import Saver


def graph_at(graph: CompiledGraph, namespace: str) -> CompiledGraph | None:
    """Return the graph that keeps its checkpoints under this namespace; None if `graph` has no such subgraph."""
    if not namespace:
        return graph
    found = dict(graph.get_subgraphs(namespace="|".join(path_of(namespace)), recurse=True))
    inner = next(iter(found.values()), None)
    return inner if isinstance(inner, Pregel) else None


def graphs_in(graph: CompiledGraph) -> dict[tuple[str, ...], CompiledGraph]:
    """Return the graph and its subgraphs, by the nodes that lead to each."""
    below = {tuple(name.split("|")): inner for name, inner in graph.get_subgraphs(recurse=True)}
    return {(): graph} | {path: inner for path, inner in below.items() if isinstance(inner, Pregel)}


class Hold:
    """What a run must not enter: these namespaces, and everything inside these tasks."""

    def __init__(self, namespaces: Iterable[str] = (), tasks: Collection[str] = ()) -> None:
        self.namespaces, self.tasks = frozenset(namespaces), tuple(tasks)

    def __bool__(self) -> bool:
        return bool(self.namespaces or self.tasks)

    def is_held(self, config: Mapping[str, Any]) -> bool:
        return config["configurable"].get("checkpoint_ns", "") in self.namespaces

    def is_inside(self, config: Mapping[str, Any]) -> bool:
        """Return whether the namespace is inside one of the tasks whose graphs could not be read before the run."""
        namespace = config["configurable"].get("checkpoint_ns", "")
        return any(namespace == task or namespace.startswith(f"{task}|") for task in self.tasks)


NOTHING_HELD = Hold()


class OtherHead(Exception):
    """The thread's newest checkpoint is not the one that a run goes on from. `found` is None if it has none."""

    def __init__(self, found: str | None) -> None:
        super().__init__(found)
        self.found = found


def held(saver: Saver, hold: Hold, expected_head: str | None = None) -> Saver:
    """Return the same saver for a run that leaves held subgraphs where they stand.

    A subgraph begins by reading its checkpoint. A held one stops there as at a breakpoint: its task stays pending,
    nothing of it runs, and nothing is written. The run itself begins by reading the thread's newest checkpoint: unless
    that is `expected_head`, OtherHead is raised, and nothing runs either. An answer without the id of its question that
    stands there is removed (`questions.forget_unkeyed`).
    """
    other = copy.copy(saver)
    kind: Any = type(saver)
    other.__class__ = _holding(kind)
    other.hold, other.expected_head = hold, expected_head  # type: ignore[attr-defined]
    return other


@cache
def _holding(kind: Any) -> Any:
    """Return a subclass that holds. It works for any saver, as every saver reads with these two methods."""

    class Holding(kind):  # type: ignore[misc]
        hold = NOTHING_HELD
        expected_head: str | None = None
        has_begun = False

        def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
            return self._unless_held(config, super().get_tuple(config))

        async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
            found = self._unless_held(config, await super().aget_tuple(config))
            if self.has_begun or config["configurable"].get("checkpoint_ns"):
                return found
            self.has_begun = True
            is_other = found is not None and await questions.forget_unkeyed(self, found)
            return await super().aget_tuple(config) if is_other else found

        def _unless_held(self, config: RunnableConfig, found: CheckpointTuple | None) -> CheckpointTuple | None:
            if self.hold.is_held(config) or found is not None and self.hold.is_inside(config):
                raise GraphInterrupt()
            if self.expected_head is not None and not config["configurable"].get("checkpoint_ns"):
                here = found.checkpoint["id"] if found else None
                if here != self.expected_head:
                    raise OtherHead(here)
                self.expected_head = None  # the first reading counts: later ones are of checkpoints of the run itself
            return found

    Holding.__name__ = Holding.__qualname__ = kind.__name__
    return Holding
