"""The console over each place of checkpoints: what works everywhere, what each refuses, what each survives."""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.memory_tables import MemoryTables
from agentcore.plain.urls import Memory
from agentcore.savers.memory import MemorySaver
from agentcore.savers.serializers import strict_serializer
from tests import forks, servers
from tests.checks import PRODUCTION
from tests.console import Console, free_port, refund, wait_for
from tests.graphs import gated
from tests.scale import IS_FULL, share

pytestmark = pytest.mark.slow

AGENT = """
import asyncio, sys
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Interrupt
from agentcore.demo.refund import builder

async def main(place, thread_id, move):
    kind = AsyncPostgresSaver if place.startswith("postgresql:") else AsyncSqliteSaver
    async with kind.from_conn_string(place) as saver:
        config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        if move == "edits":
            graph = builder.compile(checkpointer=saver, interrupt_before=["pay_refund", "senior_desk"])
            await graph.aupdate_state(config, {"amount": 9999.0})
        elif move == "asks anew":
            found = await saver.aget_tuple(config)
            [(task, _, [asked])] = [write for write in found.pending_writes if write[1] == "__interrupt__"]
            question = Interrupt(value={"question": "What is the NEW limit?"}, id=asked.id)
            await saver.aput_writes(found.config, [("__interrupt__", (question,))], task)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def consoles(database: str, data_dir: Path) -> Iterator[Callable[[str], Console]]:
    """Give the console of a back end, started once, with a database of its own: two would take each other's jobs."""
    with ExitStack() as stack:

        @cache
        def of(back_end: str) -> Console:
            return stack.enter_context(running(back_end, data_dir))

        yield of


@contextmanager
def running(back_end: str, data_dir: Path) -> Iterator[Console]:
    folder = Path(tempfile.mkdtemp(prefix="back-end-", dir=data_dir))
    url = {"postgresql": "", "sqlite": f"sqlite:///{folder}/checkpoints.db", "memory": "memory://"}[back_end]
    env = {"DATA_DIR": str(folder), "DATABASE_URL": servers.clone(), "CHECKPOINT_URL": url, "REDIS_URL": ""}
    started = Console(env).start()
    try:
        yield started
    finally:
        assert started.stop() == 0


@pytest.fixture(params=[*(["postgresql"] if IS_FULL else []), "sqlite", "memory"])
def console(request: pytest.FixtureRequest, consoles: Callable[[str], Console]) -> Console:
    return consoles(request.param)


def only(*names: str) -> Any:
    return pytest.mark.parametrize("console", names, indirect=True)


def some_of(usual: str, *, also: str) -> list[str]:
    """Return a back end of those that do the same by default, FULL=1 both. Most other tests are over PostgreSQL."""
    return [usual, also] if IS_FULL else [usual]


def place(console: Console) -> str:
    """Where an agent that knows nothing of us would open the checkpoints."""
    if console.env["CHECKPOINT_URL"]:
        return console.env["CHECKPOINT_URL"].removeprefix("sqlite:///")
    return console.env["DATABASE_URL"]


def agent(console: Console, thread_id: str, move: str) -> None:
    forks.run(["-c", AGENT, place(console), thread_id, move], check=True)


def vote(console: Console, approval: dict[str, Any]) -> httpx.Response:
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        return alice.post(f"/approvals/{approval['id']}/votes", json=ballot)


