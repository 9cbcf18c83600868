"""A JSON Schema made from a value, for a channel or argument that has none."""

from typing import Any

from agentcore.plain.schemas import Schema

DEEPEST_INFERRED = 5
MOST_ITEMS = 100


_TYPES: dict[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "number"},
    float: {"type": "number"},
    str: {"type": "string"},
}


def inferred(value: Any) -> Schema:
    """Return the schema of a value without those of its properties and items."""
    if isinstance(value, dict) and value:
        return {"type": "object", "properties": {}}
    return {"type": "array"} if isinstance(value, list) else _TYPES.get(type(value), {})


def like(value: Any, depth: int = 0) -> Schema | None:
    """Return a schema for another value of the same kind."""
    if isinstance(value, dict) and value and depth < DEEPEST_INFERRED:
        return {
            "type": "object",
            "properties": {key: like(item, depth + 1) or {} for key, item in list(value.items())[:MOST_ITEMS]},
        }
    return _TYPES.get(type(value))
