"""Plain data, which JSON can carry: its canonical text, its digest, and the conversion of other values."""

import contextlib
import dataclasses
import datetime as dt
import enum
import hashlib
import json
import math
import uuid
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from agentcore.plain.messages import MESSAGE_FIELDS, is_message

DEEPEST = 200
"""Levels of nesting that are kept. Deeper data would exhaust the stack of whoever shows it."""
SMALLEST_INT, LARGEST_INT = -(2**63), 2**64 - 1
"""What a checkpoint can hold: msgpack has no other whole numbers."""


def canonical(value: Any) -> str:
    """Return the one JSON text of plain data: sorted keys, no spaces, ASCII. Same data, same bytes, same digest."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical text of plain data, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return `value` as data that JSON can carry. Other types become `{"__type__": ..., ...}`."""
    if depth > DEEPEST:
        return {"__type__": "too deep"}
    if value is None or isinstance(value, bool | str) and not isinstance(value, enum.Enum):
        return value
    if isinstance(value, enum.Enum):
        return to_plain(value.value, depth + 1)
    if isinstance(value, int):
        return value if is_storable_int(value) else _plain_large(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _tagged("float", repr(value))
    if is_message(value):
        return _plain_message(value, depth)
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth)
    if isinstance(value, list | tuple):
        return [to_plain(item, depth + 1) for item in value]
    return _plain_object(value, depth)


def is_storable_int(value: int) -> bool:
    return SMALLEST_INT <= value <= LARGEST_INT


def _plain_large(value: int) -> Any:
    """PostgreSQL keeps a float of a state as a number without a type: 1e308 comes back as an integer."""
    with contextlib.suppress(OverflowError):
        if Decimal(repr(float(value))) == value:
            return float(value)
    return _tagged("int", str(value) if value.bit_length() < 10_000 else hex(value))  # Python writes no longer ones


def _plain_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    """Keep every item. A key that is no text is written as JSON, and marked if a text key is the same."""
    plain = {str(key): to_plain(item, depth + 1) for key, item in value.items() if type(key) is str}
    for key, item in value.items():
        if type(key) is not str:
            plain[_free_name(_plain_key(key), plain)] = to_plain(item, depth + 1)
    return plain


def _plain_key(key: Any) -> str:
    plain = to_plain(key)
    return plain if isinstance(plain, str) else canonical(plain)


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "*"
    return name


def _plain_message(message: Any, depth: int) -> dict[str, Any]:
    fields = {name: getattr(message, name, None) for name in ("type", *MESSAGE_FIELDS)}
    kept = {name: to_plain(item, depth + 1) for name, item in fields.items() if item}
    return kept | {"content": to_plain(message.content, depth + 1)}


def _plain_object(value: Any, depth: int) -> Any:
    match value:
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case uuid.UUID() | PurePath():
            return str(value)
        case Decimal():
            return _tagged("decimal", str(value))
        case dt.timedelta() | dt.tzinfo() | complex() | IPv4Address() | IPv6Address():
            return _tagged(_type_name(value), str(value))
        case deque():
            return _tagged("deque", to_plain(list(value), depth + 1))
        case bytes() | bytearray() | memoryview():
            data = bytes(value)
            return {"__type__": "bytes", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        case set() | frozenset():
            return _tagged("set", sorted((to_plain(item, depth + 1) for item in value), key=canonical))
        case BaseModel():
            return _tagged(_type_name(value), to_plain(dict(value), depth + 1))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _tagged(_type_name(value), to_plain(fields, depth + 1))
    return {"__type__": _type_name(value)}


def _tagged(name: str, value: Any) -> dict[str, Any]:
    return {"__type__": name, "value": value}


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def written_out(plain: Any) -> Any:
    """Return plain data with whole numbers that JavaScript would round written as texts, which RFC 8785 demands."""
    if isinstance(plain, list):
        return [written_out(item) for item in plain]
    if isinstance(plain, dict):
        return {name: written_out(item) for name, item in plain.items()}
    is_rounded = isinstance(plain, int) and abs(plain) >= 2**53
    return _tagged("int", str(plain)) if is_rounded else plain


def payload(value: Any) -> Any:
    """Return what an agent asks with, as data that JSON can carry and people can answer with.

    A set becomes a list, a Decimal a text, an object its fields: `to_plain` without the names of types.
    """
    return untagged(to_plain(value))


def untagged(plain: Any) -> Any:
    """Return plain data without the names of types."""
    if isinstance(plain, list):
        return [untagged(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if plain.keys() == {"__type__", "value"}:
        return untagged(plain["value"])
    return {name: untagged(item) for name, item in plain.items()}


def as_in(plain: Any, origin: Any) -> Any:
    """Return `plain` with what nobody changed as it is in `origin`, at the same place.

    Canonical JSON has lost the order of keys, and a Decimal has become a text. A changed object keeps the order of its
    keys.
    """
    if canonical(payload(origin)) == canonical(plain):
        return origin
    if isinstance(plain, list) and isinstance(origin, list):
        return [as_in(*both) for both in zip(plain, origin, strict=False)] + plain[len(origin) :]
    if not isinstance(plain, dict) or not isinstance(origin, dict):
        return plain
    order = [*(name for name in origin if name in plain), *(name for name in plain if name not in origin)]
    return {name: as_in(plain[name], origin[name]) if name in origin else plain[name] for name in order}


def has_objects(value: Any, depth: int = 0) -> bool:
    """Return whether a value holds types that JSON does not have, which an edit would lose. Messages do not count."""
    if is_message(value) or value is None or type(value) in (bool, str):
        return False
    if type(value) is int:
        return not is_storable_int(value)
    if type(value) is float:
        return not math.isfinite(value)
    if depth > DEEPEST or type(value) not in (dict, list):
        return True
    if isinstance(value, dict) and any(type(key) is not str for key in value):
        return True
    return any(has_objects(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value))
