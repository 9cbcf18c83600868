"""What we rely on in LangGraph. A red test here says that LangGraph moved: read it before mending it.

Where the fact is a trap, the test shows the trap itself: it is the control of the tests that show we avoid it.
"""

import asyncio
import inspect
import operator
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph._internal import _constants
from langgraph._internal._typing import MISSING
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Overwrite, Send, _interrupt_id, interrupt
from typing_extensions import TypedDict

from agentcore.demo import refund
from agentcore.graphs import questions, runs, sends, state_edits
from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.savers.opening import open_pool, saver_over
from tests import graphs
from tests.console import refund as a_refund

Saver = Any
STRICT = {"__pregel_strict_resume": True}


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


@pytest.fixture
def saver() -> InMemorySaver:
    return InMemorySaver()


@pytest.fixture
async def savers(database: str) -> AsyncIterator[list[Saver]]:
    """Two savers, as two workers have them."""
    async with open_pool(database) as pool:
        yield [saver_over(pool), saver_over(pool)]


async def pause(graph: Any, saver: Saver, thread_id: str, **input: Any) -> Any:
    """Run to the first pause and return the graph over its saver."""
    bound = with_saver(graph, saver)
    await bound.ainvoke({"text": "x"} | input, config_for(thread_id))
    return bound


async def state_of(bound: Any, thread_id: str) -> Any:
    return await bound.aget_state(config_for(thread_id))


def times(node: str, thread_id: str) -> int:
    return graphs.times_run(Path(os.environ["DATA_DIR"]), thread_id, node)


def answering(thread_id: str, **configurable: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **configurable}}


# Resuming


def test_the_strict_resume_setting_is_still_called_so() -> None:
    assert _constants.CONFIG_KEY_STRICT_RESUME == runs._STRICT_RESUME == next(iter(STRICT))


async def test_a_strict_resume_refuses_a_stale_answer(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.asking, saver, thread_id)
    [waiting] = (await state_of(bound, thread_id)).interrupts
    with pytest.raises(Exception, match="interrupt") as caught:
        await bound.ainvoke(Command(resume={"0" * 32: "7"}), answering(thread_id, **STRICT))
    assert type(caught.value).__name__ == "UnknownInterruptError"
    assert [each.id for each in (await state_of(bound, thread_id)).interrupts] == [waiting.id]
    await bound.ainvoke(Command(resume={waiting.id: "7"}), answering(thread_id, **STRICT))
    assert (await state_of(bound, thread_id)).values["notes"] == ["prepared", "answered 7"]


async def test_without_it_a_stale_answer_is_ignored_in_silence(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.asking, saver, thread_id)
    await bound.ainvoke(Command(resume={"0" * 32: "7"}), config_for(thread_id))
    assert len((await state_of(bound, thread_id)).interrupts) == 1


async def test_two_workers_at_one_breakpoint_run_the_gated_node_twice(savers: list[Saver], thread_id: str) -> None:
    """Nothing in LangGraph or its tables stops the second: this is what the fence is for."""
    bound = [with_saver(graphs.gated, saver) for saver in savers]
    await pause(graphs.gated, savers[0], thread_id, seconds=0.3)
    barrier = asyncio.Barrier(2)

    async def resume(each: Any) -> None:
        await barrier.wait()
        await each.ainvoke(None, config_for(thread_id), durability="sync")

    await asyncio.gather(*map(resume, bound))
    assert times("act", thread_id) == 2


async def test_one_worker_runs_it_once(savers: list[Saver], thread_id: str) -> None:
    bound = await pause(graphs.gated, savers[0], thread_id)
    await bound.ainvoke(None, config_for(thread_id), durability="sync")
    assert (times("act", thread_id), times("prepare", thread_id)) == (1, 1)


