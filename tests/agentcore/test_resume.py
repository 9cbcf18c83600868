"""What people decided at a breakpoint is what the graph does: once, and also when the worker dies in between."""

import operator
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from agentcore.demo import operations, refund
from agentcore.demo.cases import CASES
from agentcore.graphs import resume, state_edits
from agentcore.graphs.resume import Answer
from agentcore.graphs.runs import RunContext
from agentcore.graphs.snapshots import config_for, history, snapshot, with_saver
from agentcore.plain.types import Failed, Finished, Gate, Mismatch, Outcome, Paused, Snapshot, Step
from agentcore.savers.base import Saver
from agentcore.savers.opening import open_checkpointer
from tests import graphs
from tests.console import refund as a_refund

RUN_KEY = "countersign_run"


class Killed(BaseException):
    """The worker died here: no `except Exception` may stop it."""


class Worker:
    """Starts and resumes one thread as our worker does, and can be killed on the way."""

    def __init__(self, graph: Any, saver: Saver, *, run_id: str = "run-1") -> None:
        self.graph, self.saver, self.run_id = graph, saver, run_id
        self.thread_id = f"t-{uuid.uuid4()}"
        self.entered = 0
        self.steps: list[tuple[str, str]] = []
        self.dies_entering = False
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.dies_at: tuple[str, str] | None = None

    async def enter(self) -> None:
        self.entered += 1
        if self.meanwhile:
            await self.meanwhile()
        if self.dies_entering:
            raise Killed

    async def on_step(self, step: Step) -> None:
        self.steps.append((step.node, step.state))
        if self.dies_at == (step.node, step.state):
            raise Killed

    def _context(self) -> RunContext:
        return RunContext(
            self.graph,
            self.saver,
            self.thread_id,
            metadata={RUN_KEY: self.run_id, "decision": "d-1"},
            run_key=RUN_KEY,
            before_entering=self.enter,
            on_step=self.on_step,
        )

    async def start(self, input: dict[str, Any]) -> Outcome:
        return await resume.start(self._context(), input)

    async def resume(self, answer: Answer, *, head: str, shown: tuple[str, ...] = ()) -> Outcome:
        return await resume.resume(self._context(), answer, expected_head=head, shown=shown)

    async def pause(self, input: dict[str, Any]) -> Snapshot:
        """Start and return the pause; what follows is another run."""
        outcome = await self.start(input)
        assert isinstance(outcome, Paused), outcome
        self.run_id, self.entered = "run-2", 0
        self.steps.clear()
        return outcome.snapshot

    async def head(self) -> Snapshot:
        found = await snapshot(self.graph, self.saver, self.thread_id)
        assert found is not None
        return found

    def times(self, node: str) -> int:
        return graphs.times_run(Path(os.environ["DATA_DIR"]), self.thread_id, node)


@pytest.fixture(params=["memory", "postgres"])
async def saver(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Saver]:
    if request.param == "memory":
        database = "memory://"
    async with open_checkpointer(database) as opened:
        yield opened


@pytest.fixture
def worker(saver: Saver) -> Worker:
    return Worker(graphs.gated, saver)


def edit(op: str, value: Any, channel: str = "notes") -> dict[str, Any]:
    return {channel: {"op": op, "value": value}}


# Approve


