"""A breakpoint inside a subgraph is a breakpoint: nothing but a decision on it passes it, at whatever depth."""

import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from agentcore.graphs import resume, state_edits
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.runs import RunContext, outcome, run_until_pause
from agentcore.graphs.snapshots import config_for, snapshot, with_saver
from agentcore.graphs.subgraphs import Hold
from agentcore.plain.types import Failed, Finished, Mismatch, Outcome, Paused, Snapshot
from agentcore.savers.base import Saver
from tests import nested
from tests.agentcore.savers import open_saver
from tests.scale import IS_FULL, some

RUN_KEY = "countersign_run"
KINDS = ("memory", "sqlite", "postgres", "cached")


@pytest.fixture(params=KINDS)
async def saver(request: Any, database: str, redis: str, tmp_path: Path) -> AsyncIterator[Saver]:
    async with open_saver(request.param, database=database, redis=redis, folder=tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def unbroken() -> Iterator[None]:
    yield
    nested.crashes.clear()


class Run:
    """One thread, started and resumed as our worker does."""

    def __init__(self, graph: Any, saver: Saver) -> None:
        self.graph, self.saver, self.thread_id, self.number = graph, saver, f"t-{uuid.uuid4()}", 0

    def _context(self, *, is_retried: bool = False) -> RunContext:
        metadata = {RUN_KEY: f"run-{self.number}"}
        return RunContext(self.graph, self.saver, self.thread_id, metadata, RUN_KEY, is_retried=is_retried)

    async def start(self, input: Any = None) -> Outcome:
        self.number += input is not None
        return await resume.start(self._context(), input)

    async def decide(self, verdict: str, at: Snapshot, *, is_again: bool = False, **answer: Any) -> Outcome:
        self.number += not is_again
        given = resume.Answer(verdict, **answer)
        place = {"expected_head": at.checkpoint_id, "namespace": at.checkpoint_ns}
        return await resume.resume(self._context(is_retried=is_again), given, **place)

    async def here(self) -> Snapshot:
        found = await snapshot(self.graph, self.saver, self.thread_id)
        assert found is not None
        return found

    async def gate(self) -> Snapshot:
        here = await self.here()
        assert here.is_paused
        [gate] = here.inner
        return gate

    async def log(self) -> list[str]:
        """Return what has run, also in the subgraphs that have not ended."""
        here = await self.here()
        return list(here.inner[0].values["log"] if here.inner else here.values["log"])


async def started(way: str, depth: int, saver: Saver) -> Run:
    run = Run(nested.nested(way, depth), saver)
    paused = await run.start({"amount": 5})
    assert isinstance(paused, Paused)
    return run


PLACES = list(itertools.product(KINDS, nested.WAYS, nested.DEPTHS))


def _is_chosen(saver: int, way: int, depth: int) -> bool:
    """By default each saver is tried with one way and one depth, which are all of them together."""
    return IS_FULL or (way == saver % len(nested.WAYS) and depth == (saver + way) % len(nested.DEPTHS))


CHOSEN = [
    (kind, way, depth)
    for kind, way, depth in PLACES
    if _is_chosen(KINDS.index(kind), nested.WAYS.index(way), nested.DEPTHS.index(depth))
]
in_turn = [
    pytest.mark.parametrize("saver", some({kind: kind for kind in KINDS}, *usual), indirect=True)
    for usual in (("memory", "cached"), ("sqlite", "postgres"))
]
places = pytest.mark.parametrize(("saver", "way", "depth"), CHOSEN, indirect=["saver"])
ways = pytest.mark.parametrize(("saver", "way"), sorted({place[:2] for place in CHOSEN}), indirect=["saver"])


@places
async def test_each_gate_is_seen_and_passed_by_its_own_decision_alone(saver: Saver, way: str, depth: int) -> None:
    run = await started(way, depth, saver)
    gate = await run.gate()
    [pause] = pauses_at(run.graph, await run.here())
    assert pause.checkpoint_ns == gate.checkpoint_ns
    assert (pause.next, pause.path) == (("wire",), ("sub",) * depth)
    assert [action.args["amount"] for action in pause.actions] == [5]
    for again in (await run.start(), await outcome(RunContext(run.graph, saver, run.thread_id))):  # recovery, and Retry
        assert isinstance(again, Paused)
    assert "wire 5" not in await run.log()
    stale = await run.decide("approve", gate)
    assert isinstance(stale, Paused)
    second = await run.gate()
    assert second.next == ("book",)
    assert isinstance(await run.decide("approve", gate), Mismatch)  # an answer to the gate before
    assert isinstance(await run.decide("approve", second), Finished)
    log = await run.log()
    assert [line for line in log if line.startswith(("wire", "book"))] == ["wire 5", "book 5"]
    assert log[-1] == "after 5"


@places
async def test_an_edit_is_tried_and_made_where_the_gate_stands(saver: Saver, way: str, depth: int) -> None:
    run = await started(way, depth, saver)
    gate = await run.gate()
    edits = {"amount": {"op": "set", "value": 7}}
    at = config_for(run.thread_id, gate.checkpoint_id, gate.checkpoint_ns)
    tried = await state_edits.preview(run.graph, saver, at, edits)
    assert (tried.values["amount"], tried.next) == (7, ("wire",))
    assert await run.gate() == gate
    done = await run.decide("approve", gate, edits=edits, result_digest=tried.digest)
    assert isinstance(done, Paused)
    assert "wire 7" in await run.log()
    assert isinstance(await run.decide("approve", await run.gate()), Finished)
    assert (await run.log()).count("wire 7") == 1


@places
async def test_a_rejection_ends_the_thread_and_a_skip_the_node(saver: Saver, way: str, depth: int) -> None:
    rejected = await started(way, depth, saver)
    assert isinstance(await rejected.decide("reject", await rejected.gate(), reason="no"), Finished)
    assert not (await rejected.here()).next
    assert "after 5" not in await rejected.log()
    skipped = await started(way, depth, saver)
    assert isinstance(await skipped.decide("skip", await skipped.gate()), Paused)
    assert (await skipped.gate()).next == ("book",)
    assert isinstance(await skipped.decide("skip", await skipped.gate()), Finished)
    log = await skipped.log()
    assert log[-1] == "after 5"
    assert not [line for line in log if line.startswith(("wire", "book"))]


@places
async def test_a_node_that_crashed_is_retried_with_its_decision_and_passes_no_other_gate(
    saver: Saver, way: str, depth: int
) -> None:
    run = await started(way, depth, saver)
    gate = await run.gate()
    nested.crashes["wire"] = 1
    assert isinstance(await run.decide("approve", gate), Failed)
    assert isinstance(await run.start(), Paused)  # without the decision it does not pass
    assert isinstance(await run.decide("approve", gate, is_again=True), Paused)
    log = await run.log()
    assert [line for line in log if line.startswith(("wire", "book"))] == ["wire 5"]


@ways
async def test_a_node_that_crashed_behind_the_gated_one_is_retried_up_to_the_next_gate(saver: Saver, way: str) -> None:
    run = Run(nested.nested(way, 2, between=True), saver)
    await run.start({"amount": 5})
    gate = await run.gate()
    nested.crashes["check"] = 1
    assert isinstance(await run.decide("approve", gate), Failed)
    assert isinstance(await run.decide("approve", gate, is_again=True), Paused)
    assert (await run.gate()).next == ("book",)
    log = await run.log()
    assert [line for line in log if line.startswith(("wire", "check", "book"))] == ["wire 5", "check 5"]
    assert isinstance(await run.decide("approve", gate, is_again=True), Paused), "and again: it passes no gate"
    assert "book 5" not in await run.log()


@ways
async def test_a_crash_before_the_gate_goes_on_by_itself_to_the_gate(saver: Saver, way: str) -> None:
    run = Run(nested.nested(way, 2), saver)
    nested.crashes["prepare"] = 1
    assert isinstance(await run.start({"amount": 5}), Failed)
    assert not (await run.here()).is_paused
    assert isinstance(await run.start(), Paused)
    assert (await run.gate()).next == ("wire",)
    assert "wire 5" not in await run.log()


@in_turn[1]
async def test_gates_and_a_question_side_by_side_are_decided_one_by_one(saver: Saver) -> None:
    run = Run(nested.side_by_side(), saver)
    assert isinstance(await run.start({"amount": 5}), Paused)
    here = await run.here()
    [question, left, right] = pauses_at(run.graph, here)
    assert [pause.next for pause in (question, left, right)] == [("ask",), ("pay",), ("post",)]
    assert not here.running
    given = await run.decide("respond", here, interrupt_id=question.interrupt_id, answer="yes")
    assert isinstance(given, Paused)
    assert [gate.next for gate in (await run.here()).inner] == [("pay",), ("post",)]
    there = (await run.here()).at(left.checkpoint_ns)
    assert there is not None
    assert isinstance(await run.decide("approve", there), Paused)
    assert [gate.next for gate in (await run.here()).inner] == [("post",)]
    there = (await run.here()).at(right.checkpoint_ns)
    assert there is not None
    assert isinstance(await run.decide("approve", there), Finished)
    assert sorted(await run.log()) == ["asked yes", "end 5", "pay 5", "post 5"]


async def test_control_what_is_not_held_is_passed() -> None:
    """Without the hold, the answer to the question runs what waits at both gates."""
    saver = InMemorySaver()
    run = Run(nested.side_by_side(), saver)
    await run.start({"amount": 5})
    await with_saver(run.graph, saver).ainvoke(None, config_for(run.thread_id))
    assert not (await run.here()).inner
    kept = Run(nested.side_by_side(), saver)
    await kept.start({"amount": 5})
    hold = Hold(gate.checkpoint_ns for gate in (await kept.here()).inner)
    await run_until_pause(RunContext(kept.graph, saver, kept.thread_id), None, hold=hold)
    assert len((await kept.here()).inner) == 2


@in_turn[0]
async def test_an_agent_as_a_node_stops_before_its_tools(saver: Saver) -> None:
    run = Run(nested.agent_as_node(), saver)
    assert isinstance(await run.start({"messages": [("user", "pay ann")]}), Paused)
    gate = await run.gate()
    [pause] = pauses_at(run.graph, await run.here())
    assert (pause.path, pause.tools) == (("agent",), ("wire_money",))
    assert isinstance(await run.start(), Paused)
    assert isinstance(await run.decide("approve", gate), Finished)
    told = [message.get("content") for message in (await run.here()).values["messages"]]
    assert told[-2:] == ["wired 5.0 to ann", "done"]


@in_turn[1]
async def test_a_rejection_inside_goes_where_its_node_says(saver: Saver) -> None:
    route = {"approval": {"reject": {"goto": "done", "reason_to": "amount"}}}
    run = Run(nested.around(nested.gated(wire=route)), saver)
    await run.start({"amount": 5})
    assert isinstance(await run.decide("reject", await run.gate(), reason="too much"), Finished)
    log = await run.log()
    assert log[-2:] == ["done too much", "after too much"]
    assert not [line for line in log if line.startswith(("wire", "book"))]


async def test_what_cannot_be_seen_is_not_passed() -> None:
    """A graph that is built inside a node: nobody can tell a breakpoint there from a crash, so nothing passes it."""

    run = Run(nested.around(nested.hidden), InMemorySaver())
    stopped = await run.start({"amount": 5})
    assert isinstance(stopped, Failed)
    assert stopped.error == "Unfinished"
    assert isinstance(await run.start(), Failed)
    assert "after 5" not in await run.log()


def behind_its_own_gate(inner: Any) -> Any:
    builder = StateGraph(nested.State).add_node("intake", nested.step("intake")).add_node("sub", inner)
    return builder.add_edge(START, "intake").add_edge("intake", "sub").compile(interrupt_before=["sub"])


@in_turn[0]
async def test_a_gate_that_an_earlier_turn_has_left_is_not_passed(saver: Saver) -> None:
    """LangGraph goes on with a history of `checkpointer=True` where it stood, though the thread has new input."""
    run = Run(behind_its_own_gate(nested.gated(True)), saver)
    await run.start({"amount": 1})
    await run.decide("approve", await run.here())
    assert (await run.gate()).next == ("wire",)
    await with_saver(run.graph, saver).ainvoke({"amount": 2}, config_for(run.thread_id))  # the agent itself: a new turn
    here = await run.here()
    assert (here.gate and here.gate.nodes, here.inner) == (("sub",), ())
    await run.decide("approve", here)
    assert "wire 1" not in (await run.here()).values["log"]


@in_turn[1]
async def test_a_rejection_leaves_no_gate_behind_for_the_next_turn(saver: Saver) -> None:
    run = Run(nested.nested("own", 2), saver)
    await run.start({"amount": 1})
    await run.decide("reject", await run.gate(), reason="no")
    assert isinstance(await run.start({"amount": 2}), Paused)
    assert (await run.gate()).values["amount"] == 2
    log = await run.log()
    assert [line for line in log if line.startswith("wire")] == []
