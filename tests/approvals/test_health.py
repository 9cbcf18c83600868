"""Why a thread is not moving: what the judges say of each case, from plain values."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approvals.domain.diagnosis import Asked, Diagnosis, Facts, Health, RunFacts, judge
from approvals.domain.diagnosis.judges import _JUDGES
from approvals.enums import RunStatus, ThreadStatus

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def run(status: RunStatus, **more: Any) -> RunFacts:
    return RunFacts(**{"id": "R", "status": status, "created_at": ago(30), "node": "Act", **more})


def asked(**more: Any) -> Asked:
    told = {"id": "A", "title": "Act", "is_breakpoint": True, "next": ("act",), "created_at": ago(720), **more}
    return Asked(**told)


def facts(**more: Any) -> Facts:
    """A thread that has run, with its graph and a worker alive."""
    known = {"graph_id": "refund", "checkpoint_id": "C", "nodes": ("act",), "code_digest": "new"}
    return Facts(**{"now": NOW, "thread_id": "t 1/a", "updated_at": ago(30), **known, **more})


LEASED = {"lease_worker": "host:7", "lease_until": NOW + timedelta(seconds=12)}
LOST = {"lease_worker": "host:7", "lease_until": ago(8)}
BUSY = ThreadStatus.BUSY
ALONE = {"has_worker": False, "has_graph_worker": False}
RENAMED = {"has_worker": True, "has_graph_worker": False, "has_card": False}
UNBOUND = {"status": ThreadStatus.ERROR}
ERROR = {"status": ThreadStatus.ERROR, "problem": "ValueError('no')", "next": ("Act",)}
QUESTION = asked(is_breakpoint=False, title="Question: “How many?”")
POISONED = asked(is_breakpoint=False, is_votable=False, why_not="An answer is stored here.")
FAILED = run(RunStatus.FAILED, ended_at=ago(60), error="TypeError", problem="The number must be whole.")
CANCELLED = run(RunStatus.CANCELLED, problem="Cancelled by olga.", error="")

# facts, health, kind, is it moving, what the sentence says, what the first step does
CASES: list[tuple[dict[str, Any], Health, str, bool, str, str]] = [
    # Nothing to do.
    ({}, Health.DONE, "done", True, "reached its end", "start"),
    ({"checkpoint_id": ""}, Health.DONE, "new", True, "Nothing has run", "start"),
    ({"checkpoint_id": "", "run": CANCELLED}, Health.DONE, "new", True, "before it wrote anything", "start"),
    ({"is_cleaned": True, "run": FAILED}, Health.DONE, "cleaned", True, "force-cleaned", "new_thread"),
    ({"unbound": "Nobody said which.", "graph_id": ""}, Health.DONE, "done", True, "its end where it ran", "clean"),
    # It waits for people.
    (
        {**UNBOUND, "unbound": "Nobody said which.", "graph_id": ""},
        Health.UNKNOWN,
        "no_graph",
        False,
        "Nobody said",
        "graph",
    ),
    ({**UNBOUND, "unbound": "Two fit.", "fitting": ("a", "b")}, Health.UNKNOWN, "unbound", False, "Two fit", "bind"),
    ({"asked": (asked(),), "next": ("Act",)}, Health.BREAKPOINT, "breakpoint", False, "before Act", "decide"),
    ({"asked": (asked(),)}, Health.BREAKPOINT, "breakpoint", False, "waited 12 min", "decide"),
    ({"asked": (QUESTION,)}, Health.WAITING, "waiting", False, "“Question: “How many?””, for reviewers.", "decide"),
    (
        {"asked": (asked(voters="ann, members of finance"),)},
        Health.BREAKPOINT,
        "breakpoint",
        False,
        "finance",
        "decide",
    ),
    ({"asked": (asked(not_by="olga"),)}, Health.BREAKPOINT, "breakpoint", False, "but not olga", "decide"),
    ({"asked": (asked(claimed_by="bob"),)}, Health.BREAKPOINT, "breakpoint", False, "bob is reviewing", "decide"),
    ({"asked": (asked(due_at=ago(-7200)),)}, Health.BREAKPOINT, "breakpoint", False, "due in 2 h", "decide"),
    ({"asked": (asked(due_at=ago(300)),)}, Health.BREAKPOINT, "breakpoint", False, "overdue by 5 min", "decide"),
    ({"asked": (QUESTION, QUESTION)}, Health.WAITING, "waiting", False, "and 1 more", "decide"),
    ({"asked": (asked(),), **ALONE}, Health.BREAKPOINT, "breakpoint", False, "No worker is alive", "decide"),
    ({"asked": (asked(code_digest="old"),)}, Health.BREAKPOINT, "breakpoint", False, "code was changed", "decide"),
    ({"asked": (asked(),), "blocked": ("m.T",)}, Health.BREAKPOINT, "breakpoint", False, "m.T", "decide"),
    ({"asked": (asked(),), "problem": "E()"}, Health.BREAKPOINT, "breakpoint", False, "and failed: E().", "decide"),
    ({"asked": (asked(),), "too_large": "80 MB."}, Health.BREAKPOINT, "breakpoint", False, "80 MB.", "decide"),
    ({"asked": (POISONED,)}, Health.WAITING, "unanswerable", False, "cannot be decided: An answer", "clean"),
    ({"asked": (POISONED,), "can_ask_again": True}, Health.WAITING, "unanswerable", False, "cannot", "ask_again"),
    # Its graph is gone, or changed.
    ({"asked": (asked(),), **RENAMED}, Health.UNKNOWN, "graph_gone", False, "no worker has its graph refund", "graph"),
    ({"asked": (asked(next=("pay",)),)}, Health.UNKNOWN, "node_gone", False, "no pay any more", "code"),
    ({"run": run(RunStatus.QUEUED), **RENAMED}, Health.UNKNOWN, "graph_gone", False, "gone or renamed", "graph"),
    ({"run": replace(FAILED, error="GraphMissing")}, Health.UNKNOWN, "graph_gone", False, "before it did", "graph"),
    # A run has it.
    ({"run": run(RunStatus.QUEUED)}, Health.RUNNING, "queued", True, "queued for 30 s", "wait"),
    ({"run": run(RunStatus.QUEUED), **ALONE}, Health.UNKNOWN, "no_worker", False, "no worker is alive", "worker"),
    (
        {"run": run(RunStatus.QUEUED, attempts=2, retry_at=ago(-5))},
        Health.RUNNING,
        "backing_off",
        True,
        "Attempt 3 begins in 5 s",
        "wait",
    ),
    ({"run": run(RunStatus.RUNNING), **LEASED}, Health.RUNNING, "running", True, "host:7 has run Act for 30 s", "wait"),
    ({"run": run(RunStatus.RUNNING, attempts=3), **LEASED}, Health.RUNNING, "running", True, "attempt 3", "wait"),
    (
        {"run": run(RunStatus.RUNNING, node_since=ago(900)), **LEASED},
        Health.RUNNING,
        "running",
        True,
        "for 15 min",
        "cancel",
    ),
    (
        {"run": run(RunStatus.RUNNING), **LEASED, "is_worker_silent": True, "worker_seen_at": ago(25)},
        Health.RUNNING,
        "silent",
        False,
        "not been heard of for 25 s",
        "wait",
    ),
    (
        {"run": run(RunStatus.RUNNING), **LOST},
        Health.CRASHED,
        "lease_lost",
        True,
        "host:7, whose lease ended 8 s",
        "wait",
    ),
    ({"run": run(RunStatus.RUNNING), **LOST, **ALONE}, Health.CRASHED, "lease_lost", False, "Act may have", "worker"),
    ({"run": run(RunStatus.RUNNING)}, Health.CRASHED, "lease_lost", True, "Its worker died", "wait"),
    # It stopped.
    ({"run": FAILED, **ERROR}, Health.CRASHED, "failed", False, "Node Act failed 1 min ago: TypeError: The", "retry"),
    ({"run": replace(FAILED, node="")}, Health.CRASHED, "failed", False, "The run failed", "retry"),
    ({"run": FAILED, "published_at": ago(5)}, Health.CRASHED, "failed", False, "runs the new code", "retry"),
    ({"run": FAILED, **ALONE}, Health.CRASHED, "failed", False, "TypeError", "worker"),
    ({"run": FAILED, "blocked": ("m.T",)}, Health.CRASHED, "failed", False, "not allow (m.T)", "retry"),
    ({"run": run(RunStatus.HELD, problem="See first.")}, Health.CRASHED, "held", False, "See first.", "retry"),
    ({**ERROR}, Health.CRASHED, "failed_outside", False, "outside the console: ValueError", "outside"),
    ({"run": CANCELLED, "next": ("Act",)}, Health.UNKNOWN, "stopped", False, "before Act. Cancelled by olga.", "start"),
    (
        {"run": CANCELLED, "next": ("Act",), "can_ask_again": True},
        Health.UNKNOWN,
        "stopped",
        False,
        "gave the run up",
        "ask_again",
    ),
    ({"run": CANCELLED, "next": ("Act",), "can_go_on": True}, Health.UNKNOWN, "stopped", False, "gave", "go_on"),
    ({"next": ("Act",), "can_go_on": True}, Health.UNKNOWN, "ready", False, "ready to run", "go_on"),
    ({"next": ("Act",), "status": BUSY}, Health.RUNNING, "outside", True, "A program outside", "wait"),
    (
        {"next": ("Act",), "status": BUSY, "updated_at": ago(999)},
        Health.CRASHED,
        "outside",
        False,
        "probably died",
        "outside",
    ),
    # Poisoned: by our own answer, and by somebody else's.
    (
        {"run": replace(FAILED, is_answer=True), **ERROR, "is_poisoned": True, "can_ask_again": True},
        Health.POISONED,
        "poisoned",
        False,
        "An answer from the console",
        "ask_again",
    ),
    (
        {"asked": (POISONED,), "is_poisoned": True, "can_ask_again": True, "next": ("Act",)},
        Health.POISONED,
        "poisoned",
        False,
        "An answer from somebody outside",
        "ask_again",
    ),
    (
        {"run": replace(CANCELLED, is_answer=True), "is_poisoned": True, "can_ask_again": True, "next": ("Act",)},
        Health.POISONED,
        "poisoned",
        False,
        "An answer from the console",
        "ask_again",
    ),
    # The agent moved it.
    ({"run": run(RunStatus.SUPERSEDED)}, Health.SUPERSEDED, "superseded", False, "not carried out", "history"),
    ({"dropped": "Pay 5"}, Health.SUPERSEDED, "superseded", False, "“Pay 5”", "history"),
    ({"dropped": "Pay 5", "next": ("Act",)}, Health.SUPERSEDED, "superseded", False, "stands before Act", "history"),
    ({"dropped": "Pay 5", "asked": (asked(),)}, Health.BREAKPOINT, "breakpoint", False, "waited", "decide"),
    # What the console cannot read.
    ({"is_moved": True}, Health.UNKNOWN, "moved", True, "not read it yet", "wait"),
    ({"is_moved": True, **ALONE}, Health.UNKNOWN, "moved", False, "not read it yet", "worker"),
    ({**ERROR, "is_unread": True}, Health.UNKNOWN, "unreadable", False, "ValueError", "code"),
    ({**ERROR, "is_unread": True, "graph_id": ""}, Health.UNKNOWN, "no_graph", False, "No graph", "graph"),
    ({"checkpoint_id": "", "problem": "They were deleted."}, Health.UNKNOWN, "deleted", False, "deleted", "start"),
]


@pytest.mark.parametrize(("given", "health", "kind", "is_moving", "says", "first"), CASES)
def test_each_case_has_its_health_its_sentence_and_its_first_step(
    given: dict[str, Any], health: Health, kind: str, is_moving: bool, says: str, first: str
) -> None:
    found = judge(facts(**given))
    assert (found.health, found.kind, found.is_moving, found.steps[0].action) == (health, kind, is_moving, first)
    assert says in found.sentence
    assert_well_told(found)


def assert_well_told(found: Diagnosis) -> None:
    """Whole sentences; each step says who may, and nobody is told to do what they are not told how to do."""
    assert found.sentence[0].isupper() and found.sentence[-1] in ".!?"
    assert not {"  ", "..", " ."} & {found.sentence[place : place + 2] for place in range(400)}
    for step in map(str, found.steps):
        assert step.endswith(".") and ".." not in step and "()" not in step and ",)" not in step
    for step in found.steps:
        assert step.people or step.action == "wait"
        assert step.call or not step.permission or step.action == "history"


def test_every_health_is_in_the_table_and_every_judge_has_said_something() -> None:
    assert {case[1] for case in CASES} == set(Health)
    given = [facts(**case[0]) for case in CASES]
    assert [each.__name__ for each in _JUDGES if not any(each(known) for known in given)] == []


def test_whatever_comes_together_has_one_diagnosis_and_a_step() -> None:
    """Cases that no test thought of: every pair of the table's facts."""
    for one, other in itertools.combinations([case[0] for case in CASES], 2):
        found = judge(facts(**one, **{name: value for name, value in other.items() if name not in one}))
        assert found.steps, found
        assert_well_told(found)


def test_an_answer_for_programs_says_the_same_as_the_sentences() -> None:
    plain = judge(facts(run=FAILED, **ERROR)).as_dict()
    assert plain["steps"][0].startswith("Retry the run (operators, reviewers and admins): ")
    assert plain["actions"][0] | {"why": ""} == {
        "action": "retry",
        "text": "Retry the run",
        "why": "",
        "who": "operators, reviewers and admins",
        "call": "POST /api/runs/R/retry",
    }
    assert plain["facts"]["Node"] == "Act"


def test_calls_name_threads_whatever_their_id_holds() -> None:
    assert judge(facts()).steps[0].call == "POST /api/threads/t%201%2Fa/runs"
