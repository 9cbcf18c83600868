"""What dialects share: a question about actions, and the schema of its answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentcore.plain.quoting import listed, named, quoted, short, told
from agentcore.plain.types import Action

_LONGEST_VALUE = 30
_LONGEST_LINE = 120
_MOST_ARGUMENTS = 4
CHOICES = ("approve", "edit", "reject", "respond")


@dataclass(frozen=True)
class AskedQuestion:
    """A question as a dialect reads it. `verdicts` are those of a vote; `respond` carries any answer that fits."""

    title: str
    summary: str
    actions: tuple[Action, ...]
    verdicts: tuple[str, ...]
    answer_schema: dict[str, Any] | None
    tools: tuple[str, ...] = ()


def about_actions(actions: Sequence[Action], answer_schema: dict[str, Any]) -> AskedQuestion:
    """Return a question about tool calls: `refund(order A1, amount 20.00)`, or `3 actions: pay, mail`, each tool
    once.
    """
    names = [action.name for action in actions]
    calls = [call(action.name, action.args) for action in actions]
    count = f"{len(actions)} actions: "
    tools = listed(list(dict.fromkeys(map(named, names))), ", ", _LONGEST_LINE - len(count))
    title = calls[0] if len(actions) == 1 else count + tools
    summary = _said(actions[0].description) if len(actions) == 1 else listed(calls, "; ", 2 * _LONGEST_LINE)
    plain = tuple(verdict for verdict in ("approve", "reject") if all(verdict in each.allowed for each in actions))
    return AskedQuestion(
        title=short(title, _LONGEST_LINE),
        summary=short(summary, 2 * _LONGEST_LINE),
        actions=tuple(actions),
        verdicts=(*plain, "respond"),
        answer_schema=answer_schema,
        tools=tuple(dict.fromkeys(names)),
    )


def _said(description: str) -> str:
    """Quote the first line of the agent's description of its action."""
    line = description.strip().partition("\n")[0]
    return f"The agent says: {quoted(line, 2 * _LONGEST_LINE - 20)}" if line else ""


def call(name: str, args: Any) -> str:
    """Format a call: `refund(order A1, amount 20.00)`."""
    return with_arguments(named(name), args)


def with_arguments(title: str, args: Any) -> str:
    """Append the arguments to a title of ours or of the author."""
    if not isinstance(args, Mapping):
        return title
    given = [
        f"{named(key)} {told(value, _LONGEST_VALUE)}".removeprefix("“” ")
        for key, value in list(args.items())[:_MOST_ARGUMENTS]
    ]
    more = ["…"] if len(args) > _MOST_ARGUMENTS else []
    return f"{title}({', '.join(given + more)})"


def just(properties: Mapping[str, Any], *, optional: Iterable[str] = ()) -> dict[str, Any]:
    """Return the schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in set(optional)],
        "additionalProperties": False,
    }


def one_of(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return dict(schemas[0]) if len(schemas) == 1 else {"oneOf": list(schemas)}


def _kind(value: Any) -> Any:
    """Return the schema for an edited value: a number stays a number, a text a text; anything else is not
    restricted.
    """
    kinds: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}
    return {"type": kinds[type(value)]} if type(value) in kinds else True


def arguments(action: Action, place: int) -> dict[str, Any]:
    """Return the schema of edited arguments: the tool's own. An argument that neither the tool nor the agent names
    is refused.

    The schema has an id, so that its references resolve inside a larger schema.
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


class GraphFacts(Protocol):
    """What dialects ask of a graph. `agentcore.graphs.pauses` answers from a compiled graph."""

    def approval_metadata(self, node: str) -> dict[str, Any]:
        """Return what the graph's author wrote in `add_node(..., metadata={"approval": {...}})`."""
        ...

    def tool_schemas(self) -> Mapping[str, dict[str, Any]]:
        """Return the JSON Schema of the arguments of each tool, by name."""
        ...

    def input_schema(self, node: str) -> dict[str, Any] | None:
        """Return the JSON Schema of what a node takes; None if it cannot be made."""
        ...

    def at(self, namespace: str) -> "GraphFacts":
        """Return the facts of the graph that stands in a namespace."""
        ...
