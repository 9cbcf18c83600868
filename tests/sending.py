"""Graphs with Sends at a breakpoint, questions that nodes raise, and one that ends without doing anything."""

import operator
import os
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from tests.dialects import Calls, send_mail, wipe
from tests.graphs import leave_mark

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langgraph.errors import NodeInterrupt


class State(TypedDict, total=False):
    order: str
    paid: Annotated[list[str], operator.add]


class Payment(TypedDict):
    payee: str
    amount: float


PAY = {"approval": {"title": "Pay", "summary": "{amount} to {payee}", "show": ["payee", "amount"]}}


def plan(state: State) -> Command[Literal["pay"]]:
    payments: list[Payment] = [{"payee": "MALLORY-77", "amount": 98765.0}, {"payee": "ALICE-11", "amount": 1.0}]
    return Command(goto=[Send("pay", payment) for payment in payments])


def plan_one(state: State) -> Command[Literal["pay"]]:
    return Command(goto=Send("pay", {"payee": state["order"] + "-ONE", "amount": 7.0}))


def plan_more(state: State) -> Command[Literal["pay", "audit"]]:
    return Command(goto=[Send("pay", {"payee": "ALICE-11", "amount": 1.0}), "audit"])


def pay(state: Payment, config: RunnableConfig) -> State:
    leave_mark("pay", config)
    return {"paid": [f"{state['payee']} {state['amount']}"]}


def audit(state: State, config: RunnableConfig) -> State:
    leave_mark("audit", config)
    return {"paid": ["audited"]}


def split(state: State) -> list[Send]:
    return [Send("pay", {"payee": f"{state['order']}-SPLIT", "amount": 5.0})]


def prepare(state: State) -> State:
    return {}


def _paying(name: str, node: Any, **more: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node(name, node)
    builder.add_node("pay", pay, metadata=PAY)
    for other, function in more.items():
        builder.add_node(other, function)
    builder.add_edge(START, name)
    return builder


by_command = _paying("plan", plan).compile(interrupt_before=["pay"])
one = _paying("plan", plan_one).compile(interrupt_before=["pay"])
mixed = _paying("plan", plan_more, audit=audit).compile(interrupt_before=["pay", "audit"])
by_edge = _paying("prepare", prepare).add_conditional_edges("prepare", split, ["pay"]).compile(interrupt_before=["pay"])
agent = create_agent(Calls(), [send_mail, wipe], interrupt_before=["tools"])


class Checked(TypedDict, total=False):
    input: str
    out: str


def check(state: Checked) -> Checked:
    if len(state["input"]) > 5:
        raise NodeInterrupt(f"The input is longer than 5 characters: {state['input']}")
    return {"out": f"ok {state['input']}"}


def other(state: Checked) -> Checked:
    if len(state["input"]) > 5:
        raise NodeInterrupt(f"The other node minds too: {state['input']}")
    return {}


def aside(state: Checked, config: RunnableConfig) -> Checked:
    leave_mark("aside", config)
    return {}


def _checking(*nodes: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Checked)
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    return builder.compile()


raised = _checking(check, aside)
raised_twice = _checking(check, other)


class _Deaf(CompiledStateGraph[Any, Any, Any, Any]):
    """Runs what is new, and ends at once when it is to go on: as a thread of LangGraph.js makes a graph end."""

    async def astream(self, input: Any, *arguments: Any, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        thread_id = arguments[0]["configurable"]["thread_id"]
        if isinstance(input, dict) or (Path(os.environ["DATA_DIR"]) / f"hears-{thread_id}").exists():
            async for event in super().astream(input, *arguments, **options):
                yield event


def ask(state: State) -> State:
    return {"paid": [str(interrupt("Who is paid?"))]}


def _deaf(gate: list[str]) -> Any:
    compiled = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(interrupt_before=gate)
    compiled.__class__ = _Deaf
    return compiled


deaf_gate = _deaf(["ask"])
deaf_asking = _deaf([])
