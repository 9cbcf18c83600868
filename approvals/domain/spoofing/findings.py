"""Everything in a question that may not be what it seems: letters, hosts, digits and characters, each with a sentence.

A finding is shown beside the value and counted on the page, in the queue and in the API. It forbids nothing.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from approvals.domain.spoofing.digits import figures_marked
from approvals.domain.spoofing.hosts import Neighbours, hosts_marked, is_known_alike, neighbours, users_marked
from approvals.domain.spoofing.letters import IMITATING, WORD, is_imitation, is_mixed, script, scripts, twin
from approvals.domain.text import code_of, odd_in, plain_visible

MOST = 50
"""Most findings that are stored for one question."""
MOST_TEXT = 400_000
"""Characters of one question that are read for marks: first the actions, then the request, then the state."""
LONGEST = 100_000
LONGEST_SHOWN = 120
LONGEST_NAME = 118
"""Characters of a name that are drawn, in quotation marks."""
_OVERLAYS = re.compile("[\u0334-\u0338\u0488\u0489\u20d2\u20d3\u20d8-\u20e2\u20e4-\u20f0]")
_COMBINING = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20e2\u20e4-\u20ff\ufe20-\ufe2f"
_STACK = re.compile(f"[{_COMBINING}]{{3,}}|(?:^|[\\s0-9])[{_COMBINING}]")
_RIGHT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
_TURNS = re.compile(f"[A-Za-z][{_RIGHT}]|[{_RIGHT}][A-Za-z]")
_DIGIT = re.compile(r"\d+")


@dataclass(frozen=True)
class Mark:
    """One finding. `place` is a JSON Pointer into the approval, `text` what stands there."""

    kind: str
    place: str
    text: str
    sentence: str


@dataclass(frozen=True)
class TextSpot:
    """A text of a question: where it stands, and under which name."""

    place: str
    text: str
    name: str = ""
    is_name: bool = False


def marks_of(actions: Sequence[Mapping[str, Any]], request: Any, state: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the findings in a question as plain data: those of each argument, then those of the rest."""
    spots = list(_spots_of(actions, request, state))
    others = neighbours(spot.text for spot in spots)
    found: dict[tuple[str, str, str], Mark] = {}
    known: set[tuple[str, str]] = set()
    for spot in spots:
        for mark in marks_at(spot, others):
            if spot.place.startswith("/actions/") or (mark.kind, mark.text) not in known:
                found.setdefault((mark.kind, mark.text, mark.place), mark)
            known.add((mark.kind, mark.text))
        if len(found) >= MOST:
            break
    return [asdict(mark) for mark in list(found.values())[:MOST]]


def _spots_of(actions: Sequence[Mapping[str, Any]], request: Any, state: Mapping[str, Any]) -> Iterator[TextSpot]:
    left = MOST_TEXT
    for spot in _all_spots(actions, request, state):
        left -= len(spot.text)
        if left < 0:
            return
        yield spot


def _all_spots(actions: Sequence[Mapping[str, Any]], request: Any, state: Mapping[str, Any]) -> Iterator[TextSpot]:
    for place, action in enumerate(actions):
        yield TextSpot(f"/actions/{place}/name", str(action["name"]), is_name=True)
        yield from _spots(f"/actions/{place}/args", action["args"])
        yield TextSpot(f"/actions/{place}/description", str(action.get("description") or ""))
    yield from _spots("/request", request)
    yield from _spots("/state", state)


def _spots(place: str, value: Any, name: str = "") -> Iterator[TextSpot]:
    """Yield each text of plain data in order, keys included."""
    waiting: list[tuple[str, Any, str]] = [(place, value, name)]
    while waiting:
        place, item, name = waiting.pop()
        if isinstance(item, str):
            yield TextSpot(place, item, name)
        elif isinstance(item, dict):
            yield from (TextSpot(f"{place}/{step_of(key)}", str(key), is_name=True) for key in item)
            waiting.extend((f"{place}/{step_of(key)}", inner, str(key)) for key, inner in reversed(item.items()))
        elif isinstance(item, list):
            waiting.extend((f"{place}/{at}", inner, name) for at, inner in reversed(list(enumerate(item))))


def step_of(key: Any) -> str:
    """Encode a key as one step of a JSON Pointer."""
    return plain_visible(str(key)[:80]).replace("~", "~0").replace("/", "~1")


def marks_at(spot: TextSpot, others: Neighbours | None = None) -> Iterator[Mark]:
    """Yield the findings of one text."""
    text = spot.text[:LONGEST]
    for kind, shown, sentence in _found(text, spot, others):
        yield Mark(kind, spot.place, _short(plain_visible(shown)), sentence)


