"""A worker that lost its thread writes nothing any more, whichever way it tries and wherever checkpoints are kept."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from psycopg.conninfo import make_conninfo

from agentcore.graphs import resume, state_edits
from agentcore.graphs.resume import Answer
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, snapshot, with_saver, with_serializer
from agentcore.plain.decoding import plain_serializer
from agentcore.plain.errors import FenceLost, NotItsThread
from agentcore.plain.tables import PostgresTables, Tables
from agentcore.plain.types import Failed, Finished, Paused
from agentcore.plain.urls import postgres_params
from agentcore.savers.base import Saver
from agentcore.savers.fence import HELD_SQL, fenced
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.sqlite import SqliteSaver
from agentcore.testing import failpoints
from tests import graphs
from tests.agentcore.savers import KINDS, ON_POSTGRES, open_saver, tables_of
from tests.graphs import State
from tests.scale import some

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Store:
    """A saver without a fence, which sees what is stored, and the numbers of its threads."""

    saver: Any
    database: str

    def held(self, thread_id: str, number: int = 1) -> Saver:
        """Take the thread as a run does."""
        self.raise_fence(thread_id, number)
        return fenced(self.saver, thread_id, number)

    def raise_fence(self, thread_id: str, number: int) -> None:
        with tables_of(self.saver, self.database) as tables:
            tables.raise_fence(thread_id, number)

    def taker(self, thread_id: str) -> Work:
        """Return what takes the thread over, as another worker would at that moment."""

        async def take() -> None:
            await asyncio.to_thread(self.raise_fence, thread_id, 2)

        return take

    def stored(self, thread_id: str) -> tuple[Any, ...]:
        with tables_of(self.saver, self.database) as tables:
            return tables.count_rows(thread_id), tables.read_head(thread_id)


FOUR = {kind: kind for kind in KINDS[:4]}


@pytest.fixture(params=some(FOUR, "sqlite", "postgres"))
async def store(request: pytest.FixtureRequest, database: str, redis: str, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_saver(request.param, database=database, redis=redis, folder=tmp_path) as saver:
        yield Store(saver, database)


of_four = pytest.mark.parametrize("store", FOUR, indirect=True)
of_every_kind = pytest.mark.parametrize("store", KINDS, indirect=True)
on_postgres = pytest.mark.parametrize("store", ON_POSTGRES, indirect=True)
in_postgres = pytest.mark.parametrize("store", ["postgres"], indirect=True)


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


@pytest.fixture
def testing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    yield
    failpoints.disarm()


def chain(**nodes: Any) -> Any:
    """A graph of these nodes, one after the other."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for source, (name, node) in zip([START, *nodes], nodes.items(), strict=False):
        builder.add_node(name, node)
        builder.add_edge(source, name)
    return builder.compile()


def node_that(work: Work, then: Exception | None = None) -> Any:
    async def node(state: State) -> State:
        await work()
        if then:
            raise then
        return {"notes": ["worked"]}

    return node


async def run(graph: Any, saver: Saver, thread_id: str, input: Any = None) -> Any:
    return await run_until_pause(RunContext(graph, saver, thread_id), input)


async def notes(store: Store, thread_id: str) -> list[str]:
    found = await store.saver.aget_tuple(config_for(thread_id))
    return list(found.checkpoint["channel_values"]["notes"])


# Who holds the thread


@of_four
async def test_who_holds_the_thread_runs_it_to_its_end(store: Store, thread_id: str) -> None:
    saver = store.held(thread_id)
    assert isinstance(await run(graphs.gated, saver, thread_id, {"text": "x"}), Paused)
    edit = {"notes": {"op": "append", "value": ["edited"]}}
    await state_edits.apply(graphs.gated, saver, config_for(thread_id), edit)
    assert isinstance(await run(graphs.gated, saver, thread_id), Finished)
    assert await notes(store, thread_id) == ["prepared", "edited", "acted"]
    await saver.adelete_thread(thread_id)
    assert store.stored(thread_id)[1] is None


@pytest.mark.parametrize("taken", [2, 0, None])
async def test_any_other_number_is_refused(store: Store, thread_id: str, taken: int | None) -> None:
    """A lower one too, and none: the row may be gone, or the database another one."""
    if taken is not None:
        store.raise_fence(thread_id, taken)
    with pytest.raises(FenceLost, match="Nothing was written"):
        await run(graphs.gated, fenced(store.saver, thread_id, 1), thread_id, {"text": "x"})
    assert await store.saver.aget_tuple(config_for(thread_id)) is None


