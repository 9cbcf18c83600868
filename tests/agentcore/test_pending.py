"""What waits at a question, and what is stored with it already: read, taken back and forgotten, over every saver."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from agentcore.dialects import POISONED, STEP_FAILED
from agentcore.graphs import questions, resume, state_edits
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.resume import Answer
from agentcore.graphs.runs import RunContext
from agentcore.graphs.snapshots import config_for, read_pending_tasks, snapshot, with_saver
from agentcore.plain.errors import UnreadableThread
from agentcore.plain.types import Failed, Finished, Mismatch, Outcome, Paused, PendingInterrupt, Snapshot
from tests import dialects
from tests.agentcore.savers import open_saver
from tests.dialects import State
from tests.scale import crossed, some

KINDS = {kind: kind for kind in ("memory", "sqlite", "postgres")}
in_sqlite = pytest.mark.parametrize("saver", some(KINDS, "memory", "sqlite"), indirect=True)
in_postgres = pytest.mark.parametrize("saver", some(KINDS, "memory", "postgres"), indirect=True)


@pytest.fixture(params=KINDS)
async def saver(request: pytest.FixtureRequest, database: str, redis: str, tmp_path: Path) -> AsyncIterator[Any]:
    async with open_saver(request.param, database=database, redis=redis, folder=tmp_path) as opened:
        yield opened


def graph_of(*nodes: Any) -> Any:
    """A graph of nodes that all run in one step."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    return builder.compile()


async def quiet(state: State) -> State:
    return {}


async def picky(state: State) -> State:
    """The second answer must be a number."""
    first, second = interrupt("first?"), interrupt("second?")
    return {"got": [[first, second + 0]]}


class Thread:
    """A thread that is run as our worker does, or as an agent's own code."""

    def __init__(self, graph: Any, saver: Any) -> None:
        self.graph, self.saver, self.thread_id = graph, saver, f"t-{uuid.uuid4()}"

    async def start(self, **input: Any) -> "Thread":
        await self.bare({"amount": 1, **input})
        return self

    async def bare(self, input: Any) -> str:
        """Give it to LangGraph alone; return the name of the error, or an empty string."""
        try:
            await with_saver(self.graph, self.saver).ainvoke(input, config_for(self.thread_id), durability="sync")
        except Exception as error:  # noqa: BLE001 - a node may raise anything
            return type(error).__name__
        return ""

    async def here(self) -> Snapshot:
        found = await snapshot(self.graph, self.saver, self.thread_id)
        assert found is not None
        return found

    async def waiting(self, value: Any = None) -> PendingInterrupt:
        """Return the question with this payload, or the only one."""
        found = [each for each in (await self.here()).interrupts if value in (None, each.value)]
        assert len(found) == 1, found
        return found[0]

    async def answer(
        self, given: Any, to: Any = None, *, attempt: int = 1, meanwhile: Any = None, **edits: Any
    ) -> Outcome:
        """Answer as our worker does; `meanwhile` is what the agent's own code does just before the graph is called."""

        async def enter() -> None:
            if meanwhile is not None:
                await self.bare(meanwhile)

        told: dict[str, Any] = {"metadata": {"run": "r-1"}, "run_key": "run", "before_entering": enter}
        context = RunContext(self.graph, self.saver, self.thread_id, is_retried=attempt > 1, **told)
        answer = Answer("respond", edits=edits, interrupt_id=(await self.waiting(to)).id, answer=given)
        return await resume.resume(context, answer, expected_head=(await self.here()).checkpoint_id)

    async def ask_again(self) -> Outcome:
        return await resume.ask_again(RunContext(self.graph, self.saver, self.thread_id))

    async def got(self) -> Any:
        return (await self.here()).values["got"]


def put(value: Any, op: str = "set") -> dict[str, Any]:
    return {"op": op, "value": value}


# Poisoned


@pytest.mark.parametrize("graph", [dialects.poisonable, dialects.deep], ids=["at the top", "two levels down"])
async def test_an_answer_that_a_node_failed_with_is_seen_and_taken_back(saver: Any, graph: Any) -> None:
    thread = await Thread(graph, saver).start()
    asked = await thread.waiting()
    assert not asked.is_poisoned
    assert await thread.bare(Command(resume={asked.id: "many"})) == "TypeError"
    here = await thread.here()
    assert (here.interrupts[0].id, here.interrupts[0].is_poisoned) == (asked.id, True)
    assert here.answers == {asked.id: "many"}
    [pause] = pauses_at(graph, here)
    assert (pause.allowed_verdicts, pause.why_not) == ((), POISONED)
    assert await thread.bare(Command(resume={asked.id: 4})) == "TypeError", "the control: it is given the bad one"

    assert isinstance(await thread.ask_again(), Paused)
    again = await thread.waiting()
    assert (again.id, again.is_poisoned, (await thread.here()).answers) == (asked.id, False, {})
    assert (await thread.here()).errors == ()
    assert isinstance(await thread.answer(4), Finished)
    assert await thread.got() == [4]


