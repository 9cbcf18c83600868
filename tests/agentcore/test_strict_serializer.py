"""Checkpoints build what is allowed and nothing else; what was not built is known by name."""

import asyncio
import dataclasses
import datetime as dt
import json
import os
import pickle
import sys
from collections import deque, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import PromptTemplate
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Command, Interrupt, Send, TimeoutPolicy
from pydantic import BaseModel, SecretStr
from pydantic.v1 import BaseModel as BaseModelV1

from agentcore.plain import blocked, canary, msgpack
from agentcore.plain.blocked import blocked_sentence, noting_blocked
from agentcore.plain.canary import check_serializer
from agentcore.plain.decoding import plain_serializer
from agentcore.plain.errors import UnsafeSerializer
from agentcore.plain.json import digest, to_plain
from agentcore.savers.serializers import strict_serializer
from tests.agentcore.test_serde import POISON, Colour, Model, Parcel, Word

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Order:
    parcel: Parcel
    colour: Colour
    extras: list[Any] = dataclasses.field(default_factory=list)


class Old(BaseModelV1):
    name: str


class Strict(BaseModel):
    number: int


@dataclasses.dataclass
class Moody:
    """Takes less than was stored: its author renamed a field since."""

    mood: str

    def __post_init__(self) -> None:
        if self.mood == "refused":
            raise ValueError("not any more")


