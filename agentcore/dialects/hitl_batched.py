"""LangChain's HumanInTheLoopMiddleware as it asks by default: all gated calls of a turn in one interrupt().

Request: `{"action_requests": [{"name", "args", "description"?}], "review_configs": [{"action_name",
"allowed_decisions"}]}`, matched by position. Answer: `{"decisions": [...]}`, one for each request and in their order.
Agents in JavaScript spell the same `actionRequests`, `reviewConfigs`, `actionName`, `allowedDecisions` and
`editedAction`; early versions wrote `arguments` for `args`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from agentcore.dialects.common import CHOICES, AskedQuestion, about_actions, arguments, just, one_of
from agentcore.plain.types import Action, Choice, PendingInterrupt, Question


class _Request(BaseModel, strict=True):
    name: str
    args: dict[str, Any] = Field(validation_alias=AliasChoices("args", "arguments"))
    description: str | None = None


class _Config(BaseModel, strict=True):
    action_name: str | None = Field(None, validation_alias=AliasChoices("action_name", "actionName"))
    allowed: list[str] = Field(validation_alias=AliasChoices("allowed_decisions", "allowedDecisions"))


class _Payload(BaseModel, strict=True):
    requests: list[_Request] = Field(min_length=1, validation_alias=AliasChoices("action_requests", "actionRequests"))
    configs: list[_Config] = Field(validation_alias=AliasChoices("review_configs", "reviewConfigs"))


def read(pending: PendingInterrupt, tools: Mapping[str, Any]) -> AskedQuestion | None:
    """Return what is asked, or None if this is another dialect."""
    try:
        payload = _Payload.model_validate(pending.value)
    except ValidationError:
        return None
    is_camel = "actionRequests" in pending.value
    allowed = [_allowed(payload, place) for place in range(len(payload.requests))]
    actions = [
        Action(
            name=request.name,
            args=request.args,
            description=request.description or "",
            described_by="agent",
            allowed=verdicts,
            schema=tools.get(request.name),
            title=request.name,
        )
        for request, verdicts in zip(payload.requests, allowed, strict=True)
    ]
    if not all(allowed):
        return None
    items = [decision_schema(action, place, is_camel=is_camel) for place, action in enumerate(actions)]
    decisions = {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return about_actions(actions, just({"decisions": decisions}))


def _allowed(payload: _Payload, place: int) -> tuple[str, ...]:
    """Return the allowed decisions by position; by name where the lists differ in length, as when a tool is called
    twice.
    """
    name = payload.requests[place].name
    is_paired = len(payload.configs) == len(payload.requests)
    found = [payload.configs[place]] if is_paired else [each for each in payload.configs if each.action_name == name]
    fits = found and found[0].action_name in (None, name)
    return tuple(verdict for verdict in CHOICES if fits and verdict in found[0].allowed)


def decision_schema(action: Action, place: int, *, is_camel: bool = False) -> dict[str, Any]:
    """Return the schema of one decision. The tool's name is constant: an edit must not turn one tool into another."""
    edited = just({"name": {"const": action.name}, "args": arguments(action, place)})
    words: dict[str, Any] = {"type": "string", "minLength": 1}
    kinds: dict[str, dict[str, Any]] = {
        "approve": just({"type": {"const": "approve"}}),
        "edit": just({"type": {"const": "edit"}, _edited_key(is_camel): edited}),
        "reject": just({"type": {"const": "reject"}, "message": {"type": "string"}}, optional=["message"]),
        "respond": just({"type": {"const": "respond"}, "message": words}),
    }
    return one_of([kinds[verdict] for verdict in action.allowed])


def _edited_key(is_camel: bool) -> str:
    return "editedAction" if is_camel else "edited_action"


def write(question: Question, choices: Sequence[Choice]) -> Any:
    is_camel = "actionRequests" in question.value
    pairs = zip(question.actions, choices, strict=True)
    return {"decisions": [decision(action["name"], choice, is_camel=is_camel) for action, choice in pairs]}


def decision(name: str, choice: Choice, *, is_camel: bool = False) -> dict[str, Any]:
    """Return one choice in the middleware's format."""
    match choice.verdict:
        case "edit":
            return {"type": "edit", _edited_key(is_camel): {"name": name, "args": choice.args}}
        case "respond":
            return {"type": "respond", "message": choice.message}
        case "reject" if choice.message:
            return {"type": "reject", "message": choice.message}
    return {"type": choice.verdict}


def choices_in(question: Question, answer: Any) -> list[Choice]:
    return [choice_in(each) for each in answer["decisions"]]


def choice_in(decided: Mapping[str, Any]) -> Choice:
    edited = decided.get("edited_action") or decided.get("editedAction") or {}
    return Choice(decided["type"], edited.get("args"), decided.get("message", ""))