def test_a_run_pauses_is_approved_and_finishes(console: Console) -> None:
    approval = console.pause("refund", refund(640))
    assert approval["state"]["amount"] == 640
    with console.api("alice") as alice:
        edits = {"amount": {"op": "set", "value": 50}}
        previewed = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": edits}).json()
        assert previewed["values"]["amount"] == 50
        history = alice.post(f"/threads/{approval['thread_id']}/history", json={}).json()
        assert len(history) > 1
    assert vote(console, approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"


def test_a_load_balancer_is_told_that_it_is_ready(console: Console) -> None:
    answer = httpx.get(f"{console.url}/readyz")
    assert (answer.status_code, answer.json()["checkpointer"]) == (200, "ok")


@only(*some_of("sqlite", also="postgresql"))
def test_a_thread_that_its_agent_moves_is_asked_anew(console: Console) -> None:
    approval = console.pause("refund", refund(640))
    agent(console, approval["thread_id"], "edits")
    refused = vote(console, approval)
    assert (refused.status_code, refused.json()["error"]["code"]) in [(409, "stale"), (410, "superseded")]

    def newer() -> dict[str, Any] | None:
        found = console.pending(approval["thread_id"])
        return found if found["id"] != approval["id"] else None

    assert wait_for(newer, seconds=20, what="the new question")["state"]["amount"] == 9999.0


@only(*some_of("sqlite", also="postgresql"))
def test_a_question_put_in_the_place_of_another_is_shown_and_the_old_one_is_not_answered(console: Console) -> None:
    """Same checkpoint, same interrupt, another value: whoever saw the first must not decide the second."""
    approval = console.pause("asking", {"text": "Ada"})
    agent(console, approval["thread_id"], "asks anew")
    for _ in range(2):  # also once the console has read the new one
        refused = vote(console, approval)
        assert (refused.status_code, refused.json()["error"]["code"]) in [(409, "stale"), (410, "superseded")]

        def changed() -> dict[str, Any] | None:
            found = console.pending(approval["thread_id"])
            return found if found["digest"] != approval["digest"] else None

        asked = wait_for(changed, seconds=20, what="the new question")
        assert asked["id"] != approval["id"]
        assert "What is the NEW limit?" in str(asked["request"])
    assert "What is the NEW limit?" not in str(approval)


def test_force_clean_leaves_no_row(console: Console) -> None:
    thread_id = console.pause("asking", {"text": "Ada"})["thread_id"]
    with console.api("root") as root:
        cleaned = root.request("DELETE", f"/threads/{thread_id}", json={"reason": "A test."})
        assert cleaned.status_code == 200, cleaned.text
        rows = cleaned.json()["rows"]
        assert all(count for table, count in rows.items() if "effects" not in table), rows
        assert root.get(f"/threads/{thread_id}/state").status_code == 410
    assert rows_of(console, thread_id) == 0


def rows_of(console: Console, thread_id: str) -> int:
    """Count what is left in every table; of memory only its own process knows, which has said so above."""
    if console.env["CHECKPOINT_URL"] == "memory://":
        return 0
    if console.env["CHECKPOINT_URL"]:
        with closing(sqlite3.connect(place(console))) as opened:
            tables = ("checkpoints", "writes", "countersign_heads")
            query = " UNION ALL ".join(f"SELECT count(*) FROM {table} WHERE thread_id = :id" for table in tables)
            return sum(row[0] for row in opened.execute(query, {"id": thread_id}))
    with psycopg.connect(place(console)) as connection:
        tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "countersign_heads")
        query = " UNION ALL ".join(f"SELECT count(*) FROM {table} WHERE thread_id = %(id)s" for table in tables)
        return sum(row[0] for row in connection.execute(query, {"id": thread_id}))


@only("sqlite")
def test_while_the_server_has_the_file_other_commands_are_refused_and_say_who_has_it(console: Console) -> None:
    assert console.process is not None
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]
    commands = [
        ("setup_checkpointer",),
        ("force_clean_thread", thread_id, "--reason", "A test.", "--yes"),
        ("serve", "--port", str(free_port())),
    ]
    for command in share(commands, 2, of=3):
        refused = console.manage(*command, check=False)
        assert refused.returncode == 1, command
        assert f"Process {console.process.pid} has {place(console)} open" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert console.pending(thread_id)["status"] == "pending"


@only("memory")
def test_memory_of_the_server_is_out_of_reach_of_other_commands(console: Console) -> None:
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]
    assert "There is nothing to set up" in console.manage("setup_checkpointer").stdout
    refused = console.manage("force_clean_thread", thread_id, "--reason", "A test.", "--yes", check=False)
    assert refused.returncode == 1
    assert "Use its pages or its API." in refused.stderr
    assert "Traceback" not in refused.stderr
    assert console.pending(thread_id)["status"] == "pending"


