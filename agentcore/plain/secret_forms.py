"""The forms in which errors and logs commonly show a secret: escaped, without space around it, one line of several."""

import json
import re
import threading
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from agentcore.plain.errors import storable

SHORTEST = 6
"""Characters: a shorter secret is masked in its place, but not looked for in other texts."""
_SHORTEST_LINE = 8
"""A shorter line of a secret could be any word."""
_SHORTEST_BEGINNING = 4
_SPECIAL = re.compile(r"[^ !#-&(-\[\]-~]")
"""Characters that are escaped in quotes."""
_FEW = 50
"""So many forms are looked for one by one."""
_NESTED = 2
"""So often a text is escaped: LangGraph stores the `repr` of an error, whose message may hold the `repr` of a state."""


class SecretForms:
    """The forms of some secrets, found in texts. They are made once for each secret."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._forms: dict[str, None] = {}
        """The longest first: a secret may be part of another."""
        self._lengths: dict[str, list[int]] = {}
        """Of the forms, by the characters they start with."""
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._forms)

    def add(self, secrets: Iterable[str]) -> None:
        with self._lock:
            if new := {text for text in secrets if len(text) >= SHORTEST} - self._known:
                found = {form for text in new for form in _forms_of(text)}.union(self._forms)
                self._forms = dict.fromkeys(sorted(found, key=len, reverse=True))
                self._lengths = _lengths(self._forms)
                self._known |= new

    def replaced(self, text: str, mask: str) -> str:
        """Replace each form in a text."""
        if len(self._forms) > _FEW:
            return "".join(self._walk(text, mask))
        for form in self._forms:
            text = text.replace(form, mask)
        return text

    def replaced_in_cut(self, text: str, mask: str) -> str:
        """Replace each form in a text whose end was cut off, and the beginning of one at that end."""
        at = self.beginning_in(text)
        return self.replaced(text[:at], mask) + (mask if at < len(text) else "")

    def beginning_in(self, text: str) -> int:
        """Return where the beginning of a form stands that reaches to the end of the text; its length if none does."""
        return min((at for form in self._forms if (at := _beginning_of(form, text)) >= 0), default=len(text))

    def _walk(self, text: str, mask: str) -> Iterator[str]:
        """Yield the text in pieces, once for all forms: thousands of lines of a secret would take too long in turn."""
        forms, lengths = self._forms, self._lengths
        at = kept = 0
        while at <= len(text) - SHORTEST:
            length = next((n for n in lengths.get(text[at : at + SHORTEST], ()) if text[at : at + n] in forms), 0)
            if length:
                yield text[kept:at]
                yield mask
                kept = at + length
            at += length or 1
        yield text[kept:]


def _lengths(forms: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, dict[int, None]] = {}
    for form in forms:
        found.setdefault(form[:SHORTEST], {})[len(form)] = None
    return {start: list(lengths) for start, lengths in found.items()}


def _beginning_of(form: str, text: str) -> int:
    """Return where a beginning of the form stands that reaches to the end of the text; -1 if none does."""
    start = form[:_SHORTEST_BEGINNING]
    at = text.find(start, max(0, len(text) - len(form)))
    while at >= 0 and not form.startswith(text[at:]):
        at = text.find(start, at + 1)
    return at


def _forms_of(secret: str) -> Iterator[str]:
    lines = {line.strip() for line in [*secret.split("\n"), *secret.splitlines()]}
    whole = {secret, secret.strip()}
    for text in whole | {line for line in lines if len(line) >= _SHORTEST_LINE}:
        if len(text) >= SHORTEST:
            yield from (form for form in _written_as(text) if len(form) >= SHORTEST)


def _written_as(text: str) -> set[str]:
    found = {text}
    for _ in range(_NESTED if _SPECIAL.search(text) else 0):
        found = found.union(*map(_escaped, found))
    return found | {storable(form) for form in found} | _in_addresses(text)


def _escaped(text: str) -> Iterator[str]:
    for in_quotes in (repr, ascii):
        both = in_quotes(f"{text}\"'")[1:-4]  # as where the text around it has quotes of both kinds
        yield both
        yield re.sub(r"(?<!\\)((?:\\\\)*)\\'", r"\1'", both)
    for is_ascii in (True, False):
        yield json.dumps(text, ensure_ascii=is_ascii)[1:-1]


def _in_addresses(text: str) -> set[str]:
    try:
        return {quote(text), quote(text, safe=""), quote_plus(text)}
    except UnicodeEncodeError:  # half a character
        return set()
