"""Checkpoint savers side by side: LangGraph's own in memory, SQLite and PostgreSQL, and ours, over the same servers.

`plain` is LangGraph's PostgreSQL saver over a stock schema and the pool its documents show: one object for everybody,
as most applications have it, and one for each task. `ours` is behind Redis: cold after a flush, from Redis alone as
another process reads, and warm. `times` compares the medians of 16 at a time with plain, one object: 2 is twice as
fast. Then the whole loop: paused threads that are read, edited and run to their end, 16 at a time.
"""

import asyncio
import os
import random
import socket
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from typing_extensions import TypedDict

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.urls import postgres_params
from agentcore.savers import setup
from agentcore.savers.cache import CachedPostgresSaver, open_cache
from agentcore.savers.listening import LISTENER_BEAT_SECONDS
from agentcore.savers.opening import open_checkpointer, open_pool
from agentcore.savers.serializers import strict_serializer
from tests import programs
from tests.console import free_port, wait_for

SIZES = {"20 KB": 20_000, "300 KB": 300_000, "5 MB": 5_000_000}
ROUNDS = {"20 KB": (60, 480), "300 KB": (30, 160), "5 MB": (4, 32)}
"""How often each is done one at a time, and in all 16 at a time."""
AT_ONCE = 16
THREADS = 16
HISTORY = 50


@dataclass
class Saver:
    """One row of the table: `make` gives the saver of a task, `forget` makes it cold before each call; after a first
    call it takes `settle_seconds` until changes of a thread are heard."""

    name: str
    make: Callable[[], Any]
    forget: Callable[[], Awaitable[None]] | None = None
    settle_seconds: float = 0


class State(TypedDict, total=False):
    messages: list[dict[str, str]]
    amount: float
    notes: Annotated[list[str], lambda left, right: left + right]


async def note(state: State) -> State:
    return {"notes": ["noted"]}


_builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_builder.add_node("prepare", note)
_builder.add_node("act", note)
_builder.add_edge(START, "prepare")
_builder.add_edge("prepare", "act")
_builder.add_edge("act", END)
graph = _builder.compile(interrupt_before=["act"])


def messages(size: int) -> list[dict[str, str]]:
    """Return what an agent keeps: messages of two thousand characters of words."""
    dice = random.Random(size)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randrange(2, 10))) for _ in range(3_000)]
    made: list[dict[str, str]] = []
    while sum(len(each["content"]) + 60 for each in made) < size:
        made.append({"role": "assistant", "id": str(uuid.uuid4()), "content": " ".join(dice.choices(words, k=330))})
    return made


def table() -> list[dict[str, object]]:
    return asyncio.run(_table())


async def _table() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    async with _savers() as savers:
        for size, length in SIZES.items():
            state = messages(length)
            for operation, measure in _OPERATIONS.items():
                taken = {each.name: await measure(each, size, state) for each in savers}
                for name, (alone, together) in taken.items():
                    rows.append(_row(size, operation, name, alone, together, taken["plain, one object"][1]))
        for size in ("20 KB", "300 KB"):
            state, warm = messages(SIZES[size]), [each for each in savers if each.forget is None]
            rounds = [{each.name: await _loops(each, state) for each in warm} for _ in range(3)]
            rates = {each.name: statistics.median(rates[each.name] for rates in rounds) for each in warm}
            for name, rate in rates.items():
                rows.append(_loop_row(size, name, rate, rates["plain, one object"]))
    return rows


def _row(
    size: str, operation: str, name: str, alone: list[float], together: list[float], plain: list[float]
) -> dict[str, object]:
    return {
        "size": size,
        "call": operation,
        "saver": name,
        "1: p50 ms": _ms(alone, 50),
        "p95": _ms(alone, 95),
        "16: p50 ms": _ms(together, 50),
        "p95 ": _ms(together, 95),
        "times": round(statistics.median(plain) / statistics.median(together), 2) if together else "",
    }


def _loop_row(size: str, name: str, rate: float, plain: float) -> dict[str, object]:
    blank = dict.fromkeys(("1: p50 ms", "p95", "16: p50 ms", "p95 "), "")
    call = f"the loop, {rate:.0f} threads/s"
    return {"size": size, "call": call, "saver": name, **blank, "times": round(rate / plain, 2)}


