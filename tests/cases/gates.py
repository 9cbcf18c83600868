"""Breakpoints: inside a subgraph twice, behind a Send, and over an input that the thread has already."""

import json
import operator
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from tests.cases.building import chain
from tests.dialects import record


class Steps(TypedDict, total=False):
    amount: int
    log: Annotated[list[str], operator.add]


def _step(name: str) -> Any:
    def run(state: Steps, config: RunnableConfig) -> dict[str, Any]:
        record(name, config)
        return {"log": [name]}

    return run


def _payment(checkpointer: bool | None) -> Any:
    of = {name: _step(name) for name in ("prepare", "wire", "check", "book")}
    return chain(Steps, of=of).compile(interrupt_before=["wire", "book"], checkpointer=checkpointer)


def _order(payment: Any) -> Any:
    return chain(Steps, of={"intake": _step("intake"), "payment": payment, "after": _step("after")}).compile()


inside, inside_own = _order(_payment(None)), _order(_payment(True))


class Payroll(TypedDict, total=False):
    month: str
    paid: Annotated[list[str], operator.add]


class Payment(TypedDict):
    payee: str
    amount: float


def plan(state: Payroll) -> Command[Literal["pay"]]:
    return Command(goto=[Send("pay", {"payee": "Ito", "amount": 900.5}), Send("pay", {"payee": "Berg", "amount": 1.0})])


def pay(state: Payment, config: RunnableConfig) -> dict[str, Any]:
    record("pay", config, **state)
    return {"paid": [f"{state['payee']} {state['amount']}"]}


def split(state: Payroll) -> list[Send]:
    return [Send("pay", {"payee": f"Team of {state['month']}", "amount": 5.0})]


_by_command = chain(Payroll, of={"plan": plan})
_by_command.add_node("pay", pay)
by_command = _by_command.compile(interrupt_before=["pay"])
_by_edge: StateGraph[Any, Any, Any, Any] = StateGraph(Payroll)
_by_edge.add_node("pay", pay)
_by_edge.add_conditional_edges(START, split, ["pay"])
by_edge = _by_edge.compile(interrupt_before=["pay"])


class Limits(TypedDict, total=False):
    title: str
    limits: dict[int, float]
    flags: dict[bool, str]
    pair: tuple[int, str]
    seen: str


int_keys = chain(
    Limits,
    of={
        "prepare": lambda state: {"limits": {1: 10.0, 2: 20.0}, "flags": {True: "yes"}, "pair": (1, "x")},
        "act": lambda state: {"seen": f"{state['limits']!r} {state['flags']!r} {state['pair']!r}"},
    },
).compile(interrupt_before=["act"])


class Deep(TypedDict, total=False):
    deep: dict[str, Any]
    seen: str


in_order = chain(
    Deep,
    of={
        "prepare": lambda state: {"deep": {"z": 1, "a": {"y": 1, "b": 2}}},
        "act": lambda state: {"seen": json.dumps(state["deep"])},
    },
).compile(interrupt_before=["act"])


class Odd(TypedDict, total=False):
    text: str


odd_name = chain(
    Odd, of={"prepare": lambda state: {}, 'human.review "x"': lambda state: {"text": f"{state['text']} reviewed"}}
).compile(interrupt_before=['human.review "x"'])
