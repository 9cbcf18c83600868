"""Breakpoints: `interrupt_before` and `interrupt_after`. The decision is to go on, to edit first, or to end.

Where several tasks wait, or one that a `Send` started, each can be decided by itself, in the format of `hitl_batched`:
`{"decisions": [...]}`, one for each task in their order. Arguments from a Send can be edited there; a task that reads
the state has no arguments of its own.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agentcore.dialects import hitl_batched
from agentcore.dialects.common import GraphFacts, just, one_of, with_arguments
from agentcore.plain import gist, schemas, sends
from agentcore.plain.errors import storable
from agentcore.plain.nodes import title_of
from agentcore.plain.quoting import listed, named, short, told
from agentcore.plain.types import Action, Choice, Gate, GateTask, Pause, Question, Snapshot

VERDICTS = ("approve", "reject", "skip")
_LONGEST_IN_SUMMARY = 60
_LONGEST_TITLE = 120
_LONGEST_OF_ALL = 300
_LONGEST_SUMMARY = 500


def read(graph: GraphFacts, snapshot: Snapshot) -> list[Pause]:
    """Return the pause of a thread that stopped at a breakpoint."""
    gate = snapshot.gate
    if gate is None:
        return []
    is_each = can_decide_each(snapshot, gate)
    actions = tuple(_action(graph, task, snapshot.values, is_each=is_each) for task in gate.tasks)
    title = storable(listed(_titles(graph, gate.tasks, actions), " + ", _LONGEST_OF_ALL))
    summary = storable(_summary(graph, gate.tasks, snapshot.values))
    authors = [graph.approval_metadata(task.node) for task in gate.tasks]
    return [
        Pause(
            kind="breakpoint",
            interrupt_id="",
            next=snapshot.next,
            title=title,
            summary=summary,
            request=_request(graph, snapshot, gate),
            actions=actions,
            allowed_verdicts=(*VERDICTS, "respond") if is_each else VERDICTS,
            answer_schema=_answer_schema(actions) if is_each else None,
            tools=_tools(gate.tasks, snapshot.values),
            gist=gist.of_gate(actions, authors, snapshot.values, title=title, summary=summary),
        )
    ]


def can_decide_each(snapshot: Snapshot, gate: Gate) -> bool:
    """Return whether each task can be decided by itself. After one task of the step has ended or failed, it cannot."""
    is_several = len(gate.tasks) > 1 or any(task.is_sent for task in gate.tasks)
    return is_several and len(gate.tasks) == len(snapshot.tasks) and not snapshot.errors


def _tools(tasks: Sequence[GateTask], values: dict[str, Any]) -> tuple[str, ...]:
    """Return the tools that the tasks would call, or those that the last message of a conversation asks for."""
    sent = [found for task in tasks if (found := sends.call_in(task.sent))]
    asked = [found for message in last_messages(values) for found in message.get("tool_calls") or ()]
    return tuple(
        dict.fromkeys(str(each["name"]) for each in sent or asked if isinstance(each, dict) and "name" in each)
    )


def last_messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the last message of each conversation."""
    return [value[-1] for value in values.values() if is_conversation(value)]


def _request(graph: GraphFacts, snapshot: Snapshot, gate: Gate) -> dict[str, Any]:
    request: dict[str, Any] = {
        "when": gate.when,
        "gate": list(gate.nodes),
        "ran": list(gate.ran),
        "next": list(snapshot.next),
        "metadata": {node: graph.approval_metadata(node) for node in snapshot.next},
    }
    if any(task.is_sent for task in gate.tasks):
        request["tasks"] = [{"node": task.node, "is_sent": task.is_sent} for task in gate.tasks]
    return request


def _action(graph: GraphFacts, task: GateTask, values: dict[str, Any], *, is_each: bool) -> Action:
    metadata = graph.approval_metadata(task.node)
    if not task.is_sent:
        return Action(
            name=task.node,
            title=metadata.get("title") or title_of(task.node),
            args=_shown(metadata.get("show"), values),
            description=metadata.get("description", ""),
            allowed=("approve", "reject") if is_each else VERDICTS,
        )
    tool, args = sends.call_in(task.sent), sends.args_in(task.sent)
    schema = graph.tool_schemas().get(str(tool["name"])) if tool else graph.input_schema(task.node)
    name = str(tool["name"]) if tool else task.node
    return Action(
        name=name,
        title=storable(name) if tool else metadata.get("title") or title_of(task.node),
        args=args,
        description=metadata.get("description", ""),
        allowed=_allowed(task, args) if is_each else VERDICTS,
        schema=_fitting(schema, task, args),
        call_id=str(tool.get("id") or "") if tool else "",
    )


def _allowed(task: GateTask, args: Any) -> tuple[str, ...]:
    can_edit = isinstance(args, Mapping) and bool(args.keys() - set(task.opaque)) or "" not in task.opaque
    return ("approve", "edit", "reject") if can_edit and args not in ({}, None) else ("approve", "reject")


