"""The card of a graph: what is known of it without running it."""

import operator
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, get_args, get_origin

from langgraph.channels import BinaryOperatorAggregate
from langgraph.channels.base import BaseChannel

from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.secret_paths import secret_paths
from agentcore.graphs.subgraphs import graphs_in
from agentcore.graphs.tools import tool_names
from agentcore.plain.nodes import INTERNAL, title_of
from agentcore.plain.thread_graphs import AGENT_KEY
from agentcore.plain.types import Channel, GraphCard

_MERGING = {"Topic", "DeltaChannel"}
_LONGEST_TYPE = 80  # characters
_SHORT_MESSAGE = {
    "title": "Message",
    "type": "object",
    "properties": {
        "role": {"enum": ["user", "assistant", "system", "human", "ai", "developer", "tool"], "default": "user"},
        "content": {"title": "Content", "type": "string", "maxLength": 100_000},
    },
    "required": ["role", "content"],
}
"""A message as people write it: LangChain accepts it in place of a message object."""


def card(graph_id: str, graph: CompiledGraph, *, code_digest: str = "") -> GraphCard:
    """Return the card as plain data: nodes with their gates, edges, channels with their schemas, the input schema."""
    input_schema, problem = _schema(graph, "get_input_jsonschema")
    inner = {"|".join(path): each for path, each in graphs_in(graph).items() if path}
    return replace(
        _bare_card(graph_id, graph),
        input_schema=_with_short_messages(input_schema),
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
    value_type = _bare(channel.ValueType if isinstance(channel, BaseChannel) else Any)
    full = {} if schema is None else {**schema, **(definitions if "$ref" in str(schema) else {})}
    merges, words = _merging(channel, value_type)
    type_name = "list of messages" if merges == "messages" else _type_name(value_type)
    return Channel(name=name, type=type_name, is_reducer=is_reducer, schema=full, merges=merges, words=words)


def _bare(annotation: Any) -> Any:
    return _bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def _type_name(value_type: Any) -> str:
    name = value_type.__name__ if isinstance(value_type, type) and not get_args(value_type) else str(value_type)
    name = re.sub(r"\b(?:\w+\.)+(?=\w)", "", name)  # typing.Literal, collections.abc.Sequence
    return name if len(name) <= _LONGEST_TYPE else name[: _LONGEST_TYPE - 1] + "…"


def merging_of(channel: Any) -> str:
    """Return `replaces`, `appends`, `adds`, `messages`, `keys` or `other`."""
    return _merging(channel, _bare(getattr(channel, "ValueType", Any)))[0]


def _merging(channel: Any, value_type: Any) -> tuple[str, str]:
    """Return a sentence about what the graph does with a value written to a channel."""
    if type(channel).__name__ == "Topic":
        return "appends", "appends"
    reducer = getattr(channel, "operator", None) or getattr(channel, "reducer", None)
    if reducer is None:
        return "replaces", "replaces"
    name = str(getattr(reducer, "__name__", type(reducer).__name__))
    kind = get_origin(value_type) or value_type
    is_kind = isinstance(kind, type)
    if name.strip("_") in ("add_messages", "messages_delta_reducer"):
        return "messages", "merges messages by id"
    if reducer in (operator.add, operator.iadd) and is_kind and issubclass(kind, int | float):
        return "adds", "adds"
    if reducer in (operator.add, operator.iadd, operator.concat):
        return "appends", "appends"
    if reducer in (operator.or_, operator.ior) and is_kind and issubclass(kind, Mapping):
        return "keys", "merges keys"
    return "other", "merges with a function of its own" if name == "<lambda>" else f"merges with {name}"


def _with_short_messages(schema: Any) -> Any:
    """Let a message also be `{"role", "content"}`.

    LangChain's schema demands exactly one of several kinds that overlap.
    """
    if isinstance(schema, list):
        return [_with_short_messages(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kinds = schema.get("oneOf")
    if isinstance(kinds, list) and {"$ref": "#/$defs/HumanMessage"} in kinds:
        others = {name: value for name, value in schema.items() if name not in ("oneOf", "discriminator")}
        return {**others, "anyOf": [_SHORT_MESSAGE, *kinds]}
    return {name: _with_short_messages(value) for name, value in schema.items()}


def _schema(graph: CompiledGraph, method: str) -> tuple[dict[str, Any] | None, str]:
    try:
        return getattr(graph, method)(), ""
    except Exception as error:  # noqa: BLE001 - pydantic raises many kinds; the form falls back to JSON and says why
        reason = str(error).partition("\n")[0]
        return None, f"The graph's schema cannot be made: {reason}"