async def put(saver: Saver, thread_id: str) -> None:
    await saver.aput(config_for(thread_id), {**empty_checkpoint(), "id": "f" * 32}, {}, {})


async def put_writes(saver: Saver, thread_id: str) -> None:
    head = await saver.aget_tuple(config_for(thread_id))
    assert head is not None
    await saver.aput_writes(head.config, [("notes", ["zombie"]), ("__interrupt__", "?")], "task")


async def put_very_many(saver: Saver, thread_id: str) -> None:
    """More than fit into one statement: these go in several."""
    versions: dict[str, Any] = {f"channel-{number}": "1" for number in range(200)}
    checkpoint = {**empty_checkpoint(), "id": "f" * 32, "channel_versions": versions}
    await saver.aput(
        config_for(thread_id), {**checkpoint, "channel_values": dict.fromkeys(versions, [1])}, {}, versions
    )


async def put_very_many_writes(saver: Saver, thread_id: str) -> None:
    head = await saver.aget_tuple(config_for(thread_id))
    assert head is not None
    await saver.aput_writes(head.config, [("notes", ["zombie"])] * 200, "task")


async def edit_state(saver: Saver, thread_id: str) -> None:
    await state_edits.apply(graphs.gated, saver, config_for(thread_id), {"text": {"op": "set", "value": "zombie"}})


async def go_on(saver: Saver, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id)


async def give_new_input(saver: Saver, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "zombie"})


async def delete(saver: Saver, thread_id: str) -> None:
    await saver.adelete_thread(thread_id)


def writes_over(writes: list[Any]) -> list[Any]:
    """Each store with half of the writes, each write with half of the stores."""
    return [
        pytest.param(kind, write, marks=[pytest.mark.full] if (place + number) % 2 else [])
        for place, kind in enumerate(FOUR)
        for number, write in enumerate(writes)
    ]


WRITES = [put, put_writes, put_very_many, put_very_many_writes, edit_state, go_on, give_new_input, delete]


@pytest.mark.parametrize(("store", "write"), writes_over(WRITES), indirect=["store"])
async def test_who_was_replaced_writes_nothing(store: Store, thread_id: str, write: Any) -> None:
    saver = store.held(thread_id)
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    before = store.stored(thread_id)
    store.raise_fence(thread_id, 2)
    with pytest.raises(FenceLost):
        await write(saver, thread_id)
    assert store.stored(thread_id) == before
    await write(fenced(store.saver, thread_id, 2), thread_id)  # whoever replaced it can
    assert store.stored(thread_id) != before


@pytest.mark.parametrize(
    ("store", "write"),
    writes_over([put, put_writes, put_very_many, put_very_many_writes, delete]),
    indirect=["store"],
)
async def test_a_run_writes_to_no_other_thread(store: Store, thread_id: str, write: Any) -> None:
    other = f"{thread_id}-other"
    await run(graphs.gated, store.held(other), other, {"text": "x"})
    before = store.stored(other)
    with pytest.raises(NotItsThread, match="its own thread only"):
        await write(store.held(thread_id), other)
    assert store.stored(other) == before


@on_postgres
async def test_a_run_touches_no_threads_in_bulk(store: Store, thread_id: str) -> None:
    saver = store.held(thread_id)
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    before = store.stored(thread_id)
    for writing in (
        saver.acopy_thread(thread_id, thread_id + "-2"),
        saver.aprune([thread_id]),
        saver.adelete_for_runs(["run"]),
    ):
        with pytest.raises(NotItsThread, match="nothing else"):
            await writing
    assert store.stored(thread_id) == before


@of_every_kind
async def test_a_fence_stays_on_whatever_copies_the_saver(store: Store, thread_id: str) -> None:
    saver = store.held(thread_id)
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    copies = [with_serializer(saver, each) for each in (strict_serializer(), plain_serializer())]
    copies += [
        each.reading(reads) for each in (saver,) if hasattr(each, "reading") for reads in ("notified", "validated")
    ]
    copies.append(with_saver(graphs.gated, saver).copy().checkpointer)
    store.raise_fence(thread_id, 2)
    for each in copies:
        with pytest.raises(FenceLost):
            await put(each, thread_id)


async def test_a_saver_that_is_not_ours_is_not_trusted_with_a_fence(thread_id: str) -> None:
    with pytest.raises(TypeError, match="InMemorySaver checks no fence"):
        fenced(InMemorySaver(), thread_id, 1)


# While it runs


@of_every_kind
async def test_who_is_replaced_while_a_node_works_stores_nothing_of_it(store: Store, thread_id: str) -> None:
    graph = chain(first=graphs.left, work=node_that(store.taker(thread_id)), last=graphs.right)
    with pytest.raises(FenceLost):
        await run(graph, store.held(thread_id), thread_id, {"text": "x"})
    assert await notes(store, thread_id) == ["left"]


