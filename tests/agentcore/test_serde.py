"""Whatever a state holds becomes plain data with one digest."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel

from agentcore.plain.json import DEEPEST, canonical, digest, has_objects, to_plain, written_out
from tests.scale import tries


@dataclasses.dataclass
class Parcel:
    weight: float
    tags: set[str]


class Model(BaseModel):
    name: str
    when: dt.datetime | None = None


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    YES = "yes"


class Text(str):
    pass


class Opaque:
    def __repr__(self) -> str:
        raise RuntimeError("this object cannot be shown")


def nested(kind: str, levels: int) -> Any:
    wrap: dict[str, Callable[[Any], Any]] = {
        "list": lambda inner: [inner],
        "dict": lambda inner: {"a": inner},
        "set": lambda inner: frozenset([inner]),
    }
    value: Any = 1
    for _ in range(levels):
        value = wrap[kind](value)
    return value


POISON: dict[str, Any] = {
    "nul": "a\0b",
    "lone surrogate": "\udc80 \ud800",
    "nan": math.nan,
    "inf": [math.inf, -math.inf],
    "minus zero": -0.0,
    "large int": [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**64],
    "huge int": [10**400, -(10**400), 10**5_000],
    "deep list": nested("list", 5_000),
    "deep dict": nested("dict", 5_000),
    "deep set": nested("set", 400),
    "odd keys": {"": 1, "__proto__": 2, "__class__": 3, "lc": 4, "__interrupt__": 5, "{{7*7}}": 6, "\udc80": 7},
    "keys that are no text": {1: "a", None: "b", 1.5: "c", (1, 2): "d", b"x": "e", 10**5_000: "f", math.nan: "g"},
    "keys that are objects": {dt.date(2026, 1, 1): 1, Colour.RED: 2, Word.YES: 3, frozenset("ab"): 4, Text("t"): 5},
    "key without repr": {Opaque(): 1},
    "set": {1, "a", None, (1, 2), frozenset({b"x"})},
    "bytes": [b"\x00\xff", bytearray(b"x"), memoryview(b"y")],
    "decimal": [decimal.Decimal("0.1"), decimal.Decimal("sNaN"), decimal.Decimal("-Infinity")],
    "time without zone": dt.datetime(2026, 1, 2, 3, 4),
    "times": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.date(2026, 1, 2), dt.time(3, 4), dt.timedelta(days=1)],
    "path": [Path("/etc/passwd"), PurePosixPath("a")],
    "uuid": uuid.UUID(int=7),
    "enum": [Colour.RED, Word.YES],
    "dataclass": Parcel(math.nan, {"b", "a"}),
    "pydantic": Model(name="\udc80", when=dt.datetime(2026, 1, 2)),
    "class": [Parcel, Model, int],
    "object": [object(), Opaque(), len, lambda: 1, 1j, range(3)],
    "exception": ValueError("x"),
    "collections": [deque([1]), OrderedDict(b=1), (1, (2,))],
    "messages": [
        HumanMessage("hi", id="1"),
        AIMessage("", tool_calls=[{"name": "pay", "args": {"n": math.inf}, "id": "c"}]),
        ToolMessage([{"type": "text", "text": "\0"}], tool_call_id="c", status="error"),
        SystemMessage("s", name="boss"),
    ],
    "langgraph's own": [Send("node", {"a": math.nan}), Command(goto="x"), Interrupt(value={1}, id="i")],
    "many keys": {str(n): n for n in range(tries(4_000, full=20_000))},
    "bidi and escapes": "\u202egnp.exe \x1b[31m =cmd()",
}


@pytest.mark.parametrize("name", POISON)
def test_whatever_a_state_holds_can_be_sent_and_named(name: str) -> None:
    plain = to_plain(POISON[name])
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text) == plain
    assert len(digest(plain)) == 64
    assert digest(plain) == digest(json.loads(text))


@pytest.mark.parametrize("number", [2**53 - 1, 2**53, -(2**53), 10**400])
def test_numbers_that_javascript_would_round_are_written_out_in_the_log(number: int) -> None:
    plain = written_out(to_plain({"n": number}))
    assert json.loads(rfc8785.dumps(plain)) == plain  # the audit's own form refuses what it would round
    assert str(number) in canonical(plain)


@pytest.mark.parametrize(
    "value",
    [
        {1: "int", "1": "text"},
        {"1": "text", 1: "int"},
        {None: 1, "null": 2, "None": 3},
        {True: 1, "true": 2},
        {Word.YES: 1, Colour.RED: 2, "red": 3},
        {dt.date(2026, 1, 2): 1, "2026-01-02": 2},
        {(1, 2): 1, "[1,2]": 2, "[1,2]*": 3},
    ],
    ids=repr,
)
def test_keys_that_read_the_same_lose_nothing(value: dict[Any, Any]) -> None:
    plain = to_plain(value)
    assert sorted(map(str, plain.values())) == sorted(map(str, value.values()))
    assert all(plain[key] == item for key, item in value.items() if type(key) is str)


def test_the_digest_does_not_hang_on_the_order_of_keys_or_members() -> None:
    one = {"a": 1, "b": {"c": {"x", "y", "z"}, "d": {frozenset("xyz"): 1}}}
    two = {"b": {"d": {frozenset("zyx"): 1}, "c": {"z", "y", "x"}}, "a": 1}
    assert digest(to_plain(one)) == digest(to_plain(two))


SECOND_LOOK = [
    (deque([1]), deque([2])),
    (dt.timedelta(1), dt.timedelta(2)),
    (IPv4Address(1), IPv4Address(2)),
    (dt.UTC, dt.timezone(dt.timedelta(hours=1))),
]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        (0.0, -0.0),
        ("", None),
        ([], {}),
        ("é", "e\u0301"),
        (b"a", b"b"),
        ([1, 2], [2, 1]),
        *SECOND_LOOK,
    ],
    ids=repr,
)
def test_different_data_is_shown_differently(one: Any, two: Any) -> None:
    assert canonical(to_plain({"v": one})) != canonical(to_plain({"v": two}))


def test_deeper_data_is_cut_and_says_so() -> None:
    assert "too deep" in canonical(to_plain(nested("list", DEEPEST + 2)))
    assert to_plain(nested("list", DEEPEST)) == nested("list", DEEPEST)


def test_a_message_keeps_what_people_read() -> None:
    call = {"name": "pay", "args": {"amount": 7}, "id": "c", "type": "tool_call"}
    assert to_plain([HumanMessage("hi", name="mei"), AIMessage("", tool_calls=[call])]) == [
        {"type": "human", "content": "hi", "name": "mei"},
        {"type": "ai", "content": "", "tool_calls": [call]},
    ]


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ({"a": [1, "x", None]}, False),
        ({"a": [{1}]}, True),
        (math.nan, True),
        (decimal.Decimal(1), True),
        (b"", True),
        (dt.date.today(), True),
        ((1,), True),
        ({1: 2}, True),
        (2**60, False),
        (2**64, True),
    ],
)
def test_data_that_json_cannot_carry_is_known(value: Any, answer: bool) -> None:
    assert has_objects(value) is answer


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary(max_size=20)
    | st.decimals()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([Colour.RED, Word.YES, object(), Model(name="n"), Parcel(1.0, {"t"}), HumanMessage("m")])
)
_hashable = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.sampled_from(Word)
_data = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_hashable, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(_hashable, max_size=4)
    ),
    max_leaves=15,
)


@given(_data)
@example({1: 1, "1": 1, "1*": 1})
def test_any_data_becomes_plain_data(value: Any) -> None:
    plain = to_plain(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert digest(plain) == digest(to_plain(plain))
    if isinstance(value, dict):
        assert len(plain) == len(value)


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**53) + 1, 2**53 - 1), st.lists))
def test_plain_data_stays_as_it_is(value: Any) -> None:
    assert to_plain(value) == value
    assert canonical(to_plain(value)) == canonical(value)
