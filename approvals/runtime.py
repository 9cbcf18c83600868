"""The one place that turns settings into agentcore objects, and where async meets the database.

Only a worker loads graphs. `worker()` opens them, and the checkpoint pool, in the loop that asks first.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from agentcore import cards, checkpointers, registry, tables
from agentcore.registry import Graph
from agentcore.schema import Pool
from agentcore.threads import Saver
from agentcore.types import GraphCard

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """What runs need: the graphs of langgraph.json and one checkpoint pool."""

    def __init__(self, graphs: dict[str, Graph], pool: Pool) -> None:
        self.graphs = graphs
        self._pool = pool

    def saver(self) -> Saver:
        """Return a saver of its own for one run: a saver object does one query at a time."""
        return checkpointers.saver_over(self._pool)


# Apart from the loop's own threads: nodes that block would keep runs from being stored and pages from answers.
_database_threads = ThreadPoolExecutor(settings.DATABASE_POOL_SIZE - 4, thread_name_prefix="database")
_graphs: dict[str, Graph] | None = None
_workers: dict[asyncio.AbstractEventLoop, tuple[Worker, AsyncExitStack]] = {}
_opening = asyncio.Lock()


def load_graphs() -> dict[str, Graph]:
    """Import the graphs, once in a process. Raises RegistryError: let it stop the start."""
    global _graphs
    if _graphs is None:
        _graphs = registry.load_graphs(settings.LANGGRAPH_JSON)
    return _graphs


def graph_cards() -> list[GraphCard]:
    """Describe the loaded graphs for the web process."""
    root = Path(settings.LANGGRAPH_JSON).resolve().parent
    entries = {entry.id: entry for entry in registry.read_entries(settings.LANGGRAPH_JSON)}
    return [
        cards.card(graph_id, graph, code_digest=registry.source_digest(entries[graph_id], root))
        for graph_id, graph in load_graphs().items()
    ]


async def worker() -> Worker:
    """Return this loop's worker, opened on first use; `close_worker` closes it."""
    loop = asyncio.get_running_loop()
    async with _opening:
        if loop not in _workers:
            stack = AsyncExitStack()
            pool = await stack.enter_async_context(checkpointers.open_pool(checkpoint_params()))
            _workers[loop] = Worker(load_graphs(), pool), stack
    return _workers[loop][0]


async def close_worker() -> None:
    found = _workers.pop(asyncio.get_running_loop(), None)
    if found:
        await found[1].aclose()


def checkpoint_params() -> dict[str, str]:
    """Return libpq parameters from Django's own connection, so that a test database is followed too."""
    params = connections[settings.CHECKPOINT_DATABASE].get_connection_params()
    return {key: str(value) for key, value in params.items() if isinstance(value, str | int) and key != "options"}


@contextmanager
def checkpoint_cursor() -> Iterator[Any]:
    """Open a cursor on the checkpoint tables; in the console's own transaction when they share a database."""
    with connections[settings.CHECKPOINT_DATABASE].cursor() as cursor:
        yield cursor


def read_head(thread_id: str) -> tables.Head | None:
    with checkpoint_cursor() as cursor:
        return tables.read_head(cursor, thread_id)


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
