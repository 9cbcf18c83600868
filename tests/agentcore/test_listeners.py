"""Who holds a thread's lock hears of every change in it, and nobody pays for what nobody hears."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.urls import postgres_params
from agentcore.savers import listener_locks
from agentcore.savers.listener_locks import lock_of
from agentcore.savers.listening import CHANGES, listening, mark_of
from agentcore.savers.opening import open_pool, saver_over
from agentcore.savers.setup import setup
from tests import graphs

Session = AsyncConnection[Any]

CHECKPOINT = "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint) VALUES (%s, %s, '2', '{}')"
WRITE = (
    "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, blob)"
    " VALUES (%s, %s, '2', 'task', 0, 'any', '')"
)


@pytest.fixture(scope="module")
def own_database(database: str) -> Iterator[dict[str, str]]:
    """A set-up database where nobody else writes."""
    params, name = postgres_params(database), f"bells_{uuid.uuid4().hex}"

    async def set_up() -> None:
        async with open_pool(params | {"dbname": name}, max_size=1) as pool:
            await setup(pool)

    with psycopg.connect(make_conninfo("", **params), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        asyncio.run(set_up())
        yield params | {"dbname": name}
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def connected(params: dict[str, str]) -> AsyncIterator[Session]:
    async with await AsyncConnection.connect(make_conninfo("", **params), autocommit=True) as opened:
        yield opened


@pytest.fixture
async def writer(own_database: dict[str, str]) -> AsyncIterator[Session]:
    async with connected(own_database) as opened:
        yield opened


@pytest.fixture
async def listener(own_database: dict[str, str]) -> AsyncIterator[Session]:
    """Listens, and holds no lock yet."""
    async with connected(own_database) as opened:
        await opened.execute(f"LISTEN {CHANGES}")
        yield opened
        # The next test need not wait for the server to notice that the connection was closed.
        await opened.execute("SELECT pg_advisory_unlock_all()")


@pytest.fixture
async def thread_id(writer: Session) -> str:
    """A thread with a checkpoint and a write, in the main graph and in a subgraph."""
    made = f"t-é-{uuid.uuid4()}"
    for namespace in ("old", "old:sub"):
        await writer.execute(CHECKPOINT, [made, namespace])
        await writer.execute(WRITE, [made, namespace])
    return made


async def heard(listener: Session) -> list[str]:
    """Return what was told so far: notifications come in the order of the commits, so a last one ends them."""
    end = f"end_{uuid.uuid4().hex}"
    await listener.execute(f"LISTEN {end}")
    await listener.execute(f"NOTIFY {end}")
    told: list[str] = []
    async for notice in listener.notifies():
        if notice.channel == end:
            break
        told.append(notice.payload)
    return told


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%s, '3', '{}')",
        "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint) VALUES (%s, 'sub', '3', '{}')",
        "UPDATE checkpoints SET metadata = '{}' WHERE thread_id = %s AND checkpoint_ns = 'old'",
        "UPDATE checkpoints SET metadata = '{}' WHERE thread_id = %s AND checkpoint_ns = 'old:sub'",
        "DELETE FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = 'old:sub'",
        "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob)"
        " VALUES (%s, '2', 'task', 0, '__interrupt__', '')",
        "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, blob)"
        " VALUES (%s, 'sub', '2', 'task', 0, 'any', '')",
        "UPDATE checkpoint_writes SET blob = 'x' WHERE thread_id = %s AND checkpoint_ns = 'old'",
        "DELETE FROM checkpoint_writes WHERE thread_id = %s",
    ],
)
async def test_every_change_in_a_thread_is_told_once(
    writer: Session, listener: Session, thread_id: str, statement: str
) -> None:
    await listener_locks.hold(listener)
    changed = await writer.execute(statement, [thread_id])
    assert changed.rowcount > 0
    assert await heard(listener) == [mark_of(thread_id)]


async def test_a_transaction_tells_of_each_thread_once(writer: Session, listener: Session, thread_id: str) -> None:
    await listener_locks.hold(listener)
    other = f"t-{uuid.uuid4()}"
    async with writer.transaction():
        for namespace in ("a", "b", "c"):
            for each in (thread_id, other):
                await writer.execute(CHECKPOINT, [each, namespace])
                await writer.execute(WRITE, [each, namespace])
        assert await heard(listener) == []
    assert sorted(await heard(listener)) == sorted([mark_of(thread_id), mark_of(other)])


async def test_what_is_rolled_back_is_not_told(writer: Session, listener: Session, thread_id: str) -> None:
    await listener_locks.hold(listener)
    async with writer.transaction(force_rollback=True):
        await writer.execute(CHECKPOINT, [thread_id, "a"])
    assert await heard(listener) == []


async def test_a_row_that_changes_threads_is_told_to_both(writer: Session, listener: Session, thread_id: str) -> None:
    await listener_locks.hold(listener)
    other = f"t-{uuid.uuid4()}"
    await writer.execute("UPDATE checkpoints SET thread_id = %s WHERE thread_id = %s", [other, thread_id])
    assert sorted(await heard(listener)) == sorted([mark_of(thread_id), mark_of(other)])


@pytest.mark.parametrize("table", ["checkpoints", "checkpoint_writes"])
async def test_emptying_a_table_is_told_to_all_who_listen(writer: Session, listener: Session, table: str) -> None:
    await writer.execute(f"TRUNCATE {table}")
    assert await heard(listener) == ["*"]


async def test_what_langgraph_deletes_is_told(own_database: dict[str, str], listener: Session) -> None:
    """Pruning runs in one old snapshot, which could not see a listener that is a row somewhere."""
    ids = [f"t-{uuid.uuid4()}" for _ in range(2)]
    async with open_pool(own_database) as pool:
        saver = saver_over(pool)
        for each in ids:
            await with_saver(graphs.gated, saver).ainvoke({"text": "x"}, config_for(each))
        await listener_locks.hold(listener)
        await saver.aprune([ids[0]], strategy="keep_latest")
        assert await heard(listener) == [mark_of(ids[0])]
        await saver.adelete_thread(ids[1])
        assert set(await heard(listener)) == {mark_of(ids[1])}


async def test_nobody_is_told_of_a_thread_whose_bell_nobody_holds(
    writer: Session, listener: Session, thread_id: str
) -> None:
    lock = lock_of(mark_of(thread_id))
    await listener_locks.hold(listener, [each for each in listener_locks.ALL if each != lock])
    await writer.execute(CHECKPOINT, [thread_id, "a"])
    assert await heard(listener) == []
    await listener_locks.hold(listener, [lock])
    await writer.execute(CHECKPOINT, [thread_id, "b"])
    assert await heard(listener) == [mark_of(thread_id)]
    await listener_locks.release(listener, [lock])
    await writer.execute(CHECKPOINT, [thread_id, "c"])
    assert await heard(listener) == []


OURS = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_locks.database = pg_database.oid
    WHERE locktype = 'advisory' AND datname = current_database()
"""
"""Other databases of the server have locks, and queues, of their own."""


