"""The store of a run: beside the checkpoints of each back end, and under the fence of the run's thread."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentcore.graphs.store_section import read_section
from agentcore.plain.errors import FenceLost, RegistryError, SetupFailed
from agentcore.savers import opening, sqlite, stores
from agentcore.savers.fence import fenced
from agentcore.savers.memory import MemorySaver
from agentcore.savers.serializers import strict_serializer
from tests import servers
from tests.agentcore.savers import tables_of

IN = ("ana", "memories")


@pytest.fixture(params=["postgresql", "sqlite", "memory"])
async def place(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[tuple[Any, Any, str]]:
    """Yield a saver, what returns the store of a run by its saver, and the URL of the database."""
    async with AsyncExitStack() as stack:
        url = servers.clone() if request.param == "postgresql" else ""
        if url:
            pool = await stack.enter_async_context(opening.open_pool(url))
            store_of = await stack.enter_async_context(stores.open_postgres(pool, {}))
            yield opening.saver_over(pool), store_of, url
        elif request.param == "sqlite":
            saver = await stack.enter_async_context(sqlite.open_sqlite(tmp_path / "c.db", strict_serializer()))
            yield saver, await stack.enter_async_context(stores.open_sqlite_store(saver, {})), url
        else:
            yield MemorySaver(strict_serializer()), stores.in_memory({}), url


async def test_what_a_run_stores_the_next_one_reads(place: tuple[Any, Any, str]) -> None:
    saver, store_of, _ = place
    await store_of(saver).aput(IN, "colour", {"is": "blue"})
    other = store_of(saver)
    found = await other.aget(IN, "colour")
    assert found.value == {"is": "blue"}
    # A node that is no coroutine runs in a thread, and calls the store from there.
    await asyncio.to_thread(other.put, IN, "size", {"is": 7})
    assert {item.key for item in await asyncio.to_thread(other.search, IN)} == {"colour", "size"}
    assert await other.alist_namespaces(prefix=("ana",)) == [IN]


async def test_a_coroutine_that_does_not_await_the_store_is_told_so(place: tuple[Any, Any, str]) -> None:
    saver, store_of, _ = place
    if isinstance(saver, MemorySaver):
        return store_of(saver).put(IN, "k", {"n": 1})  # waits for nobody
    with pytest.raises(asyncio.InvalidStateError, match="must await"):
        store_of(saver).put(IN, "k", {"n": 1})


async def test_a_run_that_lost_its_thread_stores_nothing(place: tuple[Any, Any, str]) -> None:
    saver, store_of, url = place
    thread_id = f"t-{uuid.uuid4()}"
    with tables_of(saver, url) as tables:
        tables.raise_fence(thread_id, 1)
    held = fenced(saver, thread_id, 1)
    store = store_of(held)
    await store.aput(IN, "before", {"is": 1})
    with tables_of(saver, url) as tables:
        tables.raise_fence(thread_id, 2)
    with pytest.raises(FenceLost):
        await store.aput(IN, "after", {"is": 2})
    with pytest.raises(FenceLost):
        await asyncio.to_thread(store.put, IN, "after in a thread", {"is": 2})
    with pytest.raises(FenceLost):
        await store.adelete(IN, "before")
    assert [item.key for item in await store.asearch(IN)] == ["before"], "reading is allowed"
    assert held.fence.is_lost, "and the run ends so even if the node swallows the error"


async def test_several_processes_may_set_the_store_up_at_once(database: str) -> None:
    url = servers.clone()
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(opening.open_pool(url)) for _ in range(4)]
        async with pools[0].connection() as connection:
            await connection.execute("DROP TABLE IF EXISTS store, store_migrations")
        await asyncio.gather(*(stores.setup(pool, {}) for pool in pools))
        async with stores.open_postgres(pools[0], {}) as store_of:
            await store_of(opening.saver_over(pools[0])).aput(IN, "k", {"n": 1})


EMBED = """
def embed(texts):
    return [[float(text.count(letter)) for letter in "abc"] for text in texts]
"""


async def test_the_section_names_what_embeds_and_items_are_found_by_meaning(tmp_path: Path) -> None:
    (tmp_path / "own_embed.py").write_text(EMBED)
    section = {"index": {"dims": 3, "embed": "./own_embed.py:embed", "fields": ["$"]}, "ttl": {"default_ttl": 5}}
    options = read_section(section, tmp_path)
    assert options["ttl"] == {"default_ttl": 5}
    store = stores.in_memory(options)(MemorySaver(strict_serializer()))
    for key, text in (("one", "aaaa"), ("two", "bbbb")):
        await store.aput(IN, key, {"text": text})
    found = await store.asearch(IN, query="bb", limit=1)
    assert [item.key for item in found] == ["two"]


@pytest.mark.parametrize("section", [7, {"index": {"dims": 3}}, {"index": {"dims": 3, "embed": "./gone.py:embed"}}])
def test_a_section_that_cannot_be_used_is_named(section: Any, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match='"store"'):
        read_section(section, tmp_path)


async def test_items_expire_as_the_section_says(database: str) -> None:
    url, options = servers.clone(), {"ttl": {"default_ttl": 0.0001, "refresh_on_read": False}}
    async with opening.open_pool(url) as pool, stores.open_postgres(pool, options) as store_of:
        store = store_of(opening.saver_over(pool))
        await store.aput(IN, "k", {"n": 1})
        async with pool.connection() as connection:
            [row] = await (await connection.execute("SELECT expires_at IS NOT NULL AS expires FROM store")).fetchall()
        assert row["expires"]


async def test_a_store_that_is_set_up_asks_for_no_right_but_to_read(database: str) -> None:
    url = servers.clone()
    async with opening.open_pool(url) as pool:
        await stores.setup(pool, {})
        async with pool.connection() as connection:
            await connection.execute("SET default_transaction_read_only = on")
            await stores.setup(_OfOne(connection), {})
            with pytest.raises(SetupFailed, match="read-only"):
                await stores.setup(_OfOne(connection), {"index": {"dims": 3, "embed": lambda texts: []}})
            await connection.execute("SET default_transaction_read_only = off")


class _OfOne:
    """A pool of this one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        yield self._connection
