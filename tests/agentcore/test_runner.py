"""A run stores each step before the next begins, and says what became of it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.graph import START, StateGraph
from psycopg.conninfo import make_conninfo

from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for
from agentcore.plain.errors import FenceLost, NotItsThread
from agentcore.plain.tables import PostgresTables
from agentcore.plain.types import Failed, Finished, Step
from agentcore.plain.urls import postgres_params
from agentcore.savers.fence import fenced
from agentcore.savers.opening import open_checkpointer
from agentcore.testing import failpoints
from tests import graphs
from tests.agentcore.savers import open_saver, tables_of
from tests.graphs import State


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


@pytest.fixture
async def saver(database: str) -> AsyncIterator[Any]:
    async with open_checkpointer(database) as opened:
        yield opened


@pytest.fixture
def slow(database: str, saver: Any, thread_id: str) -> Iterator[psycopg.Connection[Any]]:
    """The first write to the thread waits until this connection commits."""
    with psycopg.connect(make_conninfo("", **postgres_params(database))) as connection:
        PostgresTables(connection.cursor()).raise_fence(thread_id, 1)
        connection.commit()
        connection.execute("SELECT FROM countersign_fences WHERE thread_id = %s FOR UPDATE", [thread_id])
        yield connection


def noting(ran: list[str]) -> Any:
    async def first(state: State) -> State:
        ran.append("first")
        return {}

    return StateGraph(State).add_node(first).add_edge(START, "first").compile()


def started(graph: Any, saver: Any, thread_id: str) -> "asyncio.Task[Any]":
    held = fenced(saver, thread_id, 1)
    return asyncio.create_task(run_until_pause(RunContext(graph, held, thread_id), {"text": "x"}))


async def test_the_first_node_waits_for_the_checkpoint_of_the_input(saver: Any, slow: Any, thread_id: str) -> None:
    """Killed before that is written it would run again from another one, with other effect keys."""
    ran: list[str] = []
    run = started(noting(ran), saver, thread_id)
    await asyncio.wait([run], timeout=0.3)
    assert ran == []
    slow.commit()
    assert isinstance(await run, Finished)
    assert ran == ["first"]


async def test_it_would_not_wait_if_langgraph_were_not_told_to(
    saver: Any, slow: Any, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    failpoints.arm("sync", "off")
    ran: list[str] = []
    run = started(noting(ran), saver, thread_id)
    await asyncio.wait([run], timeout=0.3)
    failpoints.disarm()
    assert ran == ["first"]
    slow.commit()
    assert isinstance(await run, Finished)


async def test_a_run_that_was_replaced_before_its_input_is_stored_runs_no_node(
    saver: Any, slow: Any, thread_id: str
) -> None:
    ran: list[str] = []
    run = started(noting(ran), saver, thread_id)
    await asyncio.wait([run], timeout=0.1)
    PostgresTables(slow.cursor()).raise_fence(thread_id, 2)
    slow.commit()
    with pytest.raises(FenceLost):
        await run
    assert ran == []
    assert await saver.aget_tuple(config_for(thread_id)) is None


async def test_a_step_that_cannot_be_noted_as_the_thread_was_taken_is_no_failure_of_the_run(
    saver: Any, thread_id: str
) -> None:
    async def note(step: Step) -> None:
        raise FenceLost("Another worker has this thread.")

    with pytest.raises(FenceLost):
        await run_until_pause(RunContext(graphs.gated, saver, thread_id, on_step=note), {"text": "x"})


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
async def test_a_node_that_writes_to_another_thread_fails_its_run_with_a_sentence(
    kind: str, database: str, redis: str, tmp_path: Path, thread_id: str
) -> None:
    """Nobody has taken the thread, so it is a failure that people see."""
    other = f"{thread_id}-other"

    async def stray(state: State) -> State:
        await graphs.gated.copy(update={"checkpointer": held}).ainvoke({"text": "x"}, config_for(other))
        return {}

    graph = StateGraph(State).add_node(stray).add_edge(START, "stray").compile()
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        with tables_of(saver, database) as tables:
            tables.raise_fence(thread_id, 1)
        held = fenced(saver, thread_id, 1)
        outcome = await run_until_pause(RunContext(graph, held, thread_id), {"text": "x"})
        assert isinstance(outcome, Failed)
        assert (outcome.error, outcome.node) == (NotItsThread.__name__, "stray")
        assert "its own thread only" in outcome.message
        assert await saver.aget_tuple(config_for(other)) is None
