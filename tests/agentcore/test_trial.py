"""Routing and reducers in a preview that raise, wait for ever, block or end the process: told, and harmless."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from agentcore.graphs import author_code, state_edits
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, snapshot
from agentcore.plain.errors import Ambiguous, CannotEdit
from tests import graphs
from tests.console import wait_for

SET = {"text": {"op": "set", "value": "go"}}
released = threading.Event()


@pytest.fixture(autouse=True)
def _release() -> Iterator[None]:
    """Let what blocks go on once its test is over."""
    released.clear()
    yield
    released.set()


def merge(left: list[str], right: list[str]) -> list[str]:
    if right == ["block"]:
        released.wait(30)
    if right == ["raise"]:
        raise ZeroDivisionError("hunter2canary")
    return left + right


class State(TypedDict, total=False):
    text: str
    merged: Annotated[list[str], merge]


def with_routing(route: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("first", lambda state: {})
    builder.add_node("second", lambda state: {})
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", route, ["second"])
    return builder.compile(interrupt_before=["second"])


def when_edited(then: Any) -> Any:
    return lambda state: then() if state.get("text") == "go" else "second"


async def wait_for_ever(state: Any) -> str:
    await asyncio.sleep(3_600 if state.get("text") == "go" else 0)
    return "second"


def end_the_process() -> str:
    sys.exit(3)


def look_something_up() -> str:
    nothing: dict[str, str] = {}
    return nothing["hunter2canary"]


async def at_the_gate(graph: Any) -> tuple[Any, InMemorySaver]:
    saver = InMemorySaver()
    await run_until_pause(RunContext(graph, saver, "t"), {"text": "stay"})
    return graph, saver


async def refusal(graph: Any, saver: InMemorySaver, edits: Any = SET) -> str:
    """Preview with a short limit; return what is said, having looked that nothing was touched or held up."""
    before, stored, ticks = await snapshot(graph, saver, "t"), repr(dict(saver.storage)), 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(CannotEdit) as caught:
        await state_edits.preview(graph, saver, config_for("t"), edits, limit_seconds=0.5)
    ticking.cancel()
    assert await snapshot(graph, saver, "t") == before
    assert repr(dict(saver.storage)) == stored
    assert "hunter2canary" not in str(caught.value)
    if "in time" in str(caught.value) or "within" in str(caught.value):
        assert ticks > 5, "the worker's loop was held up"
    return str(caught.value)


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (when_edited(look_something_up), "KeyError"),
        (when_edited(end_the_process), "SystemExit"),
        (when_edited(lambda: released.wait(30)), "not done within 0.5 s"),
        (wait_for_ever, "not done within 0.5 s"),
    ],
    ids=["raises", "ends the process", "blocks", "waits for ever"],
)
async def test_routing_that_fails_or_hangs_is_told_and_does_no_harm(route: Any, said: str) -> None:
    graph, saver = await at_the_gate(with_routing(route))
    assert said in await refusal(graph, saver)
    unedited = await state_edits.preview(graph, saver, config_for("t"), {"text": {"op": "set", "value": "stay"}})
    assert unedited.next == ("second",)


@pytest.mark.parametrize(("value", "said"), [("raise", "ZeroDivisionError"), ("block", "not done within 0.5 s")])
async def test_a_reducer_that_fails_or_blocks_is_told_and_does_no_harm(value: str, said: str) -> None:
    graph, saver = await at_the_gate(with_routing(when_edited(lambda: "second")))
    assert said in await refusal(graph, saver, {"merged": {"op": "append", "value": [value]}})


async def trials_over() -> None:
    def ask() -> bool:
        return all(thread.name != "trial" for thread in threading.enumerate())

    await asyncio.to_thread(wait_for, ask, seconds=5, what="the trials to end")


async def test_after_a_few_that_block_for_good_no_more_are_begun_until_they_end() -> None:
    graph, saver = await at_the_gate(with_routing(when_edited(lambda: released.wait(30))))
    said = ""
    for _ in range(5 * author_code.MOST_STUCK):  # on a busy machine not each of them gets as far as the routing
        if "hang in this worker" in said:
            break
        said = await refusal(graph, saver)
    assert "hang in this worker" in said
    released.set()
    await trials_over()
    with pytest.raises(CannotEdit) as caught:  # what was a bool is no node
        await state_edits.preview(graph, saver, config_for("t"), SET)
    assert "hang" not in str(caught.value)


async def test_a_preview_that_nobody_waits_for_any_more_is_cancelled() -> None:
    graph, saver = await at_the_gate(with_routing(wait_for_ever))
    task = asyncio.create_task(state_edits.preview(graph, saver, config_for("t"), SET, limit_seconds=30))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await trials_over()


async def test_its_own_timeout_is_not_taken_for_ours() -> None:
    async def work() -> None:
        raise TimeoutError("of the graph")

    with pytest.raises(TimeoutError, match="of the graph"):
        await author_code.apart(work)


async def test_an_edit_that_may_come_from_either_branch_is_told_as_ambiguous() -> None:
    saver = InMemorySaver()
    await run_until_pause(RunContext(graphs.branching, saver, "t"), {"text": "x"})
    with pytest.raises(Ambiguous):
        await state_edits.preview(graphs.branching, saver, config_for("t"), SET)
