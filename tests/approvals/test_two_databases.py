"""The checkpoints are in a database of their own, which is slow while the console's transaction waits for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from tests import servers
from tests.console import Console, refund, wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def console(own_console: Callable[..., Console]) -> Console:
    return own_console(CHECKPOINT_URL=servers.clone()).start()


@contextmanager
def locked(console: Console, tables: str) -> Iterator[None]:
    """Have every statement on these tables of the checkpoints wait."""
    with psycopg.connect(console.env["CHECKPOINT_URL"]) as other:
        other.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        yield


def ours(console: Console, query: str, *params: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(console.env["DATABASE_URL"], autocommit=True) as database:
        return database.execute(query, params).fetchall()


def theirs(console: Console, query: str, *params: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(console.env["CHECKPOINT_URL"], autocommit=True) as database:
        return database.execute(query, params).fetchall()


def vote(console: Console, approval: dict[str, Any]) -> httpx.Response:
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        return alice.post(f"/approvals/{approval['id']}/votes", json=ballot)


def test_votes_are_refused_and_removals_recorded_while_the_checkpoints_do_not_answer(console: Console) -> None:
    """One console goes through both."""
    a_vote_is_refused_and_leaves_its_thread_free(console)
    a_removal_is_recorded_and_done_once_they_answer(console)


def a_vote_is_refused_and_leaves_its_thread_free(console: Console) -> None:
    approval = console.pause("refund", refund(640))
    with locked(console, "checkpoints, checkpoint_blobs, checkpoint_writes"):
        refused = vote(console, approval)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        free = "SELECT 1 FROM approvals_thread WHERE id = %s FOR UPDATE NOWAIT"
        assert ours(console, free, approval["thread_id"]) == [(1,)]
    assert vote(console, approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"


def a_removal_is_recorded_and_done_once_they_answer(console: Console) -> None:
    thread_id = console.pause("refund", refund(640))["thread_id"]
    with locked(console, "countersign_tombstones"), console.api("root") as root:
        cleaned = root.request("DELETE", f"/threads/{thread_id}", json={"reason": "A test."}, timeout=60)
        assert cleaned.status_code == 200, cleaned.text
        assert ours(console, "SELECT 1 FROM approvals_thread WHERE id = %s AND cleaned_at IS NOT NULL", thread_id)
        entry = "SELECT 1 FROM approvals_auditentry WHERE thread_id = %s AND action = 'thread.force_cleaned'"
        assert ours(console, entry, thread_id) == [(1,)]
    tombstone = "SELECT 1 FROM countersign_tombstones WHERE thread_id = %s"
    wait_for(lambda: theirs(console, tombstone, thread_id), seconds=60, what="a worker to lay the tombstone")
    rows = "SELECT 1 FROM checkpoints WHERE thread_id = %s"
    wait_for(lambda: not theirs(console, rows, thread_id), seconds=60, what="a worker to delete the rows")