class Runs:
    """Pickled, it leaves a folder when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


PERMISSIVE = JsonPlusSerializer(allowed_msgpack_modules=True, allowed_json_modules=True, pickle_fallback=True)
HERE = [(__name__, name) for name in ("Order", "Old", "Strict", "Moody", "Point")]
THERE = [(Parcel.__module__, name) for name in ("Parcel", "Model", "Colour", "Word")]
VALUES: dict[str, Any] = {
    "dataclass": Parcel(1.0, {"a"}),
    "objects inside objects": Order(Parcel(2.0, set()), Colour.RED, [Model(name="n"), {"deep": [Word.YES]}]),
    "pydantic": Model(name="n", when=dt.datetime(2026, 1, 2, tzinfo=dt.UTC)),
    "pydantic of version 1": Old(name="n"),
    "enum": [Colour.RED, Word.YES],
    "namedtuple": Point(1, Parcel(1.0, set())),
    "secret": SecretStr("hunter2"),
    "messages": POISON["messages"],
    "document": Document("text", metadata={"page": 1}),
    "send": [Send("node", {"order": Parcel(1.0, set())}), Send("node", 1, timeout=TimeoutPolicy(run_timeout=3))],
    "command": Command(goto="x", update={"a": Parcel(1.0, set())}),
    "interrupt": Interrupt(value=Model(name="n"), id="i"),
    "times": POISON["times"],
    "numbers": POISON["decimal"],
    "collections": [deque([1]), {1, 2}, frozenset("a"), (1, 2)],
    "delta channel": _DeltaSnapshot([HumanMessage("hi", id="1"), Parcel(1.0, set())]),
    "uuid": POISON["uuid"],
}


def packed(code: int, *parts: Any) -> tuple[str, bytes]:
    return "msgpack", ormsgpack.packb({"v": ormsgpack.Ext(code, ormsgpack.packb(parts))})


def envelope(version: int, *id: str, **kwargs: Any) -> tuple[str, bytes]:
    return "json", json.dumps({"v": {"lc": version, "type": "constructor", "id": id, "kwargs": kwargs}}).encode()


def read(crafted: tuple[str, bytes], *allowed: tuple[str, str]) -> tuple[Any, set[str]]:
    """Return what is built and what is noted."""
    with noting_blocked() as blocked:
        return strict_serializer(allowed).loads_typed(crafted), blocked


@pytest.mark.parametrize("name", VALUES)
def test_what_is_allowed_is_built_as_langgraph_builds_it(name: str) -> None:
    stored = PERMISSIVE.dumps_typed(VALUES[name])
    built, blocked = read(stored, *HERE, *THERE)
    theirs = PERMISSIVE.loads_typed(stored)
    assert repr(built) == repr(theirs)  # a model that was not validated, or NaN, is not equal to itself
    assert type(built) is type(theirs)
    assert blocked == set()
    assert strict_serializer().dumps_typed(VALUES[name]) == stored


def test_a_model_that_no_longer_validates_is_built_as_langgraph_builds_it() -> None:
    stored = packed(5, __name__, "Strict", {"number": "seven"}, "model_validate_json")
    built, blocked = read(stored, *HERE)
    assert isinstance(built["v"], Strict)
    assert built["v"].__dict__ == PERMISSIVE.loads_typed(stored)["v"].__dict__ == {"number": "seven"}
    assert blocked == set()


def test_what_is_not_allowed_is_bare_data_and_named() -> None:
    stored = PERMISSIVE.dumps_typed({"order": VALUES["objects inside objects"], "when": dt.date(2026, 1, 2)})
    built, blocked = read(stored)
    assert built == {
        "order": {
            "parcel": {"weight": 2.0, "tags": set()},
            "colour": "red",
            "extras": [{"name": "n", "when": None}, {"deep": ["yes"]}],
        },
        "when": dt.date(2026, 1, 2),
    }
    assert blocked == {f"{module}.{name}" for module, name in [*HERE[:1], *THERE]}


def test_one_allowed_type_does_not_let_others_in() -> None:
    built, blocked = read(PERMISSIVE.dumps_typed(VALUES["objects inside objects"]), HERE[0])
    assert isinstance(built, Order)
    assert built.parcel == {"weight": 2.0, "tags": set()}  # type: ignore[comparison-overlap]
    assert f"{__name__}.Order" not in blocked
    assert f"{Parcel.__module__}.Parcel" in blocked


@pytest.mark.parametrize(
    ("crafted", "bare", "named"),
    [
        (packed(2, __name__, "Moody", {"feeling": "fine"}), {"feeling": "fine"}, "Moody"),
        (packed(2, __name__, "Moody", {"mood": "refused"}), {"mood": "refused"}, "Moody"),
        (packed(2, __name__, "Vanished", {"mood": "fine"}), {"mood": "fine"}, "Vanished"),
        (packed(0, Colour.__module__, "Colour", "purple"), "purple", "Colour"),
        (packed(4, __name__, "Moody", {"feeling": 1}), {"feeling": 1}, "Moody"),
        (packed(5, __name__, "Moody", {"feeling": 1}), {"feeling": 1}, "Moody"),
    ],
    ids=["field renamed", "value refused", "class gone", "enum member gone", "not pydantic 1", "not pydantic 2"],
)
def test_a_class_that_no_longer_takes_what_was_stored_is_named_too(
    crafted: tuple[str, bytes], bare: Any, named: str
) -> None:
    built, blocked = read(crafted, *HERE, *THERE, (__name__, "Vanished"))
    assert built == {"v": bare}
    assert [name.rpartition(".")[2] for name in blocked] == [named]


def test_inside_of_what_was_built_it_is_named_as_well() -> None:
    inner = ormsgpack.Ext(2, ormsgpack.packb([__name__, "Moody", {"feeling": "fine"}]))
    crafted = "msgpack", ormsgpack.packb(ormsgpack.Ext(1, ormsgpack.packb([__name__, "Point", [1, inner]])))
    built, blocked = read(crafted, *HERE)
    assert built == Point(1, {"feeling": "fine"})
    assert blocked == {f"{__name__}.Moody"}


@pytest.mark.parametrize(
    ("module", "name", "method"),
    [("builtins", "eval", ""), ("datetime", "datetime", "strptime"), (__name__, "Moody", "__init__")],
)
def test_a_method_is_called_only_if_langgraph_itself_writes_it(module: str, name: str, method: str) -> None:
    built, blocked = read(packed(3, module, name, "1 + 1", method), *HERE)
    assert built == {"v": "1 + 1"}
    assert blocked == {f"{module}.{name}"}


def test_an_array_that_cannot_be_made_is_told() -> None:
    assert read(packed(6, "|O", [1], "C", b"12345678")) == ({"v": None}, {"numpy.ndarray"})


@pytest.mark.parametrize("parts", [(), (1,), ("a",), (["a"], {"b": 1}, 2), (None, None, None), "text"], ids=repr)
@pytest.mark.parametrize("code", [*range(9), 127])
def test_nonsense_in_place_of_an_object_is_told(code: int, parts: Any) -> None:
    built, blocked = read(("msgpack", ormsgpack.packb({"v": ormsgpack.Ext(code, ormsgpack.packb(parts)), "w": 1})))
    assert built["w"] == 1
    assert blocked or code == 7


@pytest.mark.parametrize("odd", ["a\0b", "\u202egpj.exe", "<b>", "x" * 5_000, "", "a b", "a;b"])
def test_a_crafted_name_can_be_shown_and_stored(odd: str) -> None:
    _, [named] = read(packed(0, odd, "eval", "1"))
    assert named.isprintable()
    assert named.isascii()
    assert len(named) <= 300


def test_a_flood_of_names_is_cut() -> None:
    objects = [ormsgpack.Ext(0, ormsgpack.packb(["m", f"C{n}", 1])) for n in range(5_000)]
    _, blocked = read(("msgpack", ormsgpack.packb(objects)))
    assert len(blocked) < 100
    assert len(blocked_sentence(sorted(blocked))) < 1_000


def test_names_are_noted_in_whatever_thread_decodes() -> None:
    stored = PERMISSIVE.dumps_typed(Parcel(1.0, set()))

    async def story() -> Any:
        async def reads(stored: tuple[str, bytes]) -> set[str]:
            with noting_blocked() as blocked:
                await asyncio.to_thread(strict_serializer().loads_typed, stored)
            return blocked

        return await asyncio.gather(reads(stored), reads(strict_serializer().dumps_typed(1)), reads(stored))

    one, other, again = asyncio.run(story())
    assert one == again == {f"{Parcel.__module__}.Parcel"}
    assert other == set()


def test_who_does_not_collect_finds_it_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    blocked._warn.cache_clear()
    stored = PERMISSIVE.dumps_typed([Parcel(1.0, set())] * 3)
    with noting_blocked():
        strict_serializer().loads_typed(stored)
    assert caplog.records == []
    strict_serializer().loads_typed(stored)
    [record] = caplog.records
    assert f"{Parcel.__module__}.Parcel" in record.getMessage()


def test_who_listens_to_langgraphs_events_hears_of_it() -> None:
    heard: list[SerdeEvent] = []
    stop = register_serde_event_listener(heard.append)
    try:
        read(PERMISSIVE.dumps_typed(Parcel(1.0, set())))
    finally:
        stop()
    assert heard == [{"kind": "msgpack_blocked", "module": Parcel.__module__, "name": "Parcel"}]


# JSON, as early versions of LangGraph wrote it


def test_messages_in_json_come_back() -> None:
    theirs = json.dumps({"v": [json.loads(json.dumps(HumanMessage("hi", id="1").to_json()))]}).encode()
    assert read(("json", theirs)) == ({"v": [HumanMessage("hi", id="1")]}, set())


def test_an_envelope_builds_what_is_allowed_and_no_more() -> None:
    crafted = envelope(2, *__name__.split("."), "Moody", mood="fine")
    assert read(crafted) == ({"v": {"mood": "fine"}}, {f"{__name__}.Moody"})
    assert read(crafted, *HERE) == ({"v": Moody("fine")}, set())
    changed = envelope(2, *__name__.split("."), "Moody", feeling="fine")
    assert read(changed, *HERE) == ({"v": {"feeling": "fine"}}, {f"{__name__}.Moody"})


def test_langchains_prompts_and_runnables_are_not_built_from_json() -> None:
    """They take templates, functions and addresses; LangGraph builds any class of langchain_core."""
    crafted = envelope(1, "langchain_core", "prompts", "prompt", "PromptTemplate", template="t", input_variables=[])
    assert isinstance(JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed(crafted)["v"], PromptTemplate)
    built, blocked = read(crafted)
    assert built == {"v": {"template": "t", "input_variables": []}}
    assert blocked == {"langchain_core.prompts.prompt.PromptTemplate"}


def test_json_reads_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_SECRET", "hunter2-canary")
    crafted = json.dumps({"v": {"lc": 1, "type": "secret", "id": ["COUNTERSIGN_SECRET"]}}).encode()
    assert "hunter2-canary" not in repr(read(("json", crafted)))


# Nothing else makes an object


def test_pickle_is_neither_read_nor_written(tmp_path: Path) -> None:
    crafted = pickle.dumps(Runs(tmp_path / "ran"))
    with pytest.raises(NotImplementedError):
        strict_serializer().loads_typed(("pickle", crafted))
    assert not (tmp_path / "ran").exists()
    with pytest.raises(TypeError):
        strict_serializer().dumps_typed(object())
    pickle.loads(crafted)  # the control: unpickling does run it
    assert (tmp_path / "ran").exists()


def test_a_module_nobody_allowed_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_a_mark.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'mark')!r})\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    crafted = [packed(code, "leaves_a_mark", "Thing", {}, "x") for code in range(6)]
    crafted += [envelope(version, "leaves_a_mark", "Thing") for version in (1, 2)]
    for serializer in (strict_serializer(HERE), plain_serializer()):
        for each in crafted:
            serializer.loads_typed(each)
    assert not (tmp_path / "mark").exists()
    PERMISSIVE.loads_typed(crafted[0])  # the control
    assert (tmp_path / "mark").exists()
    del sys.modules["leaves_a_mark"]


def test_langgraph_cannot_widen_the_list() -> None:
    """It tries to where LANGGRAPH_STRICT_MSGPACK is set: with each graph's own types, at every read."""
    serializer = strict_serializer().with_msgpack_allowlist([(Parcel.__module__, "Parcel")])
    assert not isinstance(serializer.loads_typed(PERMISSIVE.dumps_typed(Parcel(1.0, set()))), Parcel)


