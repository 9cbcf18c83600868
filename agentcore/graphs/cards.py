"""The card of a graph: what is known of it without running it."""

import re
from dataclasses import replace
from typing import Any, get_args

from langgraph.channels import BinaryOperatorAggregate
from langgraph.channels.base import BaseChannel

from agentcore.graphs import inputs, merging
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.secret_paths import secret_paths
from agentcore.graphs.subgraphs import graphs_in
from agentcore.graphs.tools import tool_names
from agentcore.plain import schemas
from agentcore.plain.nodes import INTERNAL, title_of
from agentcore.plain.thread_graphs import AGENT_KEY
from agentcore.plain.types import Channel, GraphCard

_MERGING = {"Topic", "DeltaChannel"}
_LONGEST_TYPE = 80  # characters


def card(graph_id: str, graph: CompiledGraph, *, code_digest: str = "") -> GraphCard:
    """Return the card as plain data: nodes with their gates, edges, channels with their schemas, the input schema."""
    found, problem = _schema(graph, "get_input_jsonschema")
    input_schema = inputs.flat(found)
    inner = {"|".join(path): each for path, each in graphs_in(graph).items() if path}
    return replace(
        _bare_card(graph_id, graph),
        input_schema=inputs.form_schema(graph, input_schema),
        input_limits=inputs.limits(graph, input_schema),
        context_schema=_context_schema(graph),
        needed=inputs.needed(graph, input_schema),
        input_schema_problem=problem,
        code_digest=code_digest,
        secrets=secret_paths(graph),
        agent=_agent(graph),
        tools=tool_names(graph),
        all_channels=tuple(name for name in graph.channels if not name.startswith(INTERNAL)),
        subgraphs={path: _bare_card(graph_id, each) for path, each in inner.items()},
    )


def _bare_card(graph_id: str, graph: CompiledGraph) -> GraphCard:
    """Return nodes, edges and channels: what is needed to show and edit a state."""
    return GraphCard(
        id=graph_id,
        nodes=tuple(_node(graph, name) for name in graph.nodes if not name.startswith("__")),
        edges=tuple(_edges(graph)),
        channels=tuple(_channels(graph)),
        input_schema=None,
        input_schema_problem="",
        code_digest="",
    )


def _agent(graph: CompiledGraph) -> str:
    name = ((graph.config or {}).get("metadata") or {}).get(AGENT_KEY)
    return name if isinstance(name, str) else ""


def approval_metadata(graph: CompiledGraph, node: str) -> dict[str, Any]:
    """Return what the graph's author wrote in `add_node(..., metadata={"approval": {...}})`."""
    builder = getattr(graph, "builder", None)
    spec = builder.nodes.get(node) if builder is not None else None
    found = (getattr(spec, "metadata", None) or {}).get("approval", {})
    return dict(found) if isinstance(found, dict) else {}


def is_gated(nodes: Any, name: str) -> bool:
    """Return whether `nodes`, a list of names or `*`, has the node. LangGraph's own `__start__` never pauses."""
    return not name.startswith("__") if nodes == "*" else name in (nodes or ())


def _node(graph: CompiledGraph, name: str) -> dict[str, Any]:
    approval = approval_metadata(graph, name)
    return {
        "id": name,
        "title": approval.get("title") or title_of(name),
        "description": approval.get("description", ""),
        "gate": _gate(graph, name),
        "approval": approval,
    }


def _gate(graph: CompiledGraph, name: str) -> str | None:
    if is_gated(graph.interrupt_before_nodes, name):
        return "before"
    return "after" if is_gated(graph.interrupt_after_nodes, name) else None


def _edges(graph: CompiledGraph) -> list[dict[str, Any]]:
    drawn = graph.get_graph()
    return [{"source": edge.source, "target": edge.target, "conditional": edge.conditional} for edge in drawn.edges]


def _channels(graph: CompiledGraph) -> list[Channel]:
    schema, _ = _schema(graph, "get_output_jsonschema")
    definitions = {"$defs": schema["$defs"]} if schema and "$defs" in schema else {}
    properties = (schema or {}).get("properties", {})
    names = graph.stream_channels_list
    return [_channel(name, graph.channels[name], properties.get(name), definitions) for name in names]


def _channel(name: str, channel: Any, schema: dict[str, Any] | None, definitions: dict[str, Any]) -> Channel:
    is_reducer = isinstance(channel, BinaryOperatorAggregate) or type(channel).__name__ in _MERGING
    value_type = merging.bare(channel.ValueType if isinstance(channel, BaseChannel) else Any)
    full = {} if schema is None else {**schema, **(definitions if "$ref" in str(schema) else {})}
    merges, words = merging.told(channel, value_type)
    type_name = "list of messages" if merges == "messages" else _type_name(value_type)
    return Channel(name=name, type=type_name, is_reducer=is_reducer, schema=full, merges=merges, words=words)


def _type_name(value_type: Any) -> str:
    name = value_type.__name__ if isinstance(value_type, type) and not get_args(value_type) else str(value_type)
    name = re.sub(r"\b(?:\w+\.)+(?=\w)", "", name)  # typing.Literal, collections.abc.Sequence
    return name if len(name) <= _LONGEST_TYPE else name[: _LONGEST_TYPE - 1] + "…"


def _context_schema(graph: CompiledGraph) -> dict[str, Any] | None:
    found = _schema(graph, "get_context_jsonschema")[0] if graph.context_schema else None
    return inputs.flat(found) if found else None


def _schema(graph: CompiledGraph, method: str) -> tuple[dict[str, Any] | None, str]:
    try:
        return schemas.with_order(getattr(graph, method)()), ""
    except Exception as error:  # noqa: BLE001 - pydantic raises many kinds; the form falls back to JSON and says why
        reason = str(error).partition("\n")[0]
        return None, f"The graph's schema cannot be made: {reason}"
