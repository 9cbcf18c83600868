"""How the cases are built: nodes one after the other."""

from typing import Any

from langgraph.graph import START, StateGraph


def chain(state: Any, *, of: dict[str, Any], **schemas: Any) -> "StateGraph[Any, Any, Any, Any]":
    """Return a builder with the nodes of `of` one after the other."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state, **schemas)
    last = START
    for name, node in of.items():
        builder.add_node(name, node)
        builder.add_edge(last, name)
        last = name
    return builder
