"""The one place that turns settings into agentcore objects, and where async meets the database.

Only a worker loads graphs. `worker()` opens them, and the checkpoints, in the loop that asks first.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from agentcore.graphs import cards, registry
from agentcore.graphs.registry import Graph
from agentcore.graphs.snapshots import Saver, with_serializer
from agentcore.plain import bound_bytes
from agentcore.plain.bound_bytes import Bound
from agentcore.plain.decoding import plain_serializer
from agentcore.plain.errors import AgentCoreError, CheckpointsElsewhere
from agentcore.plain.tables import Head, PostgresTables, Tables
from agentcore.plain.types import GraphCard
from agentcore.plain.urls import Memory, Postgres, Sqlite
from agentcore.savers import allowlist, opening, sqlite
from agentcore.savers.cache import Cache, Reads, open_cache
from agentcore.savers.memory import MemorySaver, MemoryTables
from agentcore.savers.serializers import Serializer, check_serializer, strict_serializer
from agentcore.savers.setup import Pool
from agentcore.testing.failpoints import is_off
from approvals.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """What runs need: the graphs of langgraph.json and the checkpoints."""

    def __init__(self, graphs: dict[str, Graph], saver: Callable[[Reads], Saver]) -> None:
        self.graphs = graphs
        self._saver = saver

    def saver(self, graph_id: str | None, *, reads: Reads = "validated") -> Saver:
        """Return the saver of one run, or of one page; it builds the types of this graph and of no other."""
        return with_serializer(self._saver(reads), _serializers[graph_id])


# Apart from the loop's own threads: nodes that block would keep runs from being stored and pages from answers.
_database_threads = ThreadPoolExecutor(settings.DATABASE_POOL_SIZE - 4, thread_name_prefix="database")
_graphs: dict[str, Graph] | None = None
_serializers: dict[str | None, Serializer] = {None: strict_serializer()}
_workers: dict[asyncio.AbstractEventLoop, tuple[Worker, AsyncExitStack]] = {}
_opening = asyncio.Lock()
_memory: MemorySaver | None = None


def load_graphs() -> dict[str, Graph]:
    """Import the graphs, once in a process. Raises RegistryError or UnsafeSerializer: let it stop the start."""
    global _graphs
    if _graphs is None:
        loaded = registry.load_graphs(settings.LANGGRAPH_JSON)
        allowed = allowlist.allowlists(settings.LANGGRAPH_JSON, loaded)
        _serializers.update({graph_id: strict_serializer(types) for graph_id, types in allowed.items()})
        check_serializers()
        _graphs = loaded
    return _graphs


def check_serializers() -> None:
    """Raise UnsafeSerializer if a checkpoint could run code in this process: let it stop the start."""
    for serializer in (plain_serializer(), *_serializers.values()):
        check_serializer(serializer)


def graph_cards() -> list[GraphCard]:
    """Describe the loaded graphs for the web process."""
    root = Path(settings.LANGGRAPH_JSON).resolve().parent
    entries = {entry.id: entry for entry in registry.read_entries(settings.LANGGRAPH_JSON)}
    return [
        cards.card(graph_id, graph, code_digest=registry.source_digest(entries[graph_id], root))
        for graph_id, graph in load_graphs().items()
    ]


async def worker() -> Worker:
    """Return this loop's worker, opened on first use; `close_worker` closes it.

    Raises RegistryError, and CheckpointsElsewhere or FileUnusable when the checkpoints cannot be opened here.
    """
    loop = asyncio.get_running_loop()
    async with _opening:
        if loop not in _workers:
            stack = AsyncExitStack()
            saver = await stack.enter_async_context(_open_savers())
            _workers[loop] = Worker(load_graphs(), saver), stack
    return _workers[loop][0]


async def close_worker() -> None:
    found = _workers.pop(asyncio.get_running_loop(), None)
    if found:
        await found[1].aclose()


@asynccontextmanager
async def _open_savers() -> AsyncIterator[Callable[[Reads], Saver]]:
    """Yield what gives a run its saver: in PostgreSQL one of its own, over one pool; else the one there is."""
    match settings.CHECKPOINT_STORE:
        case Postgres():
            async with opening.open_pool(checkpoint_params()) as pool, _open_cache(pool) as cache:
                yield lambda reads: opening.saver_over(pool, cache=cache, reads=reads)
        case Sqlite(path):
            async with sqlite.open_sqlite(path, strict_serializer()) as saver:
                yield lambda reads: saver
        case Memory():
            memory = _memory_here()
            yield lambda reads: memory


@asynccontextmanager
async def _open_cache(pool: Pool) -> AsyncIterator[Cache | None]:
    if not settings.REDIS_URL:
        yield None
        return
    async with open_cache(pool, settings.REDIS_URL, ttl_seconds=settings.REDIS_CACHE_TTL) as cache:
        yield cache


def why_one_process() -> str:
    """Return why web and worker must be one process, or an empty string."""
    match settings.CHECKPOINT_STORE:
        case Sqlite():
            return "CHECKPOINT_URL keeps the checkpoints in a SQLite file, which one process at a time may open."
        case Memory():
            return "CHECKPOINT_URL=memory:// keeps the checkpoints in the memory of one process."
    return ""


@contextmanager
def keep_checkpoints() -> Iterator[None]:
    """Make this process the one that has the checkpoints, while it serves; PostgreSQL belongs to nobody.

    Raises CheckpointsElsewhere when another process has the SQLite file.
    """
    global _memory
    match settings.CHECKPOINT_STORE:
        case Sqlite(path):
            with sqlite.hold(path):
                yield
        case Memory():
            _memory = MemorySaver(strict_serializer())
            yield
        case Postgres():
            yield


def _memory_here() -> MemorySaver:
    if _memory is None:
        raise CheckpointsElsewhere(
            "CHECKPOINT_URL=memory:// keeps the checkpoints in the server's own process, which no other can reach."
            " Use its pages or its API."
        )
    return _memory


def checkpoint_params() -> dict[str, str]:
    """Return libpq parameters from Django's own connection, so that a test database is followed too."""
    params = connections[settings.CHECKPOINT_DATABASE].get_connection_params()
    return {key: str(value) for key, value in params.items() if isinstance(value, str | int) and key != "options"}