def _fitting(schema: dict[str, Any] | None, task: GateTask, args: Any) -> dict[str, Any] | None:
    """Relax the schema where the sent values do not match it; forbid changes where an edit would spoil an object."""
    if not isinstance(args, Mapping):
        return None
    fixed = {name: {"const": args[name]} for name in task.opaque if name in args}
    if schema is None:
        kinds = {name: _kind(value) for name, value in args.items()}
        return {"type": "object", "properties": kinds | fixed} if fixed else None
    known = schema.get("properties", {})
    odd = {fault.path.strip("/").partition("/")[0] for fault in schemas.faults(schema, args)}
    loose: dict[str, Any] = {name: {} for name in odd & known.keys() & args.keys()}
    required = [name for name in schema.get("required", ()) if name in args and name not in task.opaque]
    return {**schema, "properties": known | loose | fixed, "required": required}


def _kind(value: Any) -> dict[str, Any]:
    kinds: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}
    return {"type": kinds[type(value)]} if type(value) in kinds else {}


def _answer_schema(actions: Sequence[Action]) -> dict[str, Any]:
    items = [_decision_schema(action, place) for place, action in enumerate(actions)]
    return just({"decisions": {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}})


def _decision_schema(action: Action, place: int) -> dict[str, Any]:
    if isinstance(action.args, Mapping):
        return hitl_batched.decision_schema(action, place)
    edited = just({"name": {"const": action.name}, "args": _kind(action.args)})
    kinds = {
        "approve": just({"type": {"const": "approve"}}),
        "edit": just({"type": {"const": "edit"}, "edited_action": edited}),
        "reject": just({"type": {"const": "reject"}, "message": {"type": "string"}}, optional=["message"]),
    }
    return one_of([kinds[verdict] for verdict in action.allowed])


def write(question: Question, choices: Sequence[Choice]) -> Any:
    pairs = zip(question.actions, choices, strict=True)
    return {"decisions": [hitl_batched.decision(action["name"], choice) for action, choice in pairs]}


def choices_in(question: Question, answer: Any) -> list[Choice]:
    return [hitl_batched.choice_in(each) for each in answer["decisions"]]


def without_kept(question: Question, answer: Any) -> Any:
    """Remove unchanged objects from edits, so that they are not written again."""
    decisions = answer.get("decisions") if isinstance(answer, Mapping) else None
    if not isinstance(decisions, list):
        return answer
    pairs = zip(decisions, [*question.actions, *([{}] * len(decisions))], strict=False)
    return {**answer, "decisions": [_changed(decided, action.get("args")) for decided, action in pairs]}


def _changed(decided: Any, shown: Any) -> Any:
    edited = decided.get("edited_action") if isinstance(decided, Mapping) else None
    if not isinstance(edited, Mapping) or not isinstance(edited.get("args"), Mapping) or not isinstance(shown, Mapping):
        return decided
    objects = {name for name, value in shown.items() if any(schemas.unstorable(value, ""))}
    args = {name: value for name, value in edited["args"].items() if name not in objects or value != shown[name]}
    return {**decided, "edited_action": {**edited, "args": args}}


def _titles(graph: GraphFacts, tasks: Sequence[GateTask], actions: Sequence[Action]) -> list[str]:
    """Make equal titles distinct by adding arguments. A tool call always shows its arguments."""
    count = Counter(action.title for action in actions)
    return [
        short(with_arguments(_title(task, action), _in_order(graph, task, action.args)), _LONGEST_TITLE)
        if task.is_sent and (count[action.title] > 1 or sends.call_in(task.sent))
        else action.title
        for task, action in zip(tasks, actions, strict=True)
    ]


def _title(task: GateTask, action: Action) -> str:
    """Return the title: the author's for a node; the name in the call for a tool."""
    return named(action.title) if sends.call_in(task.sent) else action.title


def _in_order(graph: GraphFacts, task: GateTask, args: Any) -> Any:
    """Sort the arguments: those that the node's author names in `show` come first."""
    wanted = graph.approval_metadata(task.node).get("show")
    if not isinstance(args, Mapping):
        return {"": args}
    first = [name for name in wanted if name in args] if isinstance(wanted, list | tuple) else []
    return {name: args[name] for name in [*first, *args]}


def _shown(names: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Select the channels that the author names in `show`; by default all but conversations."""
    if isinstance(names, list | tuple):
        return {name: values[name] for name in names if name in values}
    return {name: value for name, value in values.items() if not is_conversation(value)}


def is_conversation(value: Any) -> bool:
    """Return whether the value is a list of messages as plain data."""
    return bool(
        isinstance(value, list)
        and value
        and all(isinstance(item, dict) and {"type", "content"} <= item.keys() for item in value)
    )


def _summary(graph: GraphFacts, tasks: Sequence[GateTask], values: dict[str, Any]) -> str:
    """Fill in the author's `summary`, such as `{amount} {currency} to {customer}`, for each task. Texts are quoted."""
    found = []
    for task in tasks:
        template, args = graph.approval_metadata(task.node).get("summary"), sends.args_in(task.sent)
        if isinstance(template, str):
            found.append(_filled(template, {**values, **args} if isinstance(args, Mapping) else values))
    return listed(found, " + ", _LONGEST_SUMMARY)


def _filled(template: str, values: dict[str, Any]) -> str:
    """Replace `{channel}` and nothing else. `str.format` would let a template read attributes of objects."""
    return re.sub(r"\{(\w+)\}", lambda found: told(values.get(found[1], ""), _LONGEST_IN_SUMMARY), template)
