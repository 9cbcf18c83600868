"""A process that runs a graph and dies in one of its nodes, as by a power cut."""

import asyncio
import operator
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.savers.opening import open_checkpointer

NODES = ("read", "think", "act")


class State(TypedDict, total=False):
    marks: str
    dies_in: str
    done: Annotated[list[str], operator.add]


def _node(name: str) -> Any:
    async def run(state: State) -> State:
        mark = Path(state["marks"]) / name
        is_first = not mark.exists()
        mark.write_text("again" if not is_first else "once")
        if is_first and state.get("dies_in") == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"done": [name]}

    return run


_builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
for _before, _name in zip((START, *NODES), NODES, strict=False):
    _builder.add_node(_name, _node(_name))
    _builder.add_edge(_before, _name)
graph = _builder.compile()


async def main(url: str, redis: str, thread_id: str, marks: str, dies_in: str) -> None:
    async with open_checkpointer(url, redis_url=redis or None) as saver:
        begun = {"marks": marks, "dies_in": dies_in, "done": []}
        await with_saver(graph, saver).ainvoke(begun, config_for(thread_id), durability="sync")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
