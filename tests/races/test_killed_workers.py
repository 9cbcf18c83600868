"""Workers die at each step of a run, and again while they recover. Nothing is lost, nothing is done twice unasked.

Usually three plans have three quarters of the places between them, and a third of the threads loses a second worker;
`FULL=1` dies everywhere, for each verdict, ten times.
"""

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.checker import History, complaints, read_facts
from tests.console import wait_for
from tests.copies import Paused
from tests.graphs import times_run
from tests.races.forked import Arena, Died
from tests.scale import IS_FULL, share, times_reached, tries

SEED = 20261121
TIMES = tries(1, full=10)
AT_A_TIME = 3
GATED, LATER = "pay", "close"
STEPS = ("run.claimed", "run.entered", "run.stopped", "run.settled", "resume.edited")
WRITES = ("saver.before_put", "saver.after_put", "saver.before_writes", "saver.after_writes")
IN_NODES = [f"{node}:{place}" for node in (GATED, LATER) for place in ("began", "paying", "paid")]
VOTERS = {"approve": "alice", "edit": "alice", "reject": "alice", "skip": "root", "skip with": "root"}
EDITS = {"notes": {"op": "append", "value": ["looked at"]}}
USUAL = [("asking", "approve"), ("asking", "edit"), ("resuming", "edit")]
NOTES = {
    "approve": ["prepared", "pay", "close"],
    "edit": ["prepared", "looked at", "pay", "close"],
    "reject": ["prepared"],
    "skip": ["prepared", "close"],
    "skip with": ["prepared", "looked at", "close"],
}
"""What is in the state in the end, however often the worker died."""
pytestmark = pytest.mark.timeout(240 * TIMES)


@dataclass
class Trial:
    """One decided thread, whose worker dies once or more."""

    arena: Arena
    history: History
    paused: Paused
    verdict: str
    run_id: str
    began: Counter[str] = field(default_factory=Counter)
    killed_at: list[str] = field(default_factory=list)

    def killed(self, at: str) -> bool:
        """Have a worker carry it out that dies `at` a failpoint or a place in a node; False if it never got there."""
        where = {"nodes" if ":" in at else "failpoints": at.replace("@", "=kill@") if "@" in at else f"{at}=kill"}
        if self.arena.fork("carry_out", [self.run_id], **where).died():
            self.note_death(at)
            return True
        return False

    def killed_while_recovering(self, after_seconds: float) -> None:
        """Have a worker take it over, and kill that one at a random moment."""
        child = self.arena.fork("recover", [self.run_id])
        time.sleep(after_seconds)
        child.kill()
        if child.exitcode:
            self.note_death("recovering")

    def note_death(self, at: str) -> None:
        """A node whose mark is there, and whose checkpoint is not, was running; the last one not if its writes are."""
        self.history.faults[at.partition("@")[0]] += 1
        self.killed_at.append(at)
        [(seen, has_writes)] = self.arena.rows(
            "SELECT checkpoint -> 'versions_seen', EXISTS (SELECT FROM checkpoint_writes w"
            " WHERE (w.thread_id, w.checkpoint_id) = (c.thread_id, c.checkpoint_id))"
            " FROM checkpoints c WHERE thread_id = %s ORDER BY checkpoint_id DESC LIMIT 1",
            self.paused.thread_id,
        )
        ended = {*seen, *([LATER] if GATED in seen and has_writes else [])}
        for node in (GATED, LATER):
            count = times_run(self.arena.folder, self.paused.thread_id, node)
            if count > self.began[node] and node not in ended:
                self.history.deaths[self.paused.thread_id, node] += 1
            self.began[node] = count

    @property
    def status(self) -> str:
        [(status,)] = self.arena.rows("SELECT status FROM approvals_run WHERE id = %s", self.run_id)
        return str(status)


def decided(arena: Arena, history: History, graph: str, verdict: str, count: int) -> Iterator[Trial]:
    """Yield threads whose decision no worker has taken yet."""
    waiting = arena.paused(count, graph)
    name, cast = VOTERS[verdict], {"edit": "approve", "skip with": "skip"}.get(verdict, verdict)
    sent = [history.sent(paused.approval_id, name) for paused in waiting]
    each = [(paused, name, cast) for paused in waiting]
    edits = {} if verdict == cast else {"edits": EDITS}
    answers = arena.call("votes" if verdict in ("approve", "reject") else "tried_votes", each, **edits)
    for paused, action, answer in zip(waiting, sent, answers, strict=True):
        action.note(answer.get("vote"))
        yield Trial(arena, history, paused, verdict, answer["run"])


def die_everywhere(trials: Iterator[Trial], number: int) -> list[Trial]:
    """Kill a worker at each step, and at each write; usually at a quarter of both, and twice at each kind of write."""
    dead = []
    for at in share([*IN_NODES, *STEPS], number, of=4):
        trial = next(trials)
        dead += [trial] if trial.killed(at) else []
    for at in share(WRITES, number, of=4):
        for time_reached in times_reached():
            trial = next(trials)
            if not trial.killed(f"{at}@{time_reached}"):
                break
            dead.append(trial)
    return dead


def killed_once(arena: Arena, history: History) -> list[Trial]:
    every = [(graph, verdict) for graph in ("asking", "resuming") for verdict in VOTERS]
    plans = every * TIMES if IS_FULL else USUAL
    stories = [decided(arena, history, *plan, count=tries(5, full=30)) for plan in plans]
    with ThreadPoolExecutor(AT_A_TIME) as killers:
        return [trial for dead in killers.map(die_everywhere, stories, itertools.count()) for trial in dead]


