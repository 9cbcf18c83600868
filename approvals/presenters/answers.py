"""Answers for people: what each action becomes, and what the agent receives."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agentcore import dialects
from agentcore.plain.json import digest
from agentcore.plain.types import Choice
from approvals.domain import answers
from approvals.domain.text import json_text
from approvals.enums import VERDICT_WORDS
from approvals.models import Approval, Decision
from approvals.presenters.values import Argument, Difference, arguments_of, differences


@dataclass(frozen=True)
class DecidedShown:
    """The choice for one action."""

    name: str
    verdict: str
    word: str
    chip: str
    differences: list[Difference]
    message: str


@dataclass(frozen=True)
class ReviewShown:
    """What would be sent. `answer` is its JSON; empty for a plain approval of everything."""

    verdict: str
    decided: list[DecidedShown]
    values: list[Argument]
    answer: str
    mark: str
    """Names what was reviewed, so that nothing else is sent."""


def review_of(approval: Approval, answer: Any, *, is_plain: bool, leads_to: str) -> ReviewShown:
    """Return the review. `leads_to` is the digest of the preview of an edit that goes along."""
    decided = proposed_of(approval, answer)
    return ReviewShown(
        verdict="approve" if is_plain else "respond",
        decided=decided,
        values=[] if decided else values_of(answer),
        answer=json_text(answer),
        mark=digest([answer, leads_to]),
    )


def counted(decided: Sequence[DecidedShown]) -> str:
    """Count the decisions by kind: `3 decisions: 2 approve, 1 reject`."""
    counts = Counter(item.verdict for item in decided)
    kinds = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICT_WORDS if counts[verdict])
    return f"{len(decided)} decision{'' if len(decided) == 1 else 's'}: {kinds}"


def decided_of(approval: Approval, decision: Decision) -> list[DecidedShown]:
    return _decided(approval, answers.choices_of(approval, decision))


def proposed_of(approval: Approval, answer: Any) -> list[DecidedShown]:
    if not answers.is_about_actions(approval):
        return []
    return _decided(approval, dialects.choices_in(answers.question_of(approval), answer))


def values_of(answer: Any) -> list[Argument]:
    """Return the fields of an answer, or its single value."""
    return arguments_of(answer, {})


def _decided(approval: Approval, choices: Iterable[Choice]) -> list[DecidedShown]:
    return [_one(action, choice) for action, choice in zip(approval.actions, choices, strict=False)]


def _one(action: dict[str, Any], choice: Choice) -> DecidedShown:
    changed = differences(action["args"], choice.args) if choice.verdict == "edit" else []
    words = VERDICT_WORDS[choice.verdict]
    return DecidedShown(str(action["name"]), choice.verdict, words.decided, words.voted, changed, choice.message)


def asked_by(approval: Approval) -> str:
    """Return the nodes that lead to the asking node, if it is inside subgraphs."""
    path = approval.request.get("path", []) if isinstance(approval.request, dict) else []
    return " \u203a ".join(path) if len(path) > 1 else ""
