"""`interrupt(anything)`: the payload is shown as it is, and any JSON is an answer. The last dialect to be asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from agentcore.dialects.common import AskedQuestion
from agentcore.plain.quoting import named, quoted, short, told
from agentcore.plain.types import Action, Choice, PendingInterrupt, Question

_LONGEST = 120
_TELLING = (
    "question", "message", "prompt", "text", "title", "instruction", "task", "query", "__copilotkit_interrupt_value__"
)  # fmt: skip
"""Keys under which agents put the words of their question."""


def read(pending: PendingInterrupt, tools: Mapping[str, Any]) -> AskedQuestion:
    """Return the question. This dialect reads every payload."""
    return question(pending, None)


def question(pending: PendingInterrupt, answer_schema: dict[str, Any] | None) -> AskedQuestion:
    """Return a question with the payload's own text."""
    words = words_of(pending.value)
    node = pending.path[-1] if pending.path else pending.node
    whose = short(f"Question from {named(node)}", _LONGEST)
    return AskedQuestion(
        title=f"Question: {quoted(words, _LONGEST - 10)}" if words else whose,
        summary="" if isinstance(pending.value, str) else short(_told(pending.value), 2 * _LONGEST),
        actions=(Action(name=node, args=pending.value, title=whose),),
        verdicts=("respond",),
        answer_schema=answer_schema,
    )


def words_of(value: Any) -> str:
    """Return the question in a payload: a text, the only one of a list, or the value of a key such as `question`."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):
        value = next((value[key] for key in _TELLING if isinstance(value.get(key), str)), "")
    return value.strip() if isinstance(value, str) else ""


def _told(value: Any) -> str:
    if not isinstance(value, Mapping):
        return told(value, 2 * _LONGEST)
    asked = words_of(value)
    return ", ".join(f"{named(key)}: {told(item, 60)}" for key, item in value.items() if not _is_words(item, asked))


def _is_words(item: Any, asked: str) -> bool:
    return isinstance(item, str) and item.strip() == asked


def write(question: Question, choices: Sequence[Choice]) -> Any:
    raise NotImplementedError("no vote but `respond` is allowed here, and that one has its answer")


def choices_in(question: Question, answer: Any) -> list[Choice]:
    return []
