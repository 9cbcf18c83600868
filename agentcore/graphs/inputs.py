"""What a graph takes as new input: the schema of its start form, and what is certainly wrong with an input.

LangGraph checks no input. A state that is a pydantic model is coerced when the first node reads it, messages when their
reducer merges them, everything else is taken as it is. So a schema may refuse only what contradicts it for certain.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel

from agentcore.graphs.merging import merging_of
from agentcore.graphs.registry import CompiledGraph
from agentcore.plain.schemas import Schema

_ROLES = ["user", "assistant", "system", "human", "ai", "developer", "tool"]
SHORT_MESSAGE: Schema = {
    "title": "Message",
    "type": "object",
    "properties": {
        "role": {"enum": _ROLES, "default": "user"},
        "content": {"title": "Content", "type": "string", "maxLength": 100_000},
    },
    "required": ["role", "content"],
}
"""A message as people write it: LangChain accepts it in place of a message object."""
_ANY_MESSAGE = {"$ref": "#/$defs/BaseMessage"}
_HUMAN_MESSAGE = {"$ref": "#/$defs/HumanMessage"}


def flat(schema: Schema | None) -> Any:
    """Return the schema with its own properties, where it is a reference, as that of an `@entrypoint` is."""
    name = str((schema or {}).get("$ref", "")).removeprefix("#/$defs/")
    found = (schema or {}).get("$defs", {}).get(name)
    return {**found, "$defs": schema["$defs"]} if schema and isinstance(found, Mapping) else schema


def form_schema(graph: CompiledGraph, schema: Schema | None) -> Any:
    """Return the input schema for a form, where a message is `{"role", "content"}` before it is anything longer."""
    if schema is None:
        return None
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return _with_short_messages(schema)
    shown = {name: _form_of_channel(graph, name, found) for name, found in properties.items()}
    return {**_with_short_messages(schema), "properties": shown}


def _form_of_channel(graph: CompiledGraph, name: str, schema: Any) -> Any:
    is_bare = isinstance(schema, Mapping) and schema.get("type") == "array" and not schema.get("items")
    if is_bare and merging_of(graph.channels.get(name)) == "messages":
        return {**schema, "items": {"anyOf": [SHORT_MESSAGE, {}]}}
    return _with_short_messages(schema)


def _with_short_messages(schema: Any) -> Any:
    """Let a message also be `{"role", "content"}`.

    LangChain's schema demands exactly one of several kinds that overlap, or an object with every field.
    """
    if isinstance(schema, list):
        return [_with_short_messages(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == _ANY_MESSAGE:
        return {"anyOf": [SHORT_MESSAGE, schema]}
    kinds = schema.get("oneOf")
    if isinstance(kinds, list) and _HUMAN_MESSAGE in kinds:
        others = {name: value for name, value in schema.items() if name not in ("oneOf", "discriminator")}
        return {**others, "anyOf": [SHORT_MESSAGE, *kinds]}
    return {name: _with_short_messages(value) for name, value in schema.items()}


def limits(graph: CompiledGraph, schema: Schema | None) -> dict[str, Any] | None:
    """Return the schema of what an input certainly must be; None if nothing is known.

    A field that is missing is no mistake: the thread may have it, or the graph may do without. What a reducer merges
    may differ from the type of its channel. A state graph ignores names that it does not have.
    """
    names, given = _names(graph), schema or {}
    kept = {name: value for name, value in given.items() if name not in ("required", "additionalProperties")}
    checked = {
        name: {} if _is_merged(graph, name, value) else value for name, value in given.get("properties", {}).items()
    }
    if names is None:
        return {**kept, **({"properties": checked} if checked else {})} if schema else None
    others: dict[str, Any] = {name: {} for name in names if name not in checked}  # one that has an alias, too
    return {**kept, "type": "object", "properties": {**checked, **others}, "additionalProperties": False}


def _names(graph: CompiledGraph) -> list[str] | None:
    """Return the names that an input may have; None if the graph takes it as it is, as an `@entrypoint` does."""
    if isinstance(graph, CompiledStateGraph):
        names = list(graph.builder.schemas[graph.builder.input_schema])
        return None if names == ["__root__"] else names
    return None if isinstance(graph.input_channels, str) else list(graph.input_channels)


def _is_merged(graph: CompiledGraph, name: str, schema: Any) -> bool:
    """Return whether a value of another type than the channel's may be right."""
    return merging_of(graph.channels.get(name)) in ("messages", "other") or _holds_messages(schema)


def _holds_messages(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return schema in (_ANY_MESSAGE, _HUMAN_MESSAGE) or any(map(_holds_messages, schema.values()))
    return isinstance(schema, list) and any(map(_holds_messages, schema))


def needed(graph: CompiledGraph, schema: Schema | None) -> tuple[str, ...]:
    """Return the fields that the start form of a new thread asks for.

    Those are the required ones of an input schema that the author wrote for the input, or of a pydantic model. A
    `TypedDict` for the whole state also requires what only the nodes write.
    """
    if not isinstance(graph, CompiledStateGraph):
        return _required(schema)
    given = graph.builder.input_schema
    is_own = given is not graph.builder.state_schema
    is_model = isinstance(given, type) and issubclass(given, BaseModel)
    return _required(schema) if is_own or is_model else ()


def _required(schema: Schema | None) -> tuple[str, ...]:
    found = (schema or {}).get("required")
    return tuple(map(str, found)) if isinstance(found, Iterable) else ()
