"""What a `Send` carries to a node, as plain data: a tool call, or arguments."""

from collections.abc import Mapping
from typing import Any

WITH_CONTEXT = "tool_call_with_context"
"""The `__type` of what `create_react_agent` sends: one tool call, and the state beside it."""
SENDS_WAIT = (
    "What waits here came with arguments of its own, by a Send, and an edit of the state would drop it or send"
    " something else. Edit those arguments instead: decide on each."
)


def call_in(sent: Any) -> dict[str, Any] | None:
    """Return the tool call in a Send, if it is one: alone in a list, or with the state beside it."""
    if isinstance(sent, Mapping) and sent.get("__type") == WITH_CONTEXT:
        found = sent.get("tool_call")
    else:
        found = sent[0] if isinstance(sent, list) and len(sent) == 1 else None
        found = found if isinstance(found, Mapping) and found.get("type") == "tool_call" else None
    is_call = isinstance(found, Mapping) and isinstance(found.get("args"), Mapping) and "name" in found
    return dict(found) if is_call and isinstance(found, Mapping) else None


def args_in(plain: Any) -> Any:
    """Return the arguments in a Send as plain data: of a call those of the tool, of an object its fields."""
    if call := call_in(plain):
        return call["args"]
    is_object = isinstance(plain, Mapping) and plain.keys() == {"__type__", "value"}
    return plain["value"] if is_object and isinstance(plain["value"], Mapping) else plain
