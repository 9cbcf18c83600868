"""What LangGraph's server gives a run: a store, context and config, the user; and factories that read them."""

import operator
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from tests.cases.building import chain


class Mail(MessagesState):
    email: dict[str, str]


def _remembered(store: BaseStore, namespace: tuple[str, ...], default: str) -> str:
    found = store.get(namespace, "rules")
    if found is None:
        store.put(namespace, "rules", {"text": default})
    return str(found.value["text"]) if found else default


def triage(state: Mail, store: BaseStore, config: RunnableConfig) -> Command[Literal["ask"]]:
    """Each thread has a namespace of its own here, so that cases do not meet."""
    rules = _remembered(store, (config["configurable"]["thread_id"], "triage"), "tell of bills")
    return Command(goto="ask", update={"messages": [("user", f"{rules}: {state['email']['subject']}")]})


def ask(state: Mail, store: BaseStore, config: RunnableConfig) -> Command[Literal["__end__"]]:
    request = {
        "action_request": {"action": "Notify", "args": {}},
        "config": {"allow_ignore": True, "allow_respond": True, "allow_edit": False, "allow_accept": False},
        "description": f"# {state['email']['subject']}",
    }
    [given] = interrupt([request])
    store.put((config["configurable"]["thread_id"], "triage"), "rules", {"text": f"learned {given['args']}"})
    return Command(goto=END, update={"messages": [("user", f"{given['type']}: {given['args']}")]})


_mail = chain(Mail, of={"triage": triage})
_mail.add_node("ask", ask)
remembering, with_own_store = _mail.compile(), _mail.compile(store=InMemoryStore())


async def keep(state: MessagesState) -> Any:
    await get_store().aput(("kept",), "it", {"n": 1})
    found = await get_store().asearch(("kept",))
    return {"messages": [("ai", str([item.value for item in found]))]}


by_get_store = chain(MessagesState, of={"keep": keep}).compile()


@dataclass(kw_only=True)
class Settings:
    prompt: str = field(default="You are kind.", metadata={"description": "What the model is told."})
    model: str = "small"


class Topic(TypedDict, total=False):
    topic: str
    log: Annotated[list[Any], operator.add]


def call(state: Topic, runtime: Runtime[Settings]) -> Any:
    return {"log": [runtime.context.prompt]}


def publish(state: Topic, runtime: Runtime[Settings]) -> Any:
    return {"log": [interrupt(f"{runtime.context.model}: publish {state.get('topic')}?")]}


with_context = chain(Topic, of={"call": call, "publish": publish}, context_schema=Settings).compile()


def work(state: Topic) -> Any:
    context = get_runtime(Settings).context
    return {"log": [interrupt(f"{state['topic']} with {context.model if context else None}?")]}


_sends: StateGraph[Any, Any, Any, Any] = StateGraph(Topic, context_schema=Settings)
_sends.add_node("work", work)
_sends.add_conditional_edges(START, lambda state: [Send("work", {"topic": topic}) for topic in ("a", "b")], ["work"])
sent_with_context = _sends.compile()


def use(state: Topic, config: RunnableConfig) -> Any:
    user = config["configurable"].get("user_id", "nobody")
    return {"log": [user, interrupt(f"As {user}?")]}


by_config = chain(Topic, of={"use": use}).compile()


def tell(state: Topic, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
    """Keep what the server says of the run."""
    names = ("assistant_id", "graph_id", "thread_id", "langgraph_auth_user_id")
    known = {name: config["configurable"][name] for name in names}
    user, info = config["configurable"]["langgraph_auth_user"], runtime.server_info
    told = {"identity": user.identity, "item": user["identity"], "has_run": bool(config["configurable"]["run_id"])}
    return {"log": [known, told, [info.graph_id, info.user.identity] if info and info.user else None]}


telling = chain(Topic, of={"tell": tell}).compile()


def build(name: str = "plain") -> "StateGraph[Any, Any, Any, Any]":
    def ask_as(state: Topic) -> Any:
        return {"log": [f"{name}: {interrupt('Publish?')}"]}

    return chain(Topic, of={"ask_as": ask_as})


opened: list[str] = []


@asynccontextmanager
async def opening(config: RunnableConfig) -> AsyncIterator[Any]:
    opened.append("in")
    yield build(f"opened {len(opened)}").compile()
    opened.append("out")


@contextmanager
def opening_plainly() -> Iterator[Any]:
    yield build("plainly").compile()


def by_both(config: RunnableConfig, runtime: Runtime[Any]) -> Any:
    return build("both" if runtime.store is not None or not config["configurable"].get("thread_id") else "no store")


def by_runtime(runtime: Runtime[Any]) -> Any:
    return build("runtime").compile()


def by_key(config: RunnableConfig) -> Any:
    return build(str(config["configurable"]["user_id"])).compile()


def by_keyword(*, config: RunnableConfig) -> Any:
    return build("keyword").compile()


def by_metadata(config: RunnableConfig) -> Any:
    return build(str(config["metadata"].get("graph_id"))).compile()


def without_gate(config: RunnableConfig) -> Any:
    """A factory that leaves its gate out for some: nobody approved that."""
    is_trusted = config["configurable"].get("trusted")
    return build("gated").compile(interrupt_before=[] if is_trusted else ["ask_as"])


configured = build("configured").compile().with_config(recursion_limit=50, tags=["t"])
lazy = lambda: build("lazy").compile()  # noqa: E731 - authors write factories so
