"""Graphs to be edited: every kind of channel, and branches that an edit may come from."""

import operator
import os
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Address(TypedDict):
    street: str
    city: str


class Order(TypedDict):
    id: str
    due: date
    to: Address
    lines: list[str]


class State(TypedDict, total=False):
    order: dict[str, Any]
    priority: Literal["low", "high"]
    messages: Annotated[list[AnyMessage], add_messages]
    facts: Annotated[dict[str, int], operator.or_]
    total: Annotated[int, operator.add]
    notes: Annotated[list[str], operator.add]
    stop: bool


class Typed(State, total=False):
    order: Order  # type: ignore[misc]


TALK: list[AnyMessage] = [
    HumanMessage("Send the lamp to Delft.", id="m1"),
    AIMessage(
        "I look it up.",
        id="m2",
        tool_calls=[{"name": "look_up", "args": {"city": "Delft", "limit": 3}, "id": "call-1", "type": "tool_call"}],
    ),
    ToolMessage("Two depots.", id="m3", tool_call_id="call-1", name="look_up"),
]


async def begin(state: State) -> State:
    return {
        "order": {
            "id": "A-1",
            "due": "2026-03-01",
            "to": {"street": "Oude Delft 1", "city": "Delft"},
            "lines": ["lamp"],
        },
        "priority": "low",
        "messages": TALK,
        "facts": {"depots": 2},
        "total": 3,
        "notes": ["begun"],
    }


async def nothing(state: State) -> State:
    return {}


def leave_note(word: str) -> Any:
    async def run(state: State) -> State:
        return {"notes": [word]}

    return run


_one: StateGraph[Any, Any, Any, Any] = StateGraph(Typed)
_one.add_node("begin", begin)
_one.add_node("send", nothing)
_one.add_edge(START, "begin")
_one.add_edge("begin", "send")
_one.add_edge("send", END)
graph = _one.compile(interrupt_before=["send"], name="edited")


def _route(state: State) -> str:
    return "stop" if state.get("stop") else "send"


_two: StateGraph[Any, Any, Any, Any] = StateGraph(State)
for name in ("left", "right", "send", "stop"):
    _two.add_node(name, nothing)
_two.add_edge(START, "left")
_two.add_edge(START, "right")
for name in ("left", "right"):
    _two.add_conditional_edges(name, _route, ["send", "stop"])

branched = _two.compile(interrupt_before=["send", "stop"], name="branched")


def _strict_route(state: State) -> list[str]:
    return ["strict", "send"] if state.get("total") else ["strict"] if state.get("stop") else ["send"]


_three: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_three.add_node("begin", nothing)
_three.add_node("send", leave_note("send"))
_three.add_node(
    "strict", leave_note("strict"), metadata={"approval": {"policy": {"approvals": 2, "needs_reason": True}}}
)
_three.add_edge(START, "begin")
_three.add_conditional_edges("begin", _strict_route, ["send", "strict"])
strict = _three.compile(interrupt_before=["send", "strict"], name="strict")


class Fickle(State, total=False):
    drifted: Annotated[int, lambda old, new: new + is_drifting(new)]


def drifting(data_dir: Path, number: int) -> Path:
    """Return the file that, once it is there, has threads with this number turn elsewhere than they did before."""
    return data_dir / f"drifting-{number}"


def is_drifting(number: int) -> bool:
    return drifting(Path(os.environ["DATA_DIR"]), abs(number)).exists()


def _fickle_route(state: Fickle, config: RunnableConfig) -> str:
    """Depends on the world outside, as an author's routing may."""
    return "pay" if state.get("stop") and not is_drifting(state.get("drifted", 0)) else "hand_over"


_four: StateGraph[Any, Any, Any, Any] = StateGraph(Fickle)
_four.add_node("begin", nothing)
_four.add_node(
    "pay",
    leave_note("paid"),
    metadata={"approval": {"title": "Pay the refund", "description": "Sends money.", "summary": "{facts}"}},
)
_four.add_node(
    "hand_over",
    leave_note("handed over"),
    metadata={"approval": {"title": "Hand over", "description": "No money moves.", "show": ["stop"]}},
)
_four.add_edge(START, "begin")
_four.add_conditional_edges("begin", _fickle_route, ["pay", "hand_over"])
fickle = _four.compile(interrupt_before=["pay", "hand_over"], name="fickle")


async def ask(state: Fickle) -> State:
    return {"notes": [f"answered {interrupt('How many?')}"]}


_five: StateGraph[Any, Any, Any, Any] = StateGraph(Fickle)
_five.add_node("ask", ask)
_five.add_edge(START, "ask")
fickle_asking = _five.compile(name="fickle_asking")
