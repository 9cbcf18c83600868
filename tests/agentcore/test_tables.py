"""The checkpoints of every back end without building one: what moved, where a thread stands, how it is emptied."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from psycopg.conninfo import make_conninfo

from agentcore import once
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain import bound_bytes, sqlite_tables
from agentcore.plain.memory_tables import MemoryTables
from agentcore.plain.tables import Head, PostgresTables, Tables
from agentcore.plain.urls import postgres_params
from agentcore.savers import sqlite
from agentcore.savers.base import Saver
from agentcore.savers.memory import MemorySaver
from agentcore.savers.opening import open_checkpointer
from agentcore.savers.serializers import strict_serializer
from tests import graphs, standing

OF_EVERY_BACK_END = ["postgres", "sqlite", "memory"]
WITH_SQL = ["postgres", "sqlite"]
"""Where others may write rows as they like. Nobody else writes into our memory."""


@dataclass(frozen=True)
class Store:
    """A back end: the saver that runs write with, and the tables that the console reads."""

    saver: Saver
    open: Callable[[], AbstractContextManager[Tables]]
    execute: Callable[[str, list[Any]], int]
    """Run SQL with `?` for parameters, as somebody else would; return the rows it touched."""

    def head(self, thread_id: str) -> Head | None:
        with self.open() as tables:
            return tables.read_head(thread_id)

    def moved(self, thread_id: str) -> bool:
        with self.open() as tables:
            return thread_id in tables.threads_to_index(limit=100_000)

    def mark(self, thread_id: str, head: Head | None) -> None:
        with self.open() as tables:
            tables.mark_indexed(thread_id, head)

    def index(self, thread_id: str) -> Head:
        """Index the thread where it stands, as the worker does."""
        head = self.head(thread_id)
        assert head is not None
        self.mark(thread_id, head)
        assert not self.moved(thread_id)
        return head

    def count(self, thread_id: str) -> dict[str, int]:
        with self.open() as tables:
            return tables.count_rows(thread_id)

    def raise_fence(self, thread_id: str, number: int) -> None:
        with self.open() as tables:
            tables.raise_fence(thread_id, number)

    def fence(self, thread_id: str) -> int:
        with self.open() as tables:
            return tables.read_fence(thread_id)

    def delete(self, thread_id: str) -> dict[str, int]:
        with self.open() as tables:
            return tables.delete_rows(thread_id)


@pytest.fixture(scope="module")
def own_database(database: str) -> Iterator[str]:
    """A database without a worker, which would mark what we look at."""
    parts, name = urlsplit(database), f"tables_{uuid.uuid4().hex}"
    with psycopg.connect(make_conninfo("", **postgres_params(database)), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield parts._replace(path=f"/{name}").geturl()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=OF_EVERY_BACK_END)
async def store(request: pytest.FixtureRequest, own_database: str, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "postgres":
        async with open_checkpointer(own_database) as saver:
            with psycopg.connect(make_conninfo("", **postgres_params(own_database)), autocommit=True) as connection:
                yield of_postgres(connection, saver)
        return
    file = tmp_path / "checkpoints.db"
    async with open_checkpointer("memory://" if request.param == "memory" else f"sqlite:///{file}") as saver:
        yield of_memory(saver) if isinstance(saver, MemorySaver) else of_sqlite(file, saver)


def of_postgres(connection: psycopg.Connection[tuple[Any, ...]], saver: Saver) -> Store:
    @contextmanager
    def open_tables() -> Iterator[Tables]:
        with connection.cursor() as cursor:
            yield PostgresTables(cursor)

    def execute(query: str, parameters: list[Any]) -> int:
        return connection.execute(query.replace("?", "%s"), parameters).rowcount

    return Store(saver, open_tables, execute)


def of_sqlite(file: Path, saver: Saver) -> Store:
    def execute(query: str, parameters: list[Any]) -> int:
        with sqlite_tables.open_tables(file) as tables:
            query = query.replace("checkpoint_writes", "writes").replace("blob)", "value)")
            return tables.connection.execute(query, parameters).rowcount

    return Store(saver, lambda: sqlite_tables.open_tables(file), execute)


def of_memory(saver: MemorySaver) -> Store:
    @contextmanager
    def open_tables() -> Iterator[Tables]:
        yield MemoryTables(saver)

    def execute(query: str, parameters: list[Any]) -> int:
        raise AssertionError("memory has no SQL")

    return Store(saver, open_tables, execute)


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


async def run(graph: Any, store: Store, thread_id: str, input: Any = None) -> Any:
    return await run_until_pause(RunContext(graph, store.saver, thread_id), input)


def only(*names: str) -> Any:
    return pytest.mark.parametrize("store", names, indirect=True)


def test_tables_that_are_there_are_said_to_be(store: Store) -> None:
    with store.open() as tables:
        assert tables.is_set_up()


@only(*WITH_SQL)
def test_a_table_that_is_missing_is_noticed(store: Store) -> None:
    store.execute("DROP TABLE countersign_heads", [])
    with store.open() as tables:
        assert not tables.is_set_up()


async def test_the_head_is_the_newest_checkpoint(store: Store, thread_id: str) -> None:
    assert store.head(thread_id) is None
    paused = await run(graphs.gated, store, thread_id, {"text": "x"})
    first = store.head(thread_id)
    assert first is not None
    assert first.checkpoint_id == paused.snapshot.checkpoint_id
    finished = await run(graphs.gated, store, thread_id)
    second = store.head(thread_id)
    assert second is not None
    assert second.checkpoint_id == finished.snapshot.checkpoint_id > first.checkpoint_id
    assert second == store.head(thread_id)


async def test_a_question_changes_the_head_though_the_checkpoint_stays(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    before = store.head(thread_id)
    assert before is not None
    await write(store, thread_id, before, "__interrupt__", "Shall I?")
    asked = store.head(thread_id)
    assert asked is not None
    assert len(asked.writes) == 32
    assert asked.checkpoint_id == before.checkpoint_id
    assert asked != before


async def test_an_error_changes_the_head_though_the_checkpoint_stays(store: Store, thread_id: str) -> None:
    await run(graphs.failing, store, thread_id, {"text": "x"})
    before = store.index(thread_id)
    await run(graphs.failing, store, thread_id)
    after = store.head(thread_id)
    assert after is not None
    assert after.checkpoint_id == before.checkpoint_id
    assert after != before
    assert store.moved(thread_id)


@pytest.mark.parametrize("channel", ["__interrupt__", "__resume__"])
async def test_a_question_or_an_answer_put_in_the_place_of_another_changes_the_head(
    store: Store, thread_id: str, channel: str
) -> None:
    """LangGraph overwrites these in place: the same task, the same channel, another value."""
    await run(graphs.gated, store, thread_id, {"text": "x"})
    head = store.head(thread_id)
    assert head is not None
    await write(store, thread_id, head, channel, "Pay 10?")
    first = store.index(thread_id)
    assert first == store.head(thread_id)
    await write(store, thread_id, head, channel, "Pay 99?")
    assert store.head(thread_id) != first
    assert store.moved(thread_id)


async def write(store: Store, thread_id: str, head: Head, channel: str, value: Any) -> None:
    await store.saver.aput_writes(config_for(thread_id, head.checkpoint_id), [(channel, value)], "task")


async def test_whatever_moves_a_thread_is_noticed(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    assert store.moved(thread_id)
    store.index(thread_id)
    await with_saver(graphs.gated, store.saver).aupdate_state(config_for(thread_id), {"text": "y"})
    assert store.moved(thread_id)
    store.index(thread_id)
    await run(graphs.gated, store, thread_id)
    assert store.moved(thread_id)
    store.index(thread_id)
    await store.saver.adelete_thread(thread_id)
    assert store.moved(thread_id)
    assert store.head(thread_id) is None


async def test_a_question_and_its_answer_are_noticed(store: Store, thread_id: str) -> None:
    await run(graphs.asking, store, thread_id, {"text": "x"})
    store.index(thread_id)
    [waiting] = (await with_saver(graphs.asking, store.saver).aget_state(config_for(thread_id))).interrupts
    await run(graphs.asking, store, thread_id, Command(resume={waiting.id: "7"}))
    assert store.moved(thread_id)


@pytest.mark.parametrize(
    ("channel", "is_noticed"), [("__interrupt__", True), ("__resume__", True), ("__error__", True), ("notes", False)]
)
async def test_a_write_that_people_care_for_is_noticed(
    store: Store, thread_id: str, channel: str, is_noticed: bool
) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    head = store.index(thread_id)
    await write(store, thread_id, head, channel, None)
    assert store.moved(thread_id) is is_noticed


async def test_a_thread_that_moved_since_it_was_read_stays_to_be_indexed(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    read = store.head(thread_id)
    await run(graphs.gated, store, thread_id)
    store.mark(thread_id, read)
    assert store.moved(thread_id)


async def test_a_question_asked_since_it_was_read_stays_to_be_indexed(store: Store, thread_id: str) -> None:
    """The checkpoint is the same before and after: comparing it alone lost the question."""
    await run(graphs.failing, store, thread_id, {"text": "x"})
    read = store.head(thread_id)
    await run(graphs.failing, store, thread_id)
    after = store.head(thread_id)
    assert read is not None
    assert after is not None
    assert read.checkpoint_id == after.checkpoint_id
    store.mark(thread_id, read)
    assert store.moved(thread_id)
    store.mark(thread_id, after)
    assert not store.moved(thread_id)


async def test_a_checkpoint_written_again_in_its_place_stays_to_be_indexed(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    read = store.head(thread_id)
    found = await store.saver.aget_tuple(config_for(thread_id))
    assert found is not None
    await store.saver.aput(config_for(thread_id), found.checkpoint, found.metadata, {})
    store.mark(thread_id, read)
    assert store.moved(thread_id)
    store.index(thread_id)


@only("postgres")
async def test_a_write_that_commits_while_we_mark_is_not_lost(own_database: str, store: Store, thread_id: str) -> None:
    """The writer holds the head's row; our mark waits for it, looks again, and finds that the thread moved."""
    await run(graphs.failing, store, thread_id, {"text": "x"})
    await run(graphs.failing, store, thread_id)  # leaves an __error__ write to be written again
    read = store.head(thread_id)
    assert read is not None
    with psycopg.connect(make_conninfo("", **postgres_params(own_database))) as writer:
        writer.execute(
            "UPDATE checkpoint_writes SET type = type WHERE thread_id = %s AND channel = '__error__'", [thread_id]
        )
        marking = threading.Thread(target=store.mark, args=(thread_id, read))
        marking.start()
        marking.join(0.2)
        assert marking.is_alive()
        writer.commit()
        marking.join(5)
    assert store.moved(thread_id)


