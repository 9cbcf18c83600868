"""Edits of a state as plain data: checked, and compared with what they change.

An edit is `{channel: {"op": "set" | "append" | "replace", "value": ...}}`. `set` is for channels that keep the last
value; a channel with a reducer takes `append` (merged in by the reducer) or `replace` (put in its place).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentcore.plain import masks, schemas
from agentcore.plain.errors import CannotEdit, Fault
from agentcore.plain.json import canonical
from agentcore.plain.messages import is_removal
from agentcore.plain.types import Channel, ChannelChange

OPS = ("set", "append", "replace")
Edits = Mapping[str, Mapping[str, Any]]


def check_edits(
    channels: Iterable[Channel], edits: Any, *, opaque: Iterable[str] = (), secrets: Iterable[str] = ()
) -> None:
    """Raise CannotEdit with a fault for each path. Plain values in, so a web process can call it.

    A masked secret in an edit stays as it is, so the mask need not match the schema.
    """
    if not isinstance(edits, Mapping):
        raise CannotEdit([Fault("", 'Send edits as {"channel": {"op": "set", "value": ...}}.')])
    known = {channel.name: channel for channel in channels}
    found = [fault for name, edit in edits.items() for fault in _faults(str(name), edit, known, set(opaque))]
    faults = [fault for fault in found if not _is_of_mask(fault, edits, tuple(secrets))]
    faults += [Fault(path, masks.TYPE_ANEW) for path in masks.lost_in(edits, tuple(secrets))]
    if faults:
        raise CannotEdit(faults)


def changes(before: dict[str, Any], after: dict[str, Any], edits: Edits | None = None) -> Iterator[ChannelChange]:
    """Yield each channel whose plain value differs."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if canonical(old) != canonical(new):  # Python takes 1, 1.0 and True for the same
            yield ChannelChange(channel=name, before=old, after=new, op=str((edits or {}).get(name, {}).get("op", "")))


def _is_of_mask(fault: Fault, edits: Edits, secrets: tuple[str, ...]) -> bool:
    return masks.is_secret(fault.path, secrets) and _at(edits, fault.path) in (masks.MASK, masks.CHANGED)


def _at(edits: Any, path: str) -> Any:
    """Return the value at the path of a fault."""
    found = edits
    for part in path.split("/"):
        if isinstance(found, Mapping):
            found = found.get(part)
        else:
            found = found[int(part)] if isinstance(found, list) and part.isdigit() and int(part) < len(found) else None
    return found


def _faults(name: str, edit: Any, known: dict[str, Channel], opaque: set[str]) -> Iterator[Fault]:
    channel = known.get(name)
    if channel is None:
        yield Fault(name, f"The graph has no channel of this name. It has: {', '.join(known)}.")
    elif not isinstance(edit, Mapping) or edit.keys() != {"op", "value"} or edit["op"] not in OPS:
        yield Fault(name, 'Send {"op": "set" | "append" | "replace", "value": ...}.')
    elif channel.is_reducer and edit["op"] == "set":
        yield Fault(f"{name}/op", "This channel merges values: say append or replace.")
    elif not channel.is_reducer and edit["op"] == "append":
        yield Fault(f"{name}/op", "This channel keeps the last value: say set.")
    elif name in opaque and edit["op"] != "append":
        yield Fault(name, "This channel holds objects that JSON cannot carry; an edit would lose their type.")
    else:
        value = edit["value"]
        if channel.merges == "messages" and edit["op"] == "append" and isinstance(value, list):
            value = [item for item in value if not is_removal(item)]
        yield from schemas.faults(channel.schema, value, f"{name}/value")
