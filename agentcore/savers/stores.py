"""The store that LangGraph's server gives to every graph: beside the checkpoints, in the same place.

`langgraph.json` says under `store` how it is indexed and how long items live. A run writes to it under the fence of its
thread, as it writes checkpoints.
"""

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from langgraph.store.base import BaseStore, Op, PutOp, Result
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import AsyncPostgresStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from psycopg import AsyncCursor, DatabaseError, errors
from psycopg.rows import DictRow

from agentcore.plain.errors import SetupFailed
from agentcore.plain.excerpts import cut
from agentcore.plain.json import to_plain
from agentcore.plain.sqlite_tables import FENCE_SQL
from agentcore.savers.base import Saver
from agentcore.savers.fence import HELD_SQL, Fence, Fenceable
from agentcore.savers.memory import MemorySaver
from agentcore.savers.setup import Pool
from agentcore.savers.sqlite import SqliteSaver

logger = logging.getLogger(__name__)

StoreOf = Callable[[Saver], BaseStore]
"""Returns the store of a run, by the saver of that run, whose fence it shares."""
_SETUP_LOCK = 0x434F554E55  # the next after that of the checkpoint tables
NOT_SET_UP = "The tables of the store are not set up. Type: manage.py setup_checkpointer"


async def setup(pool: Pool, options: Mapping[str, Any], *, timeout_seconds: float = 30) -> None:
    """Create the tables of the store, one process after the other. Where all is in place it only reads.

    Raises SetupFailed.
    """
    async with pool.connection() as connection:
        try:
            if await _is_ready(connection, options):
                return
            async with asyncio.timeout(timeout_seconds):
                # Not pg_advisory_lock: who waits in it holds a snapshot that CREATE INDEX CONCURRENTLY waits for.
                while not await _is_true(connection, f"SELECT pg_try_advisory_lock({_SETUP_LOCK}) AS ready"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            try:
                await AsyncPostgresStore(connection, **options).setup()
            finally:
                await connection.execute(f"SELECT pg_advisory_unlock({_SETUP_LOCK})")
        except TimeoutError:
            raise SetupFailed("Another process sets up the store, and does not end. Try again.") from None
        except DatabaseError as error:
            raise SetupFailed(f"PostgreSQL does not set up the store: {error.diag.message_primary}.") from error


async def _is_ready(connection: Any, options: Mapping[str, Any]) -> bool:
    """Return whether each table is there, in this version of LangGraph or a later one."""
    wanted: dict[str, Sequence[Any]] = {"store": AsyncPostgresStore.MIGRATIONS}
    if options.get("index"):
        wanted["vector"] = AsyncPostgresStore.VECTOR_MIGRATIONS
    for name, migrations in wanted.items():
        if not await _is_true(connection, f"SELECT to_regclass('{name}_migrations') IS NOT NULL AS ready"):
            return False
        newest = f"SELECT coalesce(max(v), -1) >= {len(migrations) - 1} AS ready FROM {name}_migrations"
        if not await _is_true(connection, newest):
            return False
    return await _is_true(connection, "SELECT to_regclass('store') IS NOT NULL AS ready")


async def _is_true(connection: Any, sql: str) -> bool:
    row = await (await connection.execute(sql)).fetchone()
    return bool(row and row["ready"])


_held: ContextVar[Fence | None] = ContextVar("held", default=None)
"""The fence of the run whose batch is being carried out."""


class PostgresStore(AsyncPostgresStore):
    """LangGraph's store. With a fence, a batch that writes holds it in its own transaction, as a checkpoint's write."""

    def __init__(self, pool: Pool, **options: Any) -> None:
        super().__init__(pool, **options)
        self.supports_pipeline = False  # a batch is then one transaction

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        with _told():
            return await super().abatch(ops)

    async def _batch_put_ops(self, put_ops: Sequence[tuple[int, PutOp]], cur: AsyncCursor[DictRow]) -> None:
        if fence := _held.get():
            await cur.execute(f"SELECT {HELD_SQL}", [fence.thread_id, fence.number])
        await super()._batch_put_ops(put_ops, cur)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except errors.UndefinedTable:
        raise SetupFailed(NOT_SET_UP) from None


@asynccontextmanager
async def open_postgres(pool: Pool, options: Mapping[str, Any]) -> AsyncIterator[StoreOf]:
    """Yield what returns a run's store over the pool of the checkpoints, and delete what has expired meanwhile."""
    try:
        await setup(pool, options)
    except SetupFailed as error:  # graphs that store nothing run all the same
        logger.warning("%s %s", NOT_SET_UP, error)
    store = PostgresStore(pool, **options)
    await store.start_ttl_sweeper()
    try:
        yield lambda saver: RunStore(_with_own_lock(store), saver)
    finally:
        await store.stop_ttl_sweeper()


def _with_own_lock(store: PostgresStore) -> PostgresStore:
    """A store object does one thing at a time. So each run has one, over the same pool."""
    own = copy.copy(store)
    own.lock, own._task = asyncio.Lock(), None  # the task is the original's, and would end with the copy
    return own


class RunStore(BaseStore):
    """The store as one run has it: its writes are refused once the run has lost its thread. It costs nothing."""

    def __init__(self, store: BaseStore, saver: Saver) -> None:
        self._store, self._saver = store, saver
        self._loop = asyncio.get_running_loop()
        self.supports_ttl, self.ttl_config = store.supports_ttl, store.ttl_config

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry the operations out for a node that runs in a thread."""
        if isinstance(self._saver, MemorySaver):
            return self._in_memory(list(ops), self._saver)
        if _running_loop() is self._loop:
            raise asyncio.InvalidStateError(
                "A coroutine must await the store: await store.aget(...), not store.get(...)."
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        asked, saver = list(ops), self._saver
        if isinstance(saver, MemorySaver):
            return self._in_memory(asked, saver)
        fence = saver.fence if isinstance(saver, Fenceable) and _writes(asked) else None
        if fence is None:
            return await self._store.abatch(asked)
        if isinstance(saver, SqliteSaver):
            rows = await saver.conn.execute_fetchall(FENCE_SQL, [fence.thread_id])
            fence.check(fence.thread_id, next((row[0] for row in rows), None))
            return await self._store.abatch(asked)
        return await self._held(asked, fence, saver)

    async def _held(self, ops: list[Op], fence: Fence, saver: Any) -> list[Result]:
        token = _held.set(fence)
        try:
            with saver.holding(fence.thread_id):
                return await self._store.abatch(ops)
        finally:
            _held.reset(token)

    def _in_memory(self, ops: list[Op], saver: MemorySaver) -> list[Result]:
        with saver.guard:
            if saver.fence and _writes(ops):
                saver.check_fence(saver.fence.thread_id)
            return self._store.batch(ops)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _writes(ops: Iterable[Op]) -> bool:
    return any(isinstance(op, PutOp) for op in ops)


@asynccontextmanager
async def open_sqlite_store(saver: SqliteSaver, options: Mapping[str, Any]) -> AsyncIterator[StoreOf]:
    """Yield what returns a run's store in the file of the checkpoints."""
    async with AsyncSqliteStore.from_conn_string(str(saver.file), **options) as store:
        await store.setup()
        await store.start_ttl_sweeper()
        try:
            yield lambda own: RunStore(store, own)
        finally:
            await store.stop_ttl_sweeper()


def in_memory(options: Mapping[str, Any]) -> StoreOf:
    """Return what returns a run's store in the memory of this process. Items in memory do not expire."""
    store = InMemoryStore(**{name: value for name, value in options.items() if name == "index"})
    return lambda saver: RunStore(store, saver)


MOST_NAMESPACES = 200
MOST_ITEMS = 50


async def look(store: BaseStore, namespace: Sequence[str]) -> dict[str, Any]:
    """Return the namespaces of a store, and the items of one of them, as plain data. It prolongs no item's life."""
    found = await store.alist_namespaces(limit=MOST_NAMESPACES + 1)
    items: list[Any] = []
    if namespace:
        items = list(await store.asearch(tuple(namespace), limit=MOST_ITEMS + 1, refresh_ttl=False))
    shown = [
        {
            "namespace": list(item.namespace),
            "key": item.key,
            "value": cut(to_plain(item.value)),
            "updated_at": item.updated_at.isoformat(),
        }
        for item in items[:MOST_ITEMS]
    ]
    return {
        "namespaces": sorted(map(list, found[:MOST_NAMESPACES])),
        "items": shown,
        "has_more_namespaces": len(found) > MOST_NAMESPACES,
        "has_more_items": len(items) > MOST_ITEMS,
    }
