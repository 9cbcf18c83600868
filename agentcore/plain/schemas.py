"""Plain data against a JSON Schema, and against what LangGraph and PostgreSQL can store."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentcore.plain.errors import Fault
from agentcore.plain.json import is_storable_int

Schema = Mapping[str, Any]
_DEEPEST = 100


def faults(schema: Schema, value: Any, path: str = "", *, is_coerced: bool = False) -> Iterator[Fault]:
    """Yield what is wrong with `value`, with paths below `path`. A schema that cannot be used is a fault too.

    `is_coerced`: what Pydantic would make the right type of is no fault. References are resolved inside the schema
    only: nothing is fetched.
    """
    from agentcore.plain import schema_faults  # here, as it takes long to load, and few requests validate anything

    return schema_faults.faults(schema, value, path, is_coerced=is_coerced)


ORDER = "x-order"
_MAPS = ("properties", "$defs", "definitions", "patternProperties")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains")


def with_order(schema: Any) -> Any:
    """Return the schema with the order of each object's properties under ORDER: stored JSON has lost it."""
    if not isinstance(schema, Mapping):
        return schema
    found = dict(schema)
    for name, inner in schema.items():
        if name in _MAPS and isinstance(inner, Mapping):
            found[name] = {key: with_order(each) for key, each in inner.items()}
        elif name in _LISTS and isinstance(inner, list):
            found[name] = [with_order(each) for each in inner]
        elif name in _SINGLE:
            found[name] = with_order(inner)
    properties = schema.get("properties")
    return {**found, ORDER: list(properties)} if isinstance(properties, Mapping) and len(properties) > 1 else found


def is_schema(schema: Any) -> bool:
    """Whether this can be used to check a value."""
    from agentcore.plain import schema_faults

    return schema_faults.is_schema(schema)


def joined(path: str, parts: Iterable[Any]) -> str:
    return "/".join([*filter(None, [path]), *map(str, parts)])


def unstorable(value: Any, path: str, depth: int = 0) -> Iterator[Fault]:
    """Find what LangGraph would read as an instruction, or PostgreSQL cannot store."""
    if depth > _DEEPEST:
        yield Fault(path, "This is nested too deeply.")
    elif isinstance(value, str) and ("\x00" in value or any("\ud800" <= char <= "\udfff" for char in value)):
        yield Fault(path, "This text has a NUL or a lone surrogate, which cannot be stored.")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(path, "This is not a finite number.")
    elif isinstance(value, int) and not is_storable_int(value):
        yield Fault(path, "This number is too large to be stored.")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if _is_sentinel(key):
                yield Fault(
                    joined(path, [key]), "This key means something to LangGraph and may not be part of a value."
                )
            yield from unstorable(str(key), path, depth + 1)
            yield from unstorable(item, joined(path, [key]), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unstorable(item, joined(path, [index]), depth + 1)


def _is_sentinel(key: Any) -> bool:
    return isinstance(key, str) and (key == "lc" or (key.startswith("__") and key.endswith("__") and len(key) > 4))
