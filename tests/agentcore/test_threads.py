"""What a stored thread looks like to people: where it stands, what waits, what went wrong."""

import operator
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from psycopg import DatabaseError
from psycopg_pool import PoolTimeout
from typing_extensions import TypedDict

from agentcore.demo import operations
from agentcore.demo.cases import CASES
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, history, snapshot, with_saver
from agentcore.plain.errors import UnreadableThread
from agentcore.plain.json import digest
from agentcore.plain.types import Failed, Finished, Gate, Paused, Snapshot
from agentcore.savers.base import Saver
from agentcore.savers.opening import open_checkpointer, open_pool, saver_over
from tests import graphs


class State(TypedDict, total=False):
    words: Annotated[list[str], operator.add]
    anything: Any


async def speak(state: State) -> State:
    return {"words": ["spoken"]}


def chain(*names: str, **gates: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in names:
        builder.add_node(name, speak)
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder.compile(**gates)


@pytest.fixture(params=["memory", "postgres"])
async def saver(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Saver]:
    """Both kinds must tell the same."""
    if request.param == "memory":
        yield InMemorySaver()
        return
    async with open_checkpointer(database) as opened:
        yield opened


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


async def run(graph: Any, saver: Saver, thread_id: str, input: Any = None) -> Any:
    return await run_until_pause(RunContext(graph, saver, thread_id), input)


async def at_head(graph: Any, saver: Saver, thread_id: str) -> Snapshot:
    found = await snapshot(graph, saver, thread_id)
    assert found is not None
    return found


async def test_a_thread_nobody_started_is_none(saver: Saver, thread_id: str) -> None:
    assert await snapshot(graphs.gated, saver, thread_id) is None
    assert await history(graphs.gated, saver, thread_id) == []


async def test_a_checkpoint_that_is_not_there_is_none(saver: Saver, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    assert await snapshot(graphs.gated, saver, thread_id, str(uuid.uuid4())) is None


async def test_a_thread_before_a_gate_stands_there(saver: Saver, thread_id: str) -> None:
    paused = await run(graphs.gated, saver, thread_id, {"text": "x"})
    assert isinstance(paused, Paused)
    assert paused.snapshot == await at_head(graphs.gated, saver, thread_id)
    assert paused.snapshot.gate == Gate("before", ("act",))
    assert paused.snapshot.is_paused
    assert paused.snapshot.next == ("act",)
    assert paused.snapshot.values == {"text": "x", "notes": ["prepared"]}


async def test_a_thread_after_a_gate_stands_there(saver: Saver, thread_id: str) -> None:
    paused = await run(operations.graph, saver, thread_id, operations_input())
    assert paused.snapshot.gate == Gate("after", ("draft_change",))
    assert paused.snapshot.next == ("apply_change",)


def operations_input() -> dict[str, Any]:
    return next(case.input for case in CASES if case.graph_id == "operations")


async def test_a_thread_after_a_gate_still_stands_there_after_edits(saver: Saver, thread_id: str) -> None:
    await run(operations.graph, saver, thread_id, operations_input())
    for number in range(3):
        await with_saver(operations.graph, saver).aupdate_state(config_for(thread_id), {"plan": [f"step {number}"]})
    here = await at_head(operations.graph, saver, thread_id)
    assert here.source == "update"
    assert here.gate == Gate("after", ("draft_change",))


async def test_a_thread_before_a_gate_still_stands_there_after_an_edit(saver: Saver, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    await with_saver(graphs.gated, saver).aupdate_state(config_for(thread_id), {"text": "y"})
    assert (await at_head(graphs.gated, saver, thread_id)).gate == Gate("before", ("act",))


@pytest.mark.parametrize(("when", "stops"), [("before", ["one", "two"]), ("after", ["one"])])
async def test_a_star_gates_every_node_and_nothing_of_langgraphs_own(
    saver: Saver, thread_id: str, when: Any, stops: list[str]
) -> None:
    """A crash can leave the thread before `__start__`, where LangGraph never pauses: that is not people's turn."""
    graph = chain("one", "two", **{f"interrupt_{when}": "*"})
    outcome = await run(graph, saver, thread_id, {"words": []})
    for name in stops:
        assert outcome.snapshot.gate == Gate(when, (name,))
        outcome = await run(graph, saver, thread_id)
    assert isinstance(outcome, Finished)
    gates = {each.next: (await at(graph, saver, each)).gate for each in await history(graph, saver, thread_id)}
    assert gates.pop(("__start__",)) is None
    assert gates[()] is None
    assert (gates[("one",)] is None) == (when == "after")


async def at(graph: Any, saver: Saver, earlier: Snapshot) -> Snapshot:
    found = await snapshot(graph, saver, earlier.thread_id, earlier.checkpoint_id)
    assert found is not None
    return found


async def test_a_thread_that_is_under_way_stands_at_no_gate(saver: Saver, thread_id: str) -> None:
    graph = chain("one", "two", "three", interrupt_before=["three"], interrupt_after=["three"])
    await run(graph, saver, thread_id, {"words": []})
    seen = {each.next: (await at(graph, saver, each)).gate for each in await history(graph, saver, thread_id)}
    assert seen == {
        ("__start__",): None,
        ("one",): None,
        ("two",): None,
        ("three",): Gate("before", ("three",)),
    }


async def test_parallel_gates_are_all_named(saver: Saver, thread_id: str) -> None:
    paused = await run(graphs.branching, saver, thread_id, {"text": "x"})
    assert paused.snapshot.gate == Gate("before", ("join_left", "join_right"))


async def test_a_question_is_an_interrupt_and_no_gate(saver: Saver, thread_id: str) -> None:
    paused = await run(graphs.asking, saver, thread_id, {"text": "mei"})
    assert isinstance(paused, Paused)
    assert paused.snapshot.gate is None
    [pending] = paused.snapshot.interrupts
    assert (pending.node, pending.value) == ("ask", {"question": "What is the limit?", "for": "mei"})
    assert len(pending.id) == 32
    [task] = paused.snapshot.tasks
    assert [each["id"] for each in task["interrupts"]] == [pending.id]


async def test_a_finished_thread_waits_for_nobody(saver: Saver, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    finished = await run(graphs.gated, saver, thread_id)
    assert isinstance(finished, Finished)
    assert not finished.snapshot.is_paused
    assert finished.snapshot.next == ()
    assert finished.snapshot.tasks == ()
    assert graphs.times_run(Path(os.environ["DATA_DIR"]), thread_id, "act") == 1


async def test_the_error_of_a_failed_node_is_told(saver: Saver, thread_id: str) -> None:
    await run(graphs.failing, saver, thread_id, {"text": "x"})
    failed = await run(graphs.failing, saver, thread_id)
    assert failed == Failed("RuntimeError", "The mail server is down.", "break_once")
    [error] = (await at_head(graphs.failing, saver, thread_id)).errors
    assert "The mail server is down." in error
    assert isinstance(await run(graphs.failing, saver, thread_id), Finished)
    assert (await at_head(graphs.failing, saver, thread_id)).errors == ()


async def test_a_thread_that_langgraph_cannot_read_says_so(saver: Saver, thread_id: str) -> None:
    paused = await run(graphs.colliding, saver, thread_id, {"text": "x"})
    failed = await run(graphs.colliding, saver, thread_id)
    assert isinstance(failed, Failed)
    assert failed.error == "InvalidUpdateError"
    with pytest.raises(UnreadableThread, match="InvalidUpdateError"):
        await snapshot(graphs.colliding, saver, thread_id)
    # It harms only itself, and what came before it can still be looked at.
    older = await history(graphs.colliding, saver, thread_id, before=paused.snapshot.checkpoint_id)
    assert [each.source for each in older] == ["input"]
    assert isinstance(await run(graphs.gated, saver, f"t-{uuid.uuid4()}", {"text": "x"}), Paused)


async def test_a_database_that_is_away_is_not_an_unreadable_thread(database: str, thread_id: str) -> None:
    async with open_pool(database, max_size=1) as pool:
        saver = saver_over(pool)
        async with pool.connection() as connection:
            await connection.execute("CREATE TEMP TABLE checkpoints (broken int)")
        with pytest.raises(DatabaseError):
            await snapshot(graphs.gated, saver, thread_id)
        pool.timeout = 0.1
        async with pool.connection():
            with pytest.raises(PoolTimeout):
                await snapshot(graphs.gated, saver, thread_id)


async def test_the_history_is_paged_from_the_newest(saver: Saver, thread_id: str) -> None:
    graph = chain("one", "two", "three")
    await run(graph, saver, thread_id, {"words": []})
    everything = await history(graph, saver, thread_id)
    assert [each.step for each in everything] == [3, 2, 1, 0, -1]
    pages: list[list[Snapshot]] = []
    before = None
    while page := await history(graph, saver, thread_id, limit=2, before=before):
        pages.append(page)
        before = page[-1].checkpoint_id
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [each for page in pages for each in page] == everything
    parents = [each.parent_checkpoint_id for each in everything]
    assert parents == [*[each.checkpoint_id for each in everything[1:]], None]


async def test_what_json_cannot_carry_is_marked_opaque(saver: Saver, thread_id: str) -> None:
    await run(chain("one"), saver, thread_id, {"words": ["a"], "anything": {"when": b"\x00"}})
    here = await at_head(chain("one"), saver, thread_id)
    assert here.opaque == ("anything",)
    assert here.values["anything"]["when"]["__type__"] == "bytes"


@pytest.mark.parametrize("value", [HumanMessage("hi"), float("1e300"), {1: {"1"}}, ["\u202e"], {"__type__": "forged"}])
async def test_a_record_is_plain_data(saver: Saver, thread_id: str, value: Any) -> None:
    outcome = await run(chain("one"), saver, thread_id, {"anything": value})
    assert isinstance(outcome, Finished)
    here = outcome.snapshot
    assert len(digest([here.values, here.metadata, here.tasks])) == 64


@pytest.mark.parametrize("odd", ["../../etc", "*?[]", "a" * 2_000, "日本語", "%s", "'; DROP TABLE x; --", "\u202e"])
async def test_odd_thread_ids_are_only_ids(saver: Saver, odd: str, thread_id: str) -> None:
    odd = odd + thread_id
    await run(graphs.gated, saver, thread_id, {"text": "mine"})
    await run(chain("one"), saver, odd, {"words": ["odd"]})
    assert (await at_head(chain("one"), saver, odd)).values == {"words": ["odd", "spoken"]}
    assert (await at_head(graphs.gated, saver, thread_id)).values["text"] == "mine"


async def test_a_gate_knows_which_nodes_an_edit_can_come_from() -> None:
    saver = InMemorySaver()
    await with_saver(graphs.two_gates, saver).ainvoke({"text": "x"}, config_for("t"))
    here = await snapshot(graphs.two_gates, saver, "t")
    assert here is not None
    assert here.gate is not None
    assert here.gate.ran == ("one",)
