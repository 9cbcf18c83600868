"""Answers to `interrupt()`: validation, the value the graph receives, and what ran otherwise than decided."""

from collections.abc import Sequence
from typing import Any

from agentcore import dialects
from agentcore.plain.errors import Fault
from agentcore.plain.masks import MASK, TYPE_ANEW
from agentcore.plain.types import Call, Choice, Question
from approvals.domain import editable, policies
from approvals.domain.policies import Rule
from approvals.domain.text import iter_texts
from approvals.enums import Verdict
from approvals.models import Approval, Decision

BREAKPOINT = "breakpoint"
RAISED = "raised"
"""A question that a node raised (`NodeInterrupt`). It takes no answer; the node runs again with an edited state."""


def question_of(approval: Approval) -> Question:
    return Question(approval.kind, approval.request.get("value"), approval.actions, approval.answer_schema)


def takes_answer(approval: Approval) -> bool:
    """Return whether the approval can be answered. At a breakpoint: only if each task can be decided by itself."""
    return approval.kind not in (BREAKPOINT, RAISED) or Verdict.RESPOND in approval.allowed_verdicts


def is_edited_beside(approval: Approval) -> bool:
    """Return whether the state is edited on its own, as at a breakpoint, and not together with an answer."""
    return approval.kind in (BREAKPOINT, RAISED)


def is_sent(approval: Approval) -> bool:
    """Return whether a waiting task got its arguments from a `Send`."""
    tasks = approval.request.get("tasks", []) if isinstance(approval.request, dict) else []
    return any(task["is_sent"] for task in tasks)


def faults_in(approval: Approval, answer: Any) -> list[Fault]:
    """Validate an answer. Return one fault, with its path, for each mistake."""
    if any(MASK in text for text in iter_texts(answer)) and any(MASK in text for text in iter_texts(approval.request)):
        return [Fault("", TYPE_ANEW)]
    return dialects.faults_in(question_of(approval), answer) or _closed(approval, answer)


def _closed(approval: Approval, answer: Any) -> list[Fault]:
    """Return a fault for each changed argument that the policy does not let people change."""
    rule = Rule.of(approval.rule)
    choices = [] if rule.may_edit is None else dialects.choices_in(question_of(approval), answer)
    return [
        Fault("/".join([*_path_of_arguments(answer, place), *path]), policies.why_closed(rule))
        for place, (action, choice) in enumerate(zip(approval.actions, choices, strict=False))
        if choice.verdict == "edit"
        for path in editable.closed_in_arguments(rule.may_edit, action["args"], choice.args)
    ]


def _path_of_arguments(answer: Any, place: int) -> list[str]:
    """Return the path of one edited call's arguments within an answer, as its dialect writes them."""
    if isinstance(answer, list):
        return [str(place), "args", "args"]
    decision = answer["decisions"][place] if "decisions" in answer else answer
    before = ["decisions", str(place)] if "decisions" in answer else []
    return [*before, "editedAction" if "editedAction" in decision else "edited_action", "args"]


def given(approval: Approval, decision: Decision) -> Any:
    """Return the value that the graph receives: the answer, or what a plain approve or reject stands for.

    None for a plain verdict at a breakpoint, where the state alone decides, and after a force-clean erased the
    question.
    """
    if decision.verdict != Verdict.RESPOND and is_edited_beside(approval):
        return None
    if not approval.actions:
        return None
    if decision.verdict == Verdict.RESPOND:
        return decision.answer
    return dialects.plain_answer(question_of(approval), decision.verdict, decision.comment)


def is_about_actions(approval: Approval) -> bool:
    """Return whether each action is decided on its own. Other questions take text or a form."""
    return takes_answer(approval) and any(action.get("allowed") for action in approval.actions)


def choices_of(approval: Approval, decision: Decision) -> list[Choice]:
    """Return what was decided on each action; empty for questions without actions."""
    if not is_about_actions(approval):
        return []
    if approval.kind == BREAKPOINT and decision.verdict != Verdict.RESPOND:
        is_of_all = decision.verdict in (Verdict.APPROVE, Verdict.REJECT)
        return [Choice(decision.verdict) for _ in approval.actions] if is_of_all else []
    return dialects.choices_in(question_of(approval), given(approval, decision))


def deviations(approval: Approval, decision: Decision, ran: Sequence[Call]) -> list[str]:
    """Compare the tools that ran with the decision. Return a sentence for each tool that ran against it.

    A call is known by its id, or without one by its name and arguments.
    """
    decided = list(zip(approval.actions, choices_of(approval, decision), strict=False))
    left = list(ran)
    for action, choice in decided:
        _take(left, action, choice)
    return [sentence for action, choice in decided if (sentence := _deviation(action, choice, left))]


def _take(left: list[Call], action: dict[str, Any], choice: Choice) -> None:
    """Remove the decided call from the list.

    Two calls may be equal, one approved and one not, so only one is removed.
    """
    wanted = {"approve": action["args"], "edit": choice.args}.get(choice.verdict)
    for call in left:
        is_it = not call.id or not action.get("call_id") or call.id == action["call_id"]
        if wanted is not None and is_it and (call.name, call.args) == (action["name"], wanted):
            left.remove(call)
            return


def _deviation(action: dict[str, Any], choice: Choice, left: Sequence[Call]) -> str:
    if choice.verdict == "approve":
        others = any(_is_it_with_other_arguments(call, action) for call in left)
        return f"{action['name']} ran with other arguments than were approved." if others else ""
    if not any(_is_about(call, action) for call in left):
        return ""
    words = {"reject": "although the call was rejected", "respond": "although the call was answered by a person"}
    return f"{action['name']} ran {words.get(choice.verdict, 'with other arguments than were decided')}."


def _is_it_with_other_arguments(call: Call, action: dict[str, Any]) -> bool:
    """Match by id alone: two calls of one tool are common. Masked arguments cannot be compared."""
    if not call.id or call.id != action.get("call_id") or (call.name, call.args) == (action["name"], action["args"]):
        return False
    return not any(MASK in text for text in iter_texts([call.args, action["args"]]))


def _is_about(call: Call, action: dict[str, Any]) -> bool:
    if call.id and action.get("call_id"):
        return bool(call.id == action["call_id"])
    return (call.name, call.args) == (action["name"], action["args"])
