"""Graphs that ask in every dialect of `interrupt()`. `got` is what a node was given, a file what a tool did."""

import json
import operator
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.graphs import leave_mark, times_run
from tests.scale import tries


class State(TypedDict, total=False):
    ask: Any
    amount: float
    is_down: bool
    got: Annotated[list[Any], operator.add]


class Calls(BaseChatModel):
    """Asks for the tool calls that the person's message lists as JSON, then says that it is done."""

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **more: Any) -> Any:
        said = AIMessage("Done.")
        if messages[-1].type == "human":
            calls = json.loads(str(messages[-1].content))
            said = AIMessage("", tool_calls=[{**call, "id": f"call-{place}"} for place, call in enumerate(calls)])
        return ChatResult(generations=[ChatGeneration(message=said)])


def did(thread_id: str, data_dir: Path | str) -> list[dict[str, Any]]:
    """Return what the tools did on a thread, by name and arguments."""
    found = [json.loads(path.read_text()) for path in (Path(data_dir) / "did" / thread_id).glob("*.json")]
    return sorted(found, key=lambda each: json.dumps(each, sort_keys=True))


def record(name: str, config: RunnableConfig, **args: Any) -> str:
    folder = Path(os.environ["DATA_DIR"]) / "did" / config["configurable"]["thread_id"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{uuid.uuid4()}.json").write_text(json.dumps({"name": name, "args": args}))
    return f"{name} is done"


@tool
async def send_mail(to: str, subject: str, config: RunnableConfig) -> str:
    """Send a mail."""
    return record("send_mail", config, to=to, subject=subject)


@tool
async def pay(order: str, amount: float, config: RunnableConfig, currency: Literal["EUR", "USD"] = "EUR") -> str:
    """Pay money."""
    return record("pay", config, order=order, amount=amount, currency=currency)


@tool
async def wipe(path: str, config: RunnableConfig) -> str:
    """Delete a file."""
    return record("wipe", config, path=path)


GATED: dict[str, Any] = {
    "send_mail": {"allowed_decisions": ["approve", "edit", "reject", "respond"]},
    "pay": {"allowed_decisions": ["approve", "edit", "reject"]},
    "wipe": {"allowed_decisions": ["approve", "reject"]},
}


def _agent(gated: dict[str, Any], mode: Any = "batched") -> Any:
    middleware = HumanInTheLoopMiddleware(gated, interrupt_mode=mode)
    return create_agent(Calls(), [send_mail, pay, wipe], middleware=[middleware])


batched = _agent(GATED)
per_call = _agent(GATED, "per_call")
_looked: set[str] = set()


def _only_once(request: Any) -> bool:
    """A predicate that says something else when it is asked again, on resume."""
    thread_id = request.runtime.execution_info.thread_id
    if thread_id in _looked:
        return False
    _looked.add(thread_id)
    return True


flipping = _agent({"wipe": {"allowed_decisions": ["approve", "reject"], "when": _only_once}})


def _builder(**nodes: Callable[..., Any]) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for source, target in zip([START, *nodes], [*nodes, END], strict=True):
        builder.add_edge(source, target)
    return builder


async def ask(state: State, config: RunnableConfig) -> State:
    """Ask what the input says, and keep what comes back."""
    answer = interrupt(state.get("ask"))
    leave_mark("ask", config)
    return {"got": [answer]}


async def inbox(state: State, config: RunnableConfig) -> State:
    """A graph of the older kind: it takes the first of a list, and fails with anything else."""
    answer = interrupt(state.get("ask"))[0]
    leave_mark("inbox", config)
    kinds = {
        "accept": lambda args: args,
        "ignore": lambda args: args,
        "response": str,
        "edit": lambda args: args["args"],
    }
    return {"got": [[answer["type"], kinds[answer["type"]](answer["args"])]]}


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: float = Field(gt=0)


class Order(BaseModel):
    """What is ordered."""

    customer: str = Field(min_length=1, max_length=80)
    kind: Literal["new", "repeat"]
    items: list[Item] = Field(min_length=1, max_length=5)
    note: str | None = None


async def form(state: State, config: RunnableConfig) -> State:
    answer = interrupt({"question": "What is ordered?"}, response_schema=Order)
    leave_mark("form", config)
    return {"got": [answer.model_dump()]}


async def strict_int(state: State, config: RunnableConfig) -> State:
    """Takes only a whole number, and says so too late for LangGraph: the bad answer stays with the thread."""
    answer = interrupt(state.get("ask") or "How many?")
    leave_mark("strict_int", config)
    if not isinstance(answer, int):
        raise TypeError("The number must be whole.")
    return {"got": [answer]}


async def twice(state: State, config: RunnableConfig) -> State:
    first = interrupt("first?")
    second = interrupt({"question": "second?", "after": first})
    third = interrupt("third?")
    leave_mark("twice", config)
    return {"got": [[first, second, third]]}


async def flaky(state: State, config: RunnableConfig) -> State:
    """Fails once after a good answer, through no fault of the answer, and then asks on."""
    first = interrupt("first?")
    leave_mark("flaky", config)
    if times_run(Path(os.environ["DATA_DIR"]), config["configurable"]["thread_id"], "flaky") == 1:
        raise ConnectionError("The line was down.")
    return {"got": [[first, interrupt("second?")]]}


async def careless(state: State, config: RunnableConfig) -> State:
    """Asks about a payment, and pays what it meant to all along."""
    args = {"order": "A1", "amount": 20.5}
    request = {"name": "pay", "args": args}
    allowed = {"action_name": "pay", "allowed_decisions": ["approve", "edit", "reject"]}
    interrupt({"action_requests": [request], "review_configs": [allowed]})
    await pay.ainvoke(args, config)
    return {}


async def left(state: State, config: RunnableConfig) -> State:
    return {"got": [{"left": interrupt("left?"), "amount": state.get("amount")}]}


async def right(state: State, config: RunnableConfig) -> State:
    answer = interrupt("right?")
    if state.get("is_down") or answer == "fail":
        raise RuntimeError("The right one is down.")
    return {"got": [{"right": answer, "amount": state.get("amount")}]}


async def before(state: State, config: RunnableConfig) -> State:
    leave_mark("before", config)
    return {}


async def region(state: State, config: RunnableConfig) -> State:
    return {"got": [{str(state["ask"]): interrupt({"question": f"budget of {state['ask']}?"})}]}


FANNED = tries(6, full=20)
"""How many questions one step of the graph `fanned` asks."""


def _fan(state: State) -> list[Send]:
    return [Send("region", {"ask": number}) for number in range(FANNED)]


def _parallel() -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in (("left", left), ("right", right)):
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder


def _fanned() -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("before", before)
    builder.add_node("region", region)
    builder.add_edge(START, "before")
    builder.add_conditional_edges("before", _fan, ["region"])
    return builder


asks = _builder(ask=ask).compile(name="asks")
legacy = _builder(inbox=inbox).compile(name="legacy")
schema = _builder(form=form).compile(name="schema")
poisonable = _builder(strict_int=strict_int).compile(name="poisonable")
flaking = _builder(flaky=flaky).compile(name="flaking")
heedless = _builder(careless=careless).compile(name="heedless")
in_turn = _builder(twice=twice).compile(name="in_turn")
parallel = _parallel().compile(name="parallel")
deep = _builder(
    before=before, outer=_builder(middle=_builder(before=before, strict_int=strict_int).compile()).compile()
)
deep = deep.compile(name="deep")
fanned = _fanned().compile(name="fanned")


async def nul(state: State, config: RunnableConfig) -> State:
    """Asks with a character that PostgreSQL cannot keep as text, in words and in what a tool is given."""
    request = {"action": "pay\x00", "args": {"to\x00": "A\x00B"}}
    config_of = {"allow_accept": True, "allow_edit": True}
    return {"got": [interrupt("a\x00b"), interrupt([{"action_request": request, "config": config_of}])[0]["type"]]}


with_nul = _builder(nul=nul).compile(name="with_nul")
