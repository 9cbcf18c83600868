"""Static breakpoints: `interrupt_before` and `interrupt_after`. The answer is to go on, to edit first, or to end."""

import re
from collections.abc import Mapping
from typing import Any

from agentcore.cards import approval_metadata, title_of
from agentcore.errors import storable
from agentcore.registry import Graph
from agentcore.types import Action, Gate, Pause, Snapshot

VERDICTS = ("approve", "reject", "skip")
_LONGEST_IN_SUMMARY = 60


def read(graph: Graph, snapshot: Snapshot) -> list[Pause]:
    """Return the one pause of a thread that stands at a breakpoint."""
    if snapshot.gate is None:
        return []
    actions = tuple(_action(graph, node, snapshot.values) for node in snapshot.next)
    return [
        Pause(
            kind="breakpoint",
            interrupt_id="",
            next=snapshot.next,
            title=storable(" + ".join(action.title for action in actions)),
            summary=storable(_summary(graph, snapshot)),
            request=_request(graph, snapshot, snapshot.gate),
            actions=actions,
            allowed_verdicts=VERDICTS,
            tools=_tools(snapshot.values),
        )
    ]


def _tools(values: dict[str, Any]) -> tuple[str, ...]:
    """Name the tools that the last message of a conversation asks for: what a `tools` node would call."""
    calls = [call for message in last_messages(values) for call in message.get("tool_calls") or ()]
    return tuple(dict.fromkeys(str(call["name"]) for call in calls if isinstance(call, dict) and "name" in call))


def last_messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the last message of each conversation."""
    return [value[-1] for value in values.values() if is_conversation(value)]


def _request(graph: Graph, snapshot: Snapshot, gate: Gate) -> dict[str, Any]:
    metadata = {node: approval_metadata(graph, node) for node in snapshot.next}
    return {
        "when": gate.when,
        "gate": list(gate.nodes),
        "ran": list(gate.ran),
        "next": list(snapshot.next),
        "metadata": metadata,
    }


def _action(graph: Graph, node: str, values: dict[str, Any]) -> Action:
    metadata = approval_metadata(graph, node)
    return Action(
        name=node,
        title=metadata.get("title") or title_of(node),
        args=_shown(metadata.get("show"), values),
        description=metadata.get("description", ""),
        allowed=VERDICTS,
    )


def _shown(names: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Pick the channels the author named in `show`; without it, all but conversations."""
    if isinstance(names, list | tuple):
        return {name: values[name] for name in names if name in values}
    return {name: value for name, value in values.items() if not is_conversation(value)}


def is_conversation(value: Any) -> bool:
    """True for a list of messages as plain data."""
    return bool(
        isinstance(value, list)
        and value
        and all(isinstance(item, dict) and {"type", "content"} <= item.keys() for item in value)
    )


def _summary(graph: Graph, snapshot: Snapshot) -> str:
    """Fill the author's `summary`, such as `{amount} {currency} to {customer}`, from the state."""
    templates = [approval_metadata(graph, node).get("summary") for node in snapshot.next]
    return " + ".join(_filled(template, snapshot.values) for template in templates if isinstance(template, str))


def _filled(template: str, values: dict[str, Any]) -> str:
    """Replace `{channel}` and nothing else: str.format would let a template reach into objects."""
    return re.sub(r"\{(\w+)\}", lambda found: _short(values.get(found[1], "")), template)


def _short(value: Any) -> str:
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_IN_SUMMARY else text[: _LONGEST_IN_SUMMARY - 1] + "…"