async def test_a_kill_inside_the_gated_node_leaves_the_thread_at_the_gate(savers: list[Saver], thread_id: str) -> None:
    bound = await pause(graphs.gated, savers[0], thread_id, seconds=60)
    before = await state_of(bound, thread_id)
    running = asyncio.create_task(bound.ainvoke(None, config_for(thread_id), durability="sync"))
    while times("act", thread_id) == 0:  # noqa: ASYNC110 - the node leaves a file, not an event
        await asyncio.sleep(0.01)
    during = await state_of(with_saver(graphs.gated, savers[1]), thread_id)
    assert (during.next, during.config) == (before.next, before.config)  # and running looks the same as paused
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await state_of(bound, thread_id)).next == ("act",)


async def test_durability_sync_writes_before_the_next_step_begins(savers: list[Saver], thread_id: str) -> None:
    bound = with_saver(graphs.reviewing.builder.compile(), savers[0])
    stored: list[Any] = []
    steps = bound.astream({"text": "x"}, config_for(thread_id), stream_mode="updates", durability="sync")
    async for _ in steps:
        stored.append((await state_of(with_saver(bound, savers[1]), thread_id)).metadata["step"])
    assert stored[-1] == 2
    assert stored == sorted(stored)


async def test_new_input_at_a_breakpoint_drops_the_pause_in_silence(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.gated, saver, thread_id)
    await bound.ainvoke({"text": "other"}, config_for(thread_id))
    state = await state_of(bound, thread_id)
    assert (state.next, state.values["notes"]) == (("act",), ["prepared", "prepared"])
    assert times("act", thread_id) == 0


# Questions of interrupt()


class Asking(TypedDict, total=False):
    text: str
    amount: int
    got: Annotated[list[Any], operator.add]


async def three(state: Asking) -> Asking:
    """Asks three times, and takes only a number for the second answer."""
    first, second = interrupt("first?"), interrupt("second?")
    return {"got": [first, second + 0, interrupt("third?")]}


async def other(state: Asking) -> Asking:
    return {"got": [interrupt("other?")]}


