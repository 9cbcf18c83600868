"""`select`: the fields that a client wants of each thing. The names are those of the LangGraph SDK."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

RunField = Literal[
    "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status", "metadata", "kwargs",
    "multitask_strategy", "cancel_reason",
]  # fmt: skip
ThreadField = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "context", "status", "values",
    "interrupts", "error",
]  # fmt: skip
AssistantField = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "created_at", "updated_at", "metadata",
    "version",
]  # fmt: skip


def selected(found: Iterable[BaseModel], names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return these fields of each. What the console keeps to itself, such as the config of a thread, is left out."""
    return [{name: getattr(each, name) for name in names if name in type(each).model_fields} for each in found]
