"""What becomes of a value that is written to a channel: it replaces the old one, or a reducer merges it in."""

import operator
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin


def bare(annotation: Any) -> Any:
    """Return the type within an `Annotated`."""
    return bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def merging_of(channel: Any) -> str:
    """Return `replaces`, `appends`, `adds`, `messages`, `keys` or `other`."""
    return told(channel, bare(getattr(channel, "ValueType", Any)))[0]


def told(channel: Any, value_type: Any) -> tuple[str, str]:
    """Return how, as `merging_of` does, and a sentence about it."""
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
