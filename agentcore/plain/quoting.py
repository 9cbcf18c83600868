"""Quote words that came with the data, so that nobody takes them for ours."""

import json
import re
from collections.abc import Sequence
from typing import Any

from agentcore.plain.errors import storable

_MARKS = re.compile('["\u00ab\u00bb\u201c-\u201f\u2039\u203a\u275d\u275e\u2e42\u301d-\u301f\uff02]')
_CODE = re.compile(r"[A-Z]{1,3}|(?=[^0-9]*[0-9])(?:[A-Z]{0,4}[0-9._/-]+){1,6}[A-Z]{0,4}")
_FIGURES = re.compile(r"[0-9 .,:;/+()\[\]{}-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,59}")


def short(text: str, longest: int) -> str:
    """Cut a text to one line of so many characters that can be stored."""
    line = " ".join(storable(text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def listed(texts: Sequence[str], between: str, longest: int) -> str:
    """Join texts within so many characters, and count the rest: `a, b and 29 more`."""
    lines = [text if len(text) <= longest else short(text, longest) for text in texts]
    for count in range(min(len(lines), longest), 0, -1):
        line = between.join(lines[:count]) + _more(len(lines) - count)
        if len(line) <= longest:
            return line
    more = _more(len(lines) - 1)
    return short(lines[0], longest - len(more)) + more if lines else ""


def _more(count: int) -> str:
    return f" and {count:,} more" if count > 0 else ""


def quoted(text: str, longest: int) -> str:
    """Quote a text on one line. Quotation marks inside become apostrophes, so that it cannot end its own quotation."""
    line = _MARKS.sub("'", short(text, longest - 2))
    return f"“{line}”"


def told(value: Any, longest: int) -> str:
    """Format a value for a sentence: numbers and codes such as EUR or NL-4821 as they are, any other text quoted."""
    if isinstance(value, float):
        return f"{value:.2f}" if value == round(value, 2) else str(value)
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    is_plain = len(text) <= longest and (_CODE.fullmatch(text) or _FIGURES.fullmatch(text))
    return text if is_plain else quoted(text, longest)


def named(name: str, longest: int = 60) -> str:
    """Format the name of a tool or argument. A name that no program would use is quoted."""
    return name if _NAME.fullmatch(name) else quoted(name, longest)
