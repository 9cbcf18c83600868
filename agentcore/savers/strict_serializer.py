"""The strict serializer: it builds allowed types and nothing else, and reports what it did not build."""

import importlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import ormsgpack
from langchain_core.load.load import Reviver
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_METHODS, SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.event_hooks import emit_serde_event
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send

logger = logging.getLogger(__name__)

ClassName = tuple[str, str]
"""Module and class, as checkpoints name them."""

_LONGEST_NAME = 200
_MOST_NOTED = 50
_MOST_NAMED = 5

# A secret that was not built would be bare data, which people are shown.
_SAFE = SAFE_MSGPACK_TYPES | {("pydantic.types", "SecretStr"), ("pydantic.types", "SecretBytes")}
NAMES_A_CLASS = {
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
}
_MESSAGES = Reviver(allowed_objects="messages")  # LangGraph's own takes any class of langchain_core
_LANGGRAPHS = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
_noted: ContextVar[set[str] | None] = ContextVar("noted", default=None)


@contextmanager
def noting_blocked() -> Iterator[set[str]]:
    """Collect the names of the types that a strict serializer refuses to build inside the block."""
    noted: set[str] = set()
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def blocked_sentence(names: Sequence[str]) -> str:
    """Return what it means for people that these types were not built, and how to allow them."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (
        f"The state holds {', '.join(names[:_MOST_NAMED])}{more}, not built here: the graph's nodes would get bare data"
        " instead, and an edit would lose the type. Declare it in the graph's state, or list it under"
        " allowed_msgpack_modules in langgraph.json; if it is there, its class no longer takes what was stored."
        " See docs/how-to/own-graph.md."
    )


def class_name(module: Any, name: Any) -> str:
    """Return the class name as a checkpoint has it, made safe: a crafted one may hold anything, and it is shown and
    stored.
    """
    full = f"{module}.{name}"[:_LONGEST_NAME]
    return full if all(part.isidentifier() for part in full.split(".")) else ascii(full)


def unpack(packed: bytes, on_object: Callable[[int, bytes], Any]) -> Any:
    return ormsgpack.unpackb(packed, ext_hook=on_object, option=ormsgpack.OPT_NON_STR_KEYS)


def envelope_of(value: dict[str, Any]) -> tuple[str, str] | None:
    """Return module and class if the JSON stands for an object, as early versions wrote it."""
    match value:
        case {"lc": 1 | 2, "type": "constructor", "id": [_, *_, str()] as id} if all(isinstance(p, str) for p in id):
            return ".".join(id[:-1]), id[-1]
    return None


def bare_of(envelope: dict[str, Any]) -> Any:
    """Return the data from which the object would have been built."""
    return envelope.get("kwargs") or envelope.get("args")


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
    """Give the bare data; tell whoever collects, and otherwise the log, once for each name."""
    noted, named = _noted.get(), class_name(module, name)
    if noted is None:
        _warn(named)
    elif len(noted) < _MOST_NOTED:
        noted.add(named)
    emit_serde_event({"kind": "msgpack_blocked", "module": str(module), "name": str(name)})
    return payload


@lru_cache(maxsize=1_000)
def _warn(named: str) -> None:
    logger.warning("a checkpoint holds %s, which is not allowed here: its bare data is read instead", named)
