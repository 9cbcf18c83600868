"""The table of jobs is emptied again and again. Our own rows are the record, so everything is carried out."""

import threading

import pytest

from tests.checker import History, complaints, read_facts
from tests.console import wait_for
from tests.races.forked import Arena

DECISIONS = 40
pytestmark = pytest.mark.timeout(180)


def test_what_was_decided_is_carried_out_though_jobs_are_lost(arena: Arena) -> None:
    threads, history, is_over = arena.paused(DECISIONS), History(), threading.Event()
    name = threads[0].thread_id.rpartition("-")[0]

    def empty() -> None:
        with arena.database() as database:
            while not is_over.wait(0.05):
                history.faults["jobs lost"] += database.execute("DELETE FROM procrastinate_jobs").rowcount

    emptying, worker = threading.Thread(target=empty), arena.fork("work_on")
    emptying.start()
    try:
        for at in range(0, DECISIONS, 10):
            for paused in (some := threads[at : at + 10]):
                history.sent(paused.approval_id, "alice")
            for answer in arena.call("votes", [(paused, "alice", "approve") for paused in some]):
                next(action for action in history.actions if action.outcome == "unknown").note(answer["vote"])
        wait_for(lambda: history.faults["jobs lost"] > DECISIONS / 4, what="jobs to be lost")
    finally:
        is_over.set()
        emptying.join()
    try:
        unfinished = "SELECT 1 FROM approvals_run WHERE thread_id LIKE %s AND status NOT IN ('finished')"
        wait_for(lambda: not arena.rows(unfinished, f"{name}-%"), seconds=60, what="every run to finish")
    finally:
        worker.kill()
    facts = read_facts(arena.rows, arena.folder / "ran", f"{name}-%", arena.call("verify"))
    assert len(facts.decisions) == DECISIONS
    assert complaints(history, facts) == []