HOLES: dict[str, Callable[[], JsonPlusSerializer]] = {
    "langgraph's default": JsonPlusSerializer,
    "msgpack builds anything": lambda: JsonPlusSerializer(allowed_msgpack_modules=True),
    "json builds anything": lambda: _closed_but(allowed_json_modules=True),
    "json builds langchain's classes": lambda: _closed_but(),
    "pickle": lambda: _closed_but(pickle_fallback=True),
    "the canary is allowed": lambda: strict_serializer([(canary.__name__, "Canary")]),
}


def _closed_but(**open: Any) -> JsonPlusSerializer:
    return JsonPlusSerializer(allowed_msgpack_modules=None, **open)


@pytest.mark.parametrize("hole", HOLES)
def test_the_canary_stops_a_serializer_that_builds_anything(hole: str) -> None:
    with pytest.raises(UnsafeSerializer, match="allowlist"):
        check_serializer(HOLES[hole]())


def test_the_canary_sings_in_every_way_there_is() -> None:
    """Each crafted row, by itself, fires in a serializer that is open; but for methods, which LangGraph has closed."""
    silent = []
    for number, row in enumerate(canary.crafted("tune")):
        canary.heard.discard("tune")
        built = PERMISSIVE.loads_typed(row)
        if "tune" not in canary.heard and not isinstance(built, PromptTemplate):
            silent.append(number)
    assert (number, silent) == (8, [3])


def test_a_start_without_a_fault_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    check_serializer(strict_serializer(HERE))
    check_serializer(plain_serializer())
    assert caplog.records == []


@pytest.mark.parametrize("name", ["messages", "times", "uuid", "decimal", "collections", "bidi and escapes"])
def test_langgraphs_own_safe_types_come_back(name: str) -> None:
    built, blocked = read(strict_serializer().dumps_typed(POISON[name]))
    assert digest(to_plain(built)) == digest(to_plain(POISON[name]))
    assert blocked == set()


def test_a_message_in_an_unbuilt_object_is_still_a_message() -> None:
    stored = PERMISSIVE.dumps_typed(Order(Parcel(1.0, set()), Colour.RED, [AIMessage("hi", id="1")]))
    built, _ = read(stored)
    assert built["extras"] == [AIMessage("hi", id="1")]


def test_the_codes_of_extensions_are_langgraphs() -> None:
    """The plain side may not import LangGraph, so it has a copy of the codes."""
    theirs = {name: code for name, code in vars(jsonplus).items() if name.startswith("EXT_")}
    assert {name: code for name, code in vars(msgpack).items() if name.startswith("EXT_")} == theirs
