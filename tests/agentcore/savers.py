"""Every saver that is handed out, opened over real servers, for tests that run over all of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentcore.caching import CachedPostgresSaver, open_cache
from agentcore.checkpointers import open_checkpointer, open_pool
from agentcore.serde import strict_serializer

KINDS = ["memory", "sqlite", "postgres", "cached", "cached notified", "cached in Redis alone"]
ON_POSTGRES = KINDS[2:]


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