def asking(*nodes: Any) -> Any:
    """A graph of nodes that all ask in one step."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Asking)
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    return builder.compile()


async def waiting(bound: Any, thread_id: str) -> dict[str, str]:
    """Return the id of each question that waits, by its payload."""
    return {each.value: each.id for each in (await state_of(bound, thread_id)).interrupts}


async def stored(saver: Saver, thread_id: str) -> list[tuple[str, str, Any]]:
    found = await saver.aget_tuple(config_for(thread_id))
    return [(task, channel, value) for task, channel, value in found.pending_writes if channel != "__interrupt__"]


def test_the_private_names_we_use_are_still_called_so() -> None:
    assert (_constants.RESUME, _constants.NULL_TASK_ID) == ("__resume__", "00000000-0000-0000-0000-000000000000")
    assert (questions.RESUME, questions.NULL_TASK_ID) == (_constants.RESUME, _constants.NULL_TASK_ID)
    assert MISSING is state_edits.MISSING
    assert MISSING is not None
    assert list(inspect.signature(_interrupt_id).parameters) == ["ns", "answered"]


async def test_the_id_of_a_question_counts_the_answers_before_it(saver: Saver, thread_id: str) -> None:
    bound = await pause(asking(three), saver, thread_id)
    [task] = (await state_of(bound, thread_id)).tasks
    namespace = f"three:{task.id}"
    assert await waiting(bound, thread_id) == {"first?": _interrupt_id(namespace, 0)}
    head = (await state_of(bound, thread_id)).config
    await bound.ainvoke(Command(resume={_interrupt_id(namespace, 0): "A"}), config_for(thread_id))
    assert await waiting(bound, thread_id) == {"second?": _interrupt_id(namespace, 1)}
    assert (await state_of(bound, thread_id)).config == head, "at the very same checkpoint"
    assert await stored(saver, thread_id) == [(task.id, "__resume__", ["A"])]


@pytest.mark.parametrize("value", [None, False, 0, "", {}, []], ids=repr)
async def test_a_keyed_answer_may_be_anything(saver: Saver, thread_id: str, value: Any) -> None:
    bound = await pause(asking(other), saver, thread_id)
    ids = await waiting(bound, thread_id)
    await bound.ainvoke(Command(resume={ids["other?"]: value}), answering(thread_id, **STRICT))
    assert (await state_of(bound, thread_id)).values["got"] == [value]


async def test_a_strict_resume_refuses_an_answer_to_a_question_that_was_answered(saver: Saver, thread_id: str) -> None:
    bound = await pause(asking(three), saver, thread_id)
    first = (await waiting(bound, thread_id))["first?"]
    await bound.ainvoke(Command(resume={first: "A"}), answering(thread_id, **STRICT))
    with pytest.raises(Exception, match="interrupt") as caught:
        await bound.ainvoke(Command(resume={first: "again"}), answering(thread_id, **STRICT))
    assert type(caught.value).__name__ == "UnknownInterruptError"
    assert list(await waiting(bound, thread_id)) == ["second?"]


async def test_an_answer_without_an_id_also_answers_the_next_question(saver: Saver, thread_id: str) -> None:
    """The trap that agentcore.graphs.questions.forget_unkeyed closes."""
    bound = await pause(asking(three), saver, thread_id)
    await bound.ainvoke(Command(resume="A"), config_for(thread_id))
    second = (await waiting(bound, thread_id))["second?"]
    await bound.ainvoke(Command(resume={second: 2}), answering(thread_id, **STRICT))
    assert (await state_of(bound, thread_id)).values["got"] == ["A", 2, "A"]


async def test_a_node_that_fails_keeps_the_answer_it_failed_with(saver: Saver, thread_id: str) -> None:
    bound = await pause(asking(three), saver, thread_id)
    for question, answer in (("first?", "A"), ("second?", "no number")):
        ids = await waiting(bound, thread_id)
        failing = bound.ainvoke(Command(resume={ids[question]: answer}), answering(thread_id, **STRICT))
        if question == "first?":
            await failing
            continue
        with pytest.raises(TypeError):
            await failing
        with pytest.raises(TypeError):
            await bound.ainvoke(Command(resume={ids[question]: 2}), answering(thread_id, **STRICT))
    [answers] = [value for _, channel, value in await stored(saver, thread_id) if channel == "__resume__"]
    assert answers == ["A", "no number"]


async def test_the_stored_answers_of_a_task_are_replaced_as_a_whole(savers: list[Saver], thread_id: str) -> None:
    """Which is how agentcore.graphs.questions.take_back takes one back."""
    bound = await pause(asking(three), savers[0], thread_id)
    [task] = (await state_of(bound, thread_id)).tasks
    await bound.ainvoke(Command(resume={(await waiting(bound, thread_id))["first?"]: "A"}), config_for(thread_id))
    found = await savers[1].aget_tuple(config_for(thread_id))
    await savers[1].aput_writes(found.config, [("__resume__", [])], task.id)
    assert await stored(savers[0], thread_id) == [(task.id, "__resume__", [])]
    await bound.ainvoke(None, config_for(thread_id))
    assert list(await waiting(bound, thread_id)) == ["first?"]


async def test_edits_that_come_with_answers_add_up_until_the_step_ends(savers: list[Saver], thread_id: str) -> None:
    """So agentcore.graphs.questions.edited_already refuses a second one for a channel that keeps the last value."""
    bound = await pause(asking(three, other), savers[0], thread_id)
    before = (await state_of(bound, thread_id)).config
    for question, amount in (("first?", {"amount": 5}), ("second?", {"got": ["edited"]})):
        given = Command(resume={(await waiting(bound, thread_id))[question]: 1}, update=amount)
        await bound.ainvoke(given, answering(thread_id, **STRICT))
    null = [(channel, value) for task, channel, value in await stored(savers[1], thread_id) if task.startswith("0000")]
    assert null == [("amount", 5), ("got", ["edited"])]
    here = await state_of(bound, thread_id)
    assert (here.values["amount"], here.values["got"], here.config) == (5, ["edited"], before)


# Edits


async def test_the_metadata_of_a_config_is_kept_in_every_checkpoint(savers: list[Saver], thread_id: str) -> None:
    bound = with_saver(graphs.gated, savers[0])
    await bound.ainvoke({"text": "x"}, config_for(thread_id) | {"metadata": {"run": "one"}})
    await bound.aupdate_state(config_for(thread_id) | {"metadata": {"run": "edit"}}, {"text": "y"})
    await bound.ainvoke(None, config_for(thread_id) | {"metadata": {"run": "two"}}, durability="sync")
    states = [state async for state in bound.aget_state_history(config_for(thread_id))]
    kept = [(each["run"], each["source"]) for each in (dict(state.metadata or {}) for state in states)]
    assert kept == [("two", "loop"), ("edit", "update"), ("one", "loop"), ("one", "loop"), ("one", "input")]


async def test_an_unknown_channel_in_an_update_is_ignored_in_silence(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.gated, saver, thread_id)
    await bound.aupdate_state(config_for(thread_id), {"txet": "y"})
    assert (await state_of(bound, thread_id)).values == {"text": "x", "notes": ["prepared"]}


async def test_a_wrong_type_in_an_update_is_stored_in_silence(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.gated, saver, thread_id)
    await bound.aupdate_state(config_for(thread_id), {"text": 7})
    assert (await state_of(bound, thread_id)).values["text"] == 7


@pytest.mark.parametrize("value", [Overwrite(["only"]), {"__overwrite__": ["only"]}], ids=["object", "plain data"])
async def test_overwrite_replaces_what_a_reducer_would_append(saver: Saver, thread_id: str, value: Any) -> None:
    bound = await pause(graphs.gated, saver, thread_id)
    await bound.aupdate_state(config_for(thread_id), {"notes": ["more"]})
    assert (await state_of(bound, thread_id)).values["notes"] == ["prepared", "more"]
    await bound.aupdate_state(config_for(thread_id), {"notes": value})
    assert (await state_of(bound, thread_id)).values["notes"] == ["only"]


async def test_an_edit_asks_the_last_nodes_routing_again(saver: Saver, thread_id: str) -> None:
    bound = await pause(refund.graph, saver, thread_id, **a_refund(amount=640))
    assert (await state_of(bound, thread_id)).next == ("senior_desk",)
    await bound.aupdate_state(config_for(thread_id), {"amount": 80.0})
    assert (await state_of(bound, thread_id)).next == ("pay_refund",)


async def test_an_edit_as_the_waiting_node_skips_its_gate(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.gated, saver, thread_id)
    await bound.aupdate_state(config_for(thread_id), {"text": "y"}, as_node="act")
    assert (await state_of(bound, thread_id)).next == ()
    assert times("act", thread_id) == 0


async def test_an_edit_between_parallel_branches_is_ambiguous(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.branching, saver, thread_id)
    with pytest.raises(InvalidUpdateError, match="Ambiguous"):
        await bound.aupdate_state(config_for(thread_id), {"text": "y"})


@pytest.mark.parametrize(("as_node", "left"), [("left", ("join_left",)), ("join_left", ())])
async def test_an_edit_as_one_branch_drops_the_other(
    saver: Saver, thread_id: str, as_node: str, left: tuple[str, ...]
) -> None:
    """Neither run nor asked for any more: the preview must show `next`."""
    bound = await pause(graphs.branching, saver, thread_id)
    assert (await state_of(bound, thread_id)).next == ("join_left", "join_right")
    await bound.aupdate_state(config_for(thread_id), {"text": "y"}, as_node=as_node)
    assert (await state_of(bound, thread_id)).next == left


# Ending and routing


async def test_ending_a_thread_runs_nothing(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.gated, saver, thread_id)
    before = await state_of(bound, thread_id)
    await bound.aupdate_state(config_for(thread_id), None, as_node=END)
    after = await state_of(bound, thread_id)
    assert (after.next, after.values) == ((), before.values)
    await bound.ainvoke(None, config_for(thread_id))
    assert times("act", thread_id) == 0


async def test_ending_with_values_is_refused(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.gated, saver, thread_id)
    with pytest.raises(InvalidUpdateError):
        await bound.aupdate_state(config_for(thread_id), {"text": "y"}, as_node=END)


async def test_a_goto_at_a_breakpoint_also_runs_the_gated_node(saver: Saver, thread_id: str) -> None:
    """The trap: `reject` that only sent this would carry out what was rejected."""
    bound = await pause(graphs.reviewing, saver, thread_id)
    await bound.ainvoke(Command(goto="revise"), config_for(thread_id))
    assert (times("revise", thread_id), times("act", thread_id)) == (1, 1)


async def test_a_goto_after_the_end_runs_that_node_alone(saver: Saver, thread_id: str) -> None:
    bound = await pause(graphs.reviewing, saver, thread_id)
    await bound.aupdate_state(config_for(thread_id), None, as_node=END)
    await bound.ainvoke(Command(goto="revise"), config_for(thread_id))
    assert (times("revise", thread_id), times("act", thread_id)) == (1, 0)
    assert (await state_of(bound, thread_id)).next == ("act",)


# Copies


async def test_a_copied_graph_has_another_saver_and_the_same_nodes(saver: Saver, thread_id: str) -> None:
    bound = with_saver(graphs.gated, saver)
    assert (graphs.gated.checkpointer, bound.checkpointer) == (None, saver)
    assert bound.nodes.keys() == graphs.gated.nodes.keys()
    assert bound.interrupt_before_nodes == graphs.gated.interrupt_before_nodes == ["act"]


async def test_a_replay_moves_the_head_of_the_same_thread(saver: Saver, thread_id: str) -> None:
    """Which is why a fork is a new thread."""
    bound = await pause(graphs.gated, saver, thread_id)
    gate = await state_of(bound, thread_id)
    await bound.ainvoke(None, config_for(thread_id))
    ended = await state_of(bound, thread_id)
    await bound.aupdate_state(gate.config, {"text": "again"})
    moved = await state_of(bound, thread_id)
    assert (ended.next, moved.next) == ((), ("act",))
    assert moved.parent_config == gate.config


async def test_a_star_does_not_pause_before_langgraphs_own_start(saver: Saver, thread_id: str) -> None:
    class Words(TypedDict):
        text: str

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Words)
    builder.add_node("only", lambda state: {"text": "ran"})
    builder.add_edge(START, "only")
    bound = await pause(builder.compile(interrupt_before="*", interrupt_after="*"), saver, thread_id)
    assert (await state_of(bound, thread_id)).next == ("only",)


def sending() -> Any:
    class Words(TypedDict):
        text: str

    def plan(state: Words) -> Any:
        return Command(goto=[Send("only", {"text": "one"}), Send("only", {"text": "two"})])

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Words)
    builder.add_node("plan", plan, destinations=("only",))
    builder.add_node("only", lambda state: None)
    builder.add_edge(START, "plan")
    return builder.compile(interrupt_before=["only"])


async def test_what_sends_carry_stands_in_a_channel_of_its_own_by_the_number_in_the_path_of_the_task(
    saver: Saver, thread_id: str
) -> None:
    bound = await pause(sending(), saver, thread_id)
    state = await state_of(bound, thread_id)
    assert [task.path[:2] for task in state.tasks] == [(sends._PUSH, 0), (sends._PUSH, 1)]
    assert [each.arg["text"] for each in await sends.pending_sends(saver, state.config)] == ["one", "two"]


async def test_an_edit_of_the_state_drops_what_a_command_has_sent(saver: Saver, thread_id: str) -> None:
    """Which is why such an edit is refused."""
    bound = await pause(sending(), saver, thread_id)
    await bound.aupdate_state(config_for(thread_id), {"text": "edited"})
    assert (await state_of(bound, thread_id)).next == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_all_that_nodes_raise_has_one_id(saver: Saver, thread_id: str) -> None:
    from tests import sending as raising  # its nodes warn when they are imported

    bound = await pause(raising.raised_twice, saver, thread_id, input="far too long")
    state = await state_of(bound, thread_id)
    assert [interrupt.id for task in state.tasks for interrupt in task.interrupts] == ["placeholder-id"] * 2
