"""Each mechanism is taken out once and the harm is seen: so it is needed, and tests notice when it is gone."""

import time
from contextlib import nullcontext

import psycopg
import pytest

from tests.audit_logs import without_chain_lock
from tests.console import wait_for
from tests.graphs import times_run
from tests.races.forked import Arena
from tests.races.test_frozen_workers import replaced
from tests.scale import tries

ROUNDS = tries(6, full=30)
pytestmark = pytest.mark.timeout(180)
OFF = pytest.mark.parametrize(
    "is_off", [False, pytest.param(True, marks=pytest.mark.full)], ids=["in place", "taken out"]
)


@OFF
def test_one_decision(arena: Arena, is_off: bool) -> None:
    """The run was cancelled before a worker took it: the thread is free again, and stands where it stood."""
    [paused] = arena.paused(1)
    [voted] = arena.call("votes", [(paused, "alice", "approve")])
    arena.call("cancel", voted["run"])
    with arena.twin() as twin:
        with twin.database() as database:
            unique = "SELECT conname FROM pg_constraint WHERE conrelid = 'approvals_decision'::regclass"
            [(name,)] = twin.rows(f"{unique} AND contype = 'u' AND conname LIKE %s", "%approval_id%")
            database.execute(f'ALTER TABLE approvals_decision DROP CONSTRAINT "{name}"')
        failpoints = "one_decision=off" if is_off else ""
        [again] = twin.call("votes", [(paused, "bob", "approve")], failpoints=failpoints)
        count = twin.rows("SELECT count(*) FROM approvals_decision WHERE approval_id = %s", paused.approval_id)
    assert again.get("refused") == (None if is_off else "already_decided")
    assert count == [(2 if is_off else 1,)]


@OFF
def test_digest_check(arena: Arena, is_off: bool) -> None:
    """Somebody decides who was shown something else."""
    [paused] = arena.paused(1)
    other = [(type(paused)(paused.thread_id, paused.approval_id, "0" * 64), "alice", "approve")]
    [answer] = arena.call("votes", other, failpoints="digest_check=off" if is_off else "")
    assert answer.get("refused") == (None if is_off else "stale")


@OFF
def test_head_check(arena: Arena, is_off: bool) -> None:
    """The agent moved the thread: whoever is told "approved" has approved what is never carried out."""
    [paused] = arena.paused(1)
    arena.call("move", paused.thread_id)
    [answer] = arena.call("votes", [(paused, "alice", "approve")], failpoints="head_check=off" if is_off else "")
    assert answer.get("refused") == (None if is_off else "stale")
    if is_off:
        arena.call("carry_out", [answer["run"]])
        assert arena.rows("SELECT status FROM approvals_run WHERE id = %s", answer["run"]) == [("superseded",)]


@OFF
def test_sync(arena: Arena, is_off: bool) -> None:
    """The machine goes off in the second node, while the database is slow; the first had ended, and paid."""
    [paused] = arena.paused(1, "resuming")
    [voted] = arena.call("votes", [(paused, "alice", "approve")])
    ran = {node: lambda node=node: times_run(arena.folder, paused.thread_id, node) for node in ("pay", "close")}
    with arena.database() as database, database.transaction():
        database.execute("LOCK TABLE checkpoints, checkpoint_writes IN EXCLUSIVE MODE")
        failpoints = "sync=off" if is_off else ""
        child = arena.fork("carry_out", [voted["run"]], nodes="close:began=kill", failpoints=failpoints)
        wait_for(ran["close" if is_off else "pay"], what="the node to begin")
        if is_off:
            assert child.died()
            database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        else:
            time.sleep(0.5)
            assert not ran["close"](), "the next step does not begin before the last one is stored"
    assert is_off or child.died()
    arena.end_leases()
    replaced(arena, [voted["run"]])
    assert (ran["pay"](), ran["close"]()) == (2 if is_off else 1, 2)


@OFF
def test_chain_lock(arena: Arena, is_off: bool) -> None:
    """People who vote on different questions at the same moment get in each other's way."""
    threads = arena.paused(3 * ROUNDS)
    groups = [[(paused, "alice", "approve") for paused in threads[at : at + 3]] for at in range(0, 3 * ROUNDS, 3)]
    with arena.twin() as twin, twin.database() as database:
        with without_chain_lock(database.execute) if is_off else nullcontext():
            told = twin.call("rounds", groups)
        assert twin.call("verify")["ok"], "the database itself refuses a second entry of the same number"
    errors = {answer["error"] for answers in told for answer in answers if "error" in answer}
    assert errors == ({"IntegrityError"} if is_off else set())


@OFF
def test_audit_trigger(arena: Arena, is_off: bool) -> None:
    """An entry is changed. Without the trigger it can be, and only the verifier finds it."""
    with arena.twin() as twin, twin.database() as database:
        if is_off:
            database.execute("ALTER TABLE approvals_auditentry DISABLE TRIGGER USER")
            database.execute("UPDATE approvals_auditentry SET actor = 'mallory' WHERE seq = 5")
            assert twin.call("verify")["first_bad"] == 5
        else:
            with pytest.raises(psycopg.DatabaseError):
                database.execute("UPDATE approvals_auditentry SET actor = 'mallory' WHERE seq = 5")
            assert twin.call("verify")["ok"]
