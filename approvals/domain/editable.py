"""Which values a policy lets people change: names of channels and arguments, or dotted paths into them.

A name covers everything below it. `*` stands for any one part: `items.*.price` is the price of each item; adding or
removing an item is a change of `items`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentcore.plain.json import canonical

Editable = tuple[str, ...] | None
"""None: everything. Empty: nothing."""
MOST_ENTRIES = 100
LONGEST_ENTRY = 200
_MISSING = object()


def checked(entries: Any) -> Editable:
    """Parse the list that a policy gives. Raises ValueError with what to write instead."""
    if entries is None:
        return None
    is_list = isinstance(entries, list | tuple) and len(entries) <= MOST_ENTRIES
    if not is_list or not all(isinstance(entry, str) and _is_entry(entry) for entry in entries):
        raise ValueError(
            "may_edit is a list of names and dotted paths, such as amount or draft.text; [] lets nothing be edited"
        )
    return tuple(entries)


def _is_entry(entry: str) -> bool:
    return len(entry) <= LONGEST_ENTRY and entry.isprintable() and entry == entry.strip() and all(entry.split("."))


def both(one: Editable, other: Editable) -> Editable:
    """Return the paths that both policies let people change."""
    if one is None or other is None:
        return other if one is None else one
    found = (_narrowed(mine, theirs) for mine in one for theirs in other)
    return tuple(dict.fromkeys(entry for entry in found if entry))


def _narrowed(one: str, other: str) -> str:
    """Return the path that both paths cover; empty if there is none."""
    if one == other:
        return one
    short, long = sorted((one.split("."), other.split(".")), key=len)
    if any("*" not in (mine, theirs) and mine != theirs for mine, theirs in zip(short, long, strict=False)):
        return ""
    parts = [theirs if mine == "*" else mine for mine, theirs in zip(short, long, strict=False)]
    return ".".join([*parts, *long[len(short) :]])


def is_open(may_edit: Editable, path: Sequence[str]) -> bool:
    """Return whether everything at and below this path may be changed."""
    return may_edit is None or any(_covers(entry, path) for entry in may_edit)


def is_ajar(may_edit: Editable, path: Sequence[str]) -> bool:
    """Return whether this path, or something below it, may be changed."""
    return is_open(may_edit, path) or any(_fits(entry.split("."), path) for entry in may_edit or ())


def _covers(entry: str, path: Sequence[str]) -> bool:
    if path and entry == path[0]:  # a name with a dot in it
        return True
    parts = entry.split(".")
    return len(parts) <= len(path) and _fits(parts, path)


def _fits(parts: Sequence[str], path: Sequence[str]) -> bool:
    """Return whether the path matches the pattern, as far as both reach."""
    return all(part in ("*", found) for part, found in zip(parts, path, strict=False))


def closed_in_edits(may_edit: Editable, state: Mapping[str, Any], edits: Mapping[str, Any]) -> list[list[str]]:
    """Return the path of each state change that is not allowed. Appending needs permission for the whole channel."""
    paths: list[list[str]] = []
    for name, edit in edits.items():
        if is_open(may_edit, [name]):
            continue
        is_whole = not isinstance(edit, Mapping) or edit.get("op") not in ("set", "replace") or name not in state
        found = [[name]] if is_whole else changed(state[name], edit.get("value"), [name])
        paths += [path for path in found if not is_open(may_edit, path)]
    return paths


def closed_in_arguments(may_edit: Editable, before: Any, after: Any) -> list[list[str]]:
    """Return the path of each argument change that is not allowed."""
    return [] if may_edit is None else [path for path in changed(before, after, []) if not is_open(may_edit, path)]


def changed(before: Any, after: Any, at: list[str]) -> Iterator[list[str]]:
    """Yield the path of each value that differs. A list of another length is one change, of the list."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from changed(before.get(name, _MISSING), after.get(name, _MISSING), [*at, str(name)])
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from changed(one, other, [*at, str(place)])
    elif before is _MISSING or after is _MISSING or canonical(before) != canonical(after):
        yield at