def _ms(taken: list[float], percent: int) -> object:
    return round(statistics.quantiles(taken, n=100)[percent - 1] * 1e3, 2) if taken else ""


@asynccontextmanager
async def _savers() -> AsyncIterator[list[Saver]]:
    """Open all of them, over one PostgreSQL and one Redis."""
    url, serializer = os.environ["DATABASE_URL"], strict_serializer()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        memory = await stack.enter_async_context(open_checkpointer("memory://"))
        sqlite = await stack.enter_async_context(open_checkpointer(f"sqlite:///{Path(folder) / 'bench.db'}"))
        stock = await stack.enter_async_context(_stock_pool(url))
        pool = await stack.enter_async_context(open_pool(url))
        await setup.setup(pool)
        redis = stack.enter_context(_redis())
        near = await stack.enter_async_context(open_cache(pool, redis, ttl_seconds=3600))
        far = await stack.enter_async_context(open_cache(pool, redis, ttl_seconds=3600, near_bytes=0))
        await asyncio.to_thread(wait_for, lambda: near.listener.is_heard, what="changes to be heard")
        one, validated = AsyncPostgresSaver(stock), CachedPostgresSaver(pool, near, serde=serializer)
        notified, through = validated.reading("notified"), CachedPostgresSaver(pool, far, serde=serializer)

        async def flush() -> None:
            await far.entries.written()
            await far.entries._redis.flushall()

        yield [
            Saver("memory", lambda: memory),
            Saver("SQLite", lambda: sqlite),
            Saver("plain, one object", lambda: one),
            Saver("plain, one a task", lambda: AsyncPostgresSaver(stock)),
            Saver("ours, cold", lambda: through, flush),
            Saver("ours, from Redis", lambda: through),
            Saver("ours, validated", lambda: validated),
            Saver("ours, notified", lambda: notified, settle_seconds=2 * LISTENER_BEAT_SECONDS),
        ]


