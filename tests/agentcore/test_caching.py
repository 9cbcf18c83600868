"""What lies in Redis is signed, shared, and never in the way."""

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for
from agentcore.plain.urls import postgres_params
from agentcore.savers import cache_entries, setup
from agentcore.savers.cache import Cache, CachedPostgresSaver, open_cache
from agentcore.savers.cache_entries import CacheSigner
from agentcore.savers.opening import open_checkpointer, open_pool
from agentcore.savers.reads import CheckpointReader
from agentcore.savers.serializers import strict_serializer
from tests.outages import RedisServer
from tests.scale import tries

pytestmark = pytest.mark.slow
BIG = [{"text": "x" * 1_000, "number": number} for number in range(300)]


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


@asynccontextmanager
async def process(database: str, url: str, *, near_bytes: int = 0, ttl: int = 60) -> AsyncIterator[CachedPostgresSaver]:
    """A saver with a pool and a cache of its own, as another process has; it keeps nothing but in Redis."""
    async with open_pool(database) as pool, open_cache(pool, url, ttl_seconds=ttl, near_bytes=near_bytes) as cache:
        yield CachedPostgresSaver(pool, cache, serde=strict_serializer())


async def put(saver: AsyncPostgresSaver, thread_id: str, value: Any, *, parent: Any = None, **others: Any) -> Any:
    """Save a checkpoint with `value` in one channel; `others` keep the version they have."""
    checkpoint, version = empty_checkpoint(), saver.get_next_version(None, None)
    checkpoint["channel_values"] = {"value": value, **others}
    checkpoint["channel_versions"] = {"value": version, **dict.fromkeys(others, "1")}
    config = parent or config_for(thread_id)
    new = {"value": version} if parent else dict(checkpoint["channel_versions"])
    return await saver.aput(config, checkpoint, {"source": "loop", "step": 1}, new)


