"""Whatever a checkpoint holds can be looked at: as plain data, with the names of its types, and nothing is built."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, HumanMessage, RemoveMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send
from pydantic import SecretStr

from agentcore.plain.decoding import plain_serializer
from agentcore.plain.json import canonical, to_plain
from tests.agentcore.test_serde import POISON, Colour, Model, Parcel
from tests.agentcore.test_strict_serializer import PERMISSIVE, Order, Point, envelope, packed

ROOT = Path(__file__).parents[2]
SAME = ["nul", "nan", "inf", "bytes", "decimal", "time without zone", "uuid", "collections", "messages", "many keys"]
VALUES: dict[str, Any] = {name: POISON[name] for name in SAME} | {
    "dataclass": Parcel(1.0, {"a", "b"}),
    "pydantic": Model(name="n"),
    "namedtuple": [{"x": 1}, {"y": Model(name="n")}],
    "chunk": [AIMessageChunk(content="x", id="1"), RemoveMessage(id="2")],
    "paths": [Path("/etc/passwd"), Path("a/b"), Path("/"), Path()],
    "sets": [{1, 2, 3}, frozenset("cab"), {"b", None, 1}],
    "delta channel": [HumanMessage("hi", id="1")],
    "secret": SecretStr("hunter2"),
    "null": None,
    "raw": b"\x00\xff",
}


def look(stored: tuple[str, bytes]) -> Any:
    return plain_serializer().loads_typed(stored)


@pytest.mark.parametrize("name", VALUES)
def test_it_looks_as_if_it_had_been_built(name: str) -> None:
    stored = PERMISSIVE.dumps_typed(VALUES[name])
    assert canonical(look(stored)) == canonical(to_plain(PERMISSIVE.loads_typed(stored)))


def test_objects_are_named_at_every_level() -> None:
    value = {"order": Order(Parcel(1.0, set()), Colour.RED, [Point(1, Model(name="n"))]), "to": Send("node", 1)}
    here, there = Order.__module__, Parcel.__module__
    point = {"x": 1, "y": {"__type__": f"{there}.Model", "value": {"name": "n", "when": None}}}
    assert look(PERMISSIVE.dumps_typed(value)) == {
        "order": {
            "__type__": f"{here}.Order",
            "value": {
                "parcel": {
                    "__type__": f"{there}.Parcel",
                    "value": {"weight": 1.0, "tags": {"__type__": "set", "value": []}},
                },
                "colour": {"__type__": f"{there}.Colour", "value": "red"},
                "extras": [{"__type__": f"{here}.Point", "value": point}],
            },
        },
        "to": {"__type__": "langgraph.types.Send", "value": ["node", 1]},
    }


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in canonical(look(PERMISSIVE.dumps_typed({"s": [SecretStr("hunter2")]})))


def test_a_delta_channel_shows_its_value() -> None:
    assert look(PERMISSIVE.dumps_typed(_DeltaSnapshot([1, {"a": Colour.RED}])))[0] == 1


def test_envelopes_in_json_are_objects() -> None:
    theirs = json.dumps([HumanMessage("hi", id="1").to_json(), {"lc": 2}]).encode()
    assert look(("json", theirs)) == [{"type": "human", "id": "1", "content": "hi"}, {"lc": 2}]
    assert look(envelope(2, "shop", "Order", total=3)) == {"v": {"__type__": "shop.Order", "value": {"total": 3}}}


@pytest.mark.parametrize("kind", ["pickle", "nonsense", "", "json", "msgpack", "m\0" * 500])
def test_what_cannot_be_read_is_noted_with_size_and_digest(kind: str) -> None:
    broken = b"\xc1\x04cos\nsystem\n"
    note = look((kind, broken))
    assert (note["size"], note["sha256"]) == (len(broken), hashlib.sha256(broken).hexdigest())
    assert note["__type__"].startswith("unreadable")
    assert len(note["__type__"]) <= 50


def test_what_is_broken_inside_does_not_hide_the_rest() -> None:
    broken = ormsgpack.Ext(0, b"\xc1")
    shown = look(("msgpack", ormsgpack.packb({"good": 1, "bad": [broken, ormsgpack.Ext(99, b"??")]})))
    assert shown["good"] == 1
    assert [each["__type__"] for each in shown["bad"]] == [f"unreadable msgpack extension {n}" for n in (0, 99)]


def test_objects_nested_beyond_reason_are_cut_and_not_fatal() -> None:
    inside = ormsgpack.packb("x")
    for _ in range(3_000):
        inside = b"\xc9" + len(body := b"\x93\xa1m\xa1C" + inside).to_bytes(4) + b"\x00" + body
    assert len(canonical(look(("msgpack", inside)))) > 0
    assert look(("json", b"[" * 100_000))["__type__"] == "unreadable json"


@given(st.sampled_from(["msgpack", "json", "pickle", "null", "bytes", "?"]), st.binary(max_size=60))
def test_any_bytes_become_plain_data(kind: str, content: bytes) -> None:
    shown = look((kind, content))
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


_objects = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(
            lambda code, parts: ormsgpack.Ext(code, ormsgpack.packb(parts)),
            st.integers(0, 9),
            st.tuples(inner, inner, inner)
            | st.tuples(st.just("builtins"), st.sampled_from(["set", "eval"]), inner)
            | st.tuples(st.just("datetime"), st.sampled_from(["date", "datetime"]), inner, inner)
            | st.tuples(st.just("langchain_core.messages.ai"), st.just("AIMessage"), inner)
            | inner,
        )
    ),
    max_leaves=12,
)


@given(_objects.map(ormsgpack.packb))
def test_any_objects_become_plain_data(content: bytes) -> None:
    shown = look(("msgpack", content))
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


def test_it_refuses_to_write() -> None:
    with pytest.raises(NotImplementedError, match="only reads"):
        plain_serializer().dumps_typed({"a": 1})


def test_looking_imports_nothing() -> None:
    """In a process of its own: whatever the types are called, no module is loaded for them."""
    names = ["this", "antigravity", "turtle", "xml.dom.minidom", "langchain_core.prompts.prompt"]
    crafted = [packed(code, name, "Thing", {}, "x") for name in names for code in range(6)]
    crafted += [envelope(version, *name.split("."), "Thing") for name in names for version in (1, 2)]
    code = (
        "import sys; from agentcore.plain.decoding import plain_serializer; before = set(sys.modules)\n"
        f"for crafted in {crafted!r}: plain_serializer().loads_typed(crafted)\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
