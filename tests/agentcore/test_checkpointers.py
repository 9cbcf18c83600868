"""Savers of every back end; and in PostgreSQL one pool for many."""

import asyncio
import operator
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from psycopg.conninfo import make_conninfo
from typing_extensions import TypedDict

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.errors import BadDatabaseUrl, BadRedisUrl, DatabaseUnreachable
from agentcore.plain.urls import postgres_params
from agentcore.savers.opening import open_checkpointer, open_pool, saver_over
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.setup import Pool
from tests.agentcore.test_serde import Parcel


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


@pytest.fixture(params=["postgresql", "sqlite", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("database"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/checkpoints.db"


async def test_a_saver_gives_back_what_a_run_left(url: str, thread_id: str) -> None:
    async with open_checkpointer(url) as saver:
        await with_saver(graph, saver).ainvoke({"words": ["é \u202e"]}, config_for(thread_id))
        state = await with_saver(graph, saver).aget_state(config_for(thread_id))
    assert state.values == {"words": ["é \u202e", "spoken"]}
    async with open_checkpointer(url) as saver:
        state = await with_saver(graph, saver).aget_state(config_for(thread_id))
    assert state.values == ({} if url == "memory://" else {"words": ["é \u202e", "spoken"]})


async def test_threads_do_not_see_each_other(url: str, thread_id: str) -> None:
    others = [thread_id + "%", thread_id[:-1], thread_id.upper(), f"{thread_id}/1", thread_id + "\u0301"]
    async with open_checkpointer(url) as saver:
        await with_saver(graph, saver).ainvoke({"words": ["mine"]}, config_for(thread_id))
        assert [await saver.aget_tuple(config_for(other)) for other in others] == [None] * len(others)
        await with_saver(graph, saver).ainvoke({"words": ["theirs"]}, config_for(others[0]))
        state = await with_saver(graph, saver).aget_state(config_for(thread_id))
        assert state.values["words"] == ["mine", "spoken"]
        await saver.adelete_thread(others[0])
        assert await saver.aget_tuple(config_for(thread_id)) is not None


async def test_a_run_builds_no_class_that_nobody_allowed(url: str, thread_id: str) -> None:
    """Also a class that this very process stored a moment ago."""
    module = (Parcel.__module__, Parcel.__qualname__)
    for allowed, is_built in (((), False), ([module], True)):
        async with open_checkpointer(url, allowed_modules=allowed) as saver:
            await with_saver(graph, saver).aupdate_state(
                config_for(thread_id), {"words": [Parcel(1.0, set())]}, "speak"
            )
            found = await saver.aget_tuple(config_for(thread_id))
        assert found is not None
        assert isinstance(found.checkpoint["channel_values"]["words"][0], Parcel) is is_built


@pytest.mark.parametrize("url", ["sqlite", "memory"], indirect=True)
async def test_a_cache_is_refused_where_it_is_of_no_use(url: str) -> None:
    with pytest.raises(BadRedisUrl, match="A cache belongs before PostgreSQL"):
        async with open_checkpointer(url, redis_url="redis://127.0.0.1:6379/0"):
            pass


async def test_a_bad_redis_url_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(BadRedisUrl, match="must look like redis://"):
        async with open_checkpointer("postgresql://u@127.0.0.1:1/shop", redis_url="http://:p@h"):
            pass


async def test_memory_is_of_one_saver_alone(thread_id: str) -> None:
    async with open_checkpointer("memory://") as one, open_checkpointer("memory://") as other:
        await with_saver(graph, one).ainvoke({"words": ["mine"]}, config_for(thread_id))
        assert await other.aget_tuple(config_for(thread_id)) is None


async def test_many_savers_share_one_pool_at_once(pool: Pool) -> None:
    async def run(number: int) -> list[str]:
        bound = with_saver(graph, saver_over(pool))
        return list((await bound.ainvoke({"words": [str(number)]}, config_for(f"t-{uuid.uuid4()}")))["words"])

    assert await asyncio.gather(*map(run, range(20))) == [[str(number), "spoken"] for number in range(20)]


async def test_one_slow_call_does_not_hold_up_another(pool: Pool, thread_id: str) -> None:
    """The library's own saver, the control, answers one call at a time, over a pool too."""
    ours, library = saver_over(pool), AsyncPostgresSaver(pool, serde=strict_serializer())
    for saver, longest_seconds, is_answered in ((ours, 10, True), (library, 0.3, False)):
        async with saver._cursor():
            asking = asyncio.create_task(saver.aget_tuple(config_for(thread_id)))
            await asyncio.wait([asking], timeout=longest_seconds)
            assert asking.done() is is_answered
        await asking


async def test_the_pool_outlives_its_connections(pool: Pool, thread_id: str) -> None:
    bound = with_saver(graph, saver_over(pool))
    await bound.ainvoke({"words": ["before"]}, config_for(thread_id))
    async with pool.connection() as one, pool.connection() as two:
        pids = [one.info.backend_pid, two.info.backend_pid]
    with psycopg.connect(make_conninfo("", **dict(pool_params(pool))), autocommit=True) as admin:
        killed = admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s::int[]) pid", [pids]).fetchall()
    assert killed == [(True,), (True,)]
    state = await bound.aget_state(config_for(thread_id))  # the first call after it, and it does not fail
    assert state.values["words"] == ["before", "spoken"]
    await bound.ainvoke({"words": ["after"]}, config_for(thread_id))


def pool_params(pool: Pool) -> dict[str, Any]:
    return psycopg.conninfo.conninfo_to_dict(str(pool.conninfo))


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


async def test_a_database_that_does_not_let_us_in_says_why_at_once(database: str) -> None:
    params = postgres_params(database)
    where = f"postgresql://nobody:hunter2-canary@/{params['dbname']}?host={params['host']}"
    nowhere = "postgresql://nobody:hunter2-canary@127.0.0.1:1/shop"
    for url, reason in ((where, "nobody"), (nowhere, "refused"), (f"{nowhere}?sslmode=bogus", "sslmode")):
        with pytest.raises(DatabaseUnreachable, match=reason) as refused:
            async with asyncio.timeout(20), open_checkpointer(url):  # the pool alone would try for 30 s
                pass
        assert "hunter2" not in repr(refused.value)
        assert refused.value.__cause__ is None and refused.value.__context__ is None
    with pytest.raises(BadDatabaseUrl, match="memory://"):
        async with open_checkpointer(None):  # type: ignore[arg-type]
            pass
