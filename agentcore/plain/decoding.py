"""The plain serializer: it reads checkpoints as plain data. It imports nothing, builds no object and never fails."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from agentcore.plain.blocked import class_name
from agentcore.plain.json import canonical, to_plain
from agentcore.plain.messages import MESSAGE_FIELDS
from agentcore.plain.msgpack import EXT_DELTA_SNAPSHOT, EXT_NUMPY_ARRAY, NAMES_A_CLASS, bare_of, envelope_of, unpack
from agentcore.plain.types import Serializer

_LONGEST_KIND = 50


def plain_serializer() -> Serializer:
    """Read any checkpoint as plain data: objects become `{"__type__": "module.Class", "value": ...}`. Never writes."""
    return _PlainSerializer()


class _PlainSerializer:
    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        raise NotImplementedError("The plain serializer only reads: what it gave is not what was stored.")

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return plain data; what cannot be read becomes a note with its size and digest."""
        kind, packed = data
        try:
            return to_plain(_READERS[kind](packed))
        except Exception:  # noqa: BLE001 - whatever was written there, people want to see the rest
            return _tagged(f"unreadable {kind}"[:_LONGEST_KIND], **_measured(packed or b""))


def _tagged(kind: str, **fields: Any) -> dict[str, Any]:
    return {"__type__": kind, **fields}


def _measured(packed: bytes) -> dict[str, Any]:
    return {"size": len(packed), "sha256": hashlib.sha256(packed).hexdigest()}


def _object(code: int, packed: bytes) -> Any:
    try:
        inside = unpack(packed, _object)
        if code == EXT_DELTA_SNAPSHOT:
            return inside
        if code == EXT_NUMPY_ARRAY:
            return _tagged("numpy.ndarray", dtype=inside[0], shape=inside[1], **_measured(inside[3]))
        if code in NAMES_A_CLASS:
            return _named(class_name(inside[0], inside[1]), inside[2])
    except Exception:  # noqa: BLE001 - broken inside; what is around it can still be read
        pass
    return _tagged(f"unreadable msgpack extension {code}", **_measured(packed))


def _envelope(value: dict[str, Any]) -> Any:
    named = envelope_of(value)
    return value if named is None else _named(class_name(*named), bare_of(value))


def _named(name: str, payload: Any) -> Any:
    """Give an object the shape that `to_plain` gives it when it was built."""
    if name.startswith("pydantic") and "Secret" in name:
        return _tagged(name)
    if ".messages." in name and isinstance(payload, dict):
        return _message(name, payload)
    try:
        return _SHAPES[name](payload)
    except Exception:  # noqa: BLE001 - another class, or not what its author writes
        return _tagged(name, value=payload)


def _message(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    fields = {field: payload[field] for field in ("type", *MESSAGE_FIELDS) if payload.get(field)}
    role = name.rpartition(".")[2].removesuffix("Message").lower()
    return {"type": role} | fields | {"content": payload.get("content", "")}


def _date(parts: Any) -> str:
    year, month, day = parts
    return f"{year:04}-{month:02}-{day:02}"


def _uuid(digits: str) -> str:
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])


def _set(items: Any) -> Any:
    return _tagged("set", value=sorted((to_plain(item) for item in items), key=canonical))


def _path(parts: Any) -> str:
    return "/".join(parts).replace("//", "/", 1) or "."


_SHAPES: dict[str, Callable[[Any], Any]] = {
    "datetime.datetime": str,
    "datetime.date": _date,
    "uuid.UUID": _uuid,
    "decimal.Decimal": lambda digits: _tagged("decimal", value=digits),
    "collections.deque": lambda items: _tagged("deque", value=items),
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "pathlib.PosixPath": _path,
    "pathlib.Path": _path,
}
_READERS: dict[str, Callable[[bytes], Any]] = {
    "null": lambda packed: None,
    "empty": lambda packed: None,
    "bytes": bytes,
    "bytearray": bytes,
    "json": lambda packed: json.loads(packed, object_hook=_envelope),
    "msgpack": lambda packed: unpack(packed, _object),
}