def recovered(arena: Arena, trials: list[Trial]) -> None:
    """Have what died looked at; whoever is asked says: go on."""
    arena.end_leases()
    arena.call("recover", [trial.run_id for trial in trials])


def killed_again(arena: Arena, trials: list[Trial]) -> None:
    """Let them go on, and kill their workers at another place."""
    dice = random.Random(SEED)
    places = [*STEPS[:4], *IN_NODES, *(f"{at}@{number}" for at in WRITES for number in (1, 2))]
    again = [(trial, dice.choice(places)) for trial in share(trials, 0, of=3) if trial.status in ("held", "queued")]
    arena.call("retry", [trial.run_id for trial, _ in again if trial.status == "held"])
    arena.due_now([trial.run_id for trial, _ in again])
    with ThreadPoolExecutor(AT_A_TIME) as killers:
        list(killers.map(lambda each: each[0].killed(each[1]), again))


def killed_recovering(arena: Arena, trials: list[Trial]) -> None:
    arena.end_leases()
    dice = random.Random(SEED)
    running = [(trial, dice.uniform(0.02, 0.15)) for trial in trials if trial.status == "running"]
    with ThreadPoolExecutor(AT_A_TIME) as killers:
        list(killers.map(lambda each: each[0].killed_while_recovering(each[1]), running))


def ended(arena: Arena, trials: list[Trial]) -> None:
    """A worker that stays alive works on all of it, and a person lets go on what is held."""
    worker = arena.fork("work_on")
    of = "SELECT id::text, status FROM approvals_run WHERE thread_id LIKE ANY(%s)"

    def are_over() -> bool:
        states = dict(arena.rows(of, names_of(trials)))
        if held := [run for run, status in states.items() if status == "held"]:
            arena.call("retry", held)
        arena.due_now([run for run, status in states.items() if status == "queued"])
        return set(states.values()) <= {"finished", "superseded"}

    try:
        wait_for(are_over, seconds=60 * TIMES, what="every run to end")
    finally:
        worker.kill()


def names_of(trials: list[Trial]) -> list[str]:
    """Return patterns of the ids of all that were decided with these."""
    return sorted({trial.paused.thread_id.rpartition("-")[0] + "-%" for trial in trials})


def test_a_worker_that_dies_at_any_step_loses_nothing_and_repeats_no_more_than_it_must(arena: Arena) -> None:
    history = History()
    trials = killed_once(arena, history)
    recovered(arena, trials)
    for trial in trials:
        was_inside = any(history.deaths[trial.paused.thread_id, node] for node in (GATED, LATER))
        if trial.paused.thread_id.startswith("asking"):
            assert not was_inside or trial.status == "held", (trial.killed_at, trial.status)
        else:
            assert trial.status != "held", (trial.killed_at, "its policy says: go on")
    killed_again(arena, trials)
    killed_recovering(arena, trials)
    arena.end_leases()
    ended(arena, trials)

    for trial in trials:
        [(notes,)] = arena.rows(
            "SELECT state::json -> 'notes' FROM approvals_thread WHERE id = %s", trial.paused.thread_id
        )
        assert notes == NOTES[trial.verdict], (trial.verdict, trial.killed_at)
    facts = read_facts(arena.rows, arena.folder / "ran", names_of(trials), arena.call("verify"))
    theirs = {trial.paused.thread_id for trial in trials}
    assert len(theirs) >= tries(12, full=1_000)
    assert history.faults.total() >= tries(15, full=2_000), history.faults
    print(f"seed {SEED}: {len(theirs)} threads, {history.faults.total()} kills, {dict(history.faults)}")  # noqa: T201
    assert complaints(history, facts) == []


def test_a_worker_that_dies_on_the_way_to_a_gate_is_replaced_and_the_question_is_asked(arena: Arena) -> None:
    places = share([*STEPS[:4], *(f"{at}@{number}" for at in WRITES for number in (1, 2, 3))], 2, of=4)
    threads = [f"on-the-way-{number}" for number in range(len(places))]
    runs = arena.call("start", "asking", threads)
    died = [
        arena.fork("carry_out", [run], failpoints=place.replace("@", "=kill@") if "@" in place else f"{place}=kill")
        for run, place in zip(runs, places, strict=True)
    ]
    assert sum(child.died() for child in died) >= len(places) - tries(1, full=len(WRITES))
    arena.end_leases()
    arena.call("recover", runs)
    arena.due_now(runs)
    arena.call("carry_out", runs)
    asked = "SELECT r.status, t.next::text, (SELECT count(*) FROM approvals_approval a WHERE a.thread_id = t.id)"
    of = "FROM approvals_run r JOIN approvals_thread t ON t.id = thread_id WHERE r.id::text = ANY(%s)"
    found = arena.rows(f"{asked} {of}", runs)
    assert found == [("paused", '["pay"]', 1)] * len(runs)


def test_a_database_that_does_not_answer_when_a_graph_has_stopped_fails_no_run(arena: Arena) -> None:
    runs = arena.call("start", "resuming", ["unread-end"])
    with pytest.raises(Died, match=r"run\.ended"):
        arena.fork("carry_out", runs, failpoints="run.ended=raise").result()
    assert arena.rows("SELECT status FROM approvals_run WHERE id = %s", runs[0]) == [("running",)]
    arena.end_leases()
    arena.call("recover", runs)
    asked = "SELECT next, status FROM approvals_approval WHERE thread_id = 'unread-end'"
    assert arena.rows(asked) == [(["pay"], "pending")]
    assert arena.rows("SELECT status FROM approvals_run WHERE id = %s", runs[0]) == [("paused",)]
