"""Whether a thread has ended can be told without its graph, and what is told is what LangGraph itself says with it."""

import contextlib
import operator
import uuid
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from agentcore.graphs import snapshots
from tests import nested


class State(TypedDict, total=False):
    notes: Annotated[list[str], operator.add]
    fails: bool


def note(state: State) -> Any:
    return {"notes": ["noted"]}


def fail(state: State) -> Any:
    raise RuntimeError("It fails.")


def ask(state: State) -> Any:
    return {"notes": [interrupt("May it?")]}


def built(*edges: tuple[Any, Any], **nodes: Any) -> "StateGraph[Any, Any, Any, Any]":
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for source, target in edges:
        builder.add_edge(source, target)
    return builder


def _sending() -> "StateGraph[Any, Any, Any, Any]":
    builder = built(("a", END), a=note)
    builder.add_conditional_edges(START, lambda state: [Send("a", {}), Send("a", {})], ["a"])
    return builder


LINE = built((START, "a"), ("a", "b"), ("b", END), a=note, b=note)
JOINED = built((START, "a"), (START, "b"), (["a", "b"], "c"), ("c", END), a=note, b=note, c=note)
UNEVEN = built((START, "a"), (START, "b"), ("b", "d"), (["a", "d"], "c"), ("c", END), a=note, b=note, d=note, c=note)
FAILING = built((START, "a"), ("a", "b"), ("b", END), a=note, b=fail)
ASKING = built((START, "a"), ("a", END), a=ask)


@entrypoint()
def functional(given: str) -> str:
    return f"{given} {interrupt('May it?')}"


SHAPES: dict[str, tuple[Any, list[Any]]] = {
    "ended": (LINE.compile(), [{}]),
    "at a gate": (LINE.compile(interrupt_before=["b"]), [{}]),
    "at the first gate": (LINE.compile(interrupt_before=["a"]), [{}]),
    "after the last node": (LINE.compile(interrupt_after=["b"]), [{}]),
    "past a gate": (LINE.compile(interrupt_before=["b"]), [{}, None]),
    "joined": (JOINED.compile(), [{}]),
    "before a join": (JOINED.compile(interrupt_before=["c"]), [{}]),
    "on the way to a join": (UNEVEN.compile(interrupt_before=["d"]), [{}]),
    "joined late": (UNEVEN.compile(interrupt_before=["d"]), [{}, None]),
    "sent": (_sending().compile(interrupt_before=["a"]), [{}]),
    "sent and ended": (_sending().compile(interrupt_before=["a"]), [{}, None]),
    "failed": (FAILING.compile(), [{}]),
    "asked": (ASKING.compile(), [{}]),
    "answered": (ASKING.compile(), [{}, Command(resume="yes")]),
    "functional, asked": (functional, ["x"]),
    "functional, ended": (functional, ["x", Command(resume="yes")]),
    "gates and a question inside": (nested.n_side_by_side, [{}]),
    "again": (LINE.compile(), [{}, {}]),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_is_told_without_the_graph_is_what_langgraph_says(shape: str) -> None:
    graph, inputs = SHAPES[shape]
    own = graph.copy(update={"checkpointer": InMemorySaver()})
    thread_id = str(uuid.uuid4())
    config: Any = {"configurable": {"thread_id": thread_id}}
    for given in inputs:
        with contextlib.suppress(RuntimeError):
            await own.ainvoke(given, config)
    state = await own.aget_state(config)
    look = await snapshots.look(own.checkpointer, thread_id)
    assert look is not None
    assert look.has_ended == (not state.next and not state.interrupts), state
