"""One pool, many savers, tables set up once whoever else does the same: on a real PostgreSQL."""

import asyncio
import operator
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from psycopg.conninfo import make_conninfo
from typing_extensions import TypedDict

from agentcore import schema, tables
from agentcore.checkpointers import open_checkpointer, open_pool, saver_over
from agentcore.dsn import postgres_params
from agentcore.errors import BadDatabaseUrl, SetupTimeout
from agentcore.schema import Pool, setup
from agentcore.threads import config_for, with_saver
from tests.agentcore.test_serde import Parcel

TABLES = {"checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations", "countersign_heads"}
TRIGGERS = {"countersign_checkpoint", "countersign_checkpoint_gone", "countersign_write"}


class State(TypedDict, total=False):
    words: Annotated[list[str], operator.add]


async def speak(state: State) -> State:
    await asyncio.sleep(0)
    return {"words": ["spoken"]}


_builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_builder.add_node("speak", speak)
_builder.add_edge(START, "speak")
graph = _builder.compile()


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with open_pool(database, max_size=4) as opened:
        yield opened


@pytest.fixture
def empty_database(database: str) -> Iterator[dict[str, str]]:
    """The libpq parameters of a database without tables, dropped afterwards."""
    params, name = postgres_params(database), f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(make_conninfo("", **params), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield params | {"dbname": name}
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def names(params: dict[str, str], query: str) -> set[str]:
    with psycopg.connect(make_conninfo("", **params)) as connection:
        return {row[0] for row in connection.execute(query)}


def tables_of(params: dict[str, str]) -> set[str]:
    return names(params, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")


async def test_a_saver_gives_back_what_a_run_left(database: str, thread_id: str) -> None:
    async with open_checkpointer(database) as saver:
        await with_saver(graph, saver).ainvoke({"words": ["é \u202e"]}, config_for(thread_id))
    async with open_checkpointer(database) as saver:
        state = await with_saver(graph, saver).aget_state(config_for(thread_id))
    assert state.values == {"words": ["é \u202e", "spoken"]}


async def test_threads_do_not_see_each_other(database: str, thread_id: str) -> None:
    others = [thread_id + "%", thread_id[:-1], thread_id.upper(), f"{thread_id}/1", thread_id + "\u0301"]
    async with open_checkpointer(database) as saver:
        await with_saver(graph, saver).ainvoke({"words": ["mine"]}, config_for(thread_id))
        assert [await saver.aget_tuple(config_for(other)) for other in others] == [None] * len(others)
        await with_saver(graph, saver).ainvoke({"words": ["theirs"]}, config_for(others[0]))
        state = await with_saver(graph, saver).aget_state(config_for(thread_id))
        assert state.values["words"] == ["mine", "spoken"]
        await saver.adelete_thread(others[0])
        assert await saver.aget_tuple(config_for(thread_id)) is not None


async def test_many_savers_share_one_pool_at_once(pool: Pool) -> None:
    async def run(number: int) -> list[str]:
        bound = with_saver(graph, saver_over(pool))
        return list((await bound.ainvoke({"words": [str(number)]}, config_for(f"t-{uuid.uuid4()}")))["words"])

    assert await asyncio.gather(*map(run, range(20))) == [[str(number), "spoken"] for number in range(20)]


async def test_one_slow_saver_does_not_hold_up_another(pool: Pool, thread_id: str) -> None:
    """A saver object runs one query at a time, which is why each run takes its own."""
    slow, quick = saver_over(pool), saver_over(pool)

    async def sleep() -> None:
        async with slow._cursor() as cursor:
            await cursor.execute("SELECT pg_sleep(1)")

    sleeping = asyncio.create_task(sleep())
    await asyncio.sleep(0.1)
    await quick.aget_tuple(config_for(thread_id))
    assert not sleeping.done()
    queued = asyncio.create_task(slow.aget_tuple(config_for(thread_id)))  # the control
    await asyncio.sleep(0.1)
    assert not queued.done()
    await asyncio.gather(sleeping, queued)


async def test_the_pool_outlives_its_connections(pool: Pool, thread_id: str) -> None:
    bound = with_saver(graph, saver_over(pool))
    await bound.ainvoke({"words": ["before"]}, config_for(thread_id))
    async with pool.connection() as one, pool.connection() as two:
        pids = [one.info.backend_pid, two.info.backend_pid]
    with psycopg.connect(make_conninfo("", **dict(pool_params(pool))), autocommit=True) as admin:
        killed = admin.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [pids]).fetchall()
    assert killed == [(True,), (True,)]
    state = await bound.aget_state(config_for(thread_id))  # the first call after it, and it does not fail
    assert state.values["words"] == ["before", "spoken"]
    await bound.ainvoke({"words": ["after"]}, config_for(thread_id))


def pool_params(pool: Pool) -> dict[str, Any]:
    return psycopg.conninfo.conninfo_to_dict(str(pool.conninfo))


async def test_four_set_ups_at_once_all_succeed(empty_database: dict[str, str]) -> None:
    """Unguarded, three of four die with UniqueViolation; behind pg_advisory_lock they hang."""

    async def deploy() -> None:
        async with open_pool(empty_database, max_size=3) as own:
            await setup(own, timeout_seconds=20)

    assert tables_of(empty_database) == set()
    await asyncio.gather(*(deploy() for _ in range(4)))
    assert tables_of(empty_database) == TABLES
    assert names(empty_database, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == TRIGGERS
    assert names(empty_database, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == set()
    assert names(empty_database, "SELECT pid FROM pg_locks WHERE locktype = 'advisory'") == set()


async def test_setting_up_again_keeps_what_is_there(pool: Pool, thread_id: str) -> None:
    await with_saver(graph, saver_over(pool)).ainvoke({"words": ["kept"]}, config_for(thread_id))
    await setup(pool)
    state = await with_saver(graph, saver_over(pool)).aget_state(config_for(thread_id))
    assert state.values["words"] == ["kept", "spoken"]


async def test_threads_older_than_the_trigger_are_found(empty_database: dict[str, str]) -> None:
    async with open_pool(empty_database) as own:
        saver = saver_over(own)
        await saver.setup()
        await with_saver(graph, saver).ainvoke({"words": []}, config_for("old"))
        await setup(own)
        async with own.connection() as connection:
            found = await connection.execute("SELECT thread_id, is_indexed FROM countersign_heads")
            assert await found.fetchall() == [{"thread_id": "old", "is_indexed": False}]


async def test_a_held_lock_is_named_after_the_time_given(database: str, empty_database: dict[str, str]) -> None:
    async with (
        open_pool(empty_database, max_size=3) as own,
        await psycopg.AsyncConnection.connect(make_conninfo("", **empty_database), autocommit=True) as holder,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as elsewhere,
    ):
        for connection in (elsewhere, holder):  # a lock in another database is nobody's business here
            await connection.execute("SELECT pg_advisory_lock(%s)", [schema._SETUP_LOCK])
            if connection is elsewhere:
                async with own.connection() as here:
                    assert (await schema._holder(here, 1)).startswith("another session")
        began = time.monotonic()
        with pytest.raises(SetupTimeout, match=rf"PostgreSQL session {holder.info.backend_pid} \(.*\) has been"):
            await setup(own, timeout_seconds=0.6)
        assert 0.5 < time.monotonic() - began < 5
        assert tables_of(empty_database) == set()
        await holder.execute("SELECT pg_advisory_unlock_all()")
        await setup(own, timeout_seconds=0.6)
        assert tables_of(empty_database) == TABLES


async def test_a_set_up_that_waited_goes_on_when_the_lock_is_free(database: str, pool: Pool) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as holder:
        await holder.execute("SELECT pg_advisory_lock(%s)", [schema._SETUP_LOCK])
        waiting = asyncio.create_task(setup(pool, timeout_seconds=20))
        await asyncio.sleep(0.4)
        assert not waiting.done()
    await waiting


async def test_a_set_up_that_fails_gives_the_lock_back(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "INSTALL_SQL", "SELECT 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await setup(pool)
    monkeypatch.undo()
    await setup(pool, timeout_seconds=0.5)


async def test_a_class_from_a_checkpoint_is_not_built(pool: Pool, thread_id: str) -> None:
    """Someone else wrote the row with LangGraph's permissive default; reading it here builds nothing."""
    writer = AsyncPostgresSaver(pool, serde=JsonPlusSerializer(allowed_msgpack_modules=True))
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"], checkpoint["channel_versions"] = {"words": [Parcel(1.0, set())]}, {"words": "1"}
    await writer.aput(config_for(thread_id), checkpoint, {}, {"words": "1"})
    permissive = await writer.aget_tuple(config_for(thread_id))
    assert permissive is not None
    assert isinstance(permissive.checkpoint["channel_values"]["words"][0], Parcel)
    module = (Parcel.__module__, Parcel.__qualname__)
    for allowed, is_built in (((), False), ([module], True)):
        found = await saver_over(pool, allowed_modules=allowed).aget_tuple(config_for(thread_id))
        assert found is not None
        assert isinstance(found.checkpoint["channel_values"]["words"][0], Parcel) is is_built


async def test_a_bad_url_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(BadDatabaseUrl):
        async with open_checkpointer("mysql://u:p@h/shop"):
            pass
