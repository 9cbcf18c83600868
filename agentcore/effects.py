"""Effects of nodes: an idempotency key that stays the same when the node runs again, and effects that happen once.

A node runs again from its beginning after its process died, after a retry, and after its `interrupt()` was answered.
"""

import asyncio
import functools
import inspect
import itertools
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from uuid import UUID, uuid5
from weakref import WeakKeyDictionary

import aiosqlite
import psycopg
from langgraph.config import get_config
from langgraph.runtime import ExecutionInfo
from psycopg.conninfo import make_conninfo

from agentcore.plain.errors import EffectMisused
from agentcore.plain.limits import IDLE_LIMIT_SQL
from agentcore.plain.sqlite_tables import BUSY_SECONDS
from agentcore.savers.memory import MemorySaver
from agentcore.savers.postgres import PostgresSaver
from agentcore.savers.sqlite import SqliteSaver

LONGEST_SILENCE_SECONDS = 60
"""Time limit of an effect that does not use its connection: a worker frozen in one blocks its successor."""
_PAUSE_SECONDS = 0.01
_MOST_LOOKS = 1_000  # ten seconds, as a write may wait for a connection
_KEYS = UUID("0d2f4a3c-6f0e-5a5b-9d53-5d3b8f6f2a51")
# LangGraph's own, private; a test pins them.
_READ = "__pregel_read"
_RUNTIME = "__pregel_runtime"
_CHECKPOINTER = "__pregel_checkpointer"


def effect_key() -> str:
    """Return a UUID for the next effect, to send as Idempotency-Key. It is the same when this node runs again.

    The keys of one node differ by the order of the calls, so the order must be the same each time. Another checkpoint,
    such as that of an edited state, has other keys. Raises EffectMisused outside a node.
    """
    task = _Task.running()
    info = task.info
    name = [info.thread_id, info.checkpoint_ns, info.checkpoint_id, info.task_id, task.attempt.next_index()]
    key = str(uuid5(_KEYS, json.dumps(name)))
    task.attempt.keys.add(key)
    return key


def once(key: str, fn: Callable[..., Any]) -> Any:
    """Call `fn` and return its result as JSON keeps it. If `key` was done before, return the stored result instead.

    In an async node it is awaited: `await once(key, fn)`; a plain `fn` then runs in a thread. A required argument of
    `fn` receives the connection (psycopg's or sqlite3's) of the transaction that stores the key: what `fn` writes there
    happens exactly once. Without that argument, `fn` is called again if the process dies before the key is stored: send
    the key along. If `fn` raises, nothing is stored. Of two calls at once the second waits. All threads of the store
    share the keys. Raises EffectMisused, and FenceLost once another worker has the thread.
    """
    task = _Task.running()
    if not isinstance(key, str) or not key:
        raise EffectMisused("The key of an effect is a text: effect_key(), or a name of your own.")
    place = task.place if key in task.attempt.keys else None
    effect = _kind_of(task.saver)(key, fn, task.saver, str(task.info.thread_id), place)
    match inspect.iscoroutinefunction(fn), _in_a_loop():
        case True, True:
            return effect.later()
        case False, True:
            return asyncio.to_thread(effect.now)
        case False, False:
            return effect.now()
        case _:
            raise EffectMisused("Nobody awaits this in a plain def. Give once() a plain def, or make the node async.")


# The running task


@dataclass
class _Attempt:
    """One execution of a task."""

    next_index: Callable[[], int] = field(default_factory=lambda: itertools.count().__next__)
    keys: set[str] = field(default_factory=set)


_attempts: WeakKeyDictionary[Any, dict[int, _Attempt]] = WeakKeyDictionary()
_noting = threading.Lock()


@dataclass(frozen=True)
class _Task:
    """The task that LangGraph runs here."""

    info: ExecutionInfo
    itself: Any
    """An object that lives as long as the task, shared by its retries."""
    saver: Any

    @classmethod
    def running(cls) -> "_Task":
        try:
            configurable = get_config()["configurable"]
            return cls(configurable[_RUNTIME].execution_info, configurable[_READ], configurable[_CHECKPOINTER])
        except (RuntimeError, KeyError):
            raise EffectMisused("Call effect_key() and once() inside a node, while its graph runs.") from None

    @property
    def attempt(self) -> _Attempt:
        with _noting:
            return _attempts.setdefault(self.itself, {}).setdefault(self.info.node_attempt, _Attempt())

    @property
    def place(self) -> list[str]:
        """Return thread, namespace and id of the checkpoint that the task runs from."""
        namespace = self.info.checkpoint_ns.rpartition("|")[0]
        return [str(self.info.thread_id), namespace, self.info.checkpoint_id]


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# The effect and its note

