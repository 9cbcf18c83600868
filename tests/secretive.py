"""A graph whose author marked secrets: a whole channel, one inside an object, and one in each item of a list."""

import logging
import operator
import sys
import traceback
from typing import Annotated, Any, NotRequired

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.graphs import leave_mark


class Account(TypedDict):
    host: str
    token: str


class State(TypedDict, total=False):
    api_key: str
    account: Account
    accounts: Annotated[list[Account], operator.add]
    note: str
    heard: NotRequired[str]


SECRET = {"approval": {"secret": ["api_key", "account.token", "accounts.token"], "summary": "{note} with {api_key}"}}


@tool
def call_out(key: str) -> str:
    """Call a service."""
    return "called"


async def prepare(state: State) -> State:
    return {"note": f"calls {state['account']['host']} with {state['api_key']}"}


async def ask(state: State) -> State:
    answer: Any = interrupt({"question": f"May I use {state['api_key']}?", "account": state["account"]})
    return {"heard": str(answer)}


async def act(state: State, config: RunnableConfig) -> State:
    leave_mark(f"act_with_{state['api_key']}_{state['account']['token']}", config)
    await call_out.ainvoke({"key": state["api_key"]}, config)
    if state["account"]["host"] == "down":
        raise RuntimeError(f"{state['api_key']} was refused by {state['account']}")
    return {"note": "acted"}


async def tell_and_fail(state: State) -> State:
    """Say the key in each way that code does, and fail with it."""
    key = state["api_key"]
    sys.stdout.write(f"printed {key}\n")
    sys.stdout.write("y" * 1_990 + f"{key}\n")
    sys.stderr.write(f"written {key}\n")
    logging.getLogger("shop").warning("logged %r", {"key": key})
    try:
        raise ValueError(key)
    except ValueError:
        traceback.print_exc()
        logging.getLogger("shop").exception("caught")
    raise RuntimeError(f"failed with {key}" + ("" if state["account"]["host"] == "up" else f" of {state['account']}"))


def _built(**nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node, metadata=SECRET if name in ("act", "tell_and_fail") else None)
    for source, target in zip([START, *nodes], [*nodes, END], strict=True):
        builder.add_edge(source, target)
    return builder


gated = _built(prepare=prepare, act=act).compile(interrupt_before=["act"], name="secretive")
asking = _built(prepare=prepare, ask=ask, act=act).compile(name="secretive_asking")
breaking = _built(tell_and_fail=tell_and_fail).compile(interrupt_before=["tell_and_fail"], name="secretive_breaking")
