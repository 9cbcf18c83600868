"""Graphs that say something while they run: messages of a model, in pieces, what a node writes, and a subgraph's."""

import asyncio
import itertools
import operator
from pathlib import Path
from typing import Annotated, Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.graphs import leave_mark, wait_for_the_end_of

ANSWER = "The lamp is on its way."
KEY = "sk-live-4711-secret"
SLOW = "slowly"
LOUD = "la " * 20_000
SECRET = {"approval": {"secret": ["key"]}}


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[str], operator.add]
    place: str
    wait_for: str
    asks: bool
    fails: bool
    loud: int


class Inner(TypedDict, total=False):
    place: str


class Keyed(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    key: str
    note: str


def model(text: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=itertools.repeat(AIMessage(text)))


async def say(state: State, config: RunnableConfig) -> State:
    leave_mark("say", config)
    get_stream_writer()({"progress": 1})
    for number in range(state.get("loud", 0)):
        get_stream_writer()({"number": number, "text": LOUD})
    reply = await model(ANSWER).ainvoke(state.get("messages", []), config)
    return {"messages": [reply], "notes": ["said"]}


async def wait(state: State) -> State:
    """Stay as long as a file of the test is there."""
    if name := state.get("wait_for"):
        await asyncio.to_thread(wait_for_the_end_of, Path(name))
    return {"notes": ["waited"]}


async def inner(state: Inner) -> Inner:
    return {"place": "inside"}


async def ask(state: State) -> State:
    if state.get("fails"):
        raise ValueError("the lamp is broken")
    answer: Any = interrupt({"question": "Send it?"}) if state.get("asks") else "nobody asked"
    await asyncio.sleep(1 if answer == SLOW else 0)
    return {"notes": [f"answered {answer}"]}


async def learn(state: Keyed, config: RunnableConfig) -> Keyed:
    """Say a secret, in pieces, before it is in the state."""
    get_stream_writer()({"found": KEY})
    reply = await model(f"The key is {KEY} and no other.").ainvoke([], config)
    return {"messages": [reply], "key": KEY, "note": f"uses {KEY}"}


async def use(state: Keyed, config: RunnableConfig) -> Keyed:
    return {"note": f"used {state['key']}"}


def _built(state: type, *nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    names = []
    for node in nodes:
        name = node if isinstance(node, str) else getattr(node, "__name__", "look")
        builder.add_node(name, node, metadata=SECRET if name == "use" else None)
        names.append(name)
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder


graph = _built(State, say, wait, _built(Inner, inner).compile(name="look"), ask).compile()
keyed = _built(Keyed, learn, use).compile()
