"""`interrupt(value, response_schema=Type)`: a question with a form. Any value that fits the schema is an answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from agentcore.dialects import any_value
from agentcore.dialects.common import AskedQuestion
from agentcore.plain import schemas
from agentcore.plain.types import Choice, PendingInterrupt, Question


def read(pending: PendingInterrupt, tools: Mapping[str, Any]) -> AskedQuestion | None:
    """Return what is asked, or None if it has no schema that can be used."""
    if not pending.response_schema or not schemas.is_schema(pending.response_schema):
        return None
    return any_value.question(pending, schemas.with_order(pending.response_schema))


def write(question: Question, choices: Sequence[Choice]) -> Any:
    raise NotImplementedError("no vote but `respond` is allowed here, and that one has its answer")


def choices_in(question: Question, answer: Any) -> list[Choice]:
    return []
