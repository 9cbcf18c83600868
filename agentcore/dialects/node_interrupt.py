"""`raise NodeInterrupt(...)`, LangGraph's older way to ask.

It takes no answer: the node runs again with an edited state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentcore.dialects import any_value
from agentcore.dialects.common import AskedQuestion
from agentcore.plain.types import Choice, PendingInterrupt, Question

VERDICTS = ("approve", "reject")


def read(pending: PendingInterrupt, tools: Mapping[str, Any]) -> AskedQuestion | None:
    """Return what is asked, or None if it is asked by `interrupt()`."""
    return replace(any_value.question(pending, None), verdicts=VERDICTS) if pending.is_raised else None


def write(question: Question, choices: Sequence[Choice]) -> Any:
    return None


def choices_in(question: Question, answer: Any) -> list[Choice]:
    return []