T = TypeVar("T")
EffectSteps: TypeAlias = Generator[tuple[str, list[Any]] | float | None, Any, T]
"""Yields statements and is sent their first rows; seconds to wait; None, and is sent what the effect returned."""


@dataclass(frozen=True)
class _Effect:
    """One call of `once`."""

    key: str
    fn: Callable[..., Any]
    saver: Any
    thread_id: str
    place: list[str] | None
    """The checkpoint that the key is made of, if it is."""

    def now(self) -> Any:
        raise NotImplementedError

    async def later(self) -> Any:
        raise NotImplementedError

    @property
    def takes_connection(self) -> bool:
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        try:
            parameters = inspect.signature(self.fn).parameters.values()
        except ValueError:
            raise EffectMisused("Python cannot tell what this effect takes. Write a def that calls it.") from None
        return any(each.kind in positional and each.default is each.empty for each in parameters)


def _as_json(result: Any) -> str:
    if inspect.iscoroutine(result):
        result.close()
        raise EffectMisused("This effect is a coroutine: give once() the async def itself, and await once().")
    try:
        return json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise EffectMisused(
            f"The result of an effect is kept as JSON, which this {type(result).__name__} is not. Return, say, the"
            " reference that the other side gave."
        ) from None


# What both databases run; %s is a parameter.
_PLACE_SQL = "SELECT 1 FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s"
_FIND_SQL = "SELECT result FROM countersign_effects WHERE key = %s"
_KEEP_SQL = "INSERT INTO countersign_effects (key, thread_id, result) VALUES (%s, %s, %s) RETURNING 1"
_FENCE_SQL = "SELECT 1 FROM countersign_fences WHERE thread_id = %s AND fence = %s"
# Another call with the same key waits for the lock. Without a limit a frozen worker would block its successor for ever.
_LOCK_SQL = f"""
SELECT set_config('idle_in_transaction_session_timeout', '{LONGEST_SILENCE_SECONDS}s', true),
    set_config('lock_timeout', '{LONGEST_SILENCE_SECONDS + 10}s', true),
    pg_advisory_xact_lock(hashtextextended(%s, {int.from_bytes(b"effects")}))
"""
# Last of all: raising the fence must not wait for the effect, nor for a worker that is frozen before this line.
_HOLD_SQL = f"SELECT {IDLE_LIMIT_SQL} FROM countersign_fences WHERE thread_id = %s AND fence = %s FOR SHARE"


class _InDatabase(_Effect):
    """An effect in a database.

    It uses a connection of its own: effects may be slow, and the pool has few connections.
    """

    def connect(self) -> AbstractContextManager[Any]:
        raise NotImplementedError

    def connect_async(self) -> AbstractAsyncContextManager[Any]:
        raise NotImplementedError

    def dialect(self, query: str) -> str:
        return query

    def steps(self) -> EffectSteps[str]:
        """The steps on the connection; they return the result as JSON."""
        raise NotImplementedError

    def check_place(self) -> EffectSteps[None]:
        """Wait until the checkpoint is stored: LangGraph starts an @entrypoint before that."""
        for _ in range(_MOST_LOOKS):
            if self.place is None or (yield _PLACE_SQL, self.place):
                return
            yield _PAUSE_SECONDS
        raise EffectMisused(
            "The checkpoint this node runs from is not stored, so its key would be another one next time. Give once() a"
            " name of your own; or run the graph with durability='sync', and no subgraph with checkpointer=False."
        )

    def check_fence(self, query: str = _FENCE_SQL) -> EffectSteps[None]:
        if (fence := self.saver.fence) and not (yield query, [fence.thread_id, fence.number]):
            raise fence.lose()

    def now(self) -> Any:
        with self.connect() as connection:
            steps, call = self.steps(), self.call_on(connection)
            step, text = _next(steps)
            while text is None:
                match step:
                    case float():
                        time.sleep(step)
                        step, text = _next(steps)
                    case None:
                        step, text = _next(steps, call())
                    case query, parameters:
                        cursor = connection.execute(self.dialect(query), parameters)
                        step, text = _next(steps, cursor.fetchone())
            return json.loads(text)

    async def later(self) -> Any:
        async with self.connect_async() as connection:
            steps, call = self.steps(), self.call_on(connection)
            step, text = _next(steps)
            while text is None:
                match step:
                    case float():
                        await asyncio.sleep(step)
                        step, text = _next(steps)
                    case None:
                        step, text = _next(steps, await call())
                    case query, parameters:
                        cursor = await connection.execute(self.dialect(query), parameters)
                        step, text = _next(steps, await cursor.fetchone())
            return json.loads(text)

    def call_on(self, connection: Any) -> Callable[[], Any]:
        return functools.partial(self.fn, connection) if self.takes_connection else self.fn


