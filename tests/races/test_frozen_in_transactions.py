"""A process freezes inside a transaction, with rows locked. Others get those rows while it is still frozen.

The database ends a transaction whose process is silent for too long. When the process thaws, its connection is gone:
nothing of the transaction is stored, and what it was about to do is done by others.

Each process freezes at a place by itself, and the statements of the others run under their usual limits, which are
longer: whoever waited for the frozen one to thaw would fail. `FULL=1` freezes at every step, under the limit that
production has.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests.checker import History, complaints, read_facts
from tests.console import wait_for
from tests.copies import Paused
from tests.races.forked import Arena, Child
from tests.scale import IS_FULL

MOST_IDLE_SECONDS = None if IS_FULL else 1
"""How long the database lets the frozen one be silent; None for as long as it does in production."""
EDITS = {"notes": {"op": "append", "value": ["looked at"]}}
RULE = {"deadline_minutes": 60, "on_deadline": "escalate"}
TABLES = {
    "approvals_thread": "id",
    "approvals_approval": "thread_id",
    "approvals_run": "thread_id",
    "checkpoints": "thread_id",
    "checkpoint_blobs": "thread_id",
    "checkpoint_writes": "thread_id",
    "countersign_fences": "thread_id",
    "countersign_tombstones": "thread_id",
}
OPEN_TURNS = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = {0x64697400} AND granted"
"""Transactions in which the log is being signed."""
Act = Callable[["Case", Paused], Any]
pytestmark = pytest.mark.timeout(240)


@dataclass
class Case:
    """What one test does and sees."""

    arena: Arena
    history: History = field(default_factory=History)
    runs: dict[str, str] = field(default_factory=dict)
    """The run that carries out the decision on a thread."""

    def vote(self, paused: Paused, **more: Any) -> None:
        sent = self.history.sent(paused.approval_id, "alice")
        [answer] = self.arena.call("tried_votes" if more else "votes", [(paused, "alice", "approve")], **more)
        assert "refused" not in answer, answer
        sent.note(answer["vote"])
        self.runs[paused.thread_id] = answer["run"]

    def freeze(self, at: str, work: str, *args: Any, idle: int | None = MOST_IDLE_SECONDS, **more: Any) -> Child:
        """Begin a work, and wait until it is frozen `at` a failpoint, such as `thread.locked@2`."""
        armed = at.replace("@", "=stop@") if "@" in at else f"{at}=stop"
        child = self.arena.fork(work, *args, failpoints=armed, most_idle_seconds=idle, **more)
        child.wait_until_stopped()
        self.history.faults[at] += 1
        return child

    def stored(self, paused: Paused) -> list[Any]:
        """Return what tells whether anything of a thread was written: the versions of its rows, and its entries."""
        versions = [
            (table, self.arena.rows(f"SELECT xmin::text FROM {table} WHERE {key} = %s ORDER BY 1", paused.thread_id))
            for table, key in TABLES.items()
        ]
        entries = "SELECT seq FROM approvals_auditentry WHERE thread_id = %s AND action <> 'run.fenced' ORDER BY 1"
        return [*versions, self.arena.rows(entries, paused.thread_id)]

    def check(self, name: str) -> None:
        facts = read_facts(self.arena.rows, self.arena.folder / "ran", f"{name}-%", self.arena.call("verify"))
        assert complaints(self.history, facts) == []


# What others do with the same thread


def cancel(case: Case, paused: Paused) -> None:
    case.arena.call("cancel", case.runs[paused.thread_id])


def take(case: Case, paused: Paused) -> None:
    """Have another worker carry the decision out."""
    case.arena.call("do", "execute_run", run_id=case.runs[paused.thread_id])


def take_over(case: Case, paused: Paused) -> None:
    """Have another worker recover the run once its lease is over, and carry it out."""
    run = case.runs[paused.thread_id]
    case.arena.end_leases()
    case.arena.call("do", "recover_run", run_id=run)
    case.arena.due_now([run])
    case.arena.call("do", "execute_run", run_id=run)


def vote(case: Case, paused: Paused) -> None:
    case.vote(paused)


def clean(case: Case, paused: Paused) -> None:
    case.arena.call("clean", paused.thread_id)


# Workers that carry out a decision


STEPS: list[tuple[str, Act, str]] = [
    ("thread.locked", take, "finished"),
    ("saver.after_put", cancel, "cancelled"),
    ("audit.written@2", cancel, "cancelled"),
]
OTHER_STEPS: list[tuple[str, Act, str]] = [
    ("audit.written", cancel, "cancelled"),
    ("run.claimed", cancel, "cancelled"),
    ("resume.edited", take_over, "finished"),
    ("run.entered", cancel, "cancelled"),
    ("run.stepped", take_over, "finished"),
    ("saver.before_put", cancel, "cancelled"),
    ("thread.locked@2", take_over, "finished"),
]


@pytest.mark.parametrize(("at", "act", "status"), STEPS + OTHER_STEPS * IS_FULL)
def test_a_worker_that_is_frozen_at_a_step_of_a_run_holds_up_nobody(
    arena: Arena, at: str, act: Act, status: str
) -> None:
    case, [paused, other] = Case(arena), arena.paused(2, "resuming")
    case.vote(paused, edits=EDITS)
    run = case.runs[paused.thread_id]
    child = case.freeze(at, "do", "execute_run", run_id=run)
    case.history.deaths.update([(paused.thread_id, "pay"), (paused.thread_id, "close")])
    thaw_after(case, child, paused, other, act)
    assert arena.rows("SELECT status FROM approvals_run WHERE id = %s", run) == [(status,)]
    finish(case, other)


def thaw_after(case: Case, child: Child, paused: Paused, other: Paused, act: Act) -> None:
    """Decide on another thread, and act on this one, while the process is frozen; then it thaws and writes nothing."""
    case.vote(other)
    act(case, paused)
    assert child.is_stopped
    before = case.stored(paused)
    child.go_on()
    assert not child.died(), "it ends in peace"
    assert case.stored(paused) == before


def finish(case: Case, *threads: Paused) -> None:
    """Carry out what was decided; then all is as recorded."""
    case.arena.call("carry_out", [case.runs[paused.thread_id] for paused in threads])
    case.check(threads[0].thread_id.rpartition("-")[0])


# Workers that do something else


def index(case: Case, paused: Paused, at: str) -> Child:
    if at == "audit.written":
        case.arena.call("move", paused.thread_id)
    return case.freeze(at, "do", "index_thread", thread_id=paused.thread_id)


def recover(case: Case, paused: Paused, at: str) -> Child:
    case.vote(paused)
    run = case.runs[paused.thread_id]
    assert case.arena.fork("carry_out", [run], nodes="pay:began=kill").died()
    case.history.deaths[paused.thread_id, "pay"] += 1
    case.arena.end_leases()
    return case.freeze(at, "do", "recover_run", run_id=run)


def close_overdue(case: Case, paused: Paused, at: str) -> Child:
    case.arena.call("make_overdue", paused.approval_id)
    return case.freeze(at, "do", "reconcile", timestamp=0)


def empty(case: Case, paused: Paused, at: str) -> Child:
    """Have a worker delete rows of another thread, that was removed."""
    [removed] = case.arena.paused(1, "resuming")
    with pytest.raises(Exception, match="FailpointReached"):
        case.arena.call("clean", removed.thread_id, failpoints="clean.deleted=raise")
    return case.freeze(at, "do", "reconcile", timestamp=0)


Begin = Callable[[Case, Paused, str], Child]
JOBS: list[tuple[Begin, str, Act]] = [
    (recover, "thread.locked@2", cancel),
]
OTHER_JOBS: list[tuple[Begin, str, Act]] = [
    (index, "thread.locked", vote),
    (index, "audit.written", clean),
    (recover, "thread.locked", cancel),
    (recover, "audit.written", take_over),
    (close_overdue, "thread.locked", vote),
    (close_overdue, "audit.written", vote),
    (empty, "clean.deleted", vote),
]


@pytest.mark.parametrize(("begin", "at", "act"), JOBS + OTHER_JOBS * IS_FULL)
def test_a_worker_that_is_frozen_in_another_job_holds_up_nobody(arena: Arena, begin: Begin, at: str, act: Act) -> None:
    case, [paused, other] = Case(arena), arena.paused(2, "resuming", **RULE)
    child = begin(case, paused, at)
    thaw_after(case, child, paused, other, act)
    finish(case, other, *([paused] if act is vote else []))


# People, and limits


@pytest.mark.parametrize("at", ["audit.written", *["thread.locked"] * IS_FULL])
def test_who_is_frozen_while_removing_a_thread_holds_up_no_vote_on_it_and_removes_nothing(
    arena: Arena, at: str
) -> None:
    case, [paused, other] = Case(arena), arena.paused(2, "resuming")
    child = case.freeze(at, "clean", paused.thread_id)
    for each in (other, paused):
        case.vote(each)
    assert child.is_stopped
    before = case.stored(paused)
    child.go_on()
    with pytest.raises(Exception, match="IdleInTransactionSessionTimeout"):
        child.result()
    assert case.stored(paused) == before
    finish(case, paused, other)


LARGE = "'{\"text\": \"' || repeat('0123456789', 2000000) || '\"}'"
"""A state of 20 MB, in SQL: more than fits between PostgreSQL and a process that does not read."""


@pytest.mark.parametrize("work", ["votes", pytest.param("do", marks=pytest.mark.full)])
def test_who_is_frozen_while_the_row_of_a_large_thread_arrives_holds_up_nobody(arena: Arena, work: str) -> None:
    case, [paused] = Case(arena), arena.paused(1, "resuming")
    large = f"UPDATE approvals_thread SET state = {LARGE}, metadata = ({LARGE})::jsonb WHERE id = %s RETURNING 1"
    arena.rows(large, paused.thread_id)
    args: list[Any] = [[(paused, "bob", "approve")]] if work == "votes" else ["index_thread", paused.thread_id]
    child = arena.fork("watched.freezing", "FOR UPDATE OF", work, *args, most_idle_seconds=MOST_IDLE_SECONDS)
    child.wait_until_stopped()
    case.history.faults["answer"] += 1
    case.vote(paused)
    assert child.is_stopped
    child.kill()
    finish(case, paused)


@pytest.mark.parametrize("kind", ["put", "writes", "delete"])
def test_who_is_frozen_anywhere_in_a_write_of_many_rows_keeps_no_fence(arena: Arena, kind: str) -> None:
    """Whoever removes the thread raises its fence, and waits for the writer that holds it."""
    for at in range(1, 9):
        [paused] = arena.paused(1, "resuming")
        child = arena.fork("watched.freezing_write", paused.thread_id, kind, at)
        if not child.stops():
            assert at > 1, "it never froze"
            return
        arena.call("clean", paused.thread_id)
        assert child.is_stopped
        child.kill()


@pytest.mark.parametrize("at", ["audit.signed", pytest.param("audit.turn", marks=pytest.mark.full)])
def test_who_is_frozen_before_it_appends_a_signed_head_lets_another_sign_and_appends_nothing(
    arena: Arena, at: str
) -> None:
    case, heads = Case(arena), arena.folder / "audit" / "heads"
    arena.call("sign")
    child = case.freeze(at, "sign")
    wait_for(lambda: arena.call("sign"), what="another process to sign")
    assert child.is_stopped
    before = heads.read_bytes()
    child.go_on()
    with pytest.raises(Exception, match="IdleInTransactionSessionTimeout"):
        child.result()
    assert heads.read_bytes() == before
    assert arena.call("sign") == 1
    assert arena.call("verify")["ok"]


@pytest.mark.parametrize("is_lost", [False, True], ids=["a note", "the whole file"])
def test_who_is_frozen_while_it_writes_signed_heads_holds_up_the_signing_alone(arena: Arena, is_lost: bool) -> None:
    case, heads = Case(arena), arena.folder / "audit" / "heads"
    arena.call("sign")
    if is_lost:
        heads.unlink()
    child = case.freeze("audit.writing", "sign")
    [paused] = arena.paused(1, "resuming")
    case.vote(paused)
    wait_for(lambda: not arena.rows(OPEN_TURNS), what="the database to end the turn")
    assert arena.call("sign") == 0
    assert child.is_stopped
    child.go_on()
    with pytest.raises(Exception, match="IdleInTransactionSessionTimeout"):
        child.result()
    assert arena.call("sign") == 1
    assert arena.call("verify")["ok"]
    finish(case, paused)


def test_a_file_of_signed_heads_is_written_anew_before_the_head_of_the_log_is_locked(arena: Arena) -> None:
    case, heads = Case(arena), arena.folder / "audit" / "heads"
    arena.call("sign")
    [paused], kept = arena.paused(1, "resuming"), heads.read_bytes()
    heads.unlink()
    child = case.freeze("audit.written", "sign")
    assert heads.read_bytes() == kept
    case.vote(paused)
    assert child.is_stopped
    child.kill()
    finish(case, paused)


def test_the_head_of_the_log_is_free_while_a_deploy_has_threads_read_again(arena: Arena) -> None:
    found = arena.call("watched.head_is_free", "procrastinate_defer", "publish_again", 5)
    assert len(found) >= 5
    assert all(found)
    assert arena.rows("SELECT count(*) > 1 FROM approvals_auditentry WHERE action = 'graph.published'") == [(True,)]


def test_a_transaction_that_is_silent_ends_before_others_give_up_waiting_for_its_locks(arena: Arena) -> None:
    limits = {name: int(value.removesuffix("ms")) for name, value in arena.call("limits").items() if "ms" in value}
    assert 0 < limits["idle_in_transaction_session_timeout"] <= limits["lock_timeout"] / 2
    assert limits["lock_timeout"] < limits["statement_timeout"]


@pytest.mark.full
def test_control_without_the_limit_a_frozen_process_keeps_the_thread(arena: Arena) -> None:
    case, [paused] = Case(arena), arena.paused(1, "resuming")
    with arena.database() as database:
        database.execute("SET lock_timeout = '2s'")
        locked = "SELECT FROM approvals_thread WHERE id = %s FOR UPDATE"
        for seconds in (1, 0):
            child = case.freeze("thread.locked", "do", "index_thread", thread_id=paused.thread_id, idle=seconds)
            if seconds:
                database.execute(locked, [paused.thread_id])
            else:
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    database.execute(locked, [paused.thread_id])
            child.kill()
