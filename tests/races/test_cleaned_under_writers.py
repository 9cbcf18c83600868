"""Threads are force-cleaned while somebody runs their graphs: a worker of ours, and agents that know nothing of us.

Both go on writing, the agents for as long as the test lasts. Not a row is left, and none comes back.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO, Any

import httpx
import psycopg
import pytest
from django.conf import settings
from psycopg.conninfo import make_conninfo

from agentcore.plain.urls import postgres_params
from tests import forks
from tests.console import Console, wait_for
from tests.scale import tries

OUTSIDE, OURS = tries(2, full=28), tries(1, full=12)
"""Threads that each kind of writer has."""
WATCHED_SECONDS = tries(2, full=5)
LIMIT_SECONDS = 60
pytestmark = pytest.mark.timeout(240)
_COUNT_SQL = " UNION ALL ".join(
    f"SELECT thread_id, count(*) FROM {table} WHERE thread_id = ANY(%(ids)s) GROUP BY 1"
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "countersign_heads", "countersign_effects")
)


class Rows:
    """How many rows threads have, in all the tables."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def of(self, ids: list[str]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for thread_id, count in self.connection.execute(_COUNT_SQL, {"ids": ids}):
            counts[thread_id] = counts.get(thread_id, 0) + count
        return counts


@dataclass
class Agents:
    """The process that runs graphs, and the file it writes to."""

    process: forks.Forked
    output: IO[str]

    def told(self) -> dict[str, list[int]]:
        """Stop them; return of each how often it ran, was refused, and was told that its thread is gone."""
        self.process.terminate()
        assert self.process.wait(30) == 0
        self.output.seek(0)
        return dict(json.load(self.output))


@contextmanager
def agents(url: str, ids: list[str], *, rest_seconds: float = 0) -> Iterator[Agents]:
    """Run the graphs of these threads from another process until the block ends."""
    with TemporaryFile("w+") as output:
        command = ["-m", "tests.races.running_writer", url, json.dumps(ids), str(rest_seconds)]
        process = forks.Forked(command, os.environ, output.fileno(), 2)
        try:
            yield Agents(process, output)
        finally:
            process.kill()
            process.wait(30)


@contextmanager
def open_rows(url: str) -> Iterator[Rows]:
    with psycopg.connect(make_conninfo("", **postgres_params(url)), autocommit=True) as connection:
        yield Rows(connection)


@pytest.fixture
def rows(database: str) -> Iterator[Rows]:
    with open_rows(database) as found:
        yield found


def clean(console: Console, ids: list[str]) -> None:
    """Have root remove these threads, several at a time."""
    root = console.api("root")

    def one(thread_id: str) -> Any:
        return root.request("DELETE", f"/threads/{thread_id}", json={"reason": "It runs wild."})

    with root, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(one, ids))
    assert [answer.status_code for answer in answers] == [200] * len(ids), [answer.text for answer in answers]


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{uuid.uuid4()}" for _ in range(count)]


@contextmanager
def begun(console: Console, rows: Rows, outside: list[str], ours: list[str]) -> Iterator[None]:
    """Wait until every writer is at work. Ours is inside a node until the block ends, and writes when it comes out.

    The console need not know the threads of others yet.
    """
    with NamedTemporaryFile() as held, ThreadPoolExecutor(4) as pool:
        input = {"text": held.name, "flag": True}
        list(pool.map(lambda each: console.start_run("gated", input, thread_id=each), ours))
        everybody = [*outside, *ours]
        wait_for(lambda: len(rows.of(everybody)) == len(everybody), seconds=90, what="everybody to write")
        yield


def test_nothing_is_left_of_threads_that_were_cleaned_while_they_were_run(
    console: Console, database: str, rows: Rows
) -> None:
    outside, ours = names("agents", OUTSIDE), names("ours", OURS)
    with agents(database, outside) as wild:
        with begun(console, rows, outside, ours):
            clean(console, [*outside, *ours])
        wait_for(lambda: not rows.of([*outside, *ours]), seconds=LIMIT_SECONDS, what="the rows to go")
        fenced = {"action": "run.fenced", "limit": 100}
        came_back = []
        with console.api("erin") as erin:

            def refused() -> set[str]:
                return {entry["thread_id"] for entry in erin.get("/audit", params=fenced).json()["items"]}

            wait_for(lambda: refused() >= set(ours), seconds=90, what="our worker to be refused on each thread")
        until = time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < until:
            came_back += rows.of([*outside, *ours]).items()
            time.sleep(0.1)
        runs = wild.told()
    assert came_back == []
    assert all(gone > 5 for _, _, gone in runs.values()), "each agent went on, and was told"
    with console.api("root") as root:
        states = [root.get(f"/threads/{each}").json()["cleaned_at"] is not None for each in [*outside, *ours]]
    assert all(states)


def test_a_thread_that_never_stands_still_is_listed_all_the_same(console: Console, database: str) -> None:
    [thread_id] = names("restless", 1)
    rest = settings.SETTLED_SECONDS / 5
    head = "SELECT checkpoint_id FROM approvals_thread WHERE id = %s"
    with agents(database, [thread_id], rest_seconds=rest) as wild, console.rows(head, thread_id) as read:
        wait_for(read, seconds=90, what="it to be listed")
        assert wild.process.poll() is None
        with console.api("alice") as alice:
            seen = alice.get(f"/threads/{thread_id}").raise_for_status().json()["checkpoint_id"]
        wait_for(lambda: read() != [(seen,)], seconds=60, what="another look")
        clean(console, [thread_id])


def test_what_was_removed_is_looked_at_again_and_written_down(console: Console, rows: Rows) -> None:
    """A statement that was under way when the tombstone was laid: here somebody puts the row in past the trigger."""
    [thread_id] = names("late", 1)
    console.start_run("gated", {"text": "x"}, thread_id=thread_id)
    console.pending(thread_id)
    clean(console, [thread_id])
    with rows.connection.transaction():
        rows.connection.execute("SET LOCAL session_replication_role = replica")
        rows.connection.execute(
            "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, type, blob)"
            " VALUES (%s, 'x', 'x', 0, 'x', 'msgpack', '')",
            [thread_id],
        )
    assert rows.of([thread_id])
    wait_for(lambda: not rows.of([thread_id]), seconds=30, what="the second look")
    with console.api("erin") as erin:

        def entries() -> Any:
            return erin.get("/audit", params={"thread_id": thread_id, "action": "thread.emptied"}).json()["items"]

        [entry] = wait_for(entries, seconds=60, what="the entry")
        [removed] = erin.get("/audit", params={"thread_id": thread_id, "action": "thread.force_cleaned"}).json()[
            "items"
        ]
    assert entry["object"] == {"deleted": sum(removed["object"]["rows"].values()) + 1, "left": 0}


@pytest.mark.full
def test_control_without_fence_and_tombstone_the_rows_come_back(own_console: Callable[..., Console]) -> None:
    console = own_console(COUNTERSIGN_TESTING="1", FAILPOINTS="fence=off;tombstone=off").start()
    outside, ours = names("agents", 3), names("ours", 3)
    wait_for(lambda: httpx.get(f"{console.url}/readyz").status_code == 200, seconds=60, what="it to be ready")
    with open_rows(console.env["DATABASE_URL"]) as rows, agents(console.env["DATABASE_URL"], outside) as wild:
        with begun(console, rows, outside, ours):
            clean(console, [*outside, *ours])
        wait_for(lambda: len(rows.of([*outside, *ours])) == 6, seconds=90, what="all of them to come back")
        runs = wild.told()
    assert [gone for _, _, gone in runs.values()] == [0, 0, 0]
