"""Masks: secrets that the graph's author named are replaced by dots before a state leaves the worker.

`{"approval": {"secret": ["api_key", "account.token"]}}` in the metadata of a node, or of the graph, names channels and
dotted paths into them; a list on the way stands for each of its items. Pages and API need no masking of their own:
whatever a worker stores and answers is masked. Digests are computed from the real bytes before.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from agentcore.plain.errors import CannotEdit, Fault
from agentcore.plain.excerpts import is_excerpt
from agentcore.plain.secret_forms import SHORTEST, SecretForms
from agentcore.plain.types import Gate, Snapshot

MASK = "••••••"
"""One mask for every secret, so that it does not tell the length."""
CHANGED = f"{MASK} (changed)"
TYPE_ANEW = "This is a secret that cannot be kept here: type it anew, or leave it out."


class Mask:
    """Hides the secrets of some states: at their path, and wherever else their text appears, also escaped."""

    def __init__(self, paths: Iterable[str], *states: Mapping[str, Any]) -> None:
        self.paths = [path.split(".") for path in paths]
        self._forms = SecretForms()
        self._forms.add(text for state in states for path in self.paths for text in _texts_at(state, path))

    def learn(self, plain: Any) -> None:
        """Take note of the secrets in data that holds states anywhere inside."""
        self._forms.add(text for state in _mappings_in(plain) for path in self.paths for text in _texts_at(state, path))

    def everywhere(self, plain: Any) -> Any:
        """Mask data that may hold states anywhere inside: whatever has the name of a secret is one."""
        if not self.paths:
            return self.anywhere(plain)
        self.learn(plain)
        return self.anywhere(self._in_states(plain))

    def _in_states(self, plain: Any) -> Any:
        if _is_written(plain):
            return list(self._in_states({plain[0]: plain[1]}).popitem())
        if isinstance(plain, list | tuple):
            return [self._in_states(item) for item in plain]
        if not isinstance(plain, Mapping):
            return plain
        values = {name: self._in_states(item) for name, item in plain.items()}
        for path in self.paths:
            values = _covered(values, path, MASK)
        return values

    def state(self, values: dict[str, Any], word: str = MASK) -> dict[str, Any]:
        """Mask a state, or data with the same layout."""
        for path in self.paths:
            values = _covered(values, path, word)
        return dict(self.anywhere(values))

    def channel(self, name: str, value: Any, word: str = MASK) -> Any:
        return self.state({name: value}, word)[name]

    def anywhere(self, plain: Any) -> Any:
        """Hide the text of each secret in any plain data."""
        if not self._forms:
            return plain
        if isinstance(plain, str):
            return self._forms.replaced(plain, MASK)
        if isinstance(plain, Mapping):
            ends = {"head": self.in_cut(str(plain["head"]))} if is_excerpt(plain) else {}
            return {self.anywhere(key): self.anywhere(item) for key, item in plain.items()} | ends
        return [self.anywhere(item) for item in plain] if isinstance(plain, list | tuple) else plain

    def in_cut(self, text: str) -> str:
        """Hide each secret in a text whose end was cut off, and what is left of one there."""
        return self._forms.replaced_in_cut(text, MASK)

    def beginning_in(self, text: str) -> int:
        """Return where a secret begins that the text, as far as it goes, may be part of; its length if none does."""
        return self._forms.beginning_in(text)


def _covered(value: Any, path: list[str], word: str) -> Any:
    if value is None:
        return None
    if not path:
        return word
    if isinstance(value, list):
        return [_covered(item, path, word) for item in value]
    if is_excerpt(value):
        return {**value, "head": ""}  # the secret may be in it
    if isinstance(value, Mapping) and path[0] in value:
        return {**value, path[0]: _covered(value[path[0]], path[1:], word)}
    return value


def _texts_at(value: Any, path: list[str]) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts_at(item, path)
    elif path:
        if isinstance(value, Mapping) and path[0] in value:
            yield from _texts_at(value[path[0]], path[1:])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts_at(item, path)
    elif isinstance(value, str | int | float) and len(str(value)) >= SHORTEST:
        yield str(value)


def _mappings_in(plain: Any) -> Iterator[Mapping[str, Any]]:
    if _is_written(plain):
        yield {plain[0]: plain[1]}
    if isinstance(plain, Mapping):
        yield plain
    for item in plain.values() if isinstance(plain, Mapping) else plain if isinstance(plain, list | tuple) else ():
        yield from _mappings_in(item)


def _is_written(plain: Any) -> bool:
    """Return whether this may be a channel with the value that is written to it."""
    return isinstance(plain, list | tuple) and len(plain) == 2 and isinstance(plain[0], str)


def channels_of(paths: Iterable[str]) -> set[str]:
    return {path.partition(".")[0] for path in paths}


def states_in_sent(plain: Any) -> list[Mapping[str, Any]]:
    """Return what is laid out like a state in what a Send carries: itself, an object's fields, the state of a call."""
    if not isinstance(plain, Mapping):
        return []
    inner = [plain[name] for name in ("value", "state") if isinstance(plain.get(name), Mapping)]
    return [plain, *inner]


def hidden_sent(mask: Mask, plain: Any) -> Any:
    """Mask what a Send carries."""
    if not isinstance(plain, Mapping):
        return mask.anywhere(plain)
    masked = mask.state(dict(plain))
    inner = {name: mask.state(masked[name]) for name in ("value", "state") if isinstance(masked.get(name), dict)}
    return {**masked, **inner}


