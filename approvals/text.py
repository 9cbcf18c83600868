"""Text that an agent or a customer wrote, made safe to look at: what cannot be seen is found and named."""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from agentcore.masks import CHANGED

# Controls (but tab and line feed), soft hyphen, fillers, bidi and zero-width characters, variation selectors (but the
# one that makes an emoji), tags, surrogates, private use.
ODD = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)


_SEAL = re.compile(r"sealed:[A-Za-z0-9_=-]{300,}")


def code_of(char: str) -> str:
    """Name a character: `U+202E`."""
    return f"U+{ord(char):04X}"


def name_of(char: str) -> str:
    return unicodedata.name(char, "control or private character").lower()


def unwound(text: str) -> str:
    """Line ends of mails are line ends, not odd characters."""
    return text.replace("\r\n", "\n")


def visible(value: object) -> SafeString:
    """Escape, then draw each character that cannot be seen as a chip such as U+202E, and a sealed secret as dots."""
    return mark_safe(ODD.sub(lambda found: _chip(found[0]), escape(unwound(_SEAL.sub(CHANGED, str(value))))))


def _chip(char: str) -> str:
    return format_html('<span class="odd" title="{}">{}</span>', name_of(char), code_of(char))


def plain_visible(value: object) -> str:
    """The same for titles and attributes, without markup; still to be escaped."""
    return ODD.sub(lambda found: code_of(found[0]), unwound(str(value)))


def count_odd(value: Any) -> int:
    """Count the odd characters in plain data, keys too."""
    return sum(len(ODD.findall(unwound(text))) for text in iter_texts(value))


def iter_texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from (str(key) for key in item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def json_text(value: Any) -> str:
    """Write plain data as JSON for people: letters as they are, odd characters as escapes: a copy is still JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return ODD.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if ord(found[0]) > 126 else f"\\u{ord(found[0]):04x}"


def words_for(seconds: float) -> str:
    """Say a span of time short: `<1 min`, `5 min`, `3 h`, `2 d`."""
    if seconds < 60:
        return "<1 min"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86400)} d"
