"""Values that JSON has no word for, or that it would round: in a state at a gate, in arguments, in answers."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.cases.building import chain
from tests.cases.messages import Script
from tests.dialects import record

T = TypeVar("T")


class Color(Enum):
    red = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Box(Generic[T]):
    item: T
    label: str


class Odds(TypedDict, total=False):
    title: str
    by_id: dict[int, str]
    pair: tuple[int, str]
    tags: set[str]
    when: datetime
    day: date
    at: time
    lasts: timedelta
    price: Decimal
    uid: UUID
    color: Color
    point: Point
    blob: bytes
    box: Box[int]
    nested: dict[Any, Any]
    nan: float
    seen: dict[str, str]


def fill(state: Odds) -> Any:
    return {
        "by_id": {1: "one", 2: "two"},
        "pair": (1, "x"),
        "tags": {"b", "a"},
        "when": datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "at": time(3, 4),
        "lasts": timedelta(days=1, seconds=2),
        "price": Decimal("0.10"),
        "uid": UUID(int=9),
        "color": Color.red,
        "point": Point(1, 2),
        "blob": b"\xff\x00",
        "box": Box(2**60 + 1, "big"),
        "nested": {"deep": {True: {"t": (1, 2)}, None: 3, 1.5: "f"}, "none": None},
    }


def see(state: Odds) -> Any:
    shown = {name: value for name, value in state.items() if name != "seen"}
    return {"seen": {name: f"{type(value).__name__}: {value!r}" for name, value in shown.items() if name != "tags"}}


odds = chain(Odds, of={"fill": fill, "see": see}).compile(interrupt_before=["see"])
nan = chain(Odds, of={"fill": lambda state: {"nan": math.nan}, "see": see}).compile(interrupt_before=["see"])


class Order(TypedDict, total=False):
    order: int
    price: float
    got: Any
    kind: str


def charge(state: Order) -> Any:
    return {"got": [state["order"], state["price"]], "kind": type(state["order"]).__name__}


big_at_gate = chain(Order, of={"look": lambda state: {}, "charge": charge}).compile(interrupt_before=["charge"])


def ask_to_pay(state: Order) -> Any:
    """Ask as Agent Inbox has it, with a number that JSON in a browser would round, and a Decimal."""
    args = {"order": state["order"], "price": state["price"], "fee": Decimal("0.10"), "after": {"z": 1, "a": 2}}
    config = {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True}
    [given] = interrupt([{"action_request": {"action": "pay", "args": args}, "config": config}])
    given_args = given["args"]["args"] if given["type"] == "edit" else {}
    return {"got": {name: f"{type(value).__name__} {value}" for name, value in given_args.items()}}


big_in_inbox = chain(Order, of={"ask": ask_to_pay}).compile()


def ask_number(state: Order) -> Any:
    given = interrupt("Any number?")
    return {"got": given, "kind": type(given).__name__}


number = chain(Order, of={"ask": ask_number}).compile()

TEXTS: dict[str, Any] = {
    "note": "edit me",
    "lead": "\n\nfirst",
    "trail": "x\n",
    "crlf": "a\r\nb",
    "spaces": "  x  ",
    "tab": "\tx",
    "empty": "",
    "nfd": "e\u0301",
    "separator": "a\u2028b",
    "zwj": "\U0001f468\u200d\U0001f469",
    "number": "007",
    "json": '{"a": 1}',
    "third": 0.1 + 0.2,
    "whole": 5.0,
    "tiny": 1e-7,
    "huge": 1e308,
    "negative": -0.0,
    "big": 2**53 + 1,
    "yes": True,
    "nothing": None,
    "items": ["a\nb", "", " c "],
    "deep": {"k\n": "v", "": [1, 2.0, {"x": None}], "a.b": 1, "0": "zero", "10": 1, "9": 2},
    "none": {},
}


@tool
def act(texts: dict[str, Any], note: str, config: RunnableConfig) -> str:
    """Act."""
    record("act", config, note=note, texts=json.dumps(texts))
    return json.dumps(texts)


def _texts(mode: Any) -> Any:
    middleware = HumanInTheLoopMiddleware(interrupt_on={"act": True}, interrupt_mode=mode)
    turns = [[("act", {"texts": TEXTS, "note": "x"})], "Done."]
    return create_agent(Script(turns=turns), [act], middleware=[middleware])


texts, texts_per_call = _texts("batched"), _texts("per_call")


class Inbox(TypedDict, total=False):
    got: list[Any]


def ask_texts(state: Inbox) -> Any:
    config = {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True}
    given = interrupt([{"action_request": {"action": "act", "args": TEXTS}, "config": config}])
    return {"got": [json.dumps(given[0]["args"]["args"])]}


texts_in_inbox = chain(Inbox, of={"ask": ask_texts}).compile()


CODE = "import os\nfor name in os.listdir('/'):\n\tprint(name)  # <script>alert(1)</script>\n\n\n    \nos.remove('x')\n"
CSV = "id;name\r\n1;\"A; B\"\r\n=cmd|' /C calc'!A0;x\r\n"


@tool
def run_code(code: str, config: RunnableConfig, timeout: float = 5) -> str:
    """Run code."""
    record("run_code", config, code=code, timeout=timeout)
    return json.dumps(code)


@tool
def upload(name: str, csv: str, blob: str, rows: list[dict[str, Any]], config: RunnableConfig) -> str:
    """Upload."""
    record("upload", config, file=name, csv=csv, size=len(blob), rows=len(rows))
    return "uploaded"


class Report(BaseModel):
    title: str
    score: int


@tool
def pay(amount: float, config: RunnableConfig) -> str:
    """Pay."""
    record("pay", config, amount=amount)
    return f"paid {amount}"


@tool
def ping() -> str:
    """Ping."""
    return "pong"


_upload = {"name": " x ", "csv": CSV, "blob": "QUJD" * 20_000, "rows": [{"n": place} for place in range(100)]}
code = create_agent(
    Script(turns=[[("run_code", {"code": CODE}), ("upload", _upload)], "Done."]),
    [run_code, upload],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"run_code": True, "upload": True})],
)
_calls = [("pay", {"amount": 5}), ("ping", {}), ("pay", {"amount": 5}), ("nonsense", {"x": 1})]
structured = create_agent(
    Script(turns=[_calls, [("Report", {"title": "T", "score": 3})]]),
    [pay, ping],
    response_format=ToolStrategy(Report),
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"pay": True, "ping": False})],
)