async def test_without_the_fence_it_would_have_gone_on(store: Store, thread_id: str, testing: None) -> None:
    """The control of the test above."""
    failpoints.arm("fence", "off")
    graph = chain(first=graphs.left, work=node_that(store.taker(thread_id)), last=graphs.right)
    assert isinstance(await run(graph, store.held(thread_id), thread_id, {"text": "x"}), Finished)
    assert await notes(store, thread_id) == ["left", "worked", "right"]


@pytest.mark.parametrize("then", [None, RuntimeError("The mail server is down.")])
async def test_it_is_no_failure_of_the_run_whatever_the_node_does_then(
    store: Store, thread_id: str, then: Exception | None
) -> None:
    """LangGraph stores a node's error behind its back, and tells of the node's error, not of the refusal."""
    graph = chain(first=graphs.left, work=node_that(store.taker(thread_id), then))
    with pytest.raises(FenceLost):
        await run(graph, store.held(thread_id), thread_id, {"text": "x"})
    found = await store.saver.aget_tuple(config_for(thread_id))
    assert [channel for _, channel, _ in found.pending_writes] == []


async def test_nodes_side_by_side_store_what_came_before_and_no_more(store: Store, thread_id: str) -> None:
    is_early, builder = asyncio.Event(), StateGraph(State)

    async def early(state: State) -> State:
        is_early.set()
        return {"notes": ["early"]}

    async def late(state: State) -> State:
        await is_early.wait()
        for _ in range(1_000):
            if (await store.saver.aget_tuple(config_for(thread_id))).pending_writes:
                break
            await asyncio.sleep(0.005)
        await store.taker(thread_id)()
        return {"notes": ["late"]}

    for node in (early, late):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    with pytest.raises(FenceLost):
        await run(builder.compile(), store.held(thread_id), thread_id, {"text": "x"})
    found = await store.saver.aget_tuple(config_for(thread_id))
    assert [value for _, channel, value in found.pending_writes if channel == "notes"] == [["early"]]


async def test_the_steps_of_a_subgraph_are_refused_too(store: Store, thread_id: str) -> None:
    """Its checkpoints have the same thread and another namespace."""
    inner = chain(taken=node_that(store.taker(thread_id)), after=graphs.left)
    with pytest.raises(FenceLost):
        await run(chain(first=graphs.left, inner=inner), store.held(thread_id), thread_id, {"text": "x"})
    listed = [each async for each in store.saver.alist({"configurable": {"thread_id": thread_id}})]
    inside = [each for each in listed if each.config["configurable"]["checkpoint_ns"]]
    assert [each.metadata["step"] for each in inside] == [0, -1], "the two before its first node"
    assert await notes(store, thread_id) == ["left"]


async def test_a_node_that_swallows_the_refusal_does_not_save_the_run(store: Store, thread_id: str) -> None:
    inner = chain(taken=node_that(store.taker(thread_id)), after=graphs.left)

    async def careless(state: State) -> State:
        with suppress(Exception):
            await inner.ainvoke(state)
        return {}

    with pytest.raises(FenceLost):
        await run(chain(careless=careless), store.held(thread_id), thread_id, {"text": "x"})


@pytest.mark.parametrize("verdict", ["approve", "reject", "skip"])
async def test_an_answer_handed_over_by_who_was_replaced_changes_nothing(
    store: Store, thread_id: str, verdict: str
) -> None:
    saver, entered = store.held(thread_id), []
    paused = await run(graphs.gated, saver, thread_id, {"text": "x"})
    before = store.stored(thread_id)
    store.raise_fence(thread_id, 2)

    async def enter() -> None:
        entered.append(1)

    context = RunContext(graphs.gated, saver, thread_id, {"run": "1"}, "run", before_entering=enter)
    answer = Answer(verdict, edits={"notes": {"op": "append", "value": ["zombie"]}})
    with pytest.raises(FenceLost):
        await resume.resume(context, answer, expected_head=paused.snapshot.checkpoint_id)
    assert (store.stored(thread_id), entered) == (before, [])


@on_postgres
async def test_a_refused_write_leaves_no_trace_in_the_cache(store: Store, thread_id: str) -> None:
    saver = store.held(thread_id)
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    for each in (saver, store.saver):  # read, and believed
        assert (await snapshot(graphs.gated, each, thread_id)).values["text"] == "x"
    store.raise_fence(thread_id, 2)
    with pytest.raises(FenceLost):
        await edit_state(saver, thread_id)
    for each in (saver, store.saver):
        assert (await snapshot(graphs.gated, each, thread_id)).values["text"] == "x"
    await edit_state(fenced(store.saver, thread_id, 2), thread_id)
    assert (await snapshot(graphs.gated, saver, thread_id)).values["text"] == "zombie"