def _hidden_gate(mask: Mask, gate: Gate) -> Gate:
    return replace(gate, tasks=tuple(replace(task, sent=hidden_sent(mask, task.sent)) for task in gate.tasks))


def hidden(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot as people may see it."""
    if not snapshot.secrets:
        return snapshot
    sent = [state for each in snapshot.sent for state in states_in_sent(each["args"])]
    mask = Mask(snapshot.secrets, snapshot.values, *sent)
    asked = [
        replace(each, value=mask.anywhere(each.value), response_schema=mask.anywhere(each.response_schema))
        for each in snapshot.interrupts
    ]
    return replace(
        snapshot,
        values=mask.state(snapshot.values),
        metadata=mask.anywhere(snapshot.metadata),
        interrupts=tuple(asked),
        tasks=tuple(mask.anywhere(task) for task in snapshot.tasks),
        answers=mask.anywhere(snapshot.answers),
        gate=_hidden_gate(mask, snapshot.gate) if snapshot.gate else None,
        sent=tuple({**each, "args": hidden_sent(mask, each["args"])} for each in snapshot.sent),
    )


_STATES = ("values", "values_before", "result")
"""States, and what a task returns for one."""
_SENT = "sent"


def _carried_in(sent: Any) -> list[Any]:
    """Return what each Send carries: a snapshot has them all, a task its own."""
    each = sent if isinstance(sent, list | tuple) else [sent]
    return [item["args"] if isinstance(item, Mapping) and item.keys() == {"node", "args"} else item for item in each]


def hidden_answer(plain: Any, paths: tuple[str, ...]) -> Any:
    """Return what a worker answers about a graph, as people may see it: states are known by their name in it."""
    if not paths:
        return plain
    return _hidden(plain, Mask(paths, *_states_in(plain)))


def _states_in(plain: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(plain, list | tuple):
        for item in plain:
            yield from _states_in(item)
    elif isinstance(plain, Mapping):
        for name, item in plain.items():
            if name in _STATES and isinstance(item, Mapping):
                yield item
            elif name == _SENT:
                yield from (state for each in _carried_in(item) for state in states_in_sent(each))
            else:
                yield from _states_in(item)


def _hidden(plain: Any, mask: Mask) -> Any:
    if isinstance(plain, list | tuple):
        return [_hidden(item, mask) for item in plain]
    if not isinstance(plain, Mapping):
        return mask.anywhere(plain)
    if {"channel", "before", "after"} <= plain.keys():
        return _hidden_change(mask, dict(plain))
    return {name: _hidden_item(mask, name, item) for name, item in plain.items()}


def _hidden_item(mask: Mask, name: str, item: Any) -> Any:
    if name in _STATES and isinstance(item, dict):
        return mask.state(item)
    if name != _SENT:
        return _hidden(item, mask)
    is_all = isinstance(item, list | tuple)
    return [{**each, "args": hidden_sent(mask, each["args"])} for each in item] if is_all else hidden_sent(mask, item)


def _hidden_change(mask: Mask, change: dict[str, Any]) -> dict[str, Any]:
    before = mask.channel(change["channel"], change["before"])
    after = mask.channel(change["channel"], change["after"])
    if before == after:  # what has changed is a secret
        after = mask.channel(change["channel"], change["after"], CHANGED)
    return {**change, "before": before, "after": after}


def is_secret(path: str, paths: Iterable[str]) -> bool:
    """Whether the path of a fault, such as `account/value/token`, leads to or into a secret."""
    channel, _, inside = path.partition("/value")
    parts = [channel, *(part for part in inside.split("/") if part and not part.isdigit())]
    return any(parts[: len(wanted)] == wanted for wanted in (given.split(".") for given in paths))


def lost_in(edits: Mapping[str, Any], paths: tuple[str, ...]) -> Iterator[str]:
    """Yield the path of each text that repeats a secret as dots, where the value cannot be put back."""
    waiting = [(f"{name}/value", edit.get("value")) for name, edit in edits.items() if isinstance(edit, Mapping)]
    while waiting and paths:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend((f"{path}/{key}", item) for key, item in value.items())
        elif isinstance(value, list | tuple):
            waiting.extend((f"{path}/{number}", item) for number, item in enumerate(value))
        elif isinstance(value, str) and MASK in value and not is_secret(path, paths):
            yield path


def restored(edits: Mapping[str, Any], values: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Put the real values back where an edit has the mask. Raises InvalidEdit where it is not known which value."""
    split = [path.split(".") for path in paths]
    return {name: _restored_edit(name, edit, values.get(name), split) for name, edit in edits.items()}


def _restored_edit(name: str, edit: Any, there: Any, paths: list[list[str]]) -> Any:
    value = edit["value"]
    for path in paths:
        if path[0] == name:
            value = _uncovered(value, None if edit["op"] == "append" else there, path[1:], f"{name}/value")
    return {**edit, "value": value}


def _uncovered(value: Any, there: Any, path: list[str], at: str) -> Any:
    if isinstance(value, str) and value in (MASK, CHANGED) and not path:
        if there is None:
            raise CannotEdit([Fault(at, TYPE_ANEW)])
        return there
    if isinstance(value, list):
        same = there if isinstance(there, list) and len(there) == len(value) else [None] * len(value)
        return [
            _uncovered(item, old, path, f"{at}/{place}")
            for place, (item, old) in enumerate(zip(value, same, strict=True))
        ]
    if path and isinstance(value, Mapping) and path[0] in value:
        old = there.get(path[0]) if isinstance(there, Mapping) else None
        return {**value, path[0]: _uncovered(value[path[0]], old, path[1:], f"{at}/{path[0]}")}
    return value
