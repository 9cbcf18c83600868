"""Two processes write the same threads, one through the cache and one that knows of none, while others read.

Each write of a thread has a number. A read must show what a number that was reached meanwhile had written: not an older
one than the last that was done when the read began, and never a mixture of two.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.savers import listening
from agentcore.savers.cache import Cache, CachedPostgresSaver, open_cache
from agentcore.savers.listening import mark_of
from agentcore.savers.opening import open_pool
from agentcore.savers.serializers import strict_serializer
from tests.console import ROOT, wait_for
from tests.graphs import State
from tests.outages import RedisServer
from tests.races.plain_writer import write
from tests.scale import some, tries

THREADS = 8
SEED = 20_26
Seen = tuple[Any, Any] | None


@pytest.fixture
def quick_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that beats, and is missed, sooner."""
    monkeypatch.setattr(listening, "LISTENER_BEAT_SECONDS", 0.2)
    monkeypatch.setattr(listening, "SILENCE_SECONDS", 1.0)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@dataclass
class Story:
    """What was written to one thread: `told[n]` is what write n left there. Numbers begin with 0, nothing."""

    thread_id: str = field(default_factory=lambda: f"t-{uuid.uuid4()}")
    started: int = 0
    done: int = 0
    told: list[Seen] = field(default_factory=lambda: [None])
    version: int = 0
    head: str = ""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Writer:
    """The other process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lock = asyncio.Lock()

    async def write(self, **what: Any) -> None:
        async with self.lock:
            await asyncio.to_thread(self._write, json.dumps(what))

    def _write(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        check_answered(self.process)


def check_answered(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline(), "the other process ended"


def seen_in(found: CheckpointTuple | None) -> Seen:
    """Return the number in the checkpoint and the one in its pending write; both channels must agree."""
    if found is None:
        return None
    values, writes = found.checkpoint["channel_values"], found.pending_writes or []
    assert values["blob"]["number"] == values["inline"] == found.metadata["step"]  # type: ignore[typeddict-item]
    assert len(writes) <= 1
    return values["inline"], writes[0][2] if writes else None


async def write_next(story: Story, dice: random.Random, by: Callable[..., Awaitable[None]]) -> None:
    """Write the next number: a checkpoint, a pending write of the head (put in place of the last), or delete all."""
    async with story.writing:
        number, before = story.started + 1, story.told[-1]
        what = dice.choices(["put", "write", "delete"], [5, 5, 1])[0] if before else "put"
        if what == "delete":
            story.version, after = 0, None  # the same versions come again, with other content
        elif what == "put":
            story.version, story.head, after = story.version + 1, f"{number:032}", (number, None)
        else:
            assert before
            after = (before[0], number)
        story.told.append(after)
        story.started = number
        version = f"{story.version:032}"
        await by(what=what, thread_id=story.thread_id, number=number, checkpoint_id=story.head, version=version)
        story.done = number


@dataclass
class Count:
    reads: int = 0
    writes: int = 0
    stale: int = 0


async def read_once(story: Story, reader: Any, count: Count, *, may_lag: bool) -> None:
    low = story.done
    seen = seen_in(await reader.aget_tuple(config_for(story.thread_id)))
    count.reads += 1
    numbers = [number for number, told in enumerate(story.told) if told == seen]
    assert numbers, f"a mixture that nobody wrote: {seen}"
    if numbers[-1] >= low:
        return
    count.stale += 1
    assert may_lag, f"stale: {seen} is of write {numbers[-1]}, but {low} was done"


async def caught_up(story: Story, reader: Any) -> None:
    """Read until the last write is seen, without another one."""
    async with asyncio.timeout(30):
        while True:
            if seen_in(await reader.aget_tuple(config_for(story.thread_id))) == story.told[-1]:
                return
            await asyncio.sleep(0.01)


async def interleave(*, steps: int, writer: Writer, saver: Any, reader: Any, may_lag: bool = False) -> Count:
    stories, count, dice = [Story() for _ in range(THREADS)], Count(), random.Random(SEED)
    left = iter(range(steps))

    async def work() -> None:
        for _ in left:
            story = dice.choice(stories)
            if dice.random() < 0.6:
                await read_once(story, reader, count, may_lag=may_lag)
                continue
            count.writes += 1
            own = dice.random() < 0.5

            async def by(own: bool = own, **what: Any) -> None:
                await (write(saver, **what) if own else writer.write(**what))

            await write_next(story, dice, by)

    await asyncio.gather(*(work() for _ in range(12)))
    await asyncio.gather(*(caught_up(story, reader) for story in stories))
    return count


async def heard(cache: Cache, *stories: Story) -> None:
    """Wait until changes are heard, and those of these threads are listened for."""

    def is_heard() -> bool:
        sessions = [cache.listener.session(mark_of(story.thread_id)) for story in stories]
        return cache.listener.is_heard and all(sessions)

    await asyncio.to_thread(wait_for, is_heard, what="changes to be heard")


@asynccontextmanager
async def opened(database: str, redis: str, *, near_bytes: int) -> AsyncIterator[tuple[Cache, CachedPostgresSaver]]:
    async with open_pool(database) as pool, open_cache(pool, redis, ttl_seconds=60, near_bytes=near_bytes) as cache:
        await heard(cache)
        yield cache, CachedPostgresSaver(pool, cache, serde=strict_serializer())


@pytest.fixture(scope="module")
def writing(database: str) -> Iterator[subprocess.Popen[str]]:
    """The other process: one for all tests, which write threads of their own."""
    command, pipe = [sys.executable, "-m", "tests.races.plain_writer", database], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        check_answered(process)
        yield process
        assert process.stdin
        process.stdin.close()  # it ends with its input


@pytest.fixture
async def writer(writing: subprocess.Popen[str]) -> Writer:
    return Writer(writing)


@pytest.mark.parametrize(("near_bytes", "steps"), [(0, tries(200, full=10_000)), (1_000_000, tries(150, full=4_000))])
async def test_a_validated_read_is_never_stale(
    near_bytes: int, steps: int, database: str, own_redis: RedisServer, writer: Writer
) -> None:
    async with opened(database, own_redis.url, near_bytes=near_bytes) as (cache, saver):
        count = await interleave(steps=steps, writer=writer, saver=saver, reader=saver)
        assert cache.entries.breaker.is_closed
    assert count.stale == 0
    assert count.reads + count.writes == steps
    assert count.writes > steps // 4
    assert own_redis.client.dbsize()


async def test_a_notified_read_lags_by_the_notification_and_no_more(
    database: str, own_redis: RedisServer, writer: Writer
) -> None:
    """It never shows a mixture, and it catches up with the last write, though nobody writes any more."""
    async with opened(database, own_redis.url, near_bytes=1_000_000) as (_, saver):
        reader = saver.reading("notified")
        count = await interleave(steps=tries(150, full=6_000), writer=writer, saver=saver, reader=reader, may_lag=True)
    assert count.reads > count.stale
    print(f"{count.stale} of {count.reads} notified reads lagged")  # noqa: T201 - the count is the result


async def test_while_changes_cannot_be_heard_reads_are_validated(
    database: str, own_redis: RedisServer, writer: Writer
) -> None:
    """The listening connection is ended again and again; what was written meanwhile is told to nobody."""
    async with opened(database, own_redis.url, near_bytes=1_000_000) as (cache, saver):
        reader = saver.reading("notified")
        story, dice = Story(), random.Random(SEED)
        with psycopg.connect(database, autocommit=True) as admin:
            for _ in range(3):
                await heard(cache, story)
                await write_next(story, dice, writer.write)
                await reader.aget_tuple(config_for(story.thread_id))
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
                assert admin.execute(ended, [cache.listener.name]).fetchall() == [(True,)]
                await asyncio.to_thread(wait_for, lambda: not cache.listener.is_heard, what="the loss to be noticed")
                for _ in range(5):  # it listens again after a second
                    await write_next(story, dice, writer.write)
                    await read_once(story, reader, Count(), may_lag=False)


@pytest.mark.usefixtures("quick_listener")
async def test_a_listener_that_hangs_is_not_believed_for_long(
    database: str, own_redis: RedisServer, writer: Writer
) -> None:
    """The connection stands, and nothing comes through it any more."""
    async with opened(database, own_redis.url, near_bytes=1_000_000) as (cache, saver):
        reader, story, dice = saver.reading("notified"), Story(), random.Random(SEED)
        await heard(cache, story)
        await write_next(story, dice, writer.write)
        await reader.aget_tuple(config_for(story.thread_id))
        with psycopg.connect(database) as admin:
            found = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
            [(pid,)] = admin.execute(found, [cache.listener.name]).fetchall()
        os.kill(pid, signal.SIGSTOP)
        try:
            await write_next(story, dice, writer.write)
            await asyncio.to_thread(wait_for, lambda: not cache.listener.is_heard, what="the silence to be noticed")
            await read_once(story, reader, Count(), may_lag=False)
        finally:
            os.kill(pid, signal.SIGCONT)
        await heard(cache, story)


FAULTS: dict[str, Callable[[RedisServer, random.Random], Any]] = {}


def fault(hurt: Callable[[RedisServer, random.Random], Any]) -> Callable[[RedisServer, random.Random], Any]:
    FAULTS[hurt.__name__] = hurt
    return hurt


@fault
def flushed(redis: RedisServer, dice: random.Random) -> None:
    redis.client.flushall()


@fault
def killed_and_started_empty(redis: RedisServer, dice: random.Random) -> None:
    redis.kill()
    time.sleep(0.1)
    redis.start()


@fault
def held_for_a_while(redis: RedisServer, dice: random.Random) -> None:
    redis.hang()
    time.sleep(0.3)
    redis.go_on()


@fault
def full(redis: RedisServer, dice: random.Random) -> None:
    redis.be_full(is_full=dice.random() < 0.5)


@fault
def forged(redis: RedisServer, dice: random.Random) -> None:
    """Cut, flip, swap and retype entries; and put old ones back in the place of newer ones."""
    kinds = {key: redis.client.type(key) for key in redis.client.keys("*")}
    entries = {key: entry for key, kind in kinds.items() if kind == b"string" and (entry := redis.client.get(key))}
    old.update({key: entry for key, entry in entries.items() if key not in old})
    for key, entry in entries.items():
        flipped = bytearray(entry)
        flipped[dice.randrange(len(entry))] ^= 1
        bad = [entry[: dice.randrange(len(entry))], bytes(flipped), dice.choice(list(entries.values())), old[key], b""]
        redis.client.set(key, dice.choice(bad))
    if entries:
        key = dice.choice(list(entries))
        redis.client.delete(key)
        redis.client.hset(key, "of another", "type")


old: dict[bytes, bytes] = {}


@pytest.mark.parametrize("name", some(FAULTS, "killed_and_started_empty", "held_for_a_while", "full", "forged"))
async def test_a_redis_that_misbehaves_makes_no_read_stale(
    name: str, database: str, own_redis: RedisServer, writer: Writer
) -> None:
    old.clear()
    hurts = 0

    async def keep_hurting() -> None:
        nonlocal hurts
        dice = random.Random(SEED)
        while True:
            await asyncio.sleep(0.1)
            await asyncio.to_thread(FAULTS[name], own_redis, dice)
            hurts += 1

    async with opened(database, own_redis.url, near_bytes=0) as (cache, saver):
        hurting = asyncio.create_task(keep_hurting())
        while hurts < 2:  # a quick machine is done before Redis is hurt
            count = await interleave(steps=tries(100, full=2_500), writer=writer, saver=saver, reader=saver)
            assert count.stale == 0
            assert not hurting.done(), hurting
        hurting.cancel()
        with suppress(asyncio.CancelledError):
            await hurting


class NaiveSaver(AsyncPostgresSaver):
    """The control: what one writes first. Reads Redis, else PostgreSQL; writes both."""

    def __init__(self, pool: Any, kept: dict[str, CheckpointTuple]) -> None:
        super().__init__(pool, serde=strict_serializer())
        self.kept = kept

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        thread_id = config["configurable"]["thread_id"]
        if thread_id not in self.kept and (found := await super().aget_tuple(config)):
            self.kept[thread_id] = found
        return self.kept.get(thread_id)

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        saved = await super().aput(config, checkpoint, metadata, new_versions)
        self.kept[config["configurable"]["thread_id"]] = CheckpointTuple(saved, checkpoint, metadata, config, [])
        return saved

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        self.kept.pop(config["configurable"]["thread_id"], None)
        await asyncio.sleep(0)  # a fill begins here, before the write is there
        await super().aput_writes(config, writes, task_id, task_path)


async def ask(state: State) -> State:
    return {"text": str(interrupt("May I?"))}


_asking: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_asking.add_node("ask", ask)
_asking.add_edge(START, "ask")
PAUSED = tries(30, full=400)


async def lost_questions(count: int, saver_of_a_run: Callable[[], Any], saver_of_pages: Callable[[], Any]) -> int:
    """Pause threads while a page polls each; return how many are read back without their interrupt."""
    graph, at_once, lost = _asking.compile(), asyncio.Semaphore(16), 0

    async def poll(thread_id: str) -> None:
        while True:
            await saver_of_pages().aget_tuple(config_for(thread_id))
            await asyncio.sleep(0)

    async def pause() -> None:
        nonlocal lost
        async with at_once:
            thread_id = f"t-{uuid.uuid4()}"
            polling = asyncio.create_task(poll(thread_id))
            await with_saver(graph, saver_of_a_run()).ainvoke({"text": ""}, config_for(thread_id), durability="sync")
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling
            state = await with_saver(graph, saver_of_pages()).aget_state(config_for(thread_id))
            lost += not state.interrupts

    await asyncio.gather(*(pause() for _ in range(count)))
    return lost


async def test_no_paused_thread_is_read_back_without_its_question(database: str, own_redis: RedisServer) -> None:
    async with opened(database, own_redis.url, near_bytes=1_000_000) as (_, saver):
        assert await lost_questions(PAUSED, lambda: saver, lambda: saver) == 0


async def test_the_control_a_naive_cache_loses_questions(database: str) -> None:
    kept: dict[str, CheckpointTuple] = {}
    count = tries(12, full=PAUSED)  # most of them are lost
    async with open_pool(database) as pool:
        assert await lost_questions(count, lambda: NaiveSaver(pool, kept), lambda: NaiveSaver(pool, kept)) > 0