@in_sqlite
async def test_only_the_answer_that_failed_is_taken_back(saver: Any) -> None:
    thread = await Thread(graph_of(picky), saver).start()
    await thread.answer("A")
    failed = await thread.answer("no number")
    assert isinstance(failed, Failed)
    assert (failed.error, failed.node) == ("TypeError", "picky")
    here = await thread.here()
    assert sorted(map(str, here.answers.values())) == ["A", "no number"]
    assert isinstance(await thread.ask_again(), Paused)
    assert (await thread.waiting()).value == "second?", "the first is not asked again"
    await thread.answer(2)
    assert await thread.got() == [["A", 2]]


@in_postgres
async def test_asking_again_keeps_what_others_of_the_step_have_done(saver: Any) -> None:
    thread = await Thread(dialects.parallel, saver).start()
    await thread.answer("L", "left?")
    assert isinstance(await thread.answer("fail", "right?"), Failed)
    assert isinstance(await thread.ask_again(), Paused)
    assert (await thread.here()).next == ("right",)
    await thread.answer("R", "right?")
    assert await thread.got() == [{"left": "L", "amount": 1}, {"right": "R", "amount": 1}]


@in_sqlite
async def test_a_question_beside_a_poisoned_one_waits_until_that_is_mended(saver: Any) -> None:
    thread = await Thread(dialects.parallel, saver).start()
    await thread.answer("fail", "right?")
    left, right = pauses_at(thread.graph, await thread.here())
    assert (left.why_not, right.why_not) == (STEP_FAILED, POISONED)
    assert left.allowed_verdicts == right.allowed_verdicts == ()
    await thread.ask_again()
    assert [each.why_not for each in pauses_at(thread.graph, await thread.here())] == ["", ""]
    await thread.answer("L", "left?")
    assert isinstance(await thread.answer("R", "right?"), Finished)


@in_postgres
async def test_asking_again_where_nothing_failed_changes_nothing(saver: Any) -> None:
    thread = await Thread(dialects.in_turn, saver).start()
    await thread.answer("A")
    before = await thread.here()
    assert await thread.ask_again() == Paused(before)


# Where it waits


@in_sqlite
async def test_a_question_knows_the_nodes_down_to_it(saver: Any) -> None:
    thread = await Thread(dialects.deep, saver).start()
    asked = await thread.waiting()
    assert (asked.node, asked.path) == ("outer", ("outer", "middle", "strict_int"))


@in_postgres
async def test_a_node_that_said_nothing_has_ended_all_the_same(saver: Any) -> None:
    thread = await Thread(graph_of(quiet, dialects.right), saver).start()
    assert (await thread.here()).next == ("right",)
    bound = await with_saver(thread.graph, saver).aget_state(config_for(thread.thread_id), subgraphs=True)
    assert [place.path for place in await questions.read_pending_tasks(saver, bound)] == [("right",)]
    await thread.answer("R")
    assert await thread.got() == [{"right": "R", "amount": 1}]


@in_sqlite
async def test_each_question_of_a_fan_out_has_an_id_of_its_own(saver: Any) -> None:
    thread = await Thread(dialects.fanned, saver).start()
    places = await read_pending_tasks(thread.graph, saver, config_for(thread.thread_id))
    asked = list(questions.iter_pending(places))
    assert len({each.id for each in asked}) == len(asked) == dialects.FANNED
    assert [place.ids(1) for place in places] == [[each.id] for each in asked]


# Answers without an id


async def test_an_answer_without_an_id_is_not_given_to_the_next_question(saver: Any) -> None:
    thread = await Thread(dialects.in_turn, saver).start()
    await thread.bare(Command(resume="yes"))
    assert (await thread.waiting()).value == {"question": "second?", "after": "yes"}
    assert isinstance(await thread.answer("B"), Paused)
    assert (await thread.waiting()).value == "third?"
    await thread.answer("C")
    assert await thread.got() == [["yes", "B", "C"]]


@in_sqlite
async def test_langgraph_alone_gives_it_to_the_next_question_as_well(saver: Any) -> None:
    """The control."""
    thread = await Thread(dialects.in_turn, saver).start()
    await thread.bare(Command(resume="yes"))
    await thread.bare(Command(resume={(await thread.waiting()).id: "B"}))
    assert await thread.got() == [["yes", "B", "yes"]], "nobody was asked the third"


