"""The checkpoint tables by SQL alone: what moved, where a thread stands, and how it is emptied."""

import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from langgraph.types import Command
from psycopg.conninfo import make_conninfo

from agentcore import tables
from agentcore.checkpointers import open_checkpointer
from agentcore.dsn import postgres_params
from agentcore.runner import run_until_pause
from agentcore.tables import Head
from agentcore.threads import Saver, config_for, with_saver
from tests import graphs

Connection = psycopg.Connection[tuple[Any, ...]]
Cursor = psycopg.Cursor[tuple[Any, ...]]


@pytest.fixture(scope="module")
def own_database(database: str) -> Iterator[str]:
    """A database without a worker, which would mark what we look at."""
    parts, name = urlsplit(database), f"tables_{uuid.uuid4().hex}"
    with psycopg.connect(make_conninfo("", **postgres_params(database)), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield parts._replace(path=f"/{name}").geturl()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def connection(own_database: str) -> Iterator[Connection]:
    with psycopg.connect(make_conninfo("", **postgres_params(own_database)), autocommit=True) as opened:
        yield opened


@pytest.fixture
def cursor(connection: Connection) -> Iterator[Cursor]:
    """A plain cursor, as Django's: rows are tuples."""
    with connection.cursor() as opened:
        yield opened


@pytest.fixture
async def saver(own_database: str) -> AsyncIterator[Saver]:
    async with open_checkpointer(own_database) as opened:
        yield opened


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


async def run(graph: Any, saver: Saver, thread_id: str, input: Any = None) -> Any:
    return await run_until_pause(graph, saver, thread_id=thread_id, input=input)


def moved(cursor: Cursor, thread_id: str) -> bool:
    return thread_id in tables.threads_to_index(cursor, limit=100_000)


def mark(cursor: Cursor, thread_id: str) -> Head:
    """Index the thread where it stands, as the worker does."""
    head = tables.read_head(cursor, thread_id)
    assert head is not None
    tables.mark_indexed(cursor, thread_id, head)
    assert not moved(cursor, thread_id)
    return head


async def test_the_head_is_the_newest_checkpoint(saver: Saver, cursor: Cursor, thread_id: str) -> None:
    assert tables.read_head(cursor, thread_id) is None
    paused = await run(graphs.gated, saver, thread_id, {"text": "x"})
    first = tables.read_head(cursor, thread_id)
    assert first is not None
    assert first.checkpoint_id == paused.snapshot.checkpoint_id
    finished = await run(graphs.gated, saver, thread_id)
    second = tables.read_head(cursor, thread_id)
    assert second is not None
    assert second.checkpoint_id == finished.snapshot.checkpoint_id > first.checkpoint_id
    assert second == tables.read_head(cursor, thread_id)


async def test_a_question_changes_the_head_though_the_checkpoint_stays(
    saver: Saver, connection: Connection, cursor: Cursor, thread_id: str
) -> None:
    await run(graphs.asking, saver, thread_id, {"text": "x"})
    asked = tables.read_head(cursor, thread_id)
    assert asked is not None
    assert asked.writes != ""
    with connection.transaction(force_rollback=True):
        cursor.execute("DELETE FROM checkpoint_writes WHERE thread_id = %s", [thread_id])
        unasked = tables.read_head(cursor, thread_id)
    assert unasked is not None
    assert unasked.checkpoint_id == asked.checkpoint_id
    assert unasked != asked


async def test_an_error_changes_the_head_though_the_checkpoint_stays(
    saver: Saver, cursor: Cursor, thread_id: str
) -> None:
    await run(graphs.failing, saver, thread_id, {"text": "x"})
    before = mark(cursor, thread_id)
    await run(graphs.failing, saver, thread_id)
    after = tables.read_head(cursor, thread_id)
    assert after is not None
    assert after.checkpoint_id == before.checkpoint_id
    assert after != before
    assert moved(cursor, thread_id)


async def test_whatever_moves_a_thread_is_noticed(saver: Saver, cursor: Cursor, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    assert moved(cursor, thread_id)
    mark(cursor, thread_id)
    await with_saver(graphs.gated, saver).aupdate_state(config_for(thread_id), {"text": "y"})
    assert moved(cursor, thread_id)
    mark(cursor, thread_id)
    await run(graphs.gated, saver, thread_id)
    assert moved(cursor, thread_id)
    mark(cursor, thread_id)
    await saver.adelete_thread(thread_id)
    assert moved(cursor, thread_id)
    assert tables.read_head(cursor, thread_id) is None


async def test_a_question_and_its_answer_are_noticed(saver: Saver, cursor: Cursor, thread_id: str) -> None:
    await run(graphs.asking, saver, thread_id, {"text": "x"})
    mark(cursor, thread_id)
    [waiting] = (await with_saver(graphs.asking, saver).aget_state(config_for(thread_id))).interrupts
    await run(graphs.asking, saver, thread_id, Command(resume={waiting.id: "7"}))
    assert moved(cursor, thread_id)


@pytest.mark.parametrize(
    ("channel", "is_noticed"), [("__interrupt__", True), ("__resume__", True), ("__error__", True), ("notes", False)]
)
async def test_a_write_that_people_care_for_is_noticed(
    saver: Saver, cursor: Cursor, thread_id: str, channel: str, is_noticed: bool
) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    head = mark(cursor, thread_id)
    cursor.execute(
        "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob)"
        " VALUES (%s, '', %s, 'task', 0, %s, 'null', '')",
        [thread_id, head.checkpoint_id, channel],
    )
    assert moved(cursor, thread_id) is is_noticed


async def test_a_thread_that_moved_since_it_was_read_stays_to_be_indexed(
    saver: Saver, cursor: Cursor, thread_id: str
) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    read = tables.read_head(cursor, thread_id)
    await run(graphs.gated, saver, thread_id)
    tables.mark_indexed(cursor, thread_id, read)
    assert moved(cursor, thread_id)


async def test_a_question_asked_since_it_was_read_stays_to_be_indexed(
    saver: Saver, cursor: Cursor, thread_id: str
) -> None:
    """The checkpoint is the same before and after: comparing it alone lost the question."""
    await run(graphs.failing, saver, thread_id, {"text": "x"})
    read = tables.read_head(cursor, thread_id)
    await run(graphs.failing, saver, thread_id)
    after = tables.read_head(cursor, thread_id)
    assert read is not None
    assert after is not None
    assert read.checkpoint_id == after.checkpoint_id
    tables.mark_indexed(cursor, thread_id, read)
    assert moved(cursor, thread_id)
    tables.mark_indexed(cursor, thread_id, after)
    assert not moved(cursor, thread_id)


async def test_a_write_that_commits_while_we_mark_is_not_lost(
    own_database: str, saver: Saver, cursor: Cursor, thread_id: str
) -> None:
    """The writer holds the head's row; our mark waits for it, looks again, and finds that the thread moved."""
    await run(graphs.failing, saver, thread_id, {"text": "x"})
    await run(graphs.failing, saver, thread_id)  # leaves an __error__ write to be written again
    read = tables.read_head(cursor, thread_id)
    assert read is not None
    with psycopg.connect(make_conninfo("", **postgres_params(own_database))) as writer:
        writer.execute(
            "UPDATE checkpoint_writes SET type = type WHERE thread_id = %s AND channel = '__error__'", [thread_id]
        )
        marking = threading.Thread(target=tables.mark_indexed, args=(cursor, thread_id, read))
        marking.start()
        marking.join(0.2)
        assert marking.is_alive()
        writer.commit()
        marking.join(5)
    assert moved(cursor, thread_id)


async def test_a_thread_whose_head_was_deleted_stands_at_the_one_before(
    saver: Saver, cursor: Cursor, thread_id: str
) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    newest = mark(cursor, thread_id)
    cursor.execute("DELETE FROM checkpoints WHERE checkpoint_id = %s", [newest.checkpoint_id])
    assert moved(cursor, thread_id)
    older = mark(cursor, thread_id)  # and can be marked: it is not looked at again for ever
    assert older.checkpoint_id < newest.checkpoint_id


async def test_pruning_old_checkpoints_moves_nothing(saver: Saver, cursor: Cursor, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    head = mark(cursor, thread_id)
    cursor.execute(
        "DELETE FROM checkpoints WHERE thread_id = %s AND checkpoint_id < %s", [thread_id, head.checkpoint_id]
    )
    assert cursor.rowcount == 2
    assert not moved(cursor, thread_id)


async def test_checkpoints_of_subgraphs_do_not_move_the_head(saver: Saver, cursor: Cursor, thread_id: str) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    head = mark(cursor, thread_id)
    cursor.execute(
        "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint)"
        " VALUES (%s, 'sub:1', 'ffffffff', '{}')",
        [thread_id],
    )
    assert tables.read_head(cursor, thread_id) == head
    assert not moved(cursor, thread_id)


async def test_a_thread_that_is_gone_is_forgotten_and_one_that_came_back_is_not(
    saver: Saver, cursor: Cursor, thread_id: str
) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    await saver.adelete_thread(thread_id)
    await run(graphs.gated, saver, thread_id, {"text": "back"})
    tables.mark_indexed(cursor, thread_id, None)  # by someone who looked in between
    assert moved(cursor, thread_id)
    await saver.adelete_thread(thread_id)
    tables.mark_indexed(cursor, thread_id, None)
    assert not moved(cursor, thread_id)


async def test_the_longest_waiting_come_first_and_no_more_than_asked_for(saver: Saver, cursor: Cursor) -> None:
    ids = [f"t-{uuid.uuid4()}" for _ in range(3)]
    for each in ids:
        await run(graphs.gated, saver, each, {"text": "x"})
    cursor.execute("UPDATE countersign_heads SET is_indexed = NOT thread_id = ANY(%s)", [ids])
    assert tables.threads_to_index(cursor, limit=10) == ids
    assert tables.threads_to_index(cursor, limit=2) == ids[:2]
    await run(graphs.gated, saver, ids[0])  # it moved again: it waits again, behind the others
    assert tables.threads_to_index(cursor, limit=10) == [*ids[1:], ids[0]]


async def test_deleting_leaves_nothing_of_that_thread_and_all_of_the_others(
    saver: Saver, cursor: Cursor, thread_id: str
) -> None:
    others = [thread_id + "%", thread_id[:-1], f"{thread_id}'--"]
    for each in (thread_id, *others):
        await run(graphs.asking, saver, each, {"text": "x"})
    kept = {each: (tables.count_rows(cursor, each), tables.read_head(cursor, each)) for each in others}
    found = tables.count_rows(cursor, thread_id)
    assert all(found.values())
    assert tables.delete_rows(cursor, thread_id) == found
    assert set(tables.count_rows(cursor, thread_id).values()) == {0}
    assert not moved(cursor, thread_id)
    cursor.execute("SELECT count(*) FROM countersign_heads WHERE thread_id = %s", [thread_id])
    assert cursor.fetchone() == (0,)
    assert {each: (tables.count_rows(cursor, each), tables.read_head(cursor, each)) for each in others} == kept
    assert set(tables.delete_rows(cursor, thread_id).values()) == {0}


async def test_a_delete_that_is_rolled_back_changes_nothing(
    saver: Saver, connection: Connection, cursor: Cursor, thread_id: str
) -> None:
    await run(graphs.gated, saver, thread_id, {"text": "x"})
    head, found = mark(cursor, thread_id), tables.count_rows(cursor, thread_id)
    with connection.transaction(force_rollback=True):
        tables.delete_rows(cursor, thread_id)
    assert (tables.read_head(cursor, thread_id), tables.count_rows(cursor, thread_id)) == (head, found)
    assert not moved(cursor, thread_id)
