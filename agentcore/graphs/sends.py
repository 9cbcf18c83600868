"""Arguments that a `Send` carries to a node.

They are stored in the checkpoint, beside the state, and only that task reads them.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import PregelTask, Send, StateSnapshot
from pydantic import BaseModel

from agentcore.plain.errors import CannotEdit, Fault
from agentcore.plain.json import canonical, has_objects, to_plain
from agentcore.plain.sends import call_in
from agentcore.plain.types import GateTask
from agentcore.savers.base import Saver

_PUSH = "__pregel_push"  # first part of the path of a task that a Send started; tests/agentcore/test_facts.py pins it
SPOILT = "This is an object that JSON cannot carry; an edit would lose its type."


def place_of(task: PregelTask) -> int | None:
    """Return the index of the Send that started the task; None for a task that reads the state."""
    return task.path[1] if task.path and task.path[0] == _PUSH and isinstance(task.path[1], int) else None


def is_any_sent(state: StateSnapshot) -> bool:
    return any(place_of(task) is not None for task in state.tasks)


async def pending_sends(saver: Saver, config: RunnableConfig) -> list[Any]:
    """Return the Sends that wait at a checkpoint, in order."""
    found = await saver.aget_tuple(config)
    return sends_in(found.checkpoint["channel_values"]) if found else []


def sends_in(channel_values: Mapping[str, Any]) -> list[Any]:
    stored = channel_values.get(TASKS)
    if isinstance(stored, tuple):  # as early versions wrote it
        stored = stored[1]
    return list(stored) if isinstance(stored, Sequence) and not isinstance(stored, str) else []


async def sent_at(saver: Saver, state: StateSnapshot) -> tuple[dict[str, Any], ...]:
    """Return `{node, args}` of each Send that waits at a checkpoint, as plain data."""
    carried = await pending_sends(saver, state.config) if is_any_sent(state) else []
    return tuple({"node": each.node, "args": to_plain(each.arg)} for each in carried if isinstance(each, Send))


async def gate_tasks(saver: Saver, state: StateSnapshot, path: tuple[str, ...] = ()) -> tuple[GateTask, ...]:
    """Return the tasks that wait at a checkpoint, each with its Send's arguments.

    `state` is that of one namespace's graph, `path` the nodes that lead to that graph.
    """
    carried = await pending_sends(saver, state.config) if is_any_sent(state) else []
    return tuple(_gate_task(task, state, path, carried) for task in state.tasks if task.result is None)


def _gate_task(task: PregelTask, state: StateSnapshot, path: tuple[str, ...], carried: list[Any]) -> GateTask:
    place, here = place_of(task), state.config["configurable"]
    send = carried[place] if place is not None and place < len(carried) else None
    arg = send.arg if isinstance(send, Send) else None
    return GateTask(
        id=task.id,
        node=task.name,
        path=(*path, task.name),
        namespace=here.get("checkpoint_ns", ""),
        checkpoint_id=here["checkpoint_id"],
        is_sent=place is not None,
        sent=to_plain(arg),
        place=-1 if place is None else place,
        opaque=_opaque_in(arg),
    )


def _opaque_in(arg: Any) -> tuple[str, ...]:
    fields = _fields_of(arg)
    if fields is None:
        return ("",) if _is_object(arg) else ()
    return tuple(name for name, value in fields.items() if _is_object(value))


def _fields_of(arg: Any) -> dict[str, Any] | None:
    """Return the arguments with their own types; None if they have no names."""
    if call := call_in(arg):
        return dict(call["args"])
    if isinstance(arg, BaseMessage):
        return None
    if isinstance(arg, BaseModel):
        return dict(arg)
    if dataclasses.is_dataclass(arg) and not isinstance(arg, type):
        return {field.name: getattr(arg, field.name) for field in dataclasses.fields(arg)}
    is_plain = type(arg) is dict and all(type(key) is str for key in arg)
    return dict(arg) if is_plain else None


def _is_object(value: Any) -> bool:
    """Return whether a node would notice plain data in its place.

    That includes messages: no reducer rebuilds them here.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, BaseMessage):
            return True
        if type(item) in (dict, list):
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return has_objects(value)


def with_args(send: Send, args: Any, shown: Any, path: str) -> Send:
    """Return the Send with other arguments, converted to its type. Values equal to what was `shown` stay as they
    are.

    Raises CannotEdit where that would lose something.
    """
    edited = copy.copy(send)
    edited.arg = _edited(send.arg, args, shown, path)
    return edited


def _edited(arg: Any, args: Any, shown: Any, path: str) -> Any:
    fields = _fields_of(arg)
    if canonical(args) == canonical(shown):
        return arg
    if fields is None:
        _check_plain(arg, path)
        return args
    if not isinstance(args, Mapping):
        raise CannotEdit([Fault(path, "Send the arguments as an object.")])
    known = shown if isinstance(shown, Mapping) else {}
    left_out = {name: known[name] for name, value in fields.items() if name in known and _is_object(value)}
    args = {**left_out, **args}
    kept = fields.keys() & known.keys() & args.keys()
    same = {name for name in kept if canonical(args[name]) == canonical(known[name])}
    for name in fields.keys() - same:
        _check_plain(fields[name], f"{path}/{name}")
    changed = {name: value for name, value in args.items() if name not in same}
    whole = {name: fields[name] if name in same else value for name, value in args.items()}
    if call := call_in(arg):
        call = {**call, "args": whole}
        return {**arg, "tool_call": call} if isinstance(arg, Mapping) else [call]
    if isinstance(arg, Mapping):
        return whole
    if fields.keys() != args.keys():
        raise CannotEdit([Fault(path, f"Send exactly these arguments: {', '.join(fields)}.")])
    return _object_with(arg, changed, path)


def _check_plain(value: Any, path: str) -> None:
    if _is_object(value):
        raise CannotEdit([Fault(path, SPOILT)])


def _object_with(arg: Any, changed: Mapping[str, Any], path: str) -> Any:
    """Change fields of a dataclass or Pydantic model. Its own validation runs, and must keep what was typed."""
    try:
        if isinstance(arg, BaseModel):
            made: Any = arg.model_copy()
            for name, value in changed.items():
                made.__pydantic_validator__.validate_assignment(made, name, value)
        else:
            made = dataclasses.replace(arg, **changed)
    except Exception as error:  # validators may raise anything
        raise CannotEdit([Fault(path, f"{type(arg).__name__} does not take this: {type(error).__name__}.")]) from error
    faults = [
        Fault(f"{path}/{name}", f"{type(arg).__name__} would make another value of this.")
        for name, value in changed.items()
        if to_plain(getattr(made, name)) != value
    ]
    if faults:
        raise CannotEdit(faults)
    return made
