"""Gates that a client adds for its runs. They make a graph stricter: the author's own gates stay."""

from collections.abc import Mapping
from typing import Any

from agentcore.graphs.registry import CompiledGraph

_NODES_OF = {"interrupt_before": "interrupt_before_nodes", "interrupt_after": "interrupt_after_nodes"}


def with_gates(graph: CompiledGraph, options: Mapping[str, Any]) -> CompiledGraph:
    """Return the graph with the gates of `interrupt_before` and `interrupt_after` as well: names of nodes, or `*`."""
    more = {nodes: options[name] for name, nodes in _NODES_OF.items() if options.get(name)}
    if not more:
        return graph
    return graph.copy(update={nodes: _both(getattr(graph, nodes), added) for nodes, added in more.items()})


def _both(own: Any, added: Any) -> Any:
    return "*" if "*" in (own, added) else list(dict.fromkeys([*(own or ()), *added]))
