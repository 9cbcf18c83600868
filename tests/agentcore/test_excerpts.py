"""What is too large for a page is left where it is, and an excerpt names the very bytes."""

import hashlib
import json
import uuid
from typing import Any

import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from agentcore.graphs import forks, snapshots, state_edits
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.plain.errors import UnreadableThread
from agentcore.plain.excerpts import LARGEST_PART, LARGEST_READ, LONGEST_TEXT, cut, has_excerpt, is_excerpt
from agentcore.plain.tables import StoredValue
from agentcore.savers import large_values
from agentcore.savers.large_values import longest_read
from agentcore.savers.opening import open_checkpointer
from agentcore.savers.postgres import PostgresSaver
from tests import graphs

LONG = "é" * (LARGEST_READ // 2 + 1)


async def paused(database: str, input: dict[str, Any]) -> Any:
    """Return the snapshot of a thread that stands at its gate with this state, and its thread's id."""
    thread_id = f"large-{uuid.uuid4()}"
    async with open_checkpointer(database) as saver:
        await run_until_pause(RunContext(graphs.gated, saver, thread_id), input)
        return await snapshots.snapshot(graphs.gated, saver, thread_id)


@pytest.mark.parametrize("channel", ["text", "notes"])
async def test_a_large_value_is_an_excerpt_and_the_gate_is_seen_all_the_same(database: str, channel: str) -> None:
    """A text lies beside the checkpoint, a list in a blob; both are left out."""
    value: Any = LONG if channel == "text" else [LONG]
    found = await paused(database, {channel: value, "count": 7})
    excerpt = found.values[channel]
    assert (found.next, found.gate.nodes, found.values["count"]) == (("act",), ("act",), 7)
    assert is_excerpt(excerpt)
    assert excerpt["size"] >= len(LONG.encode())
    assert "é" * 900 in excerpt["head"]
    assert channel in found.opaque
    [pause] = pauses_at(graphs.gated, found)
    assert pause.allowed_verdicts
    assert len(json.dumps([pause.request, found.values])) < 100_000


async def test_the_digest_is_of_the_stored_bytes(database: str) -> None:
    found = await paused(database, {"text": LONG})
    assert found.values["text"]["sha256"] == hashlib.sha256(LONG.encode()).hexdigest()
    assert found.values["text"]["size"] == len(LONG.encode())


async def test_what_is_not_large_is_read_as_ever(database: str) -> None:
    found = await paused(database, {"text": "x" * LONGEST_TEXT, "notes": ["a"]})
    assert found.values["text"] == "x" * LONGEST_TEXT
    assert "text" not in found.opaque


async def test_one_part_is_read_whole(database: str) -> None:
    found = await paused(database, {"text": LONG, "notes": [LONG]})
    async with open_checkpointer(database) as saver:
        where = (found.thread_id, found.checkpoint_id)
        text = await snapshots.read_part(graphs.gated, saver, *where, "state/text")
        notes = await snapshots.read_part(graphs.gated, saver, *where, "state/notes")
    assert json.loads(text) == LONG
    assert json.loads(notes) == [LONG, "prepared"]


async def test_a_state_too_large_to_be_copied_is_neither_tried_nor_forked(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await paused(database, {"notes": ["x" * 1_000]})
    where = {"thread_id": found.thread_id, "checkpoint_id": found.checkpoint_id}
    monkeypatch.setattr(large_values, "LARGEST_WHOLE", 900)
    async with open_checkpointer(database) as saver:
        into = RunContext(graphs.gated, saver, f"{found.thread_id}-fork")
        with pytest.raises(UnreadableThread, match="too large to be copied"):
            edits = {"text": {"op": "set", "value": "y"}}
            await state_edits.preview(graphs.gated, saver, snapshots.config_for(**where), edits)
        with pytest.raises(UnreadableThread, match="too large to be copied"):
            await forks.fork(into, origin=found.thread_id, checkpoint_id=found.checkpoint_id)
        assert await snapshots.snapshot(graphs.gated, saver, f"{found.thread_id}-fork") is None


async def test_a_saver_that_reads_with_excerpts_cannot_write(database: str) -> None:
    async with open_checkpointer(database) as saver:
        assert isinstance(saver, PostgresSaver)
        reading = large_values.ExcerptSaver(saver, 10)
        with pytest.raises(TypeError, match="only looks"):
            await reading.aput_writes({"configurable": {"thread_id": "x"}}, [("text", "x")], "task")
        with pytest.raises(TypeError, match="only looks"):
            await snapshots.with_saver(graphs.gated, reading).ainvoke({"text": "x"}, snapshots.config_for("x"))


def test_the_librarys_statement_is_still_the_one_that_is_changed() -> None:
    assert "large:" in large_values._select(10)
    assert "large:" not in AsyncPostgresSaver.SELECT_SQL


@pytest.mark.parametrize(
    ("sizes", "longest"),
    [((), None), ((10, 20), None), ((50, 50), None), ((50, 51), 50), ((1, 2, 300), 299), ((101, 101), 100)],
)
def test_the_largest_are_left_out_until_the_rest_fits(sizes: tuple[int, ...], longest: int | None) -> None:
    assert longest_read([StoredValue("blob", "x", "", size) for size in sizes], 100) == longest


def test_questions_are_read_whatever_their_size() -> None:
    assert longest_read([StoredValue("write", "__interrupt__", "", 1_000)], 100) is None


@pytest.mark.parametrize(
    "value",
    ["x" * (LONGEST_TEXT + 1), list(range(LARGEST_PART // 5)), {str(n): "x" for n in range(LARGEST_PART // 10)}],
    ids=["text", "list", "dict"],
)
def test_what_is_too_long_for_a_page_is_cut_where_it_is(value: Any) -> None:
    shown = cut({"kept": 1, "long": {"inside": value}})
    assert shown["kept"] == 1
    assert is_excerpt(shown["long"]["inside"])
    assert has_excerpt(shown)
    assert cut(shown) == shown