async def test_forgetting_it_keeps_the_edits_that_came_with_answers(saver: Any) -> None:
    thread = await Thread(dialects.parallel, saver).start()
    await thread.bare(Command(resume={(await thread.waiting("left?")).id: "L"}, update={"amount": 5}))
    await questions.forget_unkeyed(saver, await saver.aget_tuple(config_for(thread.thread_id)))
    assert await questions.read_updates(saver, config_for(thread.thread_id)) == [("amount", 5)]
    await thread.answer("R", "right?")
    assert await thread.got() == [{"left": "L", "amount": 5}, {"right": "R", "amount": 5}]


# The same again


GIVEN: list[Any] = ["A", None, {}, 2**60, 0.1, "\U0001f600"]
GIVEN_OVER = [(kind, GIVEN[number]) for number, kind in crossed(range(len(GIVEN)), list(KINDS))]


@pytest.mark.parametrize(("saver", "given"), GIVEN_OVER, indirect=["saver"])
async def test_the_same_answer_is_given_again_after_a_failure_and_another_is_not(saver: Any, given: Any) -> None:
    thread = await Thread(dialects.flaking, saver).start()
    asked = await thread.waiting()
    assert isinstance(await thread.answer(given), Failed)
    other = await thread.answer("other")
    assert isinstance(other, Mismatch)
    assert other.reason == resume.QUESTION_GONE
    assert isinstance(await thread.answer(given, attempt=2), Paused)
    assert (await thread.waiting()).value == "second?"
    assert (await thread.waiting()).id != asked.id


@in_postgres
async def test_an_answer_that_comes_too_late_answers_nothing_else(saver: Any) -> None:
    """Between our look and LangGraph's somebody answers: strict, it says so; else it would ignore ours in silence."""
    thread = await Thread(dialects.in_turn, saver).start()
    taken = Command(resume={(await thread.waiting()).id: "theirs"})
    late = await thread.answer("ours", meanwhile=taken)
    assert isinstance(late, Failed), late
    assert late.error == "UnknownInterruptError"
    assert (await thread.waiting()).value == {"question": "second?", "after": "theirs"}
    assert list((await thread.here()).answers.values()) == ["theirs"]


# Edits with answers


@in_sqlite
async def test_a_second_edit_of_the_same_channel_is_refused_and_harms_nothing(saver: Any) -> None:
    thread = await Thread(dialects.parallel, saver).start()
    await thread.answer("L", "left?", amount=put(5))
    refused = await thread.answer("R", "right?", amount=put(6))
    assert refused == Failed("InvalidEdit", f"amount: {state_edits.EDITED_ALREADY}")
    assert isinstance(await thread.answer("R", "right?"), Finished)
    assert await thread.got() == [{"left": "L", "amount": 5}, {"right": "R", "amount": 5}]


async def test_langgraph_alone_takes_the_second_edit_and_can_read_the_thread_no_more() -> None:
    """The control. With a database it depends on whether the edit is stored before the run fails."""
    thread = await Thread(dialects.parallel, InMemorySaver()).start()
    for side, amount in (("left?", 5), ("right?", 6)):
        failed = await thread.bare(Command(resume={(await thread.waiting(side)).id: side}, update={"amount": amount}))
    assert failed == "InvalidUpdateError"
    with pytest.raises(UnreadableThread):
        await thread.here()


@in_sqlite
async def test_two_people_append_and_nothing_is_appended_to_what_was_replaced(saver: Any) -> None:
    thread = await Thread(dialects.parallel, saver).start(got=["first"])
    await thread.answer("L", "left?", got=put(["by alice"], "append"))
    await thread.answer("R", "right?", got=put(["by bob"], "append"))
    assert (await thread.got())[:3] == ["first", "by alice", "by bob"]
    other = await Thread(dialects.parallel, saver).start(got=["first"])
    await other.answer("L", "left?", got=put(["only"], "replace"))
    assert isinstance(await other.answer("R", "right?", got=put(["lost"], "append")), Failed)
    await other.answer("R", "right?")
    assert (await other.got())[0] == "only"


@in_postgres
async def test_an_edit_is_not_applied_again_when_its_bad_answer_is_taken_back(saver: Any) -> None:
    thread = await Thread(dialects.parallel, saver).start(got=["first"])
    assert isinstance(await thread.answer("fail", "right?", got=put(["edited"], "append")), Failed)
    await thread.ask_again()
    found = await state_edits.preview(thread.graph, saver, config_for(thread.thread_id), {"amount": put(7)})
    assert (found.values["got"], found.values["amount"]) == (["first", "edited"], 7)
    await thread.answer("L", "left?")
    await thread.answer("R", "right?")
    assert (await thread.got())[:2] == ["first", "edited"]
