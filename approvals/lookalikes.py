"""Names of hosts that may not be what they seem: letters of several alphabets in one, or written in code."""

import re
import unicodedata
from typing import Any

from approvals.text import iter_texts

_HOST = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_][\w-]{1,61}")
_CONFUSABLE = {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "FULLWIDTH", "MATHEMATICAL"}
MOST = 10


def lookalikes(value: Any) -> list[str]:
    """Return such names in plain data, each with the code that a browser would look up."""
    found: dict[str, None] = {}
    for text in iter_texts(value):
        if text.isascii() and "xn--" not in text:
            continue
        for host in _HOST.findall(text[:100_000]):
            if _is_lookalike(host):
                found[f"{host} ({_code(host)})"] = None
            if len(found) >= MOST:
                return list(found)
    return list(found)


def _is_lookalike(host: str) -> bool:
    if "xn--" in host.lower():
        return True
    scripts = {_script(char) for char in host if char.isalpha()}
    return bool(scripts & _CONFUSABLE) and len(scripts) > 1


def _script(char: str) -> str:
    """The first word of a letter's name: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(char, "UNKNOWN").partition(" ")[0]


def _code(host: str) -> str:
    try:
        if "xn--" in host.lower():
            return "shown as " + host.encode("ascii").decode("idna")
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return "no name that exists"
