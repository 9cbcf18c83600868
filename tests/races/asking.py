"""Graphs that ask with `interrupt()`: once, twice in a node, in two nodes at once, and beside a node that pays.

Each part of a node that comes after an answer pays through `once`, and has places to die at, as in `paying`.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict

from agentcore import effect_key, once
from tests.graphs import leave_mark
from tests.races.paying import add, armed, reach

BAD = "bad"


class State(TypedDict, total=False):
    text: str
    notes: Annotated[list[str], add]
    messages: Annotated[list[AnyMessage], add_messages]


async def _pay(part: str, config: RunnableConfig) -> None:
    leave_mark(part, config)
    reach(f"{part}:began")

    async def pay(connection: Any) -> str:
        row = [config["configurable"]["thread_id"], part]
        await connection.execute("INSERT INTO payments (thread_id, node) VALUES (%s, %s)", row)
        reach(f"{part}:paying")
        return "paid"

    await once(effect_key(), pay)
    if "stop" in armed.values():
        await asyncio.sleep(0.3)  # whoever freezes in a transaction keeps the row locked; that is not what is tried
    reach(f"{part}:paid")


def _checked(answer: Any) -> Any:
    if answer == BAD:
        raise ValueError("No node can take this answer.")
    return answer


def _asking(node: str) -> Any:
    async def run(state: State, config: RunnableConfig) -> State:
        answer = _checked(interrupt(f"{node}?"))
        await _pay(node, config)
        return {"notes": [f"{node}: {answer}"]}

    return run


def _working(node: str, seconds: float = 0) -> Any:
    async def run(state: State, config: RunnableConfig) -> State:
        await asyncio.sleep(seconds)
        await _pay(node, config)
        return {"notes": [node]}

    return run


async def ask_twice(state: State, config: RunnableConfig) -> State:
    """The first part runs again when the second question is answered, as nodes do; it pays once all the same."""
    first = interrupt("first?")
    await _pay("first", config)
    second = _checked(interrupt({"question": "second?", "after": first}))
    await _pay("second", config)
    return {"notes": [f"first: {first}", f"second: {second}"]}


Nodes = dict[str, Any]


def _graph(name: str, nodes: Nodes, edges: list[tuple[Any, str]], **policy: str) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for node, run in nodes.items():
        builder.add_node(node, run, metadata={"approval": {"policy": policy}} if policy else None)
    for source, target in edges:
        builder.add_edge(source, target)
    return builder.compile(name=name)


def _one(name: str, **policy: str) -> Any:
    nodes = {"ask": _asking("ask"), "close": _working("close")}
    return _graph(name, nodes, [(START, "ask"), ("ask", "close"), ("close", END)], **policy)


def _turns(name: str, **policy: str) -> Any:
    nodes = {"ask": ask_twice, "close": _working("close")}
    return _graph(name, nodes, [(START, "ask"), ("ask", "close"), ("close", END)], **policy)


def _beside(name: str, **policy: str) -> Any:
    """`work` ends while the two others wait, and must not run again."""
    nodes = {node: _asking(node) for node in ("left", "right")} | {"work": _working("work"), "close": _working("close")}
    begin: list[tuple[Any, str]] = [(START, node) for node in ("left", "right", "work")]
    return _graph(name, nodes, [*begin, (["left", "right", "work"], "close"), ("close", END)], **policy)


def _later(name: str, **policy: str) -> Any:
    """After the answer one node asks on while another pays: the question is stored long before that one has ended."""
    nodes = {node: _asking(node) for node in ("ask", "left")} | {"work": _working("work", seconds=0.15)}
    edges: list[tuple[Any, str]] = [(START, "ask"), ("ask", "left"), ("ask", "work"), ("left", END), ("work", END)]
    return _graph(name, nodes, edges, **policy)


async def ask_about_text(state: State) -> State:
    return {"notes": [str(interrupt(state["text"]))]}


telling = _graph("telling", {"ask": ask_about_text}, [(START, "ask"), ("ask", END)])
"""Its question is as large as its input."""
KINDS: dict[str, Callable[..., Any]] = {"one": _one, "turns": _turns, "beside": _beside, "later": _later}
one, turns, beside, later = (kind(name) for name, kind in KINDS.items())
one_resuming, turns_resuming, beside_resuming, later_resuming = (
    kind(f"{name}_resuming", on_crash="resume") for name, kind in KINDS.items()
)