def _next(steps: EffectSteps[str], sent: Any = None) -> tuple[Any, str | None]:
    """Return the next step, or what the last one led to."""
    try:
        return steps.send(sent), None
    except StopIteration as end:
        return None, end.value


class _InPostgres(_InDatabase):
    def steps(self) -> EffectSteps[str]:
        yield from self.check_place()
        if found := (yield _FIND_SQL, [self.key]):
            return str(found[0])
        yield from self.check_fence()
        text = _as_json((yield None))
        yield _KEEP_SQL, [self.key, self.thread_id, text]
        yield from self.check_fence(_HOLD_SQL)
        return text

    @property
    def conninfo(self) -> str:
        return make_conninfo(str(self.saver.conn.conninfo), connect_timeout=10)

    @contextmanager
    def connect(self) -> Iterator[Any]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection, connection.transaction():
            connection.execute(_LOCK_SQL, [self.key])
            yield connection

    @asynccontextmanager
    async def connect_async(self) -> AsyncIterator[Any]:
        async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as connection:
            async with connection.transaction():
                await connection.execute(_LOCK_SQL, [self.key])
                yield connection


class _InProcess(_Effect):
    """An effect where one process has all checkpoints: two calls with the same key are both in this process."""

    @contextmanager
    def turn(self) -> Iterator[None]:
        while other := self.wait_for():
            other.result()
        try:
            yield
        finally:
            self.end()

    @asynccontextmanager
    async def turn_async(self) -> AsyncIterator[None]:
        while other := self.wait_for():
            await asyncio.shield(asyncio.wrap_future(other))
        try:
            yield
        finally:
            self.end()

    def wait_for(self) -> Future[None] | None:
        """Return the future of the running call with this key; None if there is none."""
        with _noting:
            other: Future[None] | None = self.saver.running.get(self.key)
            if other is None:
                self.saver.running[self.key] = Future()
            return other

    def end(self) -> None:
        with _noting:
            ours = self.saver.running.pop(self.key)
        ours.set_result(None)


class _InSqlite(_InProcess, _InDatabase):
    """An effect in SQLite. With the connection it locks the file while it runs; without, it must not."""

    def steps(self) -> EffectSteps[str]:
        yield from self.check_place()
        if self.takes_connection:
            yield "BEGIN IMMEDIATE", []
        if found := (yield _FIND_SQL, [self.key]):
            return str(found[0])
        yield from self.check_fence()
        text = _as_json((yield None))
        if not self.takes_connection:
            yield "BEGIN IMMEDIATE", []
            yield from self.check_fence()
        yield _KEEP_SQL, [self.key, self.thread_id, text]
        yield "COMMIT", []  # closed without one, it is rolled back
        return text

    def dialect(self, query: str) -> str:
        return query.replace("%s", "?")

    @contextmanager
    def connect(self) -> Iterator[Any]:
        with self.turn(), closing(sqlite3.connect(self.saver.file, timeout=BUSY_SECONDS, isolation_level=None)) as held:
            yield held

    @asynccontextmanager
    async def connect_async(self) -> AsyncIterator[Any]:
        async with self.turn_async():
            async with aiosqlite.connect(self.saver.file, timeout=BUSY_SECONDS, isolation_level=None) as held:
                yield held


class _InMemory(_InProcess):
    def now(self) -> Any:
        with self.turn():
            return json.loads(self.find() or self.keep(self.fn()))

    async def later(self) -> Any:
        async with self.turn_async():
            return json.loads(self.find() or self.keep(await self.fn()))

    def find(self) -> str | None:
        if self.takes_connection:
            raise EffectMisused("Memory has no connection to give to this effect. Use PostgreSQL or SQLite.")
        with self.saver.guard:
            if self.key in self.saver.effects:
                return str(self.saver.effects[self.key][1])
            self.saver.check_fence(self.thread_id)
            return None

    def keep(self, result: Any) -> str:
        text = _as_json(result)
        with self.saver.guard:
            self.saver.check_fence(self.thread_id)
            self.saver.effects[self.key] = (self.thread_id, text)
        return text


def _kind_of(saver: Any) -> type[_Effect]:
    for kind, of in ((PostgresSaver, _InPostgres), (SqliteSaver, _InSqlite), (MemorySaver, _InMemory)):
        if isinstance(saver, kind):
            return of
    raise EffectMisused(
        f"once() notes the key in a checkpointer of Countersign's, and this graph has {type(saver).__name__}. Take one"
        " from open_checkpointer."
    )