async def test_an_approved_node_runs_once(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    assert worker.times("act") == 0
    outcome = await worker.resume(Answer("approve"), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values == {"text": "done", "notes": ["prepared", "acted"]}
    assert (worker.times("act"), worker.entered) == (1, 1)
    assert worker.steps == [("act", "running"), ("act", "done")]


async def test_every_checkpoint_of_a_run_names_the_run_and_the_decision(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    await worker.resume(Answer("approve", edits=edit("append", ["e"])), head=paused.checkpoint_id)
    after = await history(worker.graph, worker.saver, worker.thread_id)
    assert [each.metadata[RUN_KEY] for each in after] == ["run-2", "run-2", "run-1", "run-1", "run-1"]
    assert {each.metadata["decision"] for each in after} == {"d-1"}


async def test_an_approved_edit_is_what_the_node_gets(saver: Saver) -> None:
    worker = Worker(refund.graph, saver)
    paused = await worker.pause(a_refund(amount=640))
    edits = edit("set", 80.0, "amount")
    seen = await state_edits.preview(refund.graph, saver, config_for(worker.thread_id), edits)
    assert seen.next == ("pay_refund",)
    outcome = await worker.resume(Answer("approve", edits=edits, result_digest=seen.digest), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert (outcome.snapshot.values["route"], outcome.snapshot.values["amount"]) == ("paid", 80.0)


@pytest.mark.parametrize("death", ["entering", "in the node"])
async def test_a_worker_that_dies_after_the_edit_does_not_edit_twice(worker: Worker, death: str) -> None:
    paused = await worker.pause({"text": "x"})
    answer = Answer("approve", edits=edit("append", ["edited"]))
    worker.dies_entering = death == "entering"
    worker.dies_at = ("act", "running") if death == "in the node" else None
    with pytest.raises(Killed):
        await worker.resume(answer, head=paused.checkpoint_id)
    assert (await worker.head()).values["notes"] == ["prepared", "edited"]
    worker.dies_entering, worker.dies_at = False, None
    outcome = await worker.resume(answer, head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values["notes"] == ["prepared", "edited", "acted"]


async def test_an_edit_by_someone_else_is_not_taken_for_ours(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    answer = Answer("approve", edits=edit("append", ["edited"]))
    worker.dies_entering = True
    with pytest.raises(Killed):
        await worker.resume(answer, head=paused.checkpoint_id)
    worker.dies_entering, worker.run_id = False, "run-3"
    outcome = await worker.resume(answer, head=paused.checkpoint_id)
    assert isinstance(outcome, Mismatch)
    assert worker.times("act") == 0


async def test_an_edit_that_led_elsewhere_than_shown_runs_nothing(saver: Saver) -> None:
    worker = Worker(refund.graph, saver)
    paused = await worker.pause(a_refund(amount=640))
    shown = await state_edits.preview(refund.graph, saver, config_for(worker.thread_id), edit("set", 80.0, "amount"))
    answer = Answer("approve", edits=edit("set", 81.0, "amount"), result_digest=shown.digest)
    outcome = await worker.resume(answer, head=paused.checkpoint_id)
    assert isinstance(outcome, Mismatch)
    assert "preview" in outcome.reason
    assert outcome.expected == shown.digest != outcome.found
    assert (worker.entered, worker.steps) == (0, [])
    assert (await worker.head()).values["route"] is None


async def test_an_edit_the_graph_refuses_fails_and_runs_nothing(saver: Saver) -> None:
    worker = Worker(graphs.branching, saver)
    paused = await worker.pause({"text": "x"})
    outcome = await worker.resume(Answer("approve", edits=edit("set", "y", "text")), head=paused.checkpoint_id)
    assert isinstance(outcome, Failed)
    assert (outcome.error, worker.entered) == ("InvalidEdit", 0)
    assert await worker.head() == paused


@pytest.mark.parametrize("verdict", ["approve", "reject", "skip"])
async def test_a_thread_that_moved_is_a_conflict_and_is_left_alone(worker: Worker, verdict: str) -> None:
    paused = await worker.pause({"text": "x"})
    await with_saver(worker.graph, worker.saver).aupdate_state(config_for(worker.thread_id), {"text": "moved"})
    moved = await worker.head()
    outcome = await worker.resume(Answer(verdict, edits=edit("append", ["e"])), head=paused.checkpoint_id)
    assert outcome == Mismatch(expected=paused.checkpoint_id, found=moved.checkpoint_id)
    assert "moved" in outcome.reason
    assert await worker.head() == moved
    assert (worker.times("act"), worker.entered) == (0, 0)


async def test_a_thread_that_is_gone_is_a_conflict(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    await worker.saver.adelete_thread(worker.thread_id)
    outcome = await worker.resume(Answer("approve"), head=paused.checkpoint_id)
    assert outcome == Mismatch(expected=paused.checkpoint_id, found=None)


async def test_a_thread_that_moves_while_we_enter_is_a_conflict(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})

    async def moved() -> None:
        await with_saver(worker.graph, worker.saver).aupdate_state(config_for(worker.thread_id), {"text": "moved"})

    worker.meanwhile = moved
    assert isinstance(await worker.resume(Answer("approve"), head=paused.checkpoint_id), Mismatch)
    assert worker.times("act") == 0


async def test_a_node_that_raises_fails_and_may_be_approved_again(saver: Saver) -> None:
    worker = Worker(graphs.failing, saver)
    paused = await worker.pause({"text": "x"})
    failed = await worker.resume(Answer("approve"), head=paused.checkpoint_id)
    assert failed == Failed("RuntimeError", "The mail server is down.", "break_once")
    assert worker.steps[-1] == ("break_once", "failed")
    outcome = await worker.resume(Answer("approve"), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)


# Reject


async def test_a_rejected_node_never_runs(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    outcome = await worker.resume(Answer("reject", reason="No."), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values == paused.values
    assert (worker.times("act"), worker.entered) == (0, 0)


async def test_a_rejection_with_a_route_runs_that_node_and_not_the_gated_one(saver: Saver) -> None:
    worker = Worker(graphs.reviewing, saver)
    paused = await worker.pause({"text": "x"})
    outcome = await worker.resume(Answer("reject", reason="Too dear."), head=paused.checkpoint_id)
    assert isinstance(outcome, Paused)
    assert outcome.snapshot.gate == Gate("before", ("act",))
    assert outcome.snapshot.values["notes"] == ["prepared", "revised because Too dear."]
    assert (worker.times("revise"), worker.times("act"), worker.entered) == (1, 0, 1)
    assert [node for node, _ in worker.steps] == ["revise", "revise"]


async def test_a_worker_that_dies_between_ending_and_routing_still_routes(saver: Saver) -> None:
    worker = Worker(graphs.reviewing, saver)
    paused = await worker.pause({"text": "x"})
    worker.dies_entering = True
    with pytest.raises(Killed):
        await worker.resume(Answer("reject", reason="No."), head=paused.checkpoint_id)
    assert (await worker.head()).next == ()
    worker.dies_entering = False
    outcome = await worker.resume(Answer("reject", reason="No."), head=paused.checkpoint_id)
    assert isinstance(outcome, Paused)
    assert (worker.times("revise"), worker.times("act")) == (1, 0)


async def test_a_rejection_of_parallel_nodes_runs_none_of_them(saver: Saver) -> None:
    worker = Worker(graphs.branching, saver)
    paused = await worker.pause({"text": "x"})
    outcome = await worker.resume(Answer("reject"), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values == paused.values


async def test_a_rejection_again_after_a_crash_ends_it_once(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    first = await worker.resume(Answer("reject"), head=paused.checkpoint_id)
    again = await worker.resume(Answer("reject"), head=paused.checkpoint_id)
    assert first == again
    assert len(await history(worker.graph, worker.saver, worker.thread_id)) == 4


# Skip


class Words(TypedDict, total=False):
    words: Annotated[list[str], operator.add]


def chain(**gates: Any) -> Any:
    """one -> two -> three, each of which says its name."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Words)
    names = ("one", "two", "three")
    for name in names:
        builder.add_node(name, lambda state, name=name: {"words": [name]})
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder.compile(**gates)


async def test_a_skipped_node_does_not_run_and_the_next_one_does(saver: Saver) -> None:
    worker = Worker(chain(interrupt_before=["two"]), saver)
    paused = await worker.pause({"words": []})
    outcome = await worker.resume(Answer("skip"), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values == {"words": ["one", "three"]}


async def test_what_is_given_with_a_skip_counts_as_the_nodes_output(saver: Saver) -> None:
    worker = Worker(chain(interrupt_before=["two"]), saver)
    paused = await worker.pause({"words": []})
    outcome = await worker.resume(Answer("skip", edits=edit("append", ["by hand"], "words")), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values == {"words": ["one", "by hand", "three"]}


async def test_a_skip_into_another_gate_pauses_there(saver: Saver) -> None:
    worker = Worker(chain(interrupt_before=["two", "three"]), saver)
    paused = await worker.pause({"words": []})
    outcome = await worker.resume(Answer("skip"), head=paused.checkpoint_id)
    assert isinstance(outcome, Paused)
    assert outcome.snapshot.gate == Gate("before", ("three",))
    assert (worker.entered, worker.steps) == (0, [])
    finished = await worker.resume(Answer("approve"), head=outcome.snapshot.checkpoint_id)
    assert isinstance(finished, Finished)
    assert finished.snapshot.values == {"words": ["one", "three"]}


async def test_a_skip_behind_an_after_gate_asks_no_second_question(saver: Saver) -> None:
    worker = Worker(operations.graph, saver)
    paused = await worker.pause(next(case.input for case in CASES if case.graph_id == "operations"))
    assert paused.gate == Gate("after", ("draft_change",))
    outcome = await worker.resume(Answer("skip"), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished), outcome
    assert outcome.snapshot.values["applied"] is None


async def test_a_skip_of_the_last_node_ends_the_thread(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    outcome = await worker.resume(Answer("skip"), head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert (outcome.snapshot.next, worker.times("act"), worker.entered) == ((), 0, 0)


async def test_a_worker_that_dies_after_a_skip_does_not_skip_twice(saver: Saver) -> None:
    worker = Worker(chain(interrupt_before=["two"]), saver)
    paused = await worker.pause({"words": []})
    answer = Answer("skip", edits=edit("append", ["by hand"], "words"))
    worker.dies_entering = True
    with pytest.raises(Killed):
        await worker.resume(answer, head=paused.checkpoint_id)
    worker.dies_entering = False
    outcome = await worker.resume(answer, head=paused.checkpoint_id)
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values == {"words": ["one", "by hand", "three"]}


# Start


async def test_a_start_again_after_a_crash_goes_on_and_does_not_repeat_the_input(saver: Saver) -> None:
    worker = Worker(chain(), saver)
    worker.dies_at = ("two", "running")
    with pytest.raises(Killed):
        await worker.start({"words": ["input"]})
    worker.dies_at = None
    outcome = await worker.start({"words": ["input"]})
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values["words"] == ["input", "one", "two", "three"]
    assert worker.steps.count(("one", "done")) == 1


async def test_a_start_that_had_paused_or_finished_is_not_begun_again(worker: Worker) -> None:
    paused = await worker.start({"text": "x"})
    assert await worker.start({"text": "x"}) == paused
    assert (worker.times("prepare"), worker.entered) == (1, 1)
    other = Worker(chain(), worker.saver)
    finished = await other.start({"words": ["input"]})
    assert isinstance(finished, Finished)
    assert await other.start({"words": ["input"]}) == finished


async def test_a_gate_on_every_node_does_not_hide_a_start_that_crashed(saver: Saver) -> None:
    """The input checkpoint stands before LangGraph's own `__start__`, which no `*` gates."""
    worker = Worker(chain(interrupt_before="*"), saver)
    await worker.start({"words": ["input"]})
    [*_, first] = await history(worker.graph, saver, worker.thread_id)
    assert first.next == ("__start__",)
    here = await snapshot(worker.graph, saver, worker.thread_id, first.checkpoint_id)
    assert here is not None
    assert not here.is_paused


async def test_new_input_to_a_finished_thread_is_taken(saver: Saver) -> None:
    worker = Worker(chain(), saver)
    await worker.start({"words": ["input"]})
    worker.run_id = "run-2"
    outcome = await worker.start({"words": ["again"]})
    assert isinstance(outcome, Finished)
    assert outcome.snapshot.values["words"] == ["input", "one", "two", "three", "again", "one", "two", "three"]


# Code that changed while people decided


@pytest.mark.parametrize(
    "answer",
    [
        Answer("approve"),
        Answer("approve", edits=edit("append", ["edited"])),
        Answer("skip"),
    ],
    ids=["approve", "edit", "skip"],
)
async def test_what_was_approved_of_a_node_that_is_gone_is_not_told_as_done(worker: Worker, answer: Answer) -> None:
    paused = await worker.pause({"text": "x"})
    before, worker.graph = worker.graph, built("pay_out")
    outcome = await worker.resume(answer, head=paused.checkpoint_id, shown=paused.next)
    assert isinstance(outcome, Failed)
    assert outcome.error == "NodeGone" and "The graph has no node act any more." in outcome.message
    assert (worker.times("act"), worker.entered) == (0, 0)
    worker.graph = before
    assert (await worker.head()).checkpoint_id == paused.checkpoint_id, "nothing was written"
    again = await worker.resume(answer, head=paused.checkpoint_id, shown=paused.next)
    assert isinstance(again, Finished), "the node is back"
    assert worker.times("act") == (0 if answer.verdict == "skip" else 1)


async def test_a_rejection_of_a_node_that_is_gone_ends_the_thread(worker: Worker) -> None:
    paused = await worker.pause({"text": "x"})
    worker.graph = built("pay_out")
    outcome = await worker.resume(Answer("reject"), head=paused.checkpoint_id, shown=paused.next)
    assert isinstance(outcome, Finished)
    assert worker.times("act") == 0


async def test_an_answer_to_a_node_that_is_gone_is_not_given(saver: Saver) -> None:
    worker = Worker(built("ask", node=graphs.ask, gates=()), saver)
    paused = await worker.pause({"text": "x"})
    worker.graph = built("ask_otherwise", node=graphs.ask, gates=())
    answer = Answer("respond", answer=5, interrupt_id=paused.interrupts[0].id)
    outcome = await worker.resume(answer, head=paused.checkpoint_id, shown=("ask",))
    assert isinstance(outcome, Failed)
    assert outcome.error == "NodeGone" and "would run nothing now, not ask" in outcome.message


def built(name: str, *, node: Any = graphs.act, gates: tuple[str, ...] | None = None) -> Any:
    """Return prepare and one node behind it, under this name."""
    builder = StateGraph(graphs.State)
    builder.add_node("prepare", graphs.prepare)
    builder.add_node(name, node)
    builder.add_edge(START, "prepare")
    builder.add_edge("prepare", name)
    builder.add_edge(name, END)
    return builder.compile(interrupt_before=[name] if gates is None else list(gates))
