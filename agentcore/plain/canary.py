"""Crafted checkpoints that give an alarm if reading them builds an object.

Each start checks its serializers with them.
"""

import json
import pickle
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import ormsgpack

from agentcore.plain.blocked import noting_blocked
from agentcore.plain.errors import UnsafeSerializer
from agentcore.plain.json import has_objects
from agentcore.plain.types import Serializer

heard: set[str] = set()
"""Alarms that were given."""


class Canary:
    """A class that must never be built from bytes."""

    def __init__(self, song: str) -> None:
        heard.add(song)

    @classmethod
    def sing(cls, song: str) -> "Canary":
        return cls(song)


class _Egg:
    """Pickles to bytes that build a canary when unpickled."""

    def __init__(self, song: str) -> None:
        self._song = song

    def __reduce__(self) -> tuple[Any, ...]:
        return Canary, (self._song,)


def crafted(song: str) -> Iterator[tuple[str, bytes]]:
    """Yield type and bytes for each way in which LangGraph can name a class."""
    named = {"song": song}
    for code, arguments in enumerate([song, [song], named, song, named, named]):
        bird = ormsgpack.packb([__name__, "Canary", arguments, "sing"])
        yield "msgpack", ormsgpack.packb({"inside": [ormsgpack.Ext(code, bird)]})
    own = {"lc": 2, "type": "constructor", "id": [*__name__.split("."), "Canary"], "kwargs": named}
    yield "json", json.dumps(own).encode()
    prompt = ["langchain_core", "prompts", "prompt", "PromptTemplate"]
    theirs = {"lc": 1, "type": "constructor", "id": prompt, "kwargs": {"template": song, "input_variables": []}}
    yield "json", json.dumps(theirs).encode()
    yield "pickle", pickle.dumps(_Egg(song))


def check_serializer(serializer: Serializer) -> None:
    """Raise UnsafeSerializer if a crafted checkpoint could build an object of a class that is not allowed."""
    song = uuid.uuid4().hex
    for stored in crafted(song):
        with noting_blocked(), suppress(Exception):  # refusing to read it is as safe as bare data
            if has_objects(serializer.loads_typed(stored)):
                heard.add(song)
    if song in heard:
        raise UnsafeSerializer(
            "The checkpoint serializer built a class that is not on its allowlist: a stored checkpoint could run code"
            " here. Not starting. Take agentcore.plain.canary off the allowlist of langgraph.json, if it is there;"
            " otherwise install the versions of langgraph and langgraph-checkpoint that requirements.lock names."
        )