@pytest.mark.parametrize(
    ("console", "command"),
    [("sqlite", ("procrastinate", "worker")), ("memory", ("serve", "--no-worker"))],
    indirect=["console"],
)
def test_web_and_worker_cannot_be_two_processes(console: Console, command: tuple[str, ...]) -> None:
    refused = console.manage(*command, check=False)
    assert refused.returncode == 1
    assert "CHECKPOINT_URL" in refused.stderr
    assert "Web and worker cannot be two. Type: manage.py serve" in refused.stderr


@only(*some_of("sqlite", also="memory"))
def test_demo_threads_asked_for_beside_a_server_are_run_by_the_server(console: Console) -> None:
    done = console.manage("demo", "--threads", "2")
    assert "2 new threads. The server, which has the checkpoints, runs them." in done.stdout
    with console.api("alice") as alice:

        def all_paused() -> bool:
            found = alice.post("/threads/search", json={"limit": 100}).json()
            demo = [each["status"] for each in found if each["thread_id"].startswith("demo-")]
            return len(demo) == 2 and set(demo) == {"interrupted"}

        wait_for(all_paused, what="the two threads to pause")


@only(*some_of("sqlite", also="postgresql"))
def test_a_paused_thread_outlives_a_power_cut(console: Console) -> None:
    approval = console.pause("refund", refund(640))
    console.kill()
    console.start()
    assert vote(console, approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"


@only("memory")
def test_threads_that_went_with_the_memory_of_the_last_server_are_said_to_be_gone(console: Console) -> None:
    approval = console.pause("refund", refund(640))
    console.kill()
    console.start()
    with console.api("alice") as alice:
        assert alice.get("/approvals", params={"status": "pending"}).json()["items"] == []
        assert alice.get(f"/approvals/{approval['id']}").json()["status"] == "superseded"
    late = vote(console, approval)
    assert (late.status_code, late.json()["error"]["code"]) == (410, "superseded")
    with console.rows("SELECT problem FROM approvals_thread WHERE id = %s", approval["thread_id"]) as rows:
        [[problem]] = rows()
    assert "The thread's checkpoints were deleted." in problem
    again = console.pause("refund", refund(640))
    assert vote(console, again).status_code == 201
    assert console.run_of(again["id"])["status"] == "finished"


async def test_a_thread_whose_reading_was_rolled_back_is_read_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked before the commit, a pause that was never stored would be looked at by nobody."""
    from django.conf import settings

    from approvals import checkpoints
    from approvals.database import in_database

    monkeypatch.setattr(settings, "CHECKPOINT_STORE", Memory())
    monkeypatch.setattr(checkpoints, "_memory", memory := MemorySaver(strict_serializer()))
    await with_saver(gated, memory).ainvoke({"text": "x"}, config_for("t"))
    await in_database(read_and_roll_back)()
    assert MemoryTables(memory).threads_to_index(limit=10) == ["t"]
    await in_database(read_and_commit)()
    assert MemoryTables(memory).threads_to_index(limit=10) == []


def read_and_roll_back() -> None:
    with suppress(ZeroDivisionError):
        read_and_commit(1 // 0 for _ in range(1))


def read_and_commit(then: Iterable[Any] = ()) -> None:
    from django.db import transaction

    from approvals import checkpoints

    with transaction.atomic():
        checkpoints.mark_indexed("t", checkpoints.read_head("t"))
        list(then)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "memory://",
            "(countersign.E004) CHECKPOINT_URL=memory:// keeps the checkpoints in the memory of one process.",
        ),
        ("sqlite:///file.db", "(countersign.W002) CHECKPOINT_URL keeps the checkpoints in a SQLite file"),
    ],
)
def test_the_production_check_names_what_is_not_for_production(url: str, told: str) -> None:
    env = {**os.environ, **PRODUCTION, "CHECKPOINT_URL": url, "DJANGO_ALLOW_ASYNC_UNSAFE": ""}
    done = forks.run(["manage.py", "check", "--deploy"], env=env)
    assert told in done.stdout + done.stderr
    assert done.returncode == (1 if url == "memory://" else 0)
