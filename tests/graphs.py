"""Small graphs for tests. A node that runs leaves a file, so that a test can count how often."""

import asyncio
import operator
import os
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    seconds: float
    text: str
    count: int
    flag: bool
    notes: Annotated[list[str], operator.add]


def leave_mark(node: str, config: RunnableConfig) -> None:
    folder = Path(os.environ["DATA_DIR"]) / "ran" / config["configurable"]["thread_id"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{node}-{uuid.uuid4()}").touch()


def times_run(data_dir: Path, thread_id: str, node: str) -> int:
    """Count how often a node began."""
    return len(list((data_dir / "ran" / thread_id).glob(f"{node}-*")))


async def prepare(state: State, config: RunnableConfig) -> State:
    leave_mark("prepare", config)
    await asyncio.sleep(state.get("seconds", 0) if state.get("flag") else 0)
    if state.get("flag"):
        await asyncio.to_thread(wait_for_the_end_of, Path(state.get("text", "-")))
    return {"notes": ["prepared"]}


def wait_for_the_end_of(file: Path) -> None:
    """A test that makes this file keeps the node here until it removes it."""
    while file.is_file():
        time.sleep(0.05)


async def act(state: State, config: RunnableConfig) -> State:
    """The gated node: says that it began, takes its time, says that it ended."""
    leave_mark("act", config)
    await asyncio.sleep(state.get("seconds", 0))
    return {"notes": ["acted"], "text": "done"}


async def ask(state: State, config: RunnableConfig) -> State:
    answer: Any = interrupt({"question": "What is the limit?", "for": state.get("text", "")})
    return {"notes": [f"answered {answer}"]}


async def ask_each(state: State) -> State:
    answer: Any = interrupt({"question": f"May number {state['count']} go?"})
    return {"notes": [f"{state['count']}: {answer}"]}


async def left(state: State) -> State:
    return {"notes": ["left"]}


async def right(state: State) -> State:
    return {"notes": ["right"]}


async def leak(state: State) -> State:
    raise RuntimeError("cannot reach postgresql://agent:hunter2-canary@db/x with token=sk-12345678")


async def break_once(state: State, config: RunnableConfig) -> State:
    leave_mark("break_once", config)
    if times_run(Path(os.environ["DATA_DIR"]), config["configurable"]["thread_id"], "break_once") == 1:
        raise RuntimeError("The mail server is down.")
    return {"notes": ["mended"]}


def _builder(**nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    names = list(nodes)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder


def act_in_a_thread(state: State, config: RunnableConfig) -> State:
    """A node that is no coroutine: LangGraph runs it in a thread, which nobody can cancel."""
    leave_mark("act_in_a_thread", config)
    time.sleep(state.get("seconds", 0))
    return {"notes": ["acted"]}


blocking = _builder(prepare=prepare, act=act_in_a_thread).compile(interrupt_before=["act"], name="blocking")
gated = _builder(prepare=prepare, act=act).compile(interrupt_before=["act"], name="gated")
asking = _builder(prepare=prepare, ask=ask, act=act).compile(interrupt_before=["act"], name="asking")

_fan: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_fan.add_node("ask_each", ask_each)
_fan.add_conditional_edges(START, lambda state: [Send("ask_each", {"count": n}) for n in range(state["count"])])
fanning = _fan.compile(name="fanning")
"""One step that asks `count` questions at once."""
leaking = _builder(prepare=prepare, leak=leak).compile(interrupt_before=["leak"], name="leaking")
two_gates = _builder(one=left, first_gate=act, between=right, second_gate=act).compile(
    interrupt_before=["first_gate", "second_gate"], name="two_gates"
)
stepping = _builder(**{f"step_{number}": left for number in range(40)}).compile(name="stepping")
failing = _builder(prepare=prepare, break_once=break_once).compile(interrupt_before=["break_once"], name="failing")
raising = _builder(prepare=prepare, break_once=break_once).compile(name="raising")


def _two_writers() -> StateGraph[Any, Any, Any, Any]:
    """Two nodes write one channel in one step: LangGraph then cannot even read the thread."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in ("one", "two"):
        builder.add_node(name, act)
        builder.add_edge(START, name)
    return builder


colliding = _two_writers().compile(interrupt_before=["one", "two"], name="colliding")


def make_typed() -> StateGraph[Any, Any, Any, Any]:
    """A factory of a builder without gates."""
    return _builder(prepare=prepare)


_branches: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_branches.add_node("left", left)
_branches.add_node("right", right)
_branches.add_node("join_left", left)
_branches.add_node("join_right", right)
_branches.add_edge(START, "left")
_branches.add_edge(START, "right")
_branches.add_edge("left", "join_left")
_branches.add_edge("right", "join_right")
branching = _branches.compile(interrupt_before=["join_left", "join_right"], name="branching")


async def revise(state: State, config: RunnableConfig) -> State:
    leave_mark("revise", config)
    return {"notes": [f"revised because {state.get('text', '')}"]}


_review: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_review.add_node("prepare", prepare)
_review.add_node("revise", revise)
_review.add_node("act", act, metadata={"approval": {"reject": {"goto": "revise", "reason_to": "text"}}})
_review.add_edge(START, "prepare")
_review.add_edge("prepare", "act")
_review.add_edge("revise", "act")
_review.add_edge("act", END)
reviewing = _review.compile(interrupt_before=["act"], name="reviewing")

voting = _builder(prepare=prepare, act=act).compile(interrupt_before=["act"], name="voting")

_written: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_written.add_node("prepare", prepare)
_written.add_node("act", act, metadata={"approval": {"policy": {"approvals": 2, "needs_reason": True}}})
_written.add_edge(START, "prepare")
_written.add_edge("prepare", "act")
_written.add_edge("act", END)
written = _written.compile(interrupt_before=["act"], name="written")


def many_channels(count: int) -> Any:
    """Return a graph whose checkpoints have very many values."""
    state = TypedDict("state", {f"c{number}": list[int] for number in range(count)}, total=False)  # type: ignore[misc]
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    builder.add_node("nothing", lambda state: {})
    builder.add_edge(START, "nothing")
    builder.add_edge("nothing", END)
    return builder.compile(name="many_channels")
