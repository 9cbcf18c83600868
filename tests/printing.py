"""A graph that prints, logs and warns, in nodes of either kind; a model is asked what it thinks of a secret."""

import asyncio
import logging
import operator
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.graphs import leave_mark, times_run

logger = logging.getLogger("shop.orders")


class State(TypedDict, total=False):
    word: str
    api_key: str
    session: dict[str, str]
    wait_for: str
    lines: int
    fails: bool
    heard: Annotated[list[str], operator.add]


def talk(state: State, config: RunnableConfig) -> Any:
    """A node that is no coroutine: LangGraph runs it in a thread."""
    word = state.get("word", "")
    print(f"{word} printed,", "and the key", state.get("api_key"))
    print(f"{word} began", end="")
    print(" and ended")
    sys.stderr.write(f"{word} to stderr\n")
    logger.info("%s logged with %s", word, state.get("api_key"))
    logger.debug("%s in detail", word)
    warnings.warn(f"{word} is old", stacklevel=1)
    for number in range(state.get("lines", 0)):
        print(f"{word} {number}")
        time.sleep(0.001)
    return {"session": {"token": f"{state.get('api_key', '')}-session"}}


def _wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.02)


async def tell(state: State, config: RunnableConfig) -> Any:
    """A coroutine, which waits until the test has seen what it printed."""
    print(f"{state.get('word')} told {state['session']['token']}")
    if state.get("wait_for"):
        await asyncio.to_thread(_wait_for, Path(state["wait_for"]))
        print(f"{state.get('word')} goes on")
        await asyncio.to_thread(_wait_for, Path(f"{state['wait_for']}-2"))
    leave_mark("tell", config)
    folder = Path(os.environ["DATA_DIR"])
    if state.get("fails") and times_run(folder, config["configurable"]["thread_id"], "tell") == 1:
        raise RuntimeError(f"{state['session']['token']} was refused")
    return {}


async def think(state: State) -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage(f"I was told {state['session']['token']}.")]))
    said = await model.ainvoke(f"What of {state.get('api_key')}, {state.get('word')}?")
    return {"heard": [str(said.content)]}


_builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
for _name, _node in {"talk": talk, "tell": tell, "think": think}.items():
    _builder.add_node(_name, _node, metadata={"approval": {"secret": ["api_key", "session.token"]}})
_builder.add_edge(START, "talk")
_builder.add_edge("talk", "tell")
_builder.add_edge("tell", "think")
_builder.add_edge("think", END)
graph = _builder.compile(name="printing")