def checkpoint_database() -> str:
    """Return which of Django's databases a transaction over the checkpoints belongs to; the console's for none."""
    return settings.CHECKPOINT_DATABASE or DEFAULT_DB_ALIAS


@contextmanager
def checkpoint_tables() -> Iterator[Tables]:
    """Open the tables of the checkpoints; in the console's own transaction when they share a database.

    Raises Unavailable when another process has them, or their file is out of order.
    """
    try:
        match settings.CHECKPOINT_STORE:
            case Postgres():
                with connections[settings.CHECKPOINT_DATABASE].cursor() as cursor:
                    yield PostgresTables(cursor)
            case Sqlite(path):
                with sqlite.open_tables(path) as tables:
                    yield tables
            case Memory():
                yield MemoryTables(_memory_here())
    except AgentCoreError as error:
        raise Unavailable(str(error)) from error


def read_head(thread_id: str) -> Head | None:
    with checkpoint_tables() as tables:
        return tables.read_head(thread_id)


def read_metadata(thread_id: str) -> dict[str, Any]:
    """Return the metadata of the thread's newest checkpoint."""
    with checkpoint_tables() as tables:
        return tables.read_metadata(thread_id)


def read_bound(thread_id: str) -> Bound | None:
    """Return the rows of all that tasks can read of the thread; None if it has no checkpoint."""
    with checkpoint_tables() as tables:
        return tables.read_bound(thread_id)


def bind(thread_id: str, before: Bound, tasks: Collection[str]) -> Bound | None:
    """Return what these tasks can read, with digests; None if it has changed since `before`."""
    wanted = before.read_by(tasks)
    with checkpoint_tables() as tables:
        found = tables.read_bound(thread_id, unread=wanted.unread, is_hashed=True)
    return found if found and wanted.has_same_rows(found) else None


def is_still(thread_id: str, was: Bound) -> bool:
    """Say whether the very rows are there that `was` is made of."""
    with checkpoint_tables() as tables:
        now = tables.read_bound(thread_id, unread=was.unread)
    return now is not None and was.has_same_rows(now)


def changed(thread_id: str, was: Bound, *, edited: tuple[str, str] | None = None) -> list[str]:
    """Name what is stored otherwise than it was."""
    with checkpoint_tables() as tables:
        return bound_bytes.changed(tables, thread_id, was, edited=edited)


def lay_tombstone(thread_id: str) -> None:
    """Let nobody write to the thread any more."""
    if not is_off("tombstone"):
        with checkpoint_tables() as tables:
            tables.lay_tombstone(thread_id)


def mark_indexed(thread_id: str, head: Head | None) -> None:
    """Say, once what was read is committed, that the thread was read at `head`: earlier, a rollback would lose it."""
    transaction.on_commit(functools.partial(_mark_indexed, thread_id, head), robust=True)


def _mark_indexed(thread_id: str, head: Head | None) -> None:
    with checkpoint_tables() as tables:
        tables.mark_indexed(thread_id, head)


def in_database(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Run a function that uses the ORM in a thread, and give its connection back to the pool when it returns."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        finally:
            for connection in connections.all(initialized_only=True):
                if not connection.in_atomic_block:
                    connection.close()

    return sync_to_async(call, thread_sensitive=False, executor=_database_threads)