async def test_who_tries_a_bell_lets_go_of_it(writer: Session, listener: Session, thread_id: str) -> None:
    async with writer.transaction():
        await writer.execute(CHECKPOINT, [thread_id, "a"])
        found = await listener.execute(OURS)
        assert await found.fetchall() == []


async def test_the_last_of_two_who_hold_a_bell_still_hears(
    own_database: dict[str, str], writer: Session, listener: Session, thread_id: str
) -> None:
    await listener_locks.hold(listener)
    async with connected(own_database) as other:
        await other.execute(f"LISTEN {CHANGES}")
        await listener_locks.hold(other)
        await writer.execute(CHECKPOINT, [thread_id, "a"])
        assert await heard(other) == await heard(listener) == [mark_of(thread_id)]
    await writer.execute(CHECKPOINT, [thread_id, "b"])
    assert await heard(listener) == [mark_of(thread_id)]


async def test_holding_waits_for_those_who_found_nobody(writer: Session, listener: Session, thread_id: str) -> None:
    """Their commit is told to nobody: it must be there to read when `hold` returns."""
    async with writer.transaction():
        await writer.execute(CHECKPOINT, [thread_id, "a"])
        holding = asyncio.create_task(listener_locks.hold(listener))
        assert not (await asyncio.wait([holding], timeout=0.3))[0]
    await asyncio.wait_for(holding, 5)
    assert await heard(listener) == []