async def value_of(saver: AsyncPostgresSaver, thread_id: str, checkpoint_id: str | None = None) -> Any:
    found = await saver.aget_tuple(config_for(thread_id, checkpoint_id))
    return found and found.checkpoint["channel_values"].get("value")


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count the documents and blobs that are fetched from PostgreSQL."""
    asked = {"documents": 0, "blobs": 0}
    for name in asked:
        real = getattr(CheckpointReader, name)

        async def ask(self: CheckpointReader, wanted: Any, real: Any = real, name: str = name) -> Any:
            asked[name] += len(wanted)
            return await real(self, wanted)

        monkeypatch.setattr(CheckpointReader, name, ask)
    return asked


async def test_what_one_process_saved_another_reads_from_redis(
    database: str, own_redis: RedisServer, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(database, own_redis.url) as one, process(database, own_redis.url) as other:
        saved = await put(one, thread_id, BIG)
        await one.cache.entries.written()
        asked = counted(monkeypatch)
        assert await value_of(other, thread_id) == BIG
        assert await value_of(other, thread_id, saved["configurable"]["checkpoint_id"]) == BIG
        assert asked == {"documents": 0, "blobs": 0}


async def test_a_pending_write_costs_a_document_and_no_blob(
    database: str, own_redis: RedisServer, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(database, own_redis.url) as saver:
        saved = await put(saver, thread_id, BIG)
        await saver.aput_writes(saved, [("__interrupt__", "May I?")], "task")
        await saver.cache.entries.written()
        asked = counted(monkeypatch)
        for _ in range(3):
            found = await saver.aget_tuple(config_for(thread_id))
            assert found and found.pending_writes == [("task", "__interrupt__", "May I?")]
            await saver.cache.entries.written()
        assert asked == {"documents": 1, "blobs": 0}


@pytest.mark.parametrize("near_bytes", [0, 10_000_000], ids=["in Redis", "in memory"])
@pytest.mark.parametrize("reads", ["validated", "notified"])
async def test_a_value_that_somebody_changed_in_place_is_read_as_it_is_now(
    database: str, own_redis: RedisServer, thread_id: str, near_bytes: int, reads: Any
) -> None:
    async with process(database, own_redis.url, near_bytes=near_bytes) as saver:
        saved = await put(saver, thread_id, BIG)
        saver, other = saver.reading(reads), await put(saver, f"{thread_id}-other", ["changed"])
        await saver.cache.entries.written()
        assert await value_of(saver, thread_id) == BIG
        with psycopg.connect(make_conninfo("", **postgres_params(database)), autocommit=True) as connection:
            changed = connection.execute(
                "UPDATE checkpoint_blobs b SET (type, blob) = (SELECT o.type, o.blob FROM checkpoint_blobs o"
                " WHERE o.thread_id = %s) WHERE b.thread_id = %s",
                [other["configurable"]["thread_id"], thread_id],
            )
            assert changed.rowcount == 1
        for _ in range(1_000 if reads == "notified" else 0):  # a notification takes its time, as it does for a page
            if await value_of(saver, thread_id) != BIG:
                break
            await asyncio.sleep(0.01)
        assert await value_of(saver, thread_id) == ["changed"]
        assert await value_of(saver, thread_id, saved["configurable"]["checkpoint_id"]) == ["changed"]


async def test_history_reads_what_its_checkpoints_share_once(
    database: str, own_redis: RedisServer, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(database, own_redis.url) as saver:
        config = await put(saver, thread_id, 0, big=BIG)
        for number in range(1, 60):
            config = await put(saver, thread_id, [number], parent=config, big=BIG)
        await saver.cache.entries.written()
        own_redis.client.flushall()
        asked = counted(monkeypatch)
        for _ in range(2):  # from PostgreSQL, then from Redis
            listed = [each async for each in saver.alist(config_for(thread_id), limit=55)]
            values = [each.checkpoint["channel_values"] for each in listed]
            assert [each["value"] for each in values] == [[number] for number in range(59, 4, -1)]
            assert all(each["big"] == BIG for each in values)
            assert values[0]["big"] is not values[1]["big"], "a reader may change what it got"
            assert asked["documents"] == 55
            assert 55 + 1 <= asked["blobs"] <= 55 + 2, "fifty at a time share one read of what is common"
            await saver.cache.entries.written()
        before = [each async for each in saver.alist(config_for(thread_id), before=listed[-1].config, limit=2)]
        assert [each.checkpoint["channel_values"]["value"] for each in before] == [[4], [3]]


async def test_many_readers_of_a_cold_thread_fetch_it_once(
    database: str, own_redis: RedisServer, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(database, own_redis.url) as saver:
        await put(saver, thread_id, BIG)
        await saver.cache.entries.written()
        own_redis.client.flushall()
        asked = counted(monkeypatch)
        readers = [asyncio.create_task(value_of(saver, thread_id)) for _ in range(40)]
        while not saver.cache._gathering:  # noqa: ASYNC110 - until the first one is under way
            await asyncio.sleep(0)
        readers[0].cancel()  # the first to ask gives up; the others get their answer all the same
        results = await asyncio.gather(*readers, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [BIG] * 39
        assert asked["blobs"] <= 2


async def test_entries_tell_nothing_and_end(database: str, own_redis: RedisServer, thread_id: str) -> None:
    async with process(database, own_redis.url, ttl=600) as saver:
        await put(saver, thread_id, BIG)
        await saver.cache.entries.written()
    keys = own_redis.client.keys("*")
    assert keys
    for key in keys:
        assert thread_id.encode() not in key
        assert key.startswith(b"countersign:1:")
        assert 0 < own_redis.client.ttl(key) <= 600


def test_a_signed_entry_is_valid_under_its_own_key_alone() -> None:
    signer, other = CacheSigner(b"s" * 32), CacheSigner(b"t" * 32)
    key = signer.key("document", "t-1", "", "1")
    entry = signer.sign(key, b"content")
    assert signer.verified(key, entry) == b"content"
    assert signer.verified(signer.key("document", "t-1", "1", ""), entry) is None
    assert other.verified(key, entry) is None
    assert other.key("document", "t-1", "", "1") != key
    for bad in (b"", entry[:-1], entry[:31], entry + b"x", b"\0" * 32 + b"content", entry[32:] + entry[:32]):
        assert signer.verified(key, bad) is None
    for parts in (("a", "b"), ("ab", ""), ("", "ab"), ("a", "", "b")):
        assert sum(signer.key(*parts) == signer.key(*others) for others in (("a", "b"), ("ab", ""), ("", "ab"))) <= 1


async def test_an_entry_of_another_schema_is_a_miss(
    database: str, own_redis: RedisServer, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(database, own_redis.url) as saver:
        await put(saver, thread_id, BIG)
        await saver.cache.entries.written()
        monkeypatch.setattr(cache_entries, "_SCHEMA", b"countersign:2:")
        asked = counted(monkeypatch)
        assert await value_of(saver, thread_id) == BIG
        assert asked == {"documents": 1, "blobs": 1}


async def test_two_databases_share_a_redis_and_no_entry(database: str, own_redis: RedisServer, thread_id: str) -> None:
    async with open_pool(database) as pool:
        secret = await setup.cache_secret(pool)
    assert len(secret) == 32
    assert CacheSigner(secret).key("document", thread_id) != CacheSigner(bytes(32)).key("document", thread_id)


@pytest.mark.parametrize("near_bytes", [0, pytest.param(10_000_000, marks=pytest.mark.full)])
async def test_a_hung_redis_costs_a_moment_and_then_nothing(
    near_bytes: int, database: str, own_redis: RedisServer, thread_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "agentcore.plain.breaker")
    async with process(database, own_redis.url, near_bytes=near_bytes) as saver:
        await put(saver, thread_id, BIG)
        await saver.cache.entries.written()
        assert saver.cache.entries.breaker.is_closed
        own_redis.hang()
        for number in range(20):
            await put(saver, thread_id, [number])
            assert await value_of(saver, thread_id) == [number]
            assert await value_of(saver, f"{thread_id} of nobody") is None
        for _ in range(cache_entries.SLOW_ANSWERS):
            await saver.cache.entries.get([b"anything"])
        await become(saver.cache, is_closed=False)
        with pytest.raises(StopIteration) as answered:  # behind an open breaker Redis is not asked: nothing is awaited
            saver.cache.entries.get([b"anything"]).send(None)
        assert answered.value.value == {}
        own_redis.go_on()
        await become(saver.cache, is_closed=True)
        assert await value_of(saver, thread_id) == [19]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"], (
        "once when it goes, once when back"
    )


async def become(cache: Cache, *, is_closed: bool) -> None:
    async with asyncio.timeout(5):
        while cache.entries.breaker.is_closed != is_closed:  # noqa: ASYNC110 - it comes back by itself, there is no event to wait for
            await asyncio.sleep(0.05)


async def test_a_redis_that_is_gone_is_not_used_until_it_is_back(
    database: str, own_redis: RedisServer, thread_id: str
) -> None:
    own_redis.kill()
    async with process(database, own_redis.url) as saver:  # it may be down at the start
        await put(saver, thread_id, BIG)
        assert await value_of(saver, thread_id) == BIG
        await become(saver.cache, is_closed=False)
        own_redis.start()
        await become(saver.cache, is_closed=True)
        await value_of(saver, thread_id)
        await saver.cache.entries.written()
        assert len(own_redis.client.keys("countersign:1:*")) == 2


async def test_a_full_redis_is_read_and_not_written(database: str, own_redis: RedisServer, thread_id: str) -> None:
    async with process(database, own_redis.url) as saver:
        await put(saver, thread_id, BIG)
        await saver.cache.entries.written()
        own_redis.be_full()
        assert await value_of(saver, thread_id) == BIG
        await put(saver, thread_id, [1])
        await saver.cache.entries.written()
        assert await value_of(saver, thread_id) == [1]
        assert saver.cache.entries.breaker.is_closed


async def test_what_waits_for_a_slow_redis_has_a_bound(
    database: str, own_redis: RedisServer, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_entries, "MOST_UNWRITTEN", 1_000_000)
    monkeypatch.setattr(cache_entries, "WRITE_SECONDS", 60)  # a busy machine is not a slow Redis
    async with process(database, own_redis.url) as saver:
        for number in range(100):
            saver.cache.entries.put({f"{number}".encode(): b"x" * 100_000})
        await saver.cache.entries.written()
        assert own_redis.client.dbsize() == 10  # type: ignore[comparison-overlap]


async def test_a_thread_that_was_deleted_or_copied_or_pruned_reads_as_it_is(
    database: str, own_redis: RedisServer, thread_id: str
) -> None:
    target, plain_run = f"{thread_id} copy", str(uuid.uuid4())
    async with process(database, own_redis.url, near_bytes=10_000_000) as saver:
        first = await put(saver, thread_id, BIG)
        await put(saver, thread_id, [2], parent=first)
        await saver.acopy_thread(thread_id, target)
        assert await value_of(saver, target) == [2]
        assert await value_of(saver, target, first["configurable"]["checkpoint_id"]) == BIG
        await saver.aprune([target])
        assert await value_of(saver, target, first["configurable"]["checkpoint_id"]) is None
        assert await value_of(saver, target) == [2]
        await saver.adelete_thread(thread_id)
        assert await value_of(saver, thread_id) is None
        assert await value_of(saver, target) == [2]
        checkpoint = empty_checkpoint()
        await saver.aput(config_for(target), checkpoint, {"run_id": plain_run}, {})  # type: ignore[typeddict-unknown-key]
        assert await value_of(saver, target) is None
        await saver.adelete_for_runs([plain_run])
        assert await value_of(saver, target) == [2]


async def test_a_checkpoint_of_an_old_format_is_read_as_the_library_reads_it(
    database: str, own_redis: RedisServer, thread_id: str
) -> None:
    """Before version 4 what was sent waited in the parent's writes."""
    async with process(database, own_redis.url) as saver, open_pool(database) as pool:
        plain = AsyncPostgresSaver(pool, serde=strict_serializer())
        parent = await put(saver, thread_id, 1)
        await saver.aput_writes(parent, [("__pregel_tasks", "sent")], "task")
        checkpoint = empty_checkpoint() | {"v": 3, "channel_versions": {"value": "1"}}
        saved = await saver.aput(parent, checkpoint, {}, {})  # type: ignore[arg-type]
        expected = await plain.aget_tuple(saved)
        assert expected and expected.checkpoint["channel_values"]["__pregel_tasks"] == ["sent"]
        assert await saver.aget_tuple(config_for(thread_id)) == expected
        assert [each async for each in saver.alist(saved)] == [each async for each in plain.alist(saved)]


