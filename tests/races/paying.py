"""Graphs with a gate before a payment. A test says where in a node its process dies, or freezes.

Each node leaves a mark as an effect without a key, and a row in `payments` through `once`, as one with a key.
"""

import os
import signal
import time
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from agentcore import effect_key, once
from tests.graphs import leave_mark

TABLE = "CREATE TABLE payments (thread_id text NOT NULL, node text NOT NULL, at timestamptz DEFAULT clock_timestamp())"
PLACES = ("began", "paying", "paid")
armed: dict[str, str] = {}
"""What happens at a place of a node, such as `pay:began`: kill, stop, or sleep:SECONDS."""


def reach(place: str) -> None:
    match armed.get(place, "").partition(":"):
        case "kill", *_:
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop", *_:
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep", _, seconds:
            time.sleep(float(seconds))


def add(before: list[str], more: list[str]) -> list[str]:
    return before + more


class State(TypedDict, total=False):
    text: str
    notes: Annotated[list[str], add]


async def prepare(state: State) -> State:
    return {"notes": ["prepared"]}


def _paying(node: str) -> Any:
    async def run(state: State, config: RunnableConfig) -> State:
        leave_mark(node, config)
        reach(f"{node}:began")

        async def pay(connection: Any) -> str:
            row = [config["configurable"]["thread_id"], node]
            await connection.execute("INSERT INTO payments (thread_id, node) VALUES (%s, %s)", row)
            reach(f"{node}:paying")
            return "paid"

        await once(effect_key(), pay)
        reach(f"{node}:paid")
        return {"notes": [node]}

    return run


def _graph(name: str, **policy: str) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("prepare", prepare)
    builder.add_node("pay", _paying("pay"), metadata={"approval": {"policy": policy}} if policy else None)
    builder.add_node("close", _paying("close"))
    for source, target in ((START, "prepare"), ("prepare", "pay"), ("pay", "close"), ("close", END)):
        builder.add_edge(source, target)
    return builder.compile(interrupt_before=["pay"], name=name)


def _inside(checkpointer: Any = None) -> Any:
    """A subgraph with a gate before each payment."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for source, target in ((START, "prepare"), ("prepare", "pay"), ("pay", "close")):
        builder.add_node(target, prepare if target == "prepare" else _paying(target))
        builder.add_edge(source, target)
    top: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    top.add_node("sub", builder.compile(interrupt_before=["pay", "close"], checkpointer=checkpointer))
    return top.add_edge(START, "sub").compile()


inside, inside_own = _inside(), _inside(True)
asking = _graph("asking")
resuming = _graph("resuming", on_crash="resume")
