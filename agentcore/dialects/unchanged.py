"""What nobody changed in an answer is given to the agent as the agent asked it: with its types and in its order."""

from collections.abc import Mapping
from typing import Any

from agentcore.plain.json import as_in


def as_asked(answer: Any, asked: Any) -> Any:
    """Return the answer to the payload `asked`, in any dialect about actions, with edited arguments as in the request.

    An answer in another shape is returned as it is.
    """
    if isinstance(answer, Mapping) and isinstance(asked, Mapping):
        requests = asked.get("action_requests") or asked.get("actionRequests")
        if isinstance(requests, list) and isinstance(answer.get("decisions"), list):
            return {**answer, "decisions": _each(answer["decisions"], requests, _decision)}
        return _decision(answer, asked)
    if isinstance(answer, list) and not isinstance(asked, str):
        return _each(answer, asked if isinstance(asked, list) else [asked], _of_inbox)
    return answer


def _each(answers: list[Any], requests: list[Any], one: Any) -> list[Any]:
    pairs = zip(answers, requests, strict=False) if len(answers) == len(requests) else ()
    return [one(*pair) for pair in pairs] or answers


def _decision(decided: Any, request: Any) -> Any:
    for key in ("edited_action", "editedAction"):
        edited = decided.get(key) if isinstance(decided, Mapping) else None
        if isinstance(edited, Mapping) and isinstance(request, Mapping) and "args" in edited:
            args = as_in(edited["args"], request.get("args", request.get("arguments")))
            return {**decided, key: {**edited, "args": args}}
    return decided


def _of_inbox(decided: Any, request: Any) -> Any:
    edited = decided.get("args") if isinstance(decided, Mapping) else None
    asked = request.get("action_request") if isinstance(request, Mapping) else None
    if not isinstance(edited, Mapping) or not isinstance(asked, Mapping) or "args" not in edited:
        return decided
    return {**decided, "args": {**edited, "args": as_in(edited["args"], asked.get("args"))}}
