"""Folds: the end of what is taller than a screen is hidden, and what is hidden is counted, until a person has seen it.

Heights are counted in lines of a phone, `COLUMNS` characters wide. Three things are folded: a value that is too tall,
the later arguments of a tall action, and the later actions of a tall question. A yes needs the end of each fold to have
been seen; the vote checks that.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from unicodedata import east_asian_width

from agentcore.plain.excerpts import has_excerpt, is_excerpt
from agentcore.plain.json import canonical
from approvals.domain.text import json_text, plain_visible, unwound

COLUMNS = 35
"""Characters of one drawn line on a phone; a larger screen draws fewer lines."""
MOST_LINES = 24
"""Drawn lines of a value that is shown whole."""
MOST_LINES_OF_ITEMS = 48
"""Drawn lines of a plain list that is shown whole: its items tell themselves apart."""
MOST_LINES_OF_ACTION = 60
"""Drawn lines of an action that is shown whole: about two screens, or 30 short arguments."""
MOST_LINES_OF_QUESTION = 120
"""Drawn lines of all actions of a question that are shown whole: about four screens."""
LINES_SHOWN = 10
"""Drawn lines of the beginning of one that is folded."""
LEAST_GAP = 40
"""Spaces in a row that are counted in place of being drawn."""
LEAST_BLANK = 4
"""Blank lines in a row that are counted in place of being drawn."""
ALL_ACTIONS = "actions"
"""The part that names all actions of a question."""
_LONGEST_NAME = 100
_LONGEST_LABEL = 120
_PROPOSED = "proposal/edits/"
_ANSWER = "proposal/answer"
_SPACES = re.compile(r"[^\S\n]+")
_GAP = re.compile(rf"[^\S\n]{{{LEAST_GAP},}}")
_BLANK = re.compile(rf"\n(?:[^\S\n]*\n){{{LEAST_BLANK},}}|\A(?:[^\S\n]*\n){{{LEAST_BLANK},}}")


@dataclass(frozen=True)
class Fold:
    """The beginning of a tall value, and a count of what follows: `398 blank lines, 2 lines more`."""

    head: str
    hidden: str


def fold_of(text: str) -> Fold | None:
    """Fold a text that is taller than `MOST_LINES`; None for a text that is shown whole."""
    text = unwound(text).rstrip()
    if not _is_taller(text, MOST_LINES):
        return None
    head = _beginning(text, LINES_SHOWN).rstrip()
    return Fold(head, _told(text[len(head) :]))


def text_of(value: Any) -> str:
    """Return the text whose height counts for a value."""
    return value if isinstance(value, str) else json_text(value)


def parts_of(actions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the parts whose end people must see before a yes. Cut values are left out: they have to be opened whole
    anyway.
    """
    shown = actions_shown([action["args"] for action in actions])
    parts = [part for place, action in enumerate(actions) for part in _parts(place, action["args"], place < shown)]
    return [*parts, ALL_ACTIONS] if shown < len(actions) else parts


def arguments_shown(args: Iterable[tuple[str, Any]]) -> int:
    """Count the leading arguments of an action that stand outside its fold; all of them if it has none."""
    return _fitting((_height_of_argument(name, value) for name, value in args), MOST_LINES_OF_ACTION)


def actions_shown(actions: Iterable[Any]) -> int:
    """Count the leading actions of a question, given by their arguments, that stand outside its fold."""
    return _fitting(map(_height_of_action, actions), MOST_LINES_OF_QUESTION)


def _fitting(heights: Iterable[int], lines: int) -> int:
    """Count how many heights fit into so many lines; the first always counts."""
    ends = list(accumulate(heights))
    return max(1, sum(end <= lines for end in ends)) if ends else 0


def _height_of_action(args: Any) -> int:
    """Count the lines of an action: its name, its values, and of a folded value only the shown beginning."""
    given = args.items() if isinstance(args, dict) else [("", args)]
    return 2 + min(MOST_LINES_OF_ACTION, sum(_height_of_argument(name, value) for name, value in given))


def _height_of_argument(name: str, value: Any) -> int:
    return _height(name[:_LONGEST_LABEL]) + _height_of_value(value)


def _height_of_value(value: Any) -> int:
    if is_excerpt(value) or not fold_of_value(value):
        texts = _items(value) if is_shown_as_items(value) else unwound(text_of(value)).rstrip().split("\n")
        return sum(map(_height, texts))
    return LINES_SHOWN + 2


def is_shown_as_items(value: Any) -> bool:
    """Return whether the value is a short list of texts and numbers, which is drawn item by item."""
    is_plain = isinstance(value, list) and all(isinstance(one, str | int | float) or one is None for one in value)
    return bool(is_plain and value) and not _is_taller("\n".join(_items(value)), MOST_LINES_OF_ITEMS)


def _items(value: Sequence[Any]) -> list[str]:
    return [line for one in value for line in text_of(one).split("\n")]


