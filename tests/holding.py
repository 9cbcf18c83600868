"""Graphs whose state holds objects: of a type they declare, and of whatever an agent puts there."""

import dataclasses
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from psycopg.conninfo import make_conninfo
from typing_extensions import TypedDict

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.urls import postgres_params
from tests.graphs import leave_mark


@dataclasses.dataclass
class Declared:
    total: int


@dataclasses.dataclass
class Foreign:
    """Declared by the other graph, and so unknown to the first."""

    total: int


class State(TypedDict, total=False):
    declared: Declared
    anything: Any
    text: str


async def hold(state: State, config: RunnableConfig) -> State:
    return {"text": "held"}


async def release(state: State, config: RunnableConfig) -> State:
    leave_mark("release", config)
    kinds = [type(state.get("declared")).__name__, type(state.get("anything")).__name__]
    return {"text": " ".join(kinds)}


_builder = StateGraph(State)
_builder.add_node("hold", hold)
_builder.add_node("release", release)
_builder.add_edge(START, "hold")
_builder.add_edge("hold", "release")
_builder.add_edge("release", END)
graph = _builder.compile(interrupt_before=["release"], name="holding")


class OtherState(TypedDict, total=False):
    foreign: Foreign


async def keep(state: OtherState) -> OtherState:
    return {}


_other = StateGraph(OtherState)
_other.add_node("keep", keep)
_other.add_edge(START, "keep")
other = _other.compile(name="holding_other")


async def agent_holds(database: str, thread_id: str, input: State) -> None:
    """Run it elsewhere, with LangGraph's own saver and its permissive default."""
    permissive = JsonPlusSerializer(allowed_msgpack_modules=True)
    async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(database))) as saver:
        saver.serde = permissive
        config = {**config_for(thread_id), "metadata": {"graph_id": "holding"}}
        await with_saver(graph, saver).ainvoke(input, config)
