"""A graph whose author marked secrets: a whole channel, one inside an object, and one in each item of a list."""

import operator
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


def _built(**nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node, metadata=SECRET if name == "act" else None)
    for source, target in zip([START, *nodes], [*nodes, END], strict=True):
        builder.add_edge(source, target)
    return builder


gated = _built(prepare=prepare, act=act).compile(interrupt_before=["act"], name="secretive")
asking = _built(prepare=prepare, ask=ask, act=act).compile(name="secretive_asking")
