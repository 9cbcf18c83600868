"""Messages of a conversation as plain data, and LangChain's own, recognised without importing LangChain."""

import sys
from collections.abc import Mapping
from typing import Any

MESSAGE_FIELDS = ("id", "name", "tool_calls", "tool_call_id", "status")
"""What people read of a message beside its type and content, where there is any."""
REMOVAL = {"type": "remove", "content": ""}


def is_removal(item: Any) -> bool:
    """Whether this plain data takes a message out, by its id, where `add_messages` merges it."""
    return isinstance(item, Mapping) and {**item, "id": ""} == {**REMOVAL, "id": ""} and isinstance(item["id"], str)


def is_message(value: Any) -> bool:
    """True for a message of LangChain. A process that has not imported its class has no instance of it."""
    base = getattr(sys.modules.get("langchain_core.messages.base"), "BaseMessage", None)
    return base is not None and isinstance(value, base)
