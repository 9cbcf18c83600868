"""The same middleware with `interrupt_mode="per_call"`: one interrupt() for each gated call, answered one at a time.

Request: `{"type": "tool_approval", "tool_call_id", "name", "args", "description"}`; its `response_schema` lists the
decisions that are allowed and, for edits, the tool's arguments. Answer: one decision.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from agentcore.dialects.common import CHOICES, AskedQuestion, about_actions
from agentcore.dialects.hitl_batched import choice_in, decision, decision_schema
from agentcore.plain import schemas
from agentcore.plain.types import Action, Choice, PendingInterrupt, Question


class _CallPayload(BaseModel, strict=True):
    type: Literal["tool_approval"]
    name: str
    args: dict[str, Any]
    tool_call_id: str = ""
    description: str | None = None


def read(pending: PendingInterrupt, tools: Mapping[str, Any]) -> AskedQuestion | None:
    """Return what is asked, or None if this is another dialect."""
    try:
        payload = _CallPayload.model_validate(pending.value)
    except ValidationError:
        return None
    schema = schemas.with_order(pending.response_schema or {})
    if not schemas.is_schema(schema):
        return None
    kinds = dict(_kinds(schema))
    allowed = tuple(verdict for verdict in CHOICES if verdict in kinds) if kinds else CHOICES
    if not allowed:
        return None
    action = Action(
        name=payload.name,
        args=payload.args,
        description=payload.description or "",
        described_by="agent",
        allowed=allowed,
        schema=_arguments(kinds.get("edit"), schema) or tools.get(payload.name),
        title=payload.name,
        call_id=payload.tool_call_id,
    )
    return about_actions([action], decision_schema(action, 0))


def _kinds(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each decision that a response schema allows: its `type` and its own schema."""
    for each in schema.get("oneOf") or schema.get("anyOf") or [schema]:
        option = _followed(each, schema)
        kind = _followed(_field(option, "type"), schema).get("const")
        if isinstance(kind, str):
            yield kind, option


def _arguments(edit: Mapping[str, Any] | None, root: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the tool's arguments from that of an edit, with the definitions it refers to."""
    found = _followed(_field(_followed(_field(edit or {}, "edited_action"), root), "args"), root)
    return {**found, "$defs": root["$defs"]} if found and "$defs" in root else dict(found) or None


def _field(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    properties = schema.get("properties")
    found = properties.get(name) if isinstance(properties, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _followed(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    if not isinstance(reference, str):
        return schema if isinstance(schema, Mapping) else {}
    found = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
    return found if isinstance(found, Mapping) else {}


def write(question: Question, choices: Sequence[Choice]) -> Any:
    return decision(question.actions[0]["name"], choices[0])


def choices_in(question: Question, answer: Any) -> list[Choice]:
    return [choice_in(answer)]
