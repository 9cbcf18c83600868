"""Every saver that is handed out, opened over real servers, for tests that run over all of them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from agentcore.plain.memory_tables import MemoryTables
from agentcore.plain.sqlite_tables import open_tables
from agentcore.plain.tables import PostgresTables, Tables
from agentcore.plain.urls import postgres_params
from agentcore.savers.cache import CachedPostgresSaver, open_cache
from agentcore.savers.memory import MemorySaver
from agentcore.savers.opening import open_checkpointer, open_pool
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.sqlite import SqliteSaver

KINDS = ["memory", "sqlite", "postgres", "cached", "cached notified", "cached in Redis alone"]
ON_POSTGRES = KINDS[2:]
EVERY_KIND = {kind: kind for kind in KINDS}
"""For `scale.some`."""


@asynccontextmanager
async def open_saver(kind: str, *, database: str, redis: str, folder: Path) -> AsyncIterator[Any]:
    if kind == "cached in Redis alone":  # nothing is kept in the process, so that each read goes through Redis
        async with open_pool(database) as pool, open_cache(pool, redis, ttl_seconds=600, near_bytes=0) as cache:
            yield CachedPostgresSaver(pool, cache, serde=strict_serializer())
        return
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{folder / 'checkpoints.db'}"}
    redis_url = redis if kind.startswith("cached") else None
    async with open_checkpointer(urls.get(kind, database), redis_url=redis_url) as saver:
        yield saver.reading("notified") if kind == "cached notified" else saver


@contextmanager
def tables_of(saver: Any, database: str) -> Iterator[Tables]:
    """Open the tables that a saver writes to, on a connection of their own; committed if the block ends well."""
    if isinstance(saver, MemorySaver):
        yield MemoryTables(saver)
    elif isinstance(saver, SqliteSaver):
        with open_tables(saver.file) as tables:
            yield tables
    else:
        with psycopg.connect(make_conninfo("", **postgres_params(database))) as connection:
            yield PostgresTables(connection.cursor())