@asynccontextmanager
async def _stock_pool(url: str) -> AsyncIterator[Any]:
    params, name = postgres_params(url), f"bench_{uuid.uuid4().hex[:8]}"
    async with await AsyncConnection.connect(make_conninfo("", **params), autocommit=True) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
        options = {"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0}
        where = make_conninfo("", **(params | {"dbname": name}))
        async with AsyncConnectionPool(where, min_size=4, max_size=20, kwargs=options, open=False) as pool:
            await AsyncPostgresSaver(pool).setup()  # type: ignore[arg-type]
            yield pool
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _redis() -> Iterator[str]:
    port = free_port()
    command = [programs.redis_server(), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _is_up(port), what="redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _is_up(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


async def _measured(saver: Saver, size: str, call: Callable[[Any, int], Awaitable[Any]]) -> tuple[Any, Any]:
    """Return the seconds of each call, one at a time and 16 at a time."""
    alone, together = ROUNDS[size]
    for _ in range(2):  # what is warm is warm, and nobody pays for opening connections
        await asyncio.gather(*(call(saver.make(), number) for number in range(THREADS)))
        await asyncio.sleep(saver.settle_seconds)
    return await _timed(saver, call, alone, 1), await _timed(saver, call, together, AT_ONCE)


async def _timed(saver: Saver, call: Callable[[Any, int], Awaitable[Any]], rounds: int, at_once: int) -> list[float]:
    taken: list[float] = []

    async def one(number: int) -> None:
        begun = time.perf_counter()
        await call(saver.make(), number)
        taken.append(time.perf_counter() - begun)

    for start in range(0, rounds, at_once):
        if saver.forget:
            await saver.forget()
        await asyncio.gather(*(one(number) for number in range(start, min(start + at_once, rounds))))
    return taken


async def _filled(saver: Saver, size: str, state: Any) -> list[Any]:
    """Save threads with a history, in which the messages stay and a note changes; return the newest configs."""
    heads = []
    for number in range(THREADS if size != "5 MB" else 4):
        config, version = config_for(f"{saver.name}, {size}, {number}"), uuid.uuid4().hex
        for step in range(HISTORY + 1):
            config = await _put(saver.make(), config, {"messages": state, "notes": [step]}, {"messages": version})
        heads.append(config)
    return heads


async def _put(saver: Any, config: Any, values: dict[str, Any], versions: dict[str, str]) -> Any:
    """Save a checkpoint; channels that have a version already are not written again."""
    is_first = "checkpoint_id" not in config["configurable"]
    new = {name: uuid.uuid4().hex for name in values if name not in versions}
    checkpoint = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions | new}
    return await saver.aput(config, checkpoint, {"source": "loop", "step": 1}, versions | new if is_first else new)


_heads: dict[tuple[str, str], list[Any]] = {}


async def _heads_of(saver: Saver, size: str, state: Any) -> list[Any]:
    if (saver.name, size) not in _heads:
        _heads[saver.name, size] = await _filled(saver, size, state)
    return _heads[saver.name, size]


async def _get_latest(saver: Saver, size: str, state: Any) -> tuple[Any, Any]:
    heads = await _heads_of(saver, size, state)
    latest = [config_for(head["configurable"]["thread_id"]) for head in heads]
    return await _measured(saver, size, lambda own, number: own.aget_tuple(latest[number % len(latest)]))


async def _get_by_id(saver: Saver, size: str, state: Any) -> tuple[Any, Any]:
    heads = await _heads_of(saver, size, state)
    return await _measured(saver, size, lambda own, number: own.aget_tuple(heads[number % len(heads)]))


async def _aput(saver: Saver, size: str, state: Any) -> tuple[Any, Any]:
    async def put(own: Any, number: int) -> None:
        await _put(own, config_for(f"{saver.name}, {size}, new {uuid.uuid4()}"), {"messages": state, "notes": []}, {})

    return await _measured(saver, size, put)


async def _aput_writes(saver: Saver, size: str, state: Any) -> tuple[Any, Any]:
    heads = await _heads_of(saver, size, state)
    config = await _put(saver.make(), config_for(f"{saver.name}, {size}, writes"), {"notes": []}, {})
    assert heads
    return await _measured(
        saver, size, lambda own, number: own.aput_writes(config, [("messages", state)], str(uuid.uuid4()))
    )


async def _alist(saver: Saver, size: str, state: Any) -> tuple[Any, Any]:
    heads = await _heads_of(saver, size, state)

    async def listed(own: Any, number: int) -> None:
        config = config_for(heads[number % len(heads)]["configurable"]["thread_id"])
        assert len([each async for each in own.alist(config, limit=HISTORY)]) == HISTORY

    rounds = {"20 KB": (20, 48), "300 KB": (4, 16), "5 MB": (2, 0)}[size]  # 16 times 250 MB would be a test of memory
    await listed(saver.make(), 0)
    return await _timed(saver, listed, rounds[0], 1), await _timed(saver, listed, rounds[1], AT_ONCE)


async def _aget_state(saver: Saver, size: str, state: Any) -> tuple[Any, Any]:
    threads = []
    for _ in range(4):
        threads.append(config_for(f"{saver.name}, {size}, graph {uuid.uuid4()}"))
        await with_saver(graph, saver.make()).ainvoke({"messages": state, "amount": 1.0}, threads[-1])
    return await _measured(
        saver, size, lambda own, number: with_saver(graph, own).aget_state(threads[number % len(threads)])
    )


_OPERATIONS = {
    "aget_tuple, latest": _get_latest,
    "aget_tuple, by id": _get_by_id,
    "aput": _aput,
    "aput_writes": _aput_writes,
    "alist(50)": _alist,
    "aget_state": _aget_state,
}


async def _loops(saver: Saver, state: Any) -> float:
    """Return how many paused threads a second are read, edited and run to their end, 16 at a time."""
    gate, threads = asyncio.Semaphore(AT_ONCE), [config_for(f"t-{uuid.uuid4()}") for _ in range(192)]

    async def pause(config: Any) -> None:
        async with gate:
            bound = with_saver(graph, saver.make())
            await bound.ainvoke({"messages": state, "amount": 1.0}, config, durability="sync")

    async def go_on(config: Any) -> None:
        async with gate:
            bound = with_saver(graph, saver.make())
            assert (await bound.aget_state(config)).next == ("act",)
            await bound.aupdate_state(config, {"amount": 2.0})
            await bound.ainvoke(None, config, durability="sync")

    await asyncio.gather(*map(pause, threads))
    begun = time.perf_counter()
    await asyncio.gather(*map(go_on, threads))
    return len(threads) / (time.perf_counter() - begun)