async def test_a_run_that_fails_by_itself_still_says_so(store: Store, thread_id: str) -> None:
    outcome = await run(graphs.leaking, store.held(thread_id), thread_id, {"text": "x"})
    assert isinstance(outcome, Paused)
    assert isinstance(await run(graphs.leaking, store.held(thread_id, 2), thread_id), Failed)


# Two at once


@in_postgres
async def test_who_takes_a_thread_waits_for_a_write_that_is_being_made(store: Store, thread_id: str) -> None:
    store.raise_fence(thread_id, 1)
    with psycopg.connect(make_conninfo("", **postgres_params(store.database))) as writer:
        writer.execute(f"SELECT {HELD_SQL}", [thread_id, 1])
        taking = threading.Thread(target=store.raise_fence, args=(thread_id, 2))
        taking.start()
        await asyncio.to_thread(taking.join, 0.2)
        assert taking.is_alive()
        writer.commit()
        await asyncio.to_thread(taking.join, 5)
    assert not taking.is_alive()


@pytest.mark.parametrize("store", ["postgres", "sqlite"], indirect=True)
async def test_a_write_is_there_before_the_thread_is_taken_or_it_is_refused(store: Store, thread_id: str) -> None:
    """200 takeovers at the moment of a write. Whoever takes over reads once, and must have seen all there will be."""
    checkpoint = await store.saver.aput(config_for(thread_id), empty_checkpoint(), {}, {})
    barrier, rounds, outcomes = asyncio.Barrier(2), 200, []
    store.raise_fence(thread_id, 0)

    def count(tables: Tables) -> int:
        return next(number for table, number in tables.count_rows(thread_id).items() if table.endswith("writes"))

    def take(number: int) -> int:
        with tables_at_hand() as tables:
            tables.raise_fence(thread_id, number + 1)
        with tables_at_hand() as tables:
            return count(tables)

    async def write(number: int) -> bool:
        saver = fenced(store.saver, thread_id, number)
        await barrier.wait()
        if number % 10 == 0:  # one in ten is surely late
            await is_taken.wait()
        try:
            await saver.aput_writes(checkpoint, [("notes", ["x" * 2_000])], str(number))
        except FenceLost:
            return False
        finally:
            is_through.set()
        return True

    async def take_over(number: int) -> int:
        await barrier.wait()
        if number % 10 == 1:  # and one surely early
            await is_through.wait()
        await asyncio.sleep((number % 7) / 10_000)
        seen = await asyncio.to_thread(take, number)
        is_taken.set()
        return seen

    with psycopg.connect(make_conninfo("", **postgres_params(store.database)), autocommit=True) as connection:

        def tables_at_hand() -> AbstractContextManager[Tables]:
            """To connect takes longer than to write."""
            if isinstance(store.saver, SqliteSaver):
                return tables_of(store.saver, store.database)
            return nullcontext(PostgresTables(connection.cursor()))

        for number in range(rounds):
            is_taken, is_through = asyncio.Event(), asyncio.Event()
            is_written, seen = await asyncio.gather(write(number), take_over(number))
            outcomes.append(is_written)
            with tables_at_hand() as tables:
                assert seen == sum(outcomes) == count(tables)
    assert 20 <= sum(outcomes) <= rounds - 20, "that was no race"


# What every checkpoint says of its run


async def test_every_checkpoint_of_a_run_names_it_also_those_of_an_edit_and_of_a_subgraph(
    store: Store, thread_id: str
) -> None:
    graph = chain(first=graphs.left, inner=chain(inside=graphs.left), last=graphs.right)
    saver, told = store.held(thread_id), {"run": "r-1", "fence": 1}
    await run_until_pause(RunContext(graph, saver, thread_id, metadata=told), {"text": "x"})
    config = config_for(thread_id) | {"metadata": told}
    await state_edits.apply(graph, saver, config, {"text": {"op": "set", "value": "y"}}, "last")
    listed = [each async for each in store.saver.alist({"configurable": {"thread_id": thread_id}})]
    assert len({each.config["configurable"]["checkpoint_ns"] for each in listed}) == 2
    assert {each.metadata["source"] for each in listed} == {"input", "loop", "update"}
    assert [each for each in listed if not told.items() <= each.metadata.items()] == []
