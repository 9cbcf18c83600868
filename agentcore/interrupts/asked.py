"""What the dialects share: a question about actions, and the schema of its answer."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentcore.errors import storable
from agentcore.types import Action

_LONGEST_VALUE = 30
_LONGEST_LINE = 120
_MOST_ARGUMENTS = 4
CHOICES = ("approve", "edit", "reject", "respond")


@dataclass(frozen=True)
class Asked:
    """A question as a dialect reads it. `verdicts` are those of a vote; `respond` carries any answer that fits."""

    title: str
    summary: str
    actions: tuple[Action, ...]
    verdicts: tuple[str, ...]
    answer_schema: dict[str, Any] | None
    tools: tuple[str, ...] = ()


def about_actions(actions: Sequence[Action], answer_schema: dict[str, Any]) -> Asked:
    """Ask about tool calls: `refund(order A1, amount 20.00)`, or `2 actions: send_email, delete_file`."""
    names = [action.name for action in actions]
    calls = [call(action.name, action.args) for action in actions]
    title = calls[0] if len(actions) == 1 else f"{len(actions)} actions: {', '.join(names)}"
    summary = actions[0].description.strip().partition("\n")[0] if len(actions) == 1 else "; ".join(calls)
    plain = tuple(verdict for verdict in ("approve", "reject") if all(verdict in each.allowed for each in actions))
    return Asked(
        title=short(title, _LONGEST_LINE),
        summary=short(summary, 2 * _LONGEST_LINE),
        actions=tuple(actions),
        verdicts=(*plain, "respond"),
        answer_schema=answer_schema,
        tools=tuple(dict.fromkeys(names)),
    )


def call(name: str, args: Any) -> str:
    """Write a call short: `refund(order A1, amount 20.00)`."""
    if not isinstance(args, Mapping):
        return name
    told = [f"{key} {_value(value)}" for key, value in list(args.items())[:_MOST_ARGUMENTS]]
    more = ["…"] if len(args) > _MOST_ARGUMENTS else []
    return f"{name}({', '.join(told + more)})"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if value == round(value, 2) else str(value)
    return short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _LONGEST_VALUE)


def short(text: str, longest: int) -> str:
    """Cut a text to one line of so many characters, all of which can be stored."""
    line = " ".join(storable(text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def just(properties: Mapping[str, Any], *, optional: Iterable[str] = ()) -> dict[str, Any]:
    """Return the schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in set(optional)],
        "additionalProperties": False,
    }


def one_of(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return dict(schemas[0]) if len(schemas) == 1 else {"oneOf": list(schemas)}


def _kind(value: Any) -> Any:
    """A number stays a number, a text a text; of anything else nobody has said what it must be."""
    kinds: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}
    return {"type": kinds[type(value)]} if type(value) in kinds else True


def arguments(action: Action, place: int) -> dict[str, Any]:
    """Return the schema of edited arguments: the tool's own, and no argument that neither it nor the agent names.

    It has an id, so that its references stay its own inside a larger schema.
    """
    known = action.schema or {}
    named = known.get("properties")
    if not known:
        kinds = {name: _kind(value) for name, value in action.args.items()}
        return {"type": "object", "properties": kinds, "$id": f"urn:countersign:action:{place}"}
    if not isinstance(named, Mapping) or known.get("additionalProperties"):
        return {**known, "type": "object", "$id": f"urn:countersign:action:{place}"}
    extra = {name: True for name in action.args if name not in named}
    closed = {**known, "properties": {**named, **extra}, "additionalProperties": False}
    return {**closed, "type": "object", "$id": f"urn:countersign:action:{place}"}
