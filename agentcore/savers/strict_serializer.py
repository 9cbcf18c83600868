"""The strict serializer: it builds allowed types and nothing else, and reports what it did not build."""

import importlib
import json
from collections.abc import Iterable
from typing import Any

import ormsgpack
from langchain_core.load.load import Reviver
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_METHODS, SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.event_hooks import emit_serde_event
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send

from agentcore.plain.blocked import ClassName, class_name, note_blocked
from agentcore.plain.msgpack import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    NAMES_A_CLASS,
    bare_of,
    envelope_of,
    unpack,
)

# A secret that was not built would be bare data, which people are shown.
_SAFE = SAFE_MSGPACK_TYPES | {("pydantic.types", "SecretStr"), ("pydantic.types", "SecretBytes")}
_MESSAGES = Reviver(allowed_objects="messages")  # LangGraph's own takes any class of langchain_core
_LANGGRAPHS = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)


class StrictSerializer(JsonPlusSerializer):
    """Builds allowed types, whatever the environment says. Of any other it returns the bare data and notes the name.

    LangGraph's own hook returns bare data too, but does not report a class that has changed and no longer accepts it.
    """

    def __init__(self, allowed: Iterable[ClassName]) -> None:
        self._allowed = _SAFE | {(module, name) for module, name in allowed}
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=None, __unpack_ext_hook__=self._object)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        if data[0] == "json":
            return json.loads(data[1], object_hook=self._envelope)
        return super().loads_typed(data)

    def _object(self, code: int, packed: bytes) -> Any:
        """Build one object of msgpack; objects inside it are built first."""
        if code == EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(unpack(packed, self._object))
        if code not in NAMES_A_CLASS:
            return _array(code, packed)
        try:
            module, name, payload, *method = unpack(packed, self._object)
        except (ValueError, TypeError):
            return _blocked("broken", "msgpack", None)
        try:
            if self._may_build(code, module, name, *method):
                return _built(code, module, name, payload, *method)
        except Exception:  # noqa: BLE001 - no class, or one that is gone or has changed
            pass
        return _blocked(module, name, payload)

    def _may_build(self, code: int, module: str, name: str, method: str = "") -> bool:
        if code == EXT_METHOD_SINGLE_ARG:
            return (module, name, method) in SAFE_MSGPACK_METHODS
        return (module, name) in self._allowed

    def _envelope(self, value: dict[str, Any]) -> Any:
        """Build one object of JSON; objects inside it were built first."""
        named = envelope_of(value)
        if named is None:
            return value
        try:
            if value["lc"] == 1:
                return _MESSAGES(value)
            if named in self._allowed:
                made = getattr(importlib.import_module(named[0]), named[1])
                return made(*value.get("args") or (), **value.get("kwargs") or {})
        except Exception:  # noqa: BLE001 - not a message, or not as the class has it now
            pass
        return _blocked(*named, bare_of(value))


def _built(code: int, module: str, name: str, payload: Any, method: str = "") -> Any:
    made = getattr(importlib.import_module(module), name)
    if code == EXT_METHOD_SINGLE_ARG:
        return getattr(made, method)(payload)
    if code == EXT_CONSTRUCTOR_SINGLE_ARG:
        return made(payload)
    if made is Send:
        return Send(*payload[:2], **({"timeout": payload[2]} if payload[2:] else {}))
    if code == EXT_CONSTRUCTOR_POS_ARGS:
        return made(*payload)
    if code == EXT_CONSTRUCTOR_KW_ARGS:
        return made(**payload)
    try:
        return made(**payload)
    except Exception:  # noqa: BLE001 - as LangGraph does: a model that no longer validates is better than none
        return made.construct(**payload) if code == EXT_PYDANTIC_V1 else made.model_construct(**payload)


def _array(code: int, packed: bytes) -> Any:
    """What names no class is LangGraph's: arrays of numpy. It gives None for what it cannot make."""
    made = _LANGGRAPHS.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(code, packed))))
    return _blocked("numpy", "ndarray", None) if made is None else made


def _blocked(module: Any, name: Any, payload: Any) -> Any:
    """Give the bare data, and note the name."""
    note_blocked(class_name(module, name))
    emit_serde_event({"kind": "msgpack_blocked", "module": str(module), "name": str(name)})
    return payload