def _found(text: str, spot: TextSpot, others: Neighbours | None) -> Iterator[tuple[str, str, str]]:
    if not text.isascii():
        yield from _unseen(text)
        yield from _alphabets(text, is_name=spot.is_name)
        yield from _stacked(text, is_name=spot.is_name)
        yield from _digits(text)
        yield from _turned(text)
    elif len(text) != len(text.translate(_CONTROLS)):
        yield from _unseen(text)
    yield from (("host", host, why) for host, why in hosts_marked(text, others))
    yield from (("user", address, why) for address, why in users_marked(text))
    if spot.is_name:
        yield from _odd_name(text, spot)
    else:
        yield from (("figures", figure, why) for figure, why in figures_marked(text, spot.name))


_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), 127])


def _odd_name(text: str, spot: TextSpot) -> Iterator[tuple[str, str, str]]:
    """Say what is lost when a name is drawn: names stand on one line and are cut."""
    shown = json.dumps(text, ensure_ascii=False)[1:-1]
    if len(text) > LONGEST_NAME:
        end = plain_visible(json.dumps(text[-40:], ensure_ascii=False)[1:-1])
        why = f"This name has {len(spot.text):,} characters: no program would use it. It ends with “{end}”."
        yield "name", shown, why
    elif " ".join(text.split()) != text:
        yield "name", shown, "Spaces or line breaks of this name are not drawn as they are."


def _unseen(text: str) -> Iterator[tuple[str, str, str]]:
    if found := odd_in(text):
        names = ", ".join(dict.fromkeys(map(code_of, found[:200])))
        count = "1 character that cannot be seen" if len(found) == 1 else f"{len(found)} characters that cannot be seen"
        at = text.index(found[0])
        yield (
            "invisible",
            text[max(0, at - 30) : at + 30],
            f"It holds {count}, or that turn the direction: {_short(names)}.",
        )


def _alphabets(text: str, *, is_name: bool) -> Iterator[tuple[str, str, str]]:
    found = scripts(text)
    if not found & IMITATING and "MATHEMATICAL" not in found and "FULLWIDTH" not in found:
        return
    for word in dict.fromkeys(WORD.findall(text)):
        if word.isascii():
            continue
        if is_mixed(word):
            yield "alphabets", word, f"It mixes alphabets: {_foreign(word)}."
        elif _only_looks_latin(word, text, found, is_name=is_name):
            yield "alphabets", word, f"It only looks Latin: {_foreign(word)}."


def _only_looks_latin(word: str, text: str, found: set[str], *, is_name: bool) -> bool:
    """Return whether a word of another script imitates a Latin one.

    It does not in a text of that script: such a text has letters that Latin lacks.
    """
    if not is_imitation(word):
        return False
    own = scripts(word)
    if is_name or is_known_alike(word) or "MATHEMATICAL" in own:
        return True
    is_at_home = any(not twin(char) for char in set(text) if char.isalpha() and script(char) in own)
    return "LATIN" in found and own <= IMITATING and not is_at_home


def _foreign(word: str) -> str:
    told = [char for char in dict.fromkeys(word) if script(char) != "LATIN"][:3]
    return ", ".join(f"{char} is the {unicodedata.name(char, 'unknown').capitalize()}" for char in told)


def _stacked(text: str, *, is_name: bool) -> Iterator[tuple[str, str, str]]:
    composed = unicodedata.normalize("NFC", text)
    if found := _STACK.search(composed):
        yield (
            "stacked",
            _around(composed, found),
            "Its marks are stacked over, under or before letters, and may hide them.",
        )
    elif found := _OVERLAYS.search(composed):
        yield "stacked", _around(composed, found), "Its letters are struck through or ringed by marks of their own."
    elif is_name and (found := re.search(f"[A-Za-z0-9_][{_COMBINING}]", composed)):
        yield "stacked", _around(composed, found), "It holds a letter with a mark that belongs to no alphabet."
    elif _longest_run(composed) > 4:
        yield "stacked", composed[:40], "Its marks are stacked over or under letters, and may hide them."


def _longest_run(text: str) -> int:
    if not any(unicodedata.combining(char) for char in set(text)):
        return 0
    longest = run = 0
    for char in text:
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        longest = max(longest, run)
    return longest


def _digits(text: str) -> Iterator[tuple[str, str, str]]:
    is_foreign = bool(scripts(text) - {"LATIN", "FULLWIDTH", "MATHEMATICAL"})
    for found in _DIGIT.finditer(text):
        own = {unicodedata.name(char, "").rpartition(" DIGIT ")[0] for char in found[0] if not char.isascii()}
        is_odd = own and (not is_foreign or any("MATHEMATICAL" in each for each in own))
        if is_odd or len(own) + any(char.isascii() for char in found[0]) > 1:
            plain = "".join(str(unicodedata.digit(char)) for char in found[0])
            yield "digits", found[0], f"Its digits are of another script. They say {plain}."


def _turned(text: str) -> Iterator[tuple[str, str, str]]:
    if found := _TURNS.search(text):
        sentence = "One word of it is written in both directions, so it may be read in a wrong order."
        yield "direction", _around(text, found), sentence


def _around(text: str, found: re.Match[str]) -> str:
    return text[max(0, found.start() - 20) : found.end() + 20].strip()


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
