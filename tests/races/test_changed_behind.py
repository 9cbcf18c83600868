"""What is stored is changed behind a question: between the look at it and the vote, or between vote and run.

Usually a third of the kinds of change happens at each of the two moments; `FULL=1` has each at both.
"""

import asyncio
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.types import Send
from psycopg.conninfo import make_conninfo

from agentcore.plain.urls import postgres_params
from agentcore.testing import failpoints
from tests.behind import HARMLESS, INNER, KINDS, Kind, blob, inline
from tests.console import Console, wait_for
from tests.copies import copy_paused, tell
from tests.dialects import did
from tests.scale import share

GRAPHS = ("s_at_gate", "s_sent", "s_deep", "s_own", "s_again", "s_apart")
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def rows(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(make_conninfo("", **postgres_params(database)), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def waiting(console: Console) -> dict[str, str]:
    """One thread of each graph that really ran; those of the tests are copies, row by row."""
    threads = {graph: console.start_run(graph, {"notes": ["in"]}) for graph in GRAPHS}
    first = console.pending(threads["s_again"])
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": first["digest"]}
        alice.post(f"/approvals/{first['id']}/votes", json=ballot).raise_for_status()
    console.run_of(first["id"])
    with console.api("olga") as olga:
        again = {"assistant_id": "s_again", "input": {"notes": ["in again"]}}
        olga.post(f"/threads/{threads['s_again']}/runs", json=again).raise_for_status()
    for thread_id in threads.values():
        console.pending(thread_id)
    return threads


def copies(rows: psycopg.Connection[Any], waiting: dict[str, str], kinds: list[Kind]) -> list[Any]:
    """Return an approval that waits for each kind, on a thread of its own."""
    from approvals.models import Approval

    found: dict[str, list[Any]] = {}
    for graph in GRAPHS:
        name, count = f"behind-{uuid.uuid4()}", sum(kind.graph == graph for kind in kinds)
        copy_paused(rows, waiting[graph], count, name=name)
        tell(name)
        found[graph] = list(Approval.objects.pending().filter(thread__id__startswith=name))
        assert len(found[graph]) == count
    return [found[kind.graph].pop() for kind in kinds]


def ballot_for(approval: Any) -> dict[str, Any]:
    if approval.interrupt_id:
        return {"verdict": "respond", "seen_digest": approval.digest, "answer": "yes"}
    return {"verdict": "approve", "seen_digest": approval.digest}


def voted_on(console: Console, approvals: list[Any]) -> list[Any]:
    with console.api("alice") as alice, ThreadPoolExecutor(8) as people:
        return list(
            people.map(lambda each: alice.post(f"/approvals/{each.pk}/votes", json=ballot_for(each)), approvals)
        )


def ended(approvals: list[Any]) -> list[str]:
    """Return how the run of each decision ended, once all have."""
    from approvals.models import Run

    def ask() -> list[str]:
        runs = {
            run.decision.approval_id: run.status
            for run in Run.objects.select_related("decision").filter(decision__approval__in=approvals)
        }
        found = [runs.get(each.pk, "queued") for each in approvals]
        return [] if {"queued", "running"} & set(found) else found

    return wait_for(ask, seconds=60, what="all runs to end")


def by_name(kinds: list[Kind], found: list[Any]) -> dict[str, Any]:
    return dict(zip((f"{kind.graph}, {kind.name}" for kind in kinds), found, strict=True))


def asked_now(approvals: list[Any]) -> list[bool]:
    """Say of each thread whether another question is open there."""
    from approvals.models import Approval

    return [Approval.objects.pending().filter(thread=each.thread_id).exclude(pk=each.pk).exists() for each in approvals]


def check_asked_anew(kinds: list[Kind], approvals: list[Any]) -> None:
    expected = by_name(kinds, [not kind.is_gone for kind in kinds])

    def differing() -> set[str]:
        return {name for name, is_asked in by_name(kinds, asked_now(approvals)).items() if is_asked != expected[name]}

    with suppress(AssertionError):
        wait_for(lambda: not differing(), seconds=20)
    assert not differing()


def test_there_are_forty_kinds() -> None:
    assert len(KINDS) >= 40
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_a_vote_on_what_was_changed_since_is_refused_and_asked_anew(
    console: Console, rows: psycopg.Connection[Any], waiting: dict[str, str], data_dir: Path
) -> None:
    from approvals.models import Decision

    kinds = share(KINDS, 0, of=5)
    approvals = copies(rows, waiting, kinds)
    for kind, approval in zip(kinds, approvals, strict=True):
        kind.change(rows, approval.thread_id)
    answers = by_name(kinds, voted_on(console, approvals))
    assert {name: each.text for name, each in answers.items() if each.status_code not in (409, 410)} == {}
    assert not Decision.objects.filter(approval__in=approvals).exists()
    check_asked_anew(kinds, approvals)
    assert not any(did(each.thread_id, data_dir) for each in approvals)


def decided(approval: Any) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.votes import ballots, votes

    ballot = ballots.Ballot(**ballot_for(approval), edits={}, is_answered=bool(approval.interrupt_id))
    votes.cast(approval_id=approval.pk, ballot=ballot, by=User.objects.get(username="alice"))


def decided_and_changed(rows: psycopg.Connection[Any], kinds: list[Kind], approvals: list[Any]) -> None:
    """Change what is stored after the vote and before any worker can know of it."""
    from approvals import audit

    for kind, approval in zip(kinds, approvals, strict=True):
        with audit.transaction():
            decided(approval)
            kind.change(rows, approval.thread_id)


def test_a_run_enters_nothing_that_was_changed_since_the_vote(
    console: Console, rows: psycopg.Connection[Any], waiting: dict[str, str], data_dir: Path
) -> None:
    kinds = share(KINDS, 2, of=5)
    approvals = copies(rows, waiting, kinds)
    decided_and_changed(rows, kinds, approvals)
    stopped = by_name(kinds, ended(approvals))
    assert {name: status for name, status in stopped.items() if status not in ("superseded", "failed")} == {}
    done = by_name(kinds, [did(each.thread_id, data_dir) for each in approvals])
    assert {name: what for name, what in done.items() if what} == {}
    check_asked_anew(kinds, approvals)


def test_what_changes_nothing_that_is_read_refuses_nothing(
    console: Console, rows: psycopg.Connection[Any], waiting: dict[str, str], data_dir: Path
) -> None:
    early, late = share(HARMLESS, 0, of=4), share(HARMLESS, 1, of=4)
    before, after = copies(rows, waiting, early), copies(rows, waiting, late)
    for kind, approval in zip(early, before, strict=True):
        kind.change(rows, approval.thread_id)
    answers = by_name(early, voted_on(console, before))
    assert {name: each.text for name, each in answers.items() if each.status_code != 201} == {}
    decided_and_changed(rows, late, after)
    for kinds, approvals in ((early, before), (late, after)):
        ends = by_name(kinds, ended(approvals))
        assert set(ends.values()) <= {"finished", "paused"}, ends
        done = by_name(kinds, [did(each.thread_id, data_dir) for each in approvals])
        assert {name for name, what in done.items() if not what} == set()


HARMS = [
    ("s_at_gate", blob("mail", {"to": "mallory"}), "mallory"),
    ("s_deep", inline(INNER), "999999"),
    ("s_sent", blob("__pregel_tasks", [Send("act", {"to": "mallory"})]), "mallory"),
]


@pytest.mark.parametrize("is_off", [pytest.param(False, marks=pytest.mark.full), True], ids=["in place", "taken out"])
@pytest.mark.parametrize(
    "is_late", [pytest.param(False, marks=pytest.mark.full), True], ids=["before the vote", "after the vote"]
)
def test_bytes_check(
    console: Console,
    rows: psycopg.Connection[Any],
    waiting: dict[str, str],
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_off: bool,
    is_late: bool,
) -> None:
    """Without it what somebody else wrote is what runs, and everybody is told that it was approved."""
    kinds = [Kind(graph, graph, change) for graph, change, _ in HARMS]
    approvals = copies(rows, waiting, kinds)
    with taken_out(monkeypatch, "bytes_check" if is_off else ""):
        runs = [run_of(rows, kind, approval, is_late=is_late) for kind, approval in zip(kinds, approvals, strict=True)]
        carry_out([run for run in runs if run])
    for (_, _, harm), approval in zip(HARMS, approvals, strict=True):
        assert (harm in json.dumps(did(approval.thread_id, data_dir))) is is_off


@contextmanager
def taken_out(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    if name:
        failpoints.arm(name, "off")
    try:
        yield
    finally:
        failpoints.disarm()


def run_of(rows: psycopg.Connection[Any], kind: Kind, approval: Any, *, is_late: bool) -> str:
    """Change and decide, in this process; return the run, which no worker is told of, or nothing if it was refused."""
    from django.db import connection
    from django.utils import timezone

    from approvals import audit, last_writes
    from approvals.errors import Stale
    from approvals.models import Run

    if not is_late:
        kind.change(rows, approval.thread_id)
    try:
        with audit.transaction(), last_writes.at_once():
            decided(approval)
            run = str(Run.objects.get(decision__approval=approval).pk)
            later = timezone.now() + timedelta(hours=1)  # else a worker finds it untaken, and has the mechanism
            Run.objects.filter(pk=run).update(updated_at=later)
            rows_of_jobs = "DELETE FROM procrastinate_jobs WHERE args ->> 'run_id' = %s"
            with connection.cursor() as cursor:
                cursor.execute(rows_of_jobs, [run])
            if is_late:
                kind.change(rows, approval.thread_id)
    except Stale:
        return ""
    return run


def carry_out(runs: list[str]) -> None:
    from approvals.actions.runs.execution import execute_run
    from approvals.jobs import runtime

    async def work() -> None:
        for run in runs:
            await execute_run(run)
        await runtime.close_worker()

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, work()).result(60)
