"""Assistants, which clients of a LangGraph server run: here each graph is one, under its own id."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from agentcore.plain.types import GraphCard
from approvals.errors import NotFound
from approvals.models import Graph

_OF_SERVER = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Within which LangGraph's server makes the id of a graph's assistant, so that clients have it written down."""
_Edge = tuple[str, str, bool]
_START, _END = "__start__", "__end__"


def graph_id_of(assistant_id: str) -> str:
    """Return the graph of an assistant: its id, or the one that LangGraph's server gives the assistant of a graph."""
    try:
        wanted = UUID(assistant_id)
    except ValueError:
        return assistant_id
    ids = Graph.objects.order_by("pk").values_list("pk", flat=True)
    return next((graph_id for graph_id in ids if uuid5(_OF_SERVER, graph_id) == wanted), assistant_id)


def graph_of(assistant_id: str) -> Graph:
    """Return the card of an assistant's graph. Raises NotFound."""
    graph = Graph.objects.filter(pk=graph_id_of(assistant_id)).first()
    if graph is None:
        raise NotFound("There is no such assistant. Each graph of langgraph.json is one, under its id.")
    return graph


def schemas_of(card: GraphCard) -> dict[str, dict[str, Any] | None]:
    """Return the JSON Schemas of a graph. They are null where its types have none."""
    state = _object(card.id, {channel.name: channel.schema for channel in card.channels})
    return {
        "input_schema": card.input_schema,
        "output_schema": state,
        "state_schema": state,
        "config_schema": _object("Configurable", {}),
        "context_schema": card.context_schema,
    }


def _object(title: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object. What properties define for themselves is defined once."""
    shared: dict[str, Any] = {}
    for schema in properties.values():
        shared |= schema.get("$defs", {})
    own = {name: {key: value for key, value in each.items() if key != "$defs"} for name, each in properties.items()}
    return {"title": title, "type": "object", "properties": own} | ({"$defs": shared} if shared else {})


def subgraphs_of(card: GraphCard, *, namespace: str = "", is_deep: bool) -> dict[str, GraphCard]:
    """Return the cards of subgraphs by the nodes that lead to each: of a namespace, and below it if `is_deep`."""
    depth = namespace.count("|") + 1 if namespace else 1
    found = {
        path: below
        for path, below in card.subgraphs.items()
        if not namespace or path == namespace or path.startswith(f"{namespace}|")
    }
    return found if is_deep else {path: each for path, each in found.items() if path.count("|") < depth}


def drawn(card: GraphCard, *, depth: int) -> dict[str, list[dict[str, Any]]]:
    """Return nodes and edges as LangGraph draws them, with subgraphs opened to a depth: their nodes are `sub:node`."""
    names, edges = _drawn(card, card.subgraphs, "", depth)
    gates = {node["id"]: node["gate"] for node in card.nodes if node["gate"]}
    return {"nodes": [_node(name, gates.get(name)) for name in names], "edges": [_edge(*edge) for edge in edges]}


def _node(name: str, gate: str | None) -> dict[str, Any]:
    if name == _END:
        return {"id": name}
    node = {"id": name, "type": "runnable", "data": {"name": name}}
    return {**node, "metadata": {"__interrupt": gate}} if gate else node


def _edge(source: str, target: str, is_conditional: bool) -> dict[str, Any]:
    return {"source": source, "target": target, **({"conditional": True} if is_conditional else {})}


def _drawn(card: GraphCard, below: Mapping[str, GraphCard], path: str, depth: int) -> tuple[list[str], list[_Edge]]:
    edges: list[_Edge] = [(edge["source"], edge["target"], edge["conditional"]) for edge in card.edges]
    names = [_START, *(node["id"] for node in card.nodes), _END]
    for node in [node["id"] for node in card.nodes]:
        inner = f"{path}|{node}" if path else node
        if depth > 0 and inner in below:
            names, edges = _opened(node, names, edges, *_drawn(below[inner], below, inner, depth - 1))
    return names, edges


def _opened(
    node: str, names: list[str], edges: list[_Edge], inner_names: list[str], inner_edges: list[_Edge]
) -> tuple[list[str], list[_Edge]]:
    """Put the nodes of a subgraph in the place of its node."""
    own = [f"{node}:{name}" for name in inner_names if name not in (_START, _END)]
    first = [(f"{node}:{target}", is_conditional) for source, target, is_conditional in inner_edges if source == _START]
    last = [(f"{node}:{source}", is_conditional) for source, target, is_conditional in inner_edges if target == _END]
    between = [
        (f"{node}:{source}", f"{node}:{target}", is_conditional)
        for source, target, is_conditional in inner_edges
        if source != _START and target != _END
    ]
    joined: list[_Edge] = []
    for source, target, is_conditional in edges:
        sources = last if source == node else [(source, False)]
        targets = first if target == node else [(target, False)]
        joined += [(a, b, is_conditional or one or two) for a, one in sources for b, two in targets]
    place = names.index(node)
    return [*names[:place], *own, *names[place + 1 :]], [*joined, *between]