@only(*WITH_SQL)
async def test_a_thread_whose_head_was_deleted_stands_at_the_one_before(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    newest = store.index(thread_id)
    store.execute("DELETE FROM checkpoints WHERE checkpoint_id = ?", [newest.checkpoint_id])
    assert store.moved(thread_id)
    older = store.index(thread_id)  # and can be marked: it is not looked at again for ever
    assert older.checkpoint_id < newest.checkpoint_id


@only(*WITH_SQL)
async def test_pruning_old_checkpoints_moves_nothing(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    head = store.index(thread_id)
    pruned = store.execute(
        "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_id < ?", [thread_id, head.checkpoint_id]
    )
    assert pruned == 2
    assert not store.moved(thread_id)


async def test_a_checkpoint_of_a_subgraph_has_the_thread_read_again(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    head = store.index(thread_id)
    found = await store.saver.aget_tuple(config_for(thread_id))
    assert found is not None
    inner = {"configurable": {"thread_id": thread_id, "checkpoint_ns": "sub:1"}}
    await store.saver.aput(inner, {**found.checkpoint, "id": "ffffffff"}, {}, {})
    assert store.head(thread_id) == head
    assert store.moved(thread_id)


async def test_a_thread_that_is_gone_is_forgotten_and_one_that_came_back_is_not(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    await store.saver.adelete_thread(thread_id)
    await run(graphs.gated, store, thread_id, {"text": "back"})
    store.mark(thread_id, None)  # by someone who looked in between
    assert store.moved(thread_id)
    await store.saver.adelete_thread(thread_id)
    store.mark(thread_id, None)
    assert not store.moved(thread_id)


async def test_the_longest_waiting_come_first_and_no_more_than_asked_for(store: Store) -> None:
    with store.open() as tables:
        for each in tables.threads_to_index(limit=100_000):  # of the tests before
            tables.mark_indexed(each, tables.read_head(each))
    ids = [f"t-{uuid.uuid4()}" for _ in range(3)]
    for each in ids:
        await run(graphs.gated, store, each, {"text": "x"})
    with store.open() as tables:
        assert tables.threads_to_index(limit=10) == ids
        assert tables.threads_to_index(limit=2) == ids[:2]
    await run(graphs.gated, store, ids[0])  # it moved again: it waits again, behind the others
    with store.open() as tables:
        assert tables.threads_to_index(limit=10) == [*ids[1:], ids[0]]
        assert tables.threads_to_index(limit=10, settled_seconds=60) == []


async def test_deleting_leaves_nothing_of_that_thread_and_all_of_the_others(store: Store, thread_id: str) -> None:
    others = [thread_id + "%", thread_id[:-1], f"{thread_id}'--"]
    for each in (thread_id, *others):
        await run(graphs.asking, store, each, {"text": "x"})
        await run(with_effect(f"effect-{each}"), store, each, {"text": "x"})
    kept = {each: (store.count(each), store.head(each)) for each in others}
    found = store.count(thread_id)
    assert all(found.values())
    assert [table for table in found if table.endswith("effects")]
    store.raise_fence(thread_id, 7)
    assert store.delete(thread_id) == found
    assert set(store.count(thread_id).values()) == {0}
    assert store.fence(thread_id) == 7, "it keeps writers out"
    assert store.head(thread_id) is None
    assert not store.moved(thread_id)
    assert {each: (store.count(each), store.head(each)) for each in others} == kept
    assert set(store.delete(thread_id).values()) == {0}


async def test_a_thread_with_a_tombstone_is_emptied_bit_by_bit_and_takes_no_write(store: Store, thread_id: str) -> None:
    await run(graphs.asking, store, thread_id, {"text": "x"})
    await run(with_effect(f"effect-{thread_id}"), store, thread_id, {"text": "x"})
    found = store.count(thread_id)
    with store.open() as tables:
        assert sum(tables.count_by_namespace(thread_id).values()) == sum(found.values())
        tables.lay_tombstone(thread_id)
        assert tables.threads_to_empty(limit=10) == [thread_id]
        assert tables.threads_emptied(settled_seconds=0) == {}
    with pytest.raises(Exception, match="force-cleaned"):
        await with_saver(graphs.gated, store.saver).ainvoke({"text": "y"}, config_for(thread_id))
    assert store.count(thread_id) == found
    with store.open() as tables:
        deleted = [sum(tables.delete_rows(thread_id, limit=2).values()) for _ in range(20)]
        assert (sum(deleted), deleted[-1]) == (sum(found.values()), 0)
        assert tables.threads_to_empty(limit=10) == []
        assert tables.threads_emptied(settled_seconds=60) == {}
        assert tables.threads_emptied(settled_seconds=0) == {thread_id: sum(deleted)}
        tables.settle([thread_id])
        assert tables.threads_emptied(settled_seconds=0) == {}
    assert not store.moved(thread_id)


def with_effect(key: str) -> Any:
    """A graph that does an effect once, and so leaves its result in the tables."""

    async def node(state: graphs.State) -> graphs.State:
        async def effect() -> str:
            return "done"

        return {"text": await once(key, effect)}

    return StateGraph(graphs.State).add_node(node).add_edge(START, "node").compile()


async def test_a_fence_is_only_ever_raised(store: Store, thread_id: str) -> None:
    assert store.fence(thread_id) == 0
    for number in (3, 2, 3, 5, 4):
        store.raise_fence(thread_id, number)
    assert (store.fence(thread_id), store.fence(thread_id + "x")) == (5, 0)


@only(*WITH_SQL)
async def test_deleting_leaves_no_head_behind(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    store.delete(thread_id)
    assert store.execute("DELETE FROM countersign_heads WHERE thread_id = ?", [thread_id]) == 0


@only(*WITH_SQL)
async def test_a_delete_that_is_rolled_back_changes_nothing(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    head, found = store.index(thread_id), store.count(thread_id)
    with pytest.raises(ZeroDivisionError), store.open() as tables, in_transaction(tables):
        tables.delete_rows(thread_id)
        assert tables.read_head(thread_id) is None
        raise ZeroDivisionError
    assert (store.head(thread_id), store.count(thread_id)) == (head, found)
    assert not store.moved(thread_id)


@contextmanager
def in_transaction(tables: Tables) -> Iterator[None]:
    if isinstance(tables, PostgresTables):
        with tables.cursor.connection.transaction():
            yield
    else:
        yield


async def test_a_thread_that_comes_back_after_it_was_emptied_is_noticed(store: Store, thread_id: str) -> None:
    await run(graphs.gated, store, thread_id, {"text": "x"})
    store.index(thread_id)
    store.delete(thread_id)
    await run(graphs.gated, store, thread_id, {"text": "back"})
    assert store.moved(thread_id)
    store.index(thread_id)


async def test_an_unchanged_thread_keeps_its_head_when_it_is_read_again(store: Store, thread_id: str) -> None:
    """A head that changed by being read would make every vote stale."""
    await run(graphs.asking, store, thread_id, {"text": "x"})
    head = store.index(thread_id)
    await with_saver(graphs.asking, store.saver).aget_state(config_for(thread_id))
    assert [state async for state in with_saver(graphs.asking, store.saver).aget_state_history(config_for(thread_id))]
    assert (store.head(thread_id), store.moved(thread_id)) == (head, False)


async def test_pages_read_while_runs_write_and_an_admin_deletes(store: Store) -> None:
    ids, is_done = [f"t-{uuid.uuid4()}" for _ in range(20)], threading.Event()

    def read() -> int:
        times = 0
        while not is_done.is_set():
            with store.open() as tables:
                assert len(tables.threads_to_index(limit=5)) <= 5
                assert all(tables.count_rows(each).keys() for each in ids)
                assert [tables.read_head(each) for each in ids]
                tables.delete_rows(ids[0])
            times += 1
        return times

    reading = [asyncio.create_task(asyncio.to_thread(read)) for _ in range(2)]
    await asyncio.gather(*(run(graphs.asking, store, each, {"text": "x"}) for each in ids))
    is_done.set()
    assert all(await asyncio.gather(*reading))
    assert all(store.head(each) for each in ids[1:])


async def test_a_thread_older_than_the_triggers_is_found(tmp_path: Path, thread_id: str) -> None:
    file = tmp_path / "old.db"
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        await with_saver(graphs.gated, saver).ainvoke({"text": "x"}, config_for(thread_id))
    async with sqlite.open_sqlite(file, strict_serializer()) as opened:
        old = of_sqlite(file, opened)
        assert old.moved(thread_id)
        old.index(thread_id)


async def test_what_is_read_anywhere_below_a_question_is_bound_and_what_is_over_is_not(
    store: Store, thread_id: str
) -> None:
    saver: Any = store.saver
    await with_saver(standing.deep, saver).ainvoke({"notes": ["in"]}, config_for(thread_id))
    with store.open() as tables:
        rows, was = tables.read_bound(thread_id), tables.read_bound(thread_id, is_hashed=True)
    assert rows and was and rows.has_same_rows(was)
    assert len(was.parts) == 3, "the thread and two subgraphs"
    for part in was.parts:
        found = await saver.aget_tuple(config_for(thread_id, part.checkpoint_id, part.namespace))
        versions = {"people": saver.get_next_version(None, None)}
        changed = {**found.checkpoint, "channel_values": {**found.checkpoint["channel_values"], "people": 999_999}}
        changed["channel_versions"] = {**changed["channel_versions"], **versions}
        await saver.aput(found.parent_config or found.config, changed, found.metadata, versions)
        with store.open() as tables:
            assert f"{part.called}: contents" in bound_bytes.changed(tables, thread_id, was)
    with store.open() as tables:
        assert len(bound_bytes.changed(tables, thread_id, was)) == 3
        assert tables.read_bound("nobody") is None
