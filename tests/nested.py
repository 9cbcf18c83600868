"""Graphs whose breakpoints stand inside subgraphs: at depth 1 to 3, compiled in each way there is."""

import operator
from collections.abc import Callable
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict

WAYS = ("plain", "own", "called")
DEPTHS = (1, 2, 3)


class State(TypedDict, total=False):
    amount: int
    log: Annotated[list[str], operator.add]


crashes: dict[str, int] = {}
"""How often a node is still to raise, by its name."""
UNLUCKY = 13
"""An amount that `wire` fails with, once in each thread; with one more it is `check`."""
_unlucky: set[str] = set()


def step(name: str) -> Callable[[State, RunnableConfig], dict[str, Any]]:
    def run(state: State, config: RunnableConfig) -> dict[str, Any]:
        thread_id = config["configurable"]["thread_id"]
        unlucky = {UNLUCKY: "wire", UNLUCKY + 1: "check"}.get(state.get("amount", 0))
        if name == unlucky and thread_id not in _unlucky:
            _unlucky.add(thread_id)
            raise RuntimeError(f"{name} broke")
        if crashes.get(name):
            crashes[name] -= 1
            raise RuntimeError(f"{name} broke")
        return {"log": [f"{name} {state.get('amount')}"]}

    return run


def gated(checkpointer: Any = None, *, between: bool = False, **options: Any) -> Any:
    """Build `prepare -> wire -> book -> done` with breakpoints before `wire` and `book`, and `check` `between` them."""
    builder = StateGraph(State)
    names = ("prepare", "wire", *(("check",) if between else ()), "book", "done")
    for name in names:
        builder.add_node(name, step(name), metadata=options.get(name))
    for before, after in zip((START, *names), names, strict=False):
        builder.add_edge(before, after)
    return builder.compile(interrupt_before=["wire", "book"], checkpointer=checkpointer)


def around(inner: Any, name: str = "sub", checkpointer: Any = None) -> Any:
    """Build `intake -> sub -> after` around a graph, or around a node that calls one."""
    builder = StateGraph(State)
    builder.add_node("intake", step("intake")).add_node(name, inner).add_node("after", step("after"))
    builder.add_edge(START, "intake").add_edge("intake", name).add_edge(name, "after")
    return builder.compile(checkpointer=checkpointer)


def calling(inner: Any) -> Callable[[State, RunnableConfig], Any]:
    async def call(state: State, config: RunnableConfig) -> dict[str, Any]:
        got = await inner.ainvoke({"amount": state.get("amount", 0), "log": []}, config)
        return {"log": got["log"]}

    return call


async def hidden(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Call a graph that nobody can find from outside: it is built here."""
    got = await gated().ainvoke({"amount": 1, "log": []}, config)
    return {"log": got["log"]}


def nested(way: str, depth: int, *, between: bool = False) -> Any:
    """Build a graph with its breakpoints so many levels down, each subgraph compiled, or called, in the same way."""
    checkpointer = True if way == "own" else None
    inner = gated(checkpointer, between=between)
    for _ in range(depth - 1):
        inner = around(calling(inner) if way == "called" else inner, checkpointer=checkpointer)
    return around(calling(inner) if way == "called" else inner)


def ask(state: State) -> dict[str, Any]:
    return {"log": [f"asked {interrupt('May I?')}"]}


def side_by_side() -> Any:
    """Build two gated subgraphs and a question that wait in one step."""

    class Output(TypedDict, total=False):
        log: Annotated[list[str], operator.add]

    def part(name: str) -> Any:
        builder = StateGraph(State, output_schema=Output)
        builder.add_node(name, step(name)).add_edge(START, name)
        return builder.compile(interrupt_before=[name])

    top = StateGraph(State)
    top.add_node("left", part("pay")).add_node("right", part("post")).add_node("ask", ask)
    top.add_node("end", step("end"))
    for name in ("left", "right", "ask"):
        top.add_edge(START, name)
    return top.add_edge(["left", "right", "ask"], "end").compile()


@tool
def wire_money(payee: str, amount: float) -> str:
    """Wire money."""
    return f"wired {amount} to {payee}"


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def agent_as_node() -> Any:
    """Build a graph with an agent as a node, which stops before it calls its tools."""

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

    def replies() -> Any:
        while True:
            yield AIMessage("", tool_calls=[ToolCall(name="wire_money", args={"payee": "ann", "amount": 5.0}, id="c1")])
            yield AIMessage("done")

    agent = create_agent(Model(messages=replies()), [wire_money], interrupt_before=["tools"])
    builder = StateGraph(Chat).add_node("agent", agent).add_edge(START, "agent")
    return builder.compile()


n_plain_1, n_plain_2, n_plain_3 = (nested("plain", depth) for depth in DEPTHS)
n_own_1, n_own_2, n_own_3 = (nested("own", depth) for depth in DEPTHS)
n_called_1, n_called_2, n_called_3 = (nested("called", depth) for depth in DEPTHS)
n_side_by_side = side_by_side()
n_agent = agent_as_node()
n_hidden = around(hidden)
n_between, n_between_own = nested("plain", 2, between=True), nested("own", 1, between=True)
