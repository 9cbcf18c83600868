"""`HumanInterrupt`, as Agent Inbox and many graphs have it.

Request: `{"action_request": {"action", "args"}, "config": {"allow_ignore", "allow_respond", "allow_edit",
"allow_accept"}, "description"?}`, alone, in a list, or as the JSON text of either. Answer: a list with
`{"type": "accept" | "ignore" | "response" | "edit", "args": null, a text, or {"action", "args"}}` for each request.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from agentcore.dialects.common import AskedQuestion, about_actions, arguments, just, one_of
from agentcore.plain.types import Action, Choice, PendingInterrupt, Question

WORDS = {"approve": "accept", "edit": "edit", "reject": "ignore", "respond": "response"}
VERDICTS = {word: verdict for verdict, word in WORDS.items()}


class _ActionRequest(BaseModel, strict=True):
    action: str
    args: dict[str, Any] = {}


class _LegacyConfig(BaseModel, strict=True):
    allow_accept: bool = False
    allow_edit: bool = False
    allow_ignore: bool = False
    allow_respond: bool = False


class _LegacyRequest(BaseModel, strict=True):
    action_request: _ActionRequest
    config: _LegacyConfig = _LegacyConfig()
    description: str | None = None


_payload = TypeAdapter(list[_LegacyRequest])
_LONGEST_TEXT = 1_000_000


def read(pending: PendingInterrupt, tools: Mapping[str, Any]) -> AskedQuestion | None:
    """Return what is asked, or None if this is another dialect."""
    requests = _requests(pending.value)
    actions = [_action(request, tools) for request in requests]
    if not actions or not all(action.allowed for action in actions):
        return None
    items = [_decision_schema(action, place) for place, action in enumerate(actions)]
    schema = {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return about_actions(actions, schema)


def _requests(value: Any) -> list[_LegacyRequest]:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and len(value) <= _LONGEST_TEXT:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    try:
        return _payload.validate_python(value if isinstance(value, list) else [value])
    except ValidationError:
        return []


def _action(request: _LegacyRequest, tools: Mapping[str, Any]) -> Action:
    config = request.config
    allowed = {
        "approve": config.allow_accept,
        "edit": config.allow_edit,
        "reject": config.allow_ignore,
        "respond": config.allow_respond,
    }
    return Action(
        name=request.action_request.action,
        args=request.action_request.args,
        description=request.description or "",
        described_by="agent",
        allowed=tuple(verdict for verdict, is_allowed in allowed.items() if is_allowed),
        schema=tools.get(request.action_request.action),
        title=request.action_request.action,
    )


def _decision_schema(action: Action, place: int) -> dict[str, Any]:
    args = {
        "approve": {"type": "null"},
        "reject": {"type": "null"},
        "respond": {"type": "string", "minLength": 1},
        "edit": just({"action": {"const": action.name}, "args": arguments(action, place)}),
    }
    return one_of([just({"type": {"const": WORDS[verdict]}, "args": args[verdict]}) for verdict in action.allowed])


def write(question: Question, choices: Sequence[Choice]) -> Any:
    return [_decision(action, choice) for action, choice in zip(question.actions, choices, strict=True)]


def _decision(action: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    """Return one choice in the format. A reason for ignoring has no place in it; it stays in our record."""
    edited = {"action": action["name"], "args": choice.args}
    args = {"edit": edited, "respond": choice.message}.get(choice.verdict)
    return {"type": WORDS[choice.verdict], "args": args}


def choices_in(question: Question, answer: Any) -> list[Choice]:
    return [_choice(each) for each in answer]


def _choice(decided: Mapping[str, Any]) -> Choice:
    args = decided["args"]
    edited = args["args"] if decided["type"] == "edit" else None
    return Choice(VERDICTS[decided["type"]], edited, args if decided["type"] == "response" else "")