def fold_of_value(value: Any) -> Fold | None:
    """Fold a value in the form in which it is drawn: a short list by items, a text as it is, anything else as JSON."""
    return None if is_shown_as_items(value) else fold_of(text_of(value))


def parts_of_proposal(proposal: Mapping[str, Any] | None) -> list[str]:
    """Name the folded parts of a proposal. Whoever agrees with it must have seen their end as well."""
    if not proposal:
        return []
    edited = [
        f"{_PROPOSED}{_safe(name)}" for name, edit in (proposal["edits"] or {}).items() if _is_folded(edit["value"])
    ]
    return [*edited, _ANSWER] if _is_folded(proposal["answer"]) else edited


def proposed_at(proposal: Mapping[str, Any], part: str) -> Any:
    """Return the proposed value that a part names."""
    if part == _ANSWER:
        return proposal["answer"]
    name = part.removeprefix(_PROPOSED)
    return next(edit["value"] for key, edit in (proposal["edits"] or {}).items() if _safe(key) == name)


def part_of_proposal(name: str = "") -> str:
    """Name the part of a proposed edit, or of the proposed answer."""
    return f"{_PROPOSED}{_safe(name)}" if name else _ANSWER


def _parts(place: int, args: Any, is_shown: bool) -> Iterator[str]:
    """Name the folded parts of an action. Behind the fold of a question, an action's arguments are listed without a
    fold of their own.
    """
    if not isinstance(args, dict):
        if _is_folded(args):
            yield part_of(place)
        return
    yield from (part_of(place, name) for name, value in args.items() if name and _is_folded(value))
    if is_shown and arguments_shown(args.items()) < len(args) or _is_folded(args.get("")):
        yield part_of(place)


def part_of(place: int, name: str = "") -> str:
    """Name one argument, or all arguments of an action: `action/0/body`, `action/0`."""
    return f"action/{place}/{_safe(name)}" if name else f"action/{place}"


def _safe(name: str) -> str:
    """Encode a name so that it can be stored and sent. A digest keeps two long names with the same beginning apart."""
    shown = plain_visible(name)
    if len(shown) <= _LONGEST_NAME:
        return shown
    return f"{shown[:60]}~{hashlib.sha256(canonical(name).encode()).hexdigest()[:16]}"


def value_at(actions: Sequence[Mapping[str, Any]], part: str) -> Any:
    """Return the value that a part names."""
    if part == ALL_ACTIONS:
        return [{"name": action["name"], "args": action["args"]} for action in actions]
    place, _, name = part.removeprefix("action/").partition("/")
    args = actions[int(place)]["args"]
    return next(value for key, value in args.items() if _safe(key) == name) if name else args


def _is_folded(value: Any) -> bool:
    return not has_excerpt(value) and isinstance(value, str | list | dict) and fold_of_value(value) is not None


def _is_taller(text: str, lines: int) -> bool:
    if len(text) <= lines and "\t" not in text:
        return False
    left = lines
    for line in text.split("\n"):
        left -= _height(line)
        if left < 0:
            return True
    return False


def _height(line: str) -> int:
    return max(1, -(-_width(line) // COLUMNS))


def _width(line: str) -> int:
    """Return the width in columns: 2 for a Chinese letter, more for a character that is drawn as a chip."""
    line = plain_visible(line.expandtabs(8))
    return len(line) if line.isascii() else sum(1 + (east_asian_width(char) in "WF") for char in line)


def _beginning(text: str, lines: int) -> str:
    """Return the first lines, the last one cut to the width of a line."""
    end = 0
    for line in text.split("\n"):
        height = _height(line)
        if height > lines:
            return text[: end + lines * COLUMNS]
        lines, end = lines - height, end + len(line) + 1
        if not lines:
            break
    return text[:end]


def _told(hidden: str) -> str:
    """Count what is hidden, in words."""
    is_cut, (first, *rest) = not hidden.startswith("\n"), hidden.removeprefix("\n").split("\n")
    lines = rest if is_cut else [first, *rest]
    blank = sum(not line.strip() for line in lines)
    spaces = max((len(found[0]) for found in _SPACES.finditer(hidden)), default=0)
    more = len(lines) - blank
    told = [
        _count(blank, "blank line"),
        f"{spaces:,} spaces in a row" if spaces >= LEAST_GAP else "",
        f"{len(first.strip()):,} more characters of this line" if is_cut and first.strip() else "",
        f"{_count(more, 'line')} more" if more else "",
    ]
    return ", ".join(filter(None, told))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}" if number else ""


def gaps(text: str) -> Iterator[tuple[str, str]]:
    """Split a text into what is drawn and words for long runs of spaces or blank lines."""
    end = 0
    for found in re.finditer(f"{_BLANK.pattern}|{_GAP.pattern}", text):
        run = found[0]
        lines = run.count("\n") - (0 if found.start() == 0 else 1)
        yield text[end : found.start()], f"{lines:,} blank lines" if "\n" in run else f"{len(run):,} spaces"
        end = found.end()
    yield text[end:], ""
