"""The agent's own process goes on by itself while the console carries a decision out."""

import asyncio
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import DatabaseError
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.urls import postgres_params
from tests import graphs
from tests.console import Console, wait_for
from tests.graphs import times_run
from tests.races import paying
from tests.races.forked import Arena
from tests.scale import tries

ROUNDS = tries(5, full=200)
MOST_BATCHES = 8
"""Whether the agent is refused depends on who is quicker: it is tried again until it was."""
SEED = 20261129
ENDED = ("finished", "paused", "failed", "superseded")


def goes_on(database: str, thread_id: str, begin: threading.Barrier, pause: float) -> str:
    """Run the gated node as the agent would; return the SQLSTATE it was refused with, or an empty string."""

    async def work() -> str:
        async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(database))) as saver:
            graph = with_saver(graphs.gated, saver)
            await asyncio.to_thread(begin.wait, 30)
            await asyncio.sleep(pause)
            try:
                await graph.ainvoke(None, config_for(thread_id))
            except DatabaseError as error:
                return error.sqlstate or "?"
        return ""

    return asyncio.run(work())


@pytest.mark.timeout(900)
def test_an_effect_that_happens_twice_is_refused_to_one_or_flagged(
    console: Console, database: str, data_dir: Path
) -> None:
    dice, came = random.Random(SEED), Counter[str]()
    for _ in range(MOST_BATCHES):
        race(console, database, data_dir, dice, came)
        if came["the agent was refused"]:
            break
    assert came["the agent was refused"] > 0, came
    print(f"seed {SEED}:", dict(came))  # noqa: T201 - what a round came to is the result


def race(console: Console, database: str, data_dir: Path, dice: random.Random, came: Counter[str]) -> None:
    """Approve ROUNDS threads while the agent goes on with them; count what came of it."""
    threads = [console.start_run("gated", {"text": "x", "seconds": dice.choice([0, 0.1, 0.4])}) for _ in range(ROUNDS)]
    runs: dict[str, str] = {}
    refused: dict[str, str] = {}
    with console.api("alice") as alice, ThreadPoolExecutor(1) as elsewhere:
        for thread_id in threads:
            approval, begin = console.pending(thread_id), threading.Barrier(2)
            pause = dice.uniform(0, 0.15)
            going = elsewhere.submit(goes_on, database, thread_id, begin, max(0.0, pause - 0.05))
            begin.wait(30)
            time.sleep(max(0.0, 0.05 - pause))
            ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
            voted = alice.post(f"/approvals/{approval['id']}/votes", json=ballot)
            refused[thread_id] = going.result(60)
            if voted.status_code == 201:
                runs[thread_id] = approval["id"]
    for thread_id in threads:
        count, sqlstate = times_run(data_dir, thread_id, "act"), refused[thread_id]
        assert sqlstate in ("", "CSF03"), sqlstate
        assert count in (1, 2)
        if thread_id not in runs:
            came["the agent was first, and the vote was refused"] += 1
            assert count == 1
            continue
        run = console.run_of(runs[thread_id], until=ENDED)
        if sqlstate:
            came["the agent was refused"] += 1
            assert not run["interfered"], "nothing of it was stored"
        elif run["status"] == "superseded":
            came["the agent was first, and the run was superseded"] += 1
            assert count == 1
        else:
            came["the agent wrote when the run was over, and it is flagged"] += 1
            run = wait_for(partial(flagged, console, runs[thread_id]), what=f"the run on {thread_id} to be flagged")
            assert "Somebody else went on from checkpoint" in run["interfered"][0]


def flagged(console: Console, approval_id: str) -> Any:
    run = console.run_of(approval_id, until=ENDED)
    return run if run["interfered"] else None


def edited(arena: Arena, thread_id: str) -> str:
    """Edit the state as the agent would; return the SQLSTATE it was refused with, or an empty string."""

    async def edit() -> str:
        async with AsyncPostgresSaver.from_conn_string(arena.url) as saver:
            try:
                await with_saver(paying.resuming, saver).aupdate_state(config_for(thread_id), {"text": "other"})
            except DatabaseError as error:
                return error.sqlstate or "?"
        return ""

    return asyncio.run(edit())


def test_what_is_written_after_a_run_stopped_and_before_that_is_stored_is_what_people_are_asked(arena: Arena) -> None:
    thread_id = "written-late"
    runs = arena.call("start", "resuming", [thread_id])
    child = arena.fork("carry_out_letting_others", runs, failpoints="run.stopped=stop")
    child.wait_until_stopped()
    assert edited(arena, thread_id) == ""
    child.go_on()
    child.result()
    asked = "SELECT checkpoint_id, state::jsonb ->> 'text' FROM approvals_approval WHERE thread_id = %s"
    [(checkpoint_id, text)] = arena.rows(asked, thread_id)
    assert text == "other"
    assert [(checkpoint_id,)] == arena.rows(
        "SELECT checkpoint_id FROM countersign_heads WHERE thread_id = %s", thread_id
    )


@pytest.mark.parametrize("how", ["refused", "let in", pytest.param("taken out", marks=pytest.mark.full)])
def test_a_write_beside_a_run_is_refused_or_said(arena: Arena, how: str) -> None:
    """The node takes its time; meanwhile the agent's own process edits the thread."""
    [paused] = arena.paused(1, "resuming")
    [voted] = arena.call("votes", [(paused, "alice", "approve")])
    work = "carry_out_letting_others" if how == "let in" else "carry_out"
    failpoints = "hold=off" if how == "taken out" else ""
    child = arena.fork(work, [voted["run"]], nodes="pay:began=sleep:1.5", failpoints=failpoints)
    wait_for(lambda: times_run(arena.folder, paused.thread_id, "pay"), what="the node to begin")

    assert edited(arena, paused.thread_id) == ("CSF03" if how == "refused" else "")
    child.result()
    [(interfered,)] = arena.rows("SELECT interfered FROM approvals_run WHERE id = %s", voted["run"])
    [(deviations,)] = arena.rows("SELECT deviations FROM approvals_decision WHERE approval_id = %s", paused.approval_id)
    entries = "SELECT count(*) FROM approvals_auditentry WHERE thread_id = %s AND action = 'run.interfered'"
    assert arena.rows(entries, paused.thread_id) == [(0 if how == "refused" else 1,)]
    assert interfered == deviations
    if how == "refused":
        assert interfered == []
        assert arena.rows("SELECT status FROM approvals_run WHERE id = %s", voted["run"]) == [("finished",)]
    else:
        assert interfered[0].startswith("Somebody else wrote to this thread while the run held it.")
    assert arena.rows("SELECT count(*) FROM countersign_holds WHERE thread_id = %s", paused.thread_id) == [(0,)]
