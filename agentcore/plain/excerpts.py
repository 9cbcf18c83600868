"""Excerpts: what people are shown in place of a value that is too large for a page: size, SHA-256 and beginning."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from agentcore.plain.json import canonical

LARGEST_READ = 4 * 2**20
"""Stored bytes of one checkpoint that are decoded for people to look at."""
LARGEST_PART = 2**20
"""Characters of canonical JSON that one channel, or one question, is shown with."""
LARGEST_SHOWN = 4 * LARGEST_PART
"""The same for a whole state."""
LONGEST_TEXT = 100_000
"""Characters that one text is shown with."""
MOST_ITEMS = 2_000
LONGEST_HEAD = 2_000
EXCERPT = "excerpt"
_LONGEST_KEY = 1_000


def text_begins(kind: str, first: int) -> int | None:
    """Return where the characters begin in the stored bytes of a text; None for anything else."""
    if kind == "text":
        return 0
    if kind != "msgpack":
        return None
    return 1 if 0xA0 <= first <= 0xBF else {0xD9: 2, 0xDA: 3, 0xDB: 5}.get(first)


def excerpt_of(of: str, size: int, sha256: str, head: str) -> dict[str, Any]:
    return {"__type__": EXCERPT, "of": of, "size": size, "sha256": sha256, "head": head[:LONGEST_HEAD]}


def cut_state(values: Mapping[str, Any]) -> dict[str, Any]:
    """Cut each channel, and all of them further if they are too long for a page together."""
    kept = {name: cut(value) for name, value in values.items()}
    if len(canonical(kept)) <= LARGEST_SHOWN:
        return kept
    return {name: cut(value, LARGEST_SHOWN // len(kept)) for name, value in kept.items()}


def cut(plain: Any, room: int = LARGEST_PART) -> Any:
    """Return plain data with an excerpt in place of everything too long for a page. Short values stay as they are."""
    if isinstance(plain, str):
        return plain if len(plain) <= min(room, LONGEST_TEXT) else _cut_out(plain)
    if not isinstance(plain, dict | list) or not plain:
        return plain
    size = len(canonical(plain))
    if size <= min(room, LONGEST_TEXT) or is_excerpt(plain):
        return plain
    if size > room:
        if len(plain) > MOST_ITEMS or isinstance(plain, dict) and max(map(len, plain)) > _LONGEST_KEY:
            return _cut_out(plain)
        room = max(room // len(plain), LONGEST_HEAD)
    if isinstance(plain, dict):
        return {key: cut(item, room) for key, item in plain.items()}
    return [cut(item, room) for item in plain]


def _cut_out(plain: Any) -> dict[str, Any]:
    text = canonical(plain).encode()
    head = plain if isinstance(plain, str) else text[:LONGEST_HEAD].decode()
    return excerpt_of("JSON", len(text), hashlib.sha256(text).hexdigest(), head)


def is_excerpt(plain: Any) -> bool:
    return isinstance(plain, dict) and plain.get("__type__") == EXCERPT and "sha256" in plain and "head" in plain


def has_excerpt(plain: Any) -> bool:
    """Return whether something in plain data was left out."""
    waiting: list[Any] = [plain]
    while waiting:
        item = waiting.pop()
        if is_excerpt(item):
            return True
        if isinstance(item, dict | list):
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return False


def cut_channels(values: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the channels in which something was left out."""
    return [name for name, value in values.items() if has_excerpt(value)]
