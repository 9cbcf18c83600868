"""Messages that people edited, made messages again: of the kind they were, with what nobody is shown of them."""

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from agentcore.graphs.merging import merging_of
from agentcore.graphs.registry import CompiledGraph
from agentcore.plain.messages import MESSAGE_FIELDS


def merges_messages(graph: CompiledGraph, name: str) -> bool:
    return name in graph.channels and merging_of(graph.channels[name]) == "messages"


def written(channel: Any, op: str, value: Any, there: Any) -> Any:
    """Return what to write: messages, not bare data, also where they replace all (no reducer would make them)."""
    known = {item.id: item for item in there or () if isinstance(item, BaseMessage) and item.id}
    items = [_with_unseen(item, known) for item in value] if isinstance(value, list) else value
    return channel.operator([], items) if op == "replace" else items


def _with_unseen(item: Any, known: Mapping[str, BaseMessage]) -> Any:
    """Keep what a message has beside what people see of it: usage, the model's own fields, an artifact."""
    old = known.get(item.get("id", "")) if isinstance(item, Mapping) else None
    if old is None or item.get("type") != old.type or not item.keys() <= {"type", "content", *MESSAGE_FIELDS}:
        return item
    seen = {name: item.get(name, [] if name == "tool_calls" else None) for name in MESSAGE_FIELDS}
    fields = {
        name: value for name, value in seen.items() if name in type(old).model_fields and (value or name != "status")
    }
    return type(old).model_validate({**dict(old), **fields, "content": item["content"]})
