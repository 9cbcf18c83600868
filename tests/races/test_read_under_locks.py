"""No large column is read under a lock: what arrives fits into the buffers between PostgreSQL and the process.

The limit on idle transactions does not count while PostgreSQL still sends an answer. A process that freezes while it
receives more than the buffers hold would keep its locks for as long as it is frozen.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.copies import Paused
from tests.races.forked import Arena
from tests.scale import crossed

LARGEST = 16 * 1024
"""Bytes of one answer. The buffers of a socket hold some 200 KB."""
TEXT = "0123456789" * 9_000
"""As long as a text may be that is shown whole."""
pytestmark = pytest.mark.timeout(240)


class Thread:
    """A thread with a text of 90 KB in its input, its state and its question. What is done to it is watched."""

    def __init__(self, arena: Arena, graph: str, thread_id: str) -> None:
        self.arena, self.id, self.found = arena, thread_id, dict[str, int]()
        [run] = arena.call("start", graph, [self.id], text=TEXT)
        self.do("carry_out", [run])

    def do(self, work: str, *args: Any, **more: Any) -> None:
        result, found = self.arena.call("watched.reading", work, *args, **more)
        assert "refused" not in str(result)
        self.found |= {f"{work}: {sql}": size for sql, size in found.items()}

    @property
    def question(self) -> Paused:
        found = "SELECT thread_id, id, digest FROM approvals_approval WHERE thread_id = %s AND status = 'pending'"
        [row] = self.arena.rows(found, self.id)
        return Paused(*row)

    @property
    def run(self) -> str:
        found = "SELECT id::text FROM approvals_run WHERE thread_id = %s ORDER BY created_at DESC LIMIT 1"
        [(run,)] = self.arena.rows(found, self.id)
        return str(run)

    def vote(self) -> None:
        """Answer the question with as much as it says; what has no question is approved."""
        [(kind,)] = self.arena.rows("SELECT kind FROM approvals_approval WHERE id = %s", self.question.approval_id)
        self.arena.call("open_whole", self.question.approval_id)
        answer = {"answer": TEXT, "is_answered": True} if kind != "breakpoint" else {}
        self.do("votes", [(self.question, "alice", "respond" if answer else "approve")], **answer)

    def check(self) -> None:
        assert self.found
        assert {size: sql for sql, size in self.found.items() if size > LARGEST} == {}


def finish(thread: Thread) -> None:
    thread.do("claim", thread.question.approval_id)
    thread.vote()
    thread.do("carry_out", [thread.run])


def cancel(thread: Thread) -> None:
    thread.vote()
    thread.do("cancel", thread.run)
    thread.do("do", "index_thread", thread_id=thread.id)


def recover(thread: Thread) -> None:
    """Its worker dies before it calls the graph, and then inside a node."""
    thread.vote()
    for armed in ({"failpoints": "run.claimed=kill"}, {"failpoints": "run.entered=kill"}):
        assert thread.arena.fork("carry_out", [thread.run], **armed).died()
        thread.arena.end_leases()
        thread.do("do", "recover_run", run_id=thread.run)
        thread.arena.due_now([thread.run])
    thread.do("retry", [thread.run])


@pytest.mark.parametrize(("act", "graph"), crossed([finish, cancel, recover], ["telling", "asking"]))
def test_no_large_column_is_read_under_a_lock(arena: Arena, act: Callable[[Thread], None], graph: str) -> None:
    thread = Thread(arena, graph, f"large-{graph}-{act.__name__}")
    act(thread)
    thread.do("clean", thread.id)
    thread.check()