async def test_who_writes_from_an_old_snapshot_tells_too(writer: Session, listener: Session, thread_id: str) -> None:
    async with writer.transaction():
        await writer.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await writer.execute("SELECT 1")
        await asyncio.wait_for(listener_locks.hold(listener), 5)
        await writer.execute(CHECKPOINT, [thread_id, "a"])
    assert await heard(listener) == [mark_of(thread_id)]


async def test_whatever_cannot_be_read_when_the_bells_are_held_is_told_later(
    own_database: dict[str, str], listener: Session
) -> None:
    """Writers begin and commit at any moment around the one in which somebody starts to listen."""
    moments = random.Random(7)
    read: set[str] = set()
    told: set[str] = set()

    async def write(session: Session, thread_id: str) -> None:
        await asyncio.sleep(moments.uniform(0, 0.03))
        async with session.transaction():
            await session.execute(CHECKPOINT, [thread_id, ""])
            await asyncio.sleep(moments.uniform(0, 0.02))

    async with asyncio.TaskGroup() as opened:
        opening = [opened.create_task(AsyncConnection.connect(make_conninfo("", **own_database))) for _ in range(12)]
    sessions = [each.result() for each in opening]
    for _ in range(15):
        ids = {f"t-{uuid.uuid4()}" for _ in sessions}
        async with asyncio.TaskGroup() as writing:
            for session, each in zip(sessions, ids, strict=True):
                writing.create_task(write(session, each))
            await asyncio.sleep(0.015)
            await listener_locks.hold(listener)
            found = await listener.execute("SELECT thread_id FROM checkpoints WHERE thread_id = ANY(%s)", [[*ids]])
            there = {row[0] for row in await found.fetchall()}
        marks = set(await heard(listener))
        assert {each for each in ids - there if mark_of(each) not in marks} == set()
        read, told = read | there, told | (marks & {mark_of(each) for each in ids})
        await listener_locks.release(listener, listener_locks.ALL)
    assert len(read) > 10
    assert len(told) > 10
    for session in sessions:
        await session.close()


async def test_changes_are_told_while_somebody_asks_for_them(
    own_database: dict[str, str], writer: Session, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: asyncio.Queue[str] = asyncio.Queue()
    mark, other = mark_of(thread_id), f"{thread_id} of nobody"
    while listener_locks.lock_of(mark_of(other)) == listener_locks.lock_of(mark):
        other += "."
    async with open_pool(own_database) as pool, listening(pool) as listener, asyncio.timeout(20):
        listener.on_change = changed.put_nowait
        while listener.session(mark) is None:  # noqa: ASYNC110 - it is held soon after somebody asked
            await asyncio.sleep(0.01)
        await writer.execute(CHECKPOINT, [other, "a"])
        await writer.execute(CHECKPOINT, [thread_id, "a"])
        assert await changed.get() == mark
        before = listener.session(mark)
        monkeypatch.setattr("agentcore.savers.listening.IDLE_SECONDS", 0.1)
        is_held = (
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        while await (await writer.execute(is_held, [listener_locks.LOCKS, listener_locks.lock_of(mark)])).fetchone():  # noqa: ASYNC110 - a lock
            await asyncio.sleep(0.01)
        await writer.execute(CHECKPOINT, [thread_id, "b"])
        monkeypatch.undo()
        while listener.session(mark) is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        assert listener.session(mark) != before, "what was believed before must not be believed again"
        assert changed.empty()
