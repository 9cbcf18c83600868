"""Values that are taller than a screen: folded, with what the fold hides counted, until somebody has seen their end.

Counted in lines as they are drawn: a line goes on after `COLUMNS` characters. Whoever says yes must have seen the end
of each such value of an action; the vote checks it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width

from agentcore.serde import canonical
from agentcore.skimming import has_excerpt
from approvals.text import json_text, plain_visible, unwound

COLUMNS = 60
"""Characters of one drawn line: of a column on a small laptop. A phone draws more lines."""
MOST_LINES = 24
"""Drawn lines of a value that is shown whole."""
LINES_SHOWN = 10
"""Drawn lines of the beginning of one that is folded."""
MOST_ARGUMENTS = 30
"""Arguments of an action that need no sign that the last of them was seen."""
LEAST_GAP = 40
"""Spaces in a row that are counted in place of being drawn."""
LEAST_BLANK = 4
"""Blank lines in a row that are counted in place of being drawn."""
_LONGEST_NAME = 100
_PROPOSED = "proposal/edits/"
_ANSWER = "proposal/answer"
_SPACES = re.compile(r"[^\S\n]+")
_GAP = re.compile(rf"[^\S\n]{{{LEAST_GAP},}}")
_BLANK = re.compile(rf"\n(?:[^\S\n]*\n){{{LEAST_BLANK},}}|\A(?:[^\S\n]*\n){{{LEAST_BLANK},}}")


@dataclass(frozen=True)
class Fold:
    """The beginning of a value that is too tall, and what comes after it, counted: `398 blank lines, 2 lines more`."""

    head: str
    hidden: str


def fold_of(text: str) -> Fold | None:
    """Fold a text that is taller than `MOST_LINES`; None for one that is shown whole."""
    text = unwound(text).rstrip()
    if not _is_taller(text, MOST_LINES):
        return None
    head = _beginning(text, LINES_SHOWN).rstrip()
    return Fold(head, _told(text[len(head) :]))


def text_of(value: Any) -> str:
    """Return the text that stands for a value when its height is measured."""
    return value if isinstance(value, str) else json_text(value)


def parts_of(actions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name what people must have seen to its end before they say yes. What is cut has to be opened whole anyway."""
    return [part for place, action in enumerate(actions) for part in _parts(place, action["args"])]


def parts_of_proposal(proposal: Mapping[str, Any] | None) -> list[str]:
    """Name what somebody proposes that is folded: whoever agrees must have seen its end too."""
    if not proposal:
        return []
    edited = [
        f"{_PROPOSED}{_safe(name)}" for name, edit in (proposal["edits"] or {}).items() if _is_folded(edit["value"])
    ]
    return [*edited, _ANSWER] if _is_folded(proposal["answer"]) else edited


def proposed_at(proposal: Mapping[str, Any], part: str) -> Any:
    """Return the value of a proposal that a part names."""
    if part == _ANSWER:
        return proposal["answer"]
    name = part.removeprefix(_PROPOSED)
    return next(edit["value"] for key, edit in (proposal["edits"] or {}).items() if _safe(key) == name)


def part_of_proposal(name: str = "") -> str:
    """Name an edit that is proposed, or the answer."""
    return f"{_PROPOSED}{_safe(name)}" if name else _ANSWER


def _parts(place: int, args: Any) -> Iterator[str]:
    if not isinstance(args, dict):
        if _is_folded(args):
            yield part_of(place)
        return
    yield from (part_of(place, name) for name, value in args.items() if _is_folded(value))
    if len(args) > MOST_ARGUMENTS:
        yield part_of(place)


def part_of(place: int, name: str = "") -> str:
    """Name an argument, or all that an action is given: `action/0/body`, `action/0`."""
    return f"action/{place}/{_safe(name)}" if name else f"action/{place}"


def _safe(name: str) -> str:
    """Write a name so that it can be stored and sent; two long ones that begin alike stay two."""
    shown = plain_visible(name)
    if len(shown) <= _LONGEST_NAME:
        return shown
    return f"{shown[:60]}~{hashlib.sha256(canonical(name).encode()).hexdigest()[:16]}"


def value_at(actions: Sequence[Mapping[str, Any]], part: str) -> Any:
    """Return the value that a part names."""
    place, _, name = part.removeprefix("action/").partition("/")
    args = actions[int(place)]["args"]
    return next(value for key, value in args.items() if _safe(key) == name) if name else args


def _is_folded(value: Any) -> bool:
    return not has_excerpt(value) and isinstance(value, str | list | dict) and fold_of(text_of(value)) is not None


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
    """Count columns: two for a letter of Chinese, more for a character that is drawn as a chip."""
    line = plain_visible(line.expandtabs(8))
    return len(line) if line.isascii() else sum(1 + (east_asian_width(char) in "WF") for char in line)


def _beginning(text: str, lines: int) -> str:
    """Return the first lines; what is left of a line that goes on longer is cut."""
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
    """Part a text into what is drawn, and in its place words for long runs of spaces or blank lines."""
    end = 0
    for found in re.finditer(f"{_BLANK.pattern}|{_GAP.pattern}", text):
        run = found[0]
        lines = run.count("\n") - (0 if found.start() == 0 else 1)
        yield text[end : found.start()], f"{lines:,} blank lines" if "\n" in run else f"{len(run):,} spaces"
        end = found.end()
    yield text[end:], ""
