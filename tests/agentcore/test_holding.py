"""While a run holds a thread, others write nothing to it, in whatever store; or, where they may, it is noted."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.errors import ThreadHeld
from agentcore.plain.tables import PostgresTables
from agentcore.plain.urls import postgres_params
from agentcore.savers import fence
from agentcore.savers.postgres import PostgresSaver
from tests import graphs
from tests.agentcore.savers import EVERY_KIND, open_saver, tables_of
from tests.scale import some

INPUT: dict[str, Any] = {"text": "x"}


@pytest.fixture(params=some(EVERY_KIND, "memory", "sqlite", "postgres"))
async def saver(request: pytest.FixtureRequest, database: str, redis: str, tmp_path: Path) -> AsyncIterator[Any]:
    async with open_saver(request.param, database=database, redis=redis, folder=tmp_path) as opened:
        yield opened


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


async def at_gate(saver: Any, thread_id: str) -> None:
    await with_saver(graphs.gated, saver).ainvoke(INPUT, config_for(thread_id))


async def test_others_are_refused_until_the_holder_lets_go(saver: Any, database: str, thread_id: str) -> None:
    await at_gate(saver, thread_id)
    other, config = with_saver(graphs.gated, saver), config_for(thread_id)
    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 1, held_seconds=60)
    ours = with_saver(graphs.gated, fence.fenced(saver, thread_id, 1))
    for write in (
        lambda: other.aupdate_state(config, {"text": "other"}),
        lambda: other.ainvoke(INPUT, config),
        lambda: other.ainvoke(None, config),
        lambda: saver.adelete_thread(thread_id),
    ):
        with pytest.raises(ThreadHeld, match="Wait until it stops"):
            await write()
    await ours.ainvoke(None, config)
    assert (await ours.aget_state(config)).values["notes"] == ["prepared", "acted"]
    await other.aupdate_state(config_for(f"{thread_id}-other"), {"text": "its own"})
    with tables_of(saver, database) as tables:
        assert tables.let_go(thread_id, 1) is False, "nobody else has written"
    await other.aupdate_state(config, {"text": "other"})
    assert (await ours.aget_state(config)).values["text"] == "other"


@pytest.mark.parametrize("saver", some(EVERY_KIND, "memory", "sqlite", "cached notified"), indirect=True)
async def test_a_hold_ends_by_itself_and_lasts_as_long_as_it_is_renewed(
    saver: Any, database: str, thread_id: str
) -> None:
    await at_gate(saver, thread_id)
    other, config = with_saver(graphs.gated, saver), config_for(thread_id)
    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 1, held_seconds=0)
    await other.aupdate_state(config, {"text": "it had ended"})
    with tables_of(saver, database) as tables:
        tables.hold_on(thread_id, 1, held_seconds=60)
    with pytest.raises(ThreadHeld):
        await other.aupdate_state(config, {"text": "other"})
    with tables_of(saver, database) as tables:
        tables.hold_on(thread_id, 2, held_seconds=0)
        assert tables.let_go(thread_id, 2) is False
    with pytest.raises(ThreadHeld):
        await other.aupdate_state(config, {"text": "that was somebody else's number"})
    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 2)
    await other.aupdate_state(config, {"text": "taken away"})


@pytest.mark.parametrize("saver", some(EVERY_KIND, "memory", "sqlite", "postgres"), indirect=True)
async def test_where_others_may_write_it_is_noted(saver: Any, database: str, thread_id: str) -> None:
    await at_gate(saver, thread_id)
    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 1, held_seconds=60, lets_others=True)
    await with_saver(graphs.gated, fence.fenced(saver, thread_id, 1)).aupdate_state(config_for(thread_id), INPUT)
    with tables_of(saver, database) as tables:
        assert tables.let_go(thread_id, 1) is False
        tables.raise_fence(thread_id, 2, held_seconds=60, lets_others=True)
    await with_saver(graphs.gated, saver).aupdate_state(config_for(thread_id), {"text": "other"})
    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 3, held_seconds=60, lets_others=True)
        assert tables.let_go(thread_id, 3) is True, "also what was written before a worker died"
        assert tables.let_go(thread_id, 3) is False


@pytest.mark.parametrize("saver", some(EVERY_KIND, "memory", "sqlite", "cached in Redis alone"), indirect=True)
async def test_what_a_run_wrote_is_told_from_what_others_did(saver: Any, database: str, thread_id: str) -> None:
    config = config_for(thread_id) | {"metadata": {"run": "ours"}}
    await with_saver(graphs.gated, saver).ainvoke(INPUT, config)
    before = (await saver.aget_tuple(config)).config["configurable"]["checkpoint_id"]
    await with_saver(graphs.gated, saver).aupdate_state(config_for(thread_id), {"text": "other"})
    await with_saver(graphs.gated, saver).ainvoke(None, config)
    with tables_of(saver, database) as tables:
        newer = tables.written(thread_id, since=before, run_key="run")
        assert tables.read_head_and_metadata(thread_id)[1]["run"] == "ours"
    assert [each.run for each in newer] == ["ours", ""]
    assert [each.parent for each in newer] == [newer[1].checkpoint_id, before]


WRITES = {
    "a checkpoint": "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%(t)s, 'x', '{}')",
    "a value": "INSERT INTO checkpoint_blobs VALUES (%(t)s, '', 'text', '1', 'msgpack', '')",
    "a pending write": "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, type, blob)"
    " VALUES (%(t)s, 'x', 'y', 0, 'text', 'msgpack', '')",
    "a changed checkpoint": "UPDATE checkpoints SET metadata = '{}' WHERE thread_id = %(t)s",
    "a changed value": "UPDATE checkpoint_blobs SET blob = '' WHERE thread_id = %(t)s",
    "a deleted checkpoint": "DELETE FROM checkpoints WHERE thread_id = %(t)s",
    "a deleted value": "DELETE FROM checkpoint_blobs WHERE thread_id = %(t)s",
    "checkpoints moved in": "UPDATE checkpoints SET thread_id = %(t)s WHERE thread_id = %(t)s || '-2'",
    "all of them": "TRUNCATE checkpoint_blobs",
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("saver", ["postgres"], indirect=True)
async def test_postgresql_refuses_every_kind_of_write_and_says_what_to_do(
    saver: Any, database: str, thread_id: str, write: str
) -> None:
    await at_gate(saver, thread_id)
    await at_gate(saver, f"{thread_id}-2")
    with psycopg.connect(make_conninfo("", **postgres_params(database))) as plain:
        tables = PostgresTables(plain.cursor())
        tables.raise_fence(thread_id, 1, held_seconds=60)
        with pytest.raises(psycopg.DatabaseError) as refused:
            plain.execute(WRITES[write].encode(), {"t": thread_id})
        plain.rollback()  # the hold too
    assert refused.value.sqlstate == "CSF03"
    assert "Wait until" in (refused.value.diag.message_hint or "")


@pytest.mark.parametrize("saver", ["postgres"], indirect=True)
async def test_langgraphs_own_saver_learns_it_too_and_large_writes_of_the_holder_pass(
    saver: PostgresSaver, database: str, thread_id: str
) -> None:
    many = graphs.many_channels(150)
    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 1, held_seconds=60)
    ours = with_saver(many, fence.fenced(saver, thread_id, 1))
    await ours.ainvoke({f"c{number}": [number] for number in range(150)}, config_for(thread_id))
    assert len((await ours.aget_state(config_for(thread_id))).values) == 150
    async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(database))) as plain:
        with pytest.raises(psycopg.DatabaseError, match="a run of the approval console holds this thread"):
            await with_saver(many, plain).aupdate_state(config_for(thread_id), {"c1": [9]})
    await fence.fenced(saver, thread_id, 1).adelete_thread(thread_id)


@pytest.mark.parametrize("saver", ["postgres"], indirect=True)
async def test_whoever_takes_the_thread_has_seen_what_was_being_written(
    saver: Any, database: str, thread_id: str
) -> None:
    """A write that began before waits to be committed, or is refused: none slips in behind the holder's first look."""
    await at_gate(saver, thread_id)
    url = make_conninfo("", **postgres_params(database))
    insert = "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%s, 'zz', '{}')"
    taken = threading.Event()

    def take() -> str:
        with psycopg.connect(url, autocommit=True) as console:
            tables = PostgresTables(console.cursor())
            tables.raise_fence(thread_id, 1, held_seconds=60)
            taken.set()
            head = tables.read_head(thread_id)
            return head.checkpoint_id if head else ""

    with psycopg.connect(url) as plain:
        plain.execute(insert, [thread_id])
        taking = asyncio.create_task(asyncio.to_thread(take))
        await asyncio.sleep(0.3)
        assert not taken.is_set(), "it waits for the write"
        plain.commit()
    assert await taking == "zz"
