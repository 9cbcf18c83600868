"""How LangGraph stores objects in a checkpoint: as msgpack extensions, and in early versions as JSON.

The codes are LangGraph's own (`langgraph.checkpoint.serde.jsonplus`); a test keeps them equal.
"""

from collections.abc import Callable
from typing import Any

import ormsgpack

EXT_CONSTRUCTOR_SINGLE_ARG = 0
EXT_CONSTRUCTOR_POS_ARGS = 1
EXT_CONSTRUCTOR_KW_ARGS = 2
EXT_METHOD_SINGLE_ARG = 3
EXT_PYDANTIC_V1 = 4
EXT_PYDANTIC_V2 = 5
EXT_NUMPY_ARRAY = 6
EXT_DELTA_SNAPSHOT = 7
NAMES_A_CLASS = {
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
}
"""Extensions that hold module, class and arguments of an object."""


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
