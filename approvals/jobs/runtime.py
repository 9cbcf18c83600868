"""What a worker needs: the graphs of langgraph.json, and savers over the checkpoints that the settings name.

Only workers import this module: it loads LangGraph. `worker()` opens both in the calling event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

from agentcore.graphs import allowlist, cards, registry, store_section, tracing
from agentcore.graphs.registry import CompiledGraph, LoadedGraphs
from agentcore.graphs.secret_paths import secret_paths
from agentcore.graphs.snapshots import with_serializer
from agentcore.plain import sqlite_tables
from agentcore.plain.canary import check_serializer
from agentcore.plain.decoding import plain_serializer
from agentcore.plain.langgraph_json import read_content, read_entries
from agentcore.plain.types import GraphCard, Serializer
from agentcore.plain.urls import Memory, Postgres, Sqlite
from agentcore.savers import opening, sqlite, stores
from agentcore.savers.base import Saver
from agentcore.savers.cache import Cache, Reads, open_cache
from agentcore.savers.memory import MemorySaver
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.setup import Pool
from agentcore.savers.stores import StoreOf
from approvals import checkpoints

LAST_TRACES_SECONDS = 2.0


class WorkerRuntime:
    """The graphs of langgraph.json and the checkpoints."""

    def __init__(self, loaded: LoadedGraphs, saver: Callable[[Reads], Saver], store_of: StoreOf) -> None:
        self.store_of = store_of
        self.graphs = loaded.graphs
        self.factories, self.broken = loaded.factories, loaded.broken
        self._saver = saver

    def saver(self, graph_id: str | None, *, reads: Reads = "validated") -> Saver:
        """Return the saver of one run or one page. It builds the types of this graph and no others."""
        return with_serializer(self._saver(reads), _serializers[graph_id])


_loaded: LoadedGraphs | None = None
_serializers: dict[str | None, Serializer] = {None: strict_serializer()}
_workers: dict[asyncio.AbstractEventLoop, tuple[WorkerRuntime, AsyncExitStack]] = {}
_opening = asyncio.Lock()


def load_graphs() -> dict[str, CompiledGraph]:
    """Import the graphs, once in a process. Raises RegistryError or UnsafeSerializer, which should stop the start."""
    return load().graphs


def load() -> LoadedGraphs:
    """Do what `load_graphs` does, and return also what is broken."""
    global _loaded
    if _loaded is None:
        loaded = registry.load(settings.LANGGRAPH_JSON)
        allowed = allowlist.allowlists(settings.LANGGRAPH_JSON, loaded.graphs)
        _serializers.update({graph_id: strict_serializer(types) for graph_id, types in allowed.items()})
        check_serializers()
        tracing.hide_secrets(path for graph in loaded.graphs.values() for path in secret_paths(graph))
        _loaded = loaded
    return _loaded


def check_serializers() -> None:
    """Raise UnsafeSerializer if a checkpoint could run code in this process. That should stop the start."""
    for serializer in (plain_serializer(), *_serializers.values()):
        check_serializer(serializer)


def graph_cards() -> list[GraphCard]:
    """Return the cards of the loaded graphs, for web processes."""
    root = Path(settings.LANGGRAPH_JSON).resolve().parent
    entries = {entry.id: entry for entry in read_entries(settings.LANGGRAPH_JSON)}
    return [
        cards.card(graph_id, graph, code_digest=registry.source_digest(entries[graph_id], root))
        for graph_id, graph in load_graphs().items()
    ]


async def worker() -> WorkerRuntime:
    """Return the runtime of this event loop, opened at the first use. `close_worker` closes it.

    Raises RegistryError, and CheckpointsElsewhere or FileUnusable if the checkpoints cannot be opened here.
    """
    loop = asyncio.get_running_loop()
    async with _opening:
        if loop not in _workers:
            stack = AsyncExitStack()
            saver, store_of = await stack.enter_async_context(_open_savers())
            _workers[loop] = WorkerRuntime(load(), saver, store_of), stack
    return _workers[loop][0]


async def close_worker() -> None:
    found = _workers.pop(asyncio.get_running_loop(), None)
    if found:
        await found[1].aclose()
        tracing.flush(seconds=LAST_TRACES_SECONDS)


@asynccontextmanager
async def _open_savers() -> AsyncIterator[tuple[Callable[[Reads], Saver], StoreOf]]:
    """Yield functions that return a run's saver and its store.

    In PostgreSQL the saver is one of its own over one pool, otherwise the only one.
    """
    options = store_options()
    match settings.CHECKPOINT_STORE:
        case Postgres():
            async with (
                opening.open_pool(checkpoints.params()) as pool,
                _open_cache(pool) as cache,
                stores.open_postgres(pool, options) as store_of,
            ):
                yield lambda reads: opening.saver_over(pool, cache=cache, reads=reads), store_of
        case Sqlite(path):
            async with (
                sqlite.open_sqlite(path, strict_serializer()) as saver,
                stores.open_sqlite_store(saver, options) as store_of,
            ):
                yield lambda reads: saver, store_of
        case Memory():
            memory = checkpoints.memory_here()
            assert isinstance(memory, MemorySaver)
            yield lambda reads: memory, stores.in_memory(options)


def store_options() -> dict[str, Any]:
    """Return what langgraph.json says of the store. Raises RegistryError."""
    path = Path(settings.LANGGRAPH_JSON)
    return store_section.read_section(read_content(path).get("store"), path.resolve().parent)


@asynccontextmanager
async def _open_cache(pool: Pool) -> AsyncIterator[Cache | None]:
    if not settings.REDIS_URL:
        yield None
        return
    async with open_cache(pool, settings.REDIS_URL, ttl_seconds=settings.REDIS_CACHE_TTL) as cache:
        yield cache


@contextmanager
def keep_checkpoints() -> Iterator[None]:
    """Hold SQLite or memory checkpoints in this process while it serves. PostgreSQL needs no holder.

    Raises CheckpointsElsewhere if another process has the SQLite file.
    """
    match settings.CHECKPOINT_STORE:
        case Sqlite(path):
            with sqlite_tables.hold(path):
                yield
        case Memory():
            checkpoints.keep_in_memory(MemorySaver(strict_serializer()))
            yield
        case Postgres():
            yield
