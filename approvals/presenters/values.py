"""Plain data for people: values with their type, a tree, a conversation."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentcore.dialects.breakpoint import is_conversation
from agentcore.plain.edits import changes
from agentcore.plain.excerpts import is_excerpt
from agentcore.plain.quoting import named
from approvals.domain.folds import Fold, fold_of, is_shown_as_items
from approvals.domain.text import count_odd, json_text

LONGEST_LABEL = 120
MOST_BRANCHES = 2_000
"""A tree longer than this is cut, and says so; the raw JSON has everything."""
LONGEST_RAW = 200_000  # characters
_SPEAKERS = {"human": "Person", "ai": "Agent", "system": "System", "tool": "Tool"}


@dataclass(frozen=True)
class Value:
    """One value. `kind` is `text`, `number`, `bool`, `null`, `list` (of texts) or `json`."""

    kind: str
    text: str
    items: list["Value"] = field(default_factory=list)
    fold: Fold | None = None
    """Of one that is taller than a screen."""


@dataclass(frozen=True)
class Argument:
    """A named value with its warnings; `part` names it if its end must be seen."""

    name: str
    title: str
    value: Value
    part: str = ""
    marks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Branch:
    """One line of a tree, in the order of writing: a leaf, or the `open` or `close` of an object or list."""

    kind: str
    key: str = ""
    value: Value | None = None
    note: str = ""
    is_open: bool = False


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    type: str
    speaker: str
    text: str
    value: Value
    extra: str = ""


@dataclass(frozen=True)
class StateShown:
    """A state: conversations apart, the rest as a tree, and all of it as JSON."""

    conversations: list[tuple[str, list[Message]]]
    tree: list[Branch]
    is_cut: bool
    raw: str
    """Empty where it would be too long."""
    odd: int
    size: int


@dataclass(frozen=True)
class Difference:
    """One channel, before and after."""

    channel: str
    before: Value
    after: Value
    op: str = ""
    part: str = ""
    """Where the end of `after` must be seen."""


@dataclass(frozen=True)
class StoredItem:
    """An item of a store on its page."""

    namespace: str
    key: str
    value: Value
    updated_at: str


def items_of_store(items: Iterable[Mapping[str, Any]]) -> list[StoredItem]:
    return [
        StoredItem(" / ".join(each["namespace"]), each["key"], value_of(each["value"]), each["updated_at"])
        for each in items
    ]


def value_of(item: Any) -> Value:
    if is_excerpt(item):
        return Value("text", _excerpt_text(item))
    match item:
        case None:
            return Value("null", "nothing")
        case bool():
            return Value("bool", "true" if item else "false")
        case int() | float():
            return Value("number", json.dumps(item))
        case str():
            return Value("text", item, fold=fold_of(item))
        case list() if is_shown_as_items(item):
            return Value("list", f"{len(item)} items", [value_of(one) for one in item])
        case _ if item in ([], {}):  # the pattern {} would match any mapping
            return Value("null", "empty")
    return json_value_of(item)


def json_value_of(item: Any) -> Value:
    """Show a value as JSON."""
    text = json_text(item)
    return Value("json", text, fold=fold_of(text))


def _excerpt_text(item: Mapping[str, Any]) -> str:
    of = f"{item['size']:,} bytes of {item['of']}, SHA-256 {item['sha256']}"
    return f"{item['head']}\n… Cut here. In all {of}."


def arguments_of(args: Any, titles: Mapping[str, str]) -> list[Argument]:
    """Return each argument by name; a payload that is no object has one without a name."""
    if not isinstance(args, dict):
        return [Argument("", "", value_of(args))]
    return [Argument(name, titles.get(name) or label_of(name), value_of(item)) for name, item in args.items()]


def label_of(name: str) -> str:
    """Return the label of a name without a title: the name itself, quoted if no program would use it."""
    return named(name, LONGEST_LABEL)


def messages_of(items: list[dict[str, Any]]) -> list[Message]:
    return [_message(item) for item in items]


def _message(item: dict[str, Any]) -> Message:
    kind = str(item["type"])
    name = item.get("name")
    speaker = _SPEAKERS.get(kind, kind) + (f" ({name})" if name else "")
    calls = item.get("tool_calls")
    text, extra = _spoken(item["content"]), json_text(calls) if calls else ""
    return Message(kind if kind in _SPEAKERS else "other", speaker, text, value_of(text), extra)


def _spoken(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_block(block) for block in content)
    return json_text(content)


def _block(block: Any) -> str:
    if isinstance(block, dict) and isinstance(block.get("text"), str):
        return str(block["text"])
    return block if isinstance(block, str) else json_text(block)


def conversations_of(state: Mapping[str, Any]) -> list[tuple[str, list[Message]]]:
    return [(name, messages_of(value)) for name, value in state.items() if is_conversation(value)]


def state_of(state: Mapping[str, Any]) -> StateShown:
    conversations = conversations_of(state)
    talked = {name for name, _ in conversations}
    rest = {name: value for name, value in state.items() if name not in talked}
    tree, is_cut = tree_of(rest)
    raw = json_text(state)
    shown = raw if len(raw) <= LONGEST_RAW else ""
    return StateShown(conversations, tree, is_cut, shown, count_odd(state), len(raw))


def tree_of(state: Mapping[str, Any]) -> tuple[list[Branch], bool]:
    """Return the lines of the tree, flat: a template that includes itself 200 levels deep would exhaust the stack."""
    lines: list[Branch] = []
    for line in _lines(state):
        if len(lines) >= MOST_BRANCHES:
            return lines + _closing(lines), True
        lines.append(line)
    return lines, False


def _closing(lines: list[Branch]) -> list[Branch]:
    still_open = sum({"open": 1, "close": -1}.get(line.kind, 0) for line in lines)
    return [Branch("close")] * still_open


def _lines(state: Mapping[str, Any]) -> Iterator[Branch]:
    waiting: list[tuple[str, Any, int] | None] = [(name, state[name], 0) for name in reversed(list(state))]
    while waiting:
        found = waiting.pop()
        if found is None:
            yield Branch("close")
            continue
        key, item, depth = found
        if not isinstance(item, dict | list) or not item or is_excerpt(item):
            yield Branch("leaf", key, value_of(item))
            continue
        inner = item.items() if isinstance(item, dict) else ((str(index), one) for index, one in enumerate(item))
        count = f"{len(item)} {'field' if isinstance(item, dict) else 'item'}{'' if len(item) == 1 else 's'}"
        yield Branch("open", key, note=count, is_open=depth == 0 and len(item) <= 12)
        waiting.append(None)
        waiting.extend((name, one, depth + 1) for name, one in reversed(list(inner)))


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    return [Difference(item.channel, value_of(item.before), value_of(item.after)) for item in changes(before, after)]


def differences_of(diff: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """Return differences for the template, made from the plain data that a worker or a refusal sends."""
    return [
        Difference(str(item["channel"]), value_of(item["before"]), value_of(item["after"]), str(item.get("op", "")))
        for item in diff
    ]
