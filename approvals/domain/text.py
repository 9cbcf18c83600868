"""Text from agents and customers, made safe to display: characters that cannot be seen are found and named."""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from agentcore.plain.masks import CHANGED

_ARABIC = "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff"
_INDIC = "\u0900-\u0dff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff"
_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PICTURE = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
# `fine`: where a script, or a picture, needs a character that cannot be seen. The rest: controls (but tab and line
# feed), soft hyphen, fillers, bidi and zero-width characters, variation selectors, tags, surrogates, private use.
ODD = re.compile(
    f"(?P<fine>(?<=[{_INDIC}])[\u200c\u200d]|(?<=[{_ARABIC}])\u200c(?=[{_ARABIC}])"
    f"|(?<=[{_PICTURE}\ufe0f])\u200d(?=[{_PICTURE}])|(?<=[{_PICTURE}0-9#*])[\ufe0e\ufe0f]"
    f"|(?<=[{_HAN}])[\ufe00-\ufe02\U000e0100-\U000e01ef]|(?<=\U0001f3f4)\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)\U000e007f)"
    "|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)

_SEAL = re.compile(r"sealed:[A-Za-z0-9_=-]{300,}")


def code_of(char: str) -> str:
    """Name a character: `U+202E`."""
    return f"U+{ord(char):04X}"


def name_of(char: str) -> str:
    return unicodedata.name(char, "control or private character").lower()


def unwound(text: str) -> str:
    """Return the text with the line ends of mails (CRLF) as plain line ends."""
    return text.replace("\r\n", "\n")


def visible(value: object) -> SafeString:
    """Escape a text; draw invisible characters as chips such as U+202E, and encrypted secrets as dots."""
    text = str(value)
    if text.isascii() and text.isprintable() and "sealed:" not in text:  # as nearly all texts of a list are
        return mark_safe(html.escape(text))
    return mark_safe(_drawn(_chip, escape(unwound(_SEAL.sub(CHANGED, text)))))


def _chip(char: str) -> str:
    return format_html('<span class="odd" title="{}">{}</span>', name_of(char), code_of(char))


def plain_visible(value: object) -> str:
    """Do what `visible` does without markup, for titles and attributes. The caller escapes it."""
    return _drawn(code_of, unwound(str(value)))


def count_odd(value: Any) -> int:
    """Count the characters that cannot be seen in plain data, keys included."""
    return sum(len(odd_in(text)) for text in iter_texts(value))


def odd_in(text: str) -> list[str]:
    """Return the characters of a text that cannot be seen, in order. Those that its script needs are left out."""
    return [found[0] for found in ODD.finditer(unwound(text)) if not found["fine"]]


def _drawn(draw: Callable[[str], str], text: str) -> str:
    return ODD.sub(lambda found: found[0] if found["fine"] else draw(found[0]), text)


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
    """Format plain data as JSON for people: letters as they are, odd characters as escapes, so a copy stays valid
    JSON.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _drawn(_escape, text)


def _escape(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 126 else f"\\u{ord(char):04x}"


def words_for(seconds: float) -> str:
    """Format a span of time: `<1 min`, `5 min`, `3 h`, `2 d`."""
    if seconds < 60:
        return "<1 min"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86400)} d"