async def test_numbers_read_the_same_as_from_postgresql(database: str, own_redis: RedisServer, thread_id: str) -> None:
    """JSONB makes 1e22 an integer and forgets the sign of zero; the cache must not know better."""
    odd = {"float": 1e22, "zero": -0.0, "large": 10**30, "text": "é\u202e", "true": True, "list": [1e22, -0.0]}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = odd
    checkpoint["channel_versions"] = dict.fromkeys(odd, "1")
    async with process(database, own_redis.url) as saver, open_pool(database) as pool:
        saved = await saver.aput(config_for(thread_id), checkpoint, {"score": 1e22}, {"list": "1"})  # type: ignore[typeddict-unknown-key]
        await saver.cache.entries.written()
        expected = await AsyncPostgresSaver(pool, serde=strict_serializer()).aget_tuple(saved)
        for _ in range(2):
            assert repr(await saver.aget_tuple(saved)) == repr(expected)
            await saver.cache.entries.written()


async def test_a_large_state_is_decoded_off_the_event_loop(
    database: str, own_redis: RedisServer, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: dict[bool, set[str]] = {True: set(), False: set()}
    for kind in ("cached", "plain"):
        async with open_checkpointer(database, redis_url=own_redis.url if kind == "cached" else None) as saver:
            real = saver.serde.loads_typed

            def noting(data: Any, real: Any = real) -> Any:
                where[len(data[1]) > 100_000].add(threading.current_thread().name)
                return real(data)

            monkeypatch.setattr(saver.serde, "loads_typed", noting)
            for name, value in (("big", BIG), ("small", [1])):
                await put(saver, f"{thread_id} {kind} {name}", value)  # type: ignore[arg-type]
                await value_of(saver, f"{thread_id} {kind} {name}")  # type: ignore[arg-type]
    assert where[False] == {"MainThread"}
    assert where[True] and "MainThread" not in where[True]


async def test_saver_methods_work_from_another_thread(database: str, own_redis: RedisServer, thread_id: str) -> None:
    """LangGraph's sync methods call over into the saver's loop."""
    async with process(database, own_redis.url) as saver:
        await put(saver, thread_id, BIG)

        def outside() -> Any:
            saver.copy_thread(thread_id, f"{thread_id} copy")
            saver.delete_for_runs([str(uuid.uuid4())])
            found = saver.get_tuple(config_for(f"{thread_id} copy"))
            listed = list(saver.list(config_for(thread_id)))
            saver.delete_thread(thread_id)
            return found, listed, saver.get(config_for(thread_id))

        found, listed, gone = await asyncio.to_thread(outside)
    assert found.checkpoint["channel_values"] == listed[0].checkpoint["channel_values"] == {"value": BIG}
    assert gone is None


async def test_a_blob_that_another_stored_meanwhile_is_not_missing(
    database: str, own_redis: RedisServer, thread_id: str
) -> None:
    """The statement of aput waits for it and stores nothing in its place; and it does not see it either."""
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"], checkpoint["channel_versions"] = {"a": [1, 2, 3]}, {"a": "1"}
    insert = "INSERT INTO checkpoint_blobs VALUES (%s, '', 'a', '1', 'msgpack', %s)"
    async with process(database, own_redis.url) as saver, process(database, own_redis.url) as other:
        async with await psycopg.AsyncConnection.connect(database) as plain:
            await plain.execute(insert, [thread_id, strict_serializer().dumps_typed([1, 2, 3])[1]])
            putting = asyncio.create_task(saver.aput(config_for(thread_id), checkpoint, {}, {"a": "1"}))
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH saved%'"
            async with await psycopg.AsyncConnection.connect(database, autocommit=True) as looking:
                while not await (await looking.execute(waits)).fetchone():  # noqa: ASYNC110 - it waits
                    await asyncio.sleep(0.01)
            await plain.commit()
        await putting
        for reader in (saver, other):
            found = await reader.aget_tuple(config_for(thread_id))
            assert found and found.checkpoint["channel_values"] == {"a": [1, 2, 3]}
            await reader.cache.entries.written()


MANY = tries(2_000, full=12_000)


@pytest.mark.parametrize("is_cached", [True, False])
async def test_thousands_of_writes_and_channels_are_kept(
    is_cached: bool, database: str, own_redis: RedisServer, thread_id: str
) -> None:
    values = {f"channel {number}": [number] for number in range(MANY)}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"], checkpoint["channel_versions"] = values, dict.fromkeys(values, "1")
    async with open_checkpointer(database, redis_url=own_redis.url if is_cached else None) as saver:
        saved = await saver.aput(config_for(thread_id), checkpoint, {}, dict.fromkeys(values, "1"))
        await saver.aput_writes(saved, [("many", {"number": number}) for number in range(MANY)], "task")
        for _ in range(2):
            found = await saver.aget_tuple(config_for(thread_id))
            assert found and found.checkpoint["channel_values"] == values
            assert [value["number"] for _, _, value in found.pending_writes or []] == list(range(MANY))


async def test_an_empty_id_means_the_latest(database: str, own_redis: RedisServer, thread_id: str) -> None:
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": ""}}
    async with process(database, own_redis.url) as saver:
        await put(saver, thread_id, 1)
        assert await saver.aget_tuple(config) == await saver.aget_tuple(config_for(thread_id))


async def test_another_loop_is_refused_and_breaks_nothing(
    database: str, own_redis: RedisServer, thread_id: str
) -> None:
    async with process(database, own_redis.url) as saver:
        await put(saver, thread_id, 1)

        def elsewhere() -> None:
            asyncio.run(value_of(saver, thread_id))

        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await asyncio.to_thread(elsewhere)
        assert await value_of(saver, thread_id) == 1


async def test_reads_go_on_after_a_task_inside_was_cancelled(
    database: str, own_redis: RedisServer, thread_id: str
) -> None:
    """Somebody cancels every task there is, as frameworks do."""
    async with process(database, own_redis.url) as saver:
        await put(saver, thread_id, BIG)
        reading = asyncio.create_task(value_of(saver, thread_id))
        while not saver.cache.stored._latest._asking:  # noqa: ASYNC110 - until the question is on its way
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if task.get_coro().__name__ in ("_ask", "_write"):  # type: ignore[union-attr]
                task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(5):
            assert await value_of(saver, thread_id) == BIG
            await saver.cache.entries.written()


async def test_large_states_do_not_make_redis_look_slow(database: str, own_redis: RedisServer, thread_id: str) -> None:
    large = ["x" * 1_000_000 for _ in range(20)]
    async with process(database, own_redis.url) as saver:
        for _ in range(3):
            await put(saver, thread_id, large)
            assert await value_of(saver, thread_id) == large
            await saver.cache.entries.written()
        assert saver.cache.entries.breaker.is_closed
