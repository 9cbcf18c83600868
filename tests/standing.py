"""Graphs that wait on people, and whose tasks read something else each: state, Sends, subgraphs, kept state, deltas.

A node that acts leaves a file with what it was given (`tests.dialects.did`).
"""

import operator
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from tests.dialects import record


def _joined(state: list[str], writes: Any) -> list[str]:
    return [*(state or []), *(each for write in writes for each in write)]


class State(TypedDict, total=False):
    people: int
    mail: dict[str, str]
    notes: Annotated[list[str], operator.add]
    words: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=1000)]


class Plain(TypedDict, total=False):
    people: int
    mail: dict[str, str]
    notes: Annotated[list[str], operator.add]


class Letter(TypedDict):
    to: str


async def plan(state: Plain) -> Any:
    return {"people": 360, "mail": {"to": "ann"}, "notes": ["planned"]}


async def note(state: Plain) -> Any:
    return {"notes": ["noted"]}


async def act(state: Any, config: RunnableConfig) -> Any:
    record("act", config, **state)
    return {"notes": ["acted"]}


async def ask(state: Plain) -> Any:
    return {"notes": [f"answered {interrupt('May I?')}"]}


def chain(state: Any, /, **nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    names = list(nodes)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for before, after in zip([START, *names], names, strict=False):
        builder.add_edge(before, after)
    return builder


class Inner(TypedDict, total=False):
    people: int
    mail: dict[str, str]
    notes: Annotated[list[str], operator.add]


class Outer(TypedDict, total=False):
    people: int
    notes: Annotated[list[str], operator.add]


# A subgraph that is over, then a breakpoint.
at_gate = chain(Plain, early=chain(Plain, plan=plan).compile(), note=note, act=act).compile(interrupt_before=["act"])
# Two tasks behind a breakpoint, each with something of its own.
sent = (
    chain(Plain, plan=plan)
    .add_node("act", act)
    .add_conditional_edges("plan", lambda _: [Send("act", {"to": "ann"}), Send("act", {"to": "bob"})], ["act"])
    .compile(interrupt_before=["act"])
)
# A question two levels down, and an act on each of them.
_inner = chain(Inner, plan=plan, ask=ask, act=act).compile()
_middle = chain(Inner, plan=plan, inner=_inner, act=act).compile()
deep = chain(Outer, middle=_middle, note=note).compile()
# A subgraph that keeps its state from one call to the next; it stands at a question.
own = chain(Outer, kept=chain(Inner, plan=plan, ask=ask, act=act).compile(checkpointer=True), note=note).compile()
# Another, which has been called in the turn before, and is about to be again.
again = chain(Outer, note=note, kept=chain(Inner, act=act, plan=plan).compile(checkpointer=True)).compile(
    interrupt_before=["kept"]
)


async def say(state: State) -> Any:
    return {"words": ["pay", "ann"]}


# A channel that keeps its changes apart, in the writes of earlier checkpoints.
apart = chain(State, say=say, more=lambda _: {"words": ["5"]}, note=note, act=act).compile(interrupt_before=["act"])
