"""Messages as plain data, and LangChain's messages, recognised without importing LangChain."""

import sys
from collections.abc import Mapping
from typing import Any

MESSAGE_FIELDS = ("id", "name", "tool_calls", "tool_call_id", "status")
"""What people read of a message beside its type and content, where there is any."""
REMOVAL = {"type": "remove", "content": ""}


def is_removal(item: Any) -> bool:
    """Return whether this plain data removes a message by its id, where `add_messages` merges it."""
    return isinstance(item, Mapping) and {**item, "id": ""} == {**REMOVAL, "id": ""} and isinstance(item["id"], str)


def is_message(value: Any) -> bool:
    """Return whether the value is a LangChain message. A process without LangChain has no instance of one."""
    base = getattr(sys.modules.get("langchain_core.messages.base"), "BaseMessage", None)
    return base is not None and isinstance(value, base)
