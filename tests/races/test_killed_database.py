"""PostgreSQL is killed under load, and its disk is full: what was answered stays; the rest is whole or not there."""

import itertools
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.checker import History, complaints, read_facts
from tests.console import wait_for
from tests.copies import Paused
from tests.races.forked import Arena, open_arena
from tests.races.test_clients_not_told import check, send, web
from tests.scale import tries

KILLS = tries(1, full=30)
SEGMENT = 16 * 1024 * 1024
"""Bytes of a file of PostgreSQL's write-ahead log: where that cannot be written, the server stops, as it must."""
UNANSWERED = (500, 503)
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def arena(own_postgres: Path) -> Iterator[Arena]:
    """An arena whose PostgreSQL nobody else uses."""
    from approvals.conf import embedded

    with open_arena(own_postgres, embedded.start(own_postgres)) as opened:
        yield opened


@pytest.fixture(scope="module")
def token(arena: Arena) -> str:
    return str(arena.call("token", "alice"))


def test_no_answered_vote_is_lost_when_postgresql_is_killed_under_load(arena: Arena, token: str) -> None:
    history, threads = History(), arena.paused(100 + 100 * KILLS)
    waiting, is_over, unanswered = iter(threads), threading.Event(), []

    def vote_on(port: int) -> None:
        for paused in itertools.takewhile(lambda _: not is_over.is_set(), waiting):
            action = history.sent(paused.approval_id, "alice", f"first {paused.thread_id}")
            answer = send(port, token, paused, str(action.key))
            assert answer.status_code in (201, *UNANSWERED)
            if answer.status_code == 201:
                action.note(answer.json()["vote"]["id"])
            else:
                unanswered.append(action)

    with web(arena) as (_, port), ThreadPoolExecutor(4) as people:
        voting = [people.submit(vote_on, port) for _ in range(4)]
        try:
            while history.faults["PostgreSQL killed"] < KILLS or not unanswered:  # until somebody was in the middle
                wait_for(enough_votes(history), what="votes under way")
                arena.kill_postgres()
                history.faults["PostgreSQL killed"] += 1
            wait_for(enough_votes(history), what="votes to be counted again")
        finally:
            is_over.set()
        for each in voting:
            each.result()
    check_rows(arena, history, threads)


def enough_votes(history: History) -> Callable[[], bool]:
    """Return what asks whether another fifteen were answered."""

    def count() -> int:
        return len([action for action in history.actions if action.outcome == "ok"])

    before = count()
    return lambda: count() >= before + 15


def check_rows(arena: Arena, history: History, threads: list[Paused]) -> None:
    name = threads[0].thread_id.rpartition("-")[0]
    facts = read_facts(arena.rows, arena.folder / "ran", f"{name}-%", arena.call("verify"))
    facts.runs = dict.fromkeys(facts.runs, "finished")  # no worker has begun them: that is another test
    assert complaints(history, facts) == []


@contextmanager
def full_disk(arena: Arena) -> Iterator[None]:
    """Let the log's table be as large as its file system lets a file be: no process of PostgreSQL can write more."""
    with arena.database() as database:
        database.execute("ALTER TABLE approvals_auditentry SET (autovacuum_enabled = off)")
        with database.transaction(force_rollback=True):  # the space stays taken
            database.execute(
                "INSERT INTO approvals_auditentry (seq, at, actor, action, thread_id, body, prev_hash, hash)"
                " SELECT 1000000 + n, now(), 'x', 'x', '', repeat('x', 1800), n::text, n::text"
                " FROM generate_series(1, %s) n",
                [SEGMENT // 1800 + 1000],
            )
    limit(arena, SEGMENT)
    try:
        yield
    finally:
        limit(arena, None)


def limit(arena: Arena, size: int | None) -> None:
    """Limit what each process of PostgreSQL may make a file; as its own user, which may always do that."""
    postmaster = psutil.Process(arena.postmaster)
    for process in [*postmaster.children(), postmaster]:
        with suppress(psutil.NoSuchProcess):
            command = ["prlimit", f"--pid={process.pid}", f"--fsize={size or 'unlimited'}:"]
            subprocess.run(command, user=process.uids().real, timeout=10)


def test_a_full_disk_leaves_a_vote_whole_or_not_there(arena: Arena, token: str) -> None:
    history, threads = History(), arena.paused(tries(3, full=40))
    refused = []
    with web(arena) as (_, port):
        with full_disk(arena):
            for paused in threads:
                action = history.sent(paused.approval_id, "alice", f"first {paused.thread_id}")
                answer = send(port, token, paused, str(action.key))
                action.note(answer.json()["vote"]["id"] if answer.status_code == 201 else None)
                if answer.status_code != 201:
                    assert answer.status_code in UNANSWERED
                    history.faults["the disk was full"] += 1
                    refused.append(paused)
        assert refused
        for table in ("vote", "decision"):
            ids = [paused.approval_id for paused in refused]
            assert not arena.rows(f"SELECT 1 FROM approvals_{table} WHERE approval_id = ANY(%s)", ids)
        stuck = "SELECT 1 FROM approvals_run WHERE thread_id = ANY(%s) AND decision_id IS NOT NULL"
        assert not arena.rows(stuck, [paused.thread_id for paused in refused])
        for paused in refused:
            answer = send(port, token, paused, f"first {paused.thread_id}")
            assert answer.status_code == 201, "there is room again"
            history.sent(paused.approval_id, "alice", f"first {paused.thread_id}").note(answer.json()["vote"]["id"])
    check(arena, history, threads)
