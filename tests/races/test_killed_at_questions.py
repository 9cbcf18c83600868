"""Workers die at each step of answering `interrupt()`, and again while that is recovered.

What is recorded is what the node is given; it answers no other question, and what has ended does not run again.
"""

import itertools
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.checker import History, complaints, read_facts
from tests.copies import Paused
from tests.graphs import times_run
from tests.races.asking import BAD, KINDS
from tests.races.forked import Arena
from tests.races.questions import asked, call, copied
from tests.scale import IS_FULL, share, tries

SEED = 20261128
AGAIN = 0.5 if IS_FULL else 0.2
"""Which part of them dies once more."""
TIMES = tries(1, full=10)
AT_A_TIME = 3
STEPS = ("run.claimed", "run.entered", "run.stopped", "run.settled")
PENDING = ("saver.before_writes", "saver.after_writes")
WRITES = ("saver.before_put", *PENDING, "saver.after_put")
PLACES = ("began", "paying", "paid")
ANSWERED = {"one": "ask?", "turns": "first?", "beside": "left?", "later": "ask?"}
ASKED_NEXT = {"one": None, "turns": "second?", "beside": "right?", "later": "left?"}
PARTS = {"one": ("ask", "close"), "turns": ("first",), "beside": ("left",), "later": ("work",)}
USUAL = ("one_resuming", "turns", "beside", "later")
COUNTS = {
    "one": tries(8, full=28),
    "turns": tries(5, full=20),
    "beside": tries(6, full=22),
    "later": tries(1, full=3),
}
"""Places to die at, and one more for each kind of write: the one that there is not."""
SHARES = {"one": 0, "turns": 1, "beside": 2, "later": 0}
"""Usually each kind dies at a quarter of the places; this is which."""
ENDED_WITH = {"first": "second?"}
"""What is written when a part of a node ended: its note, or the question that comes after it."""
EDITS = {
    "notes": {"op": "append", "value": ["looked at"]},
    "messages": {"op": "append", "value": [{"type": "human", "content": "by hand"}]},
}
NOTES = {
    "one": ["ask: {0}", "close"],
    "turns": ["close", "first: {0}", "second: {1}"],
    "beside": ["close", "left: {0}", "right: {1}", "work"],
    "later": ["ask: {0}", "left: {1}", "work"],
}
PAID = {
    "one": {"ask", "close"},
    "turns": {"first", "second", "close"},
    "beside": {"left", "right", "work", "close"},
    "later": {"ask", "left", "work"},
}
Given = tuple[Paused, Any, dict[str, Any]]
"""A question, the answer, and the edits that come with it."""
pytestmark = pytest.mark.timeout(600 * TIMES)


@dataclass
class Trial:
    """One answered question, whose worker dies once or more."""

    arena: Arena
    history: History
    thread_id: str
    kind: str
    answer: str
    edits: dict[str, Any]
    run_id: str
    began: Counter[str] = field(default_factory=Counter)
    died_at: list[str] = field(default_factory=list)
    was_inside: bool = False

    def dies(self, at: str) -> bool:
        """Have a worker carry it out that dies `at` a failpoint or a place in a node; False if it never got there."""
        where = {"nodes" if ":" in at else "failpoints": at.replace("@", "=kill@") if "@" in at else f"{at}=kill"}
        if not self.arena.fork("carry_out", [self.run_id], **where).died():
            return False
        self.history.faults[at.partition("@")[0]] += 1
        self.died_at.append(at)
        self.was_inside = False
        for part in PAID[self.kind]:
            count = times_run(self.arena.folder, self.thread_id, part)
            if count > self.began[part] and not self.has_ended(part):
                self.history.deaths[self.thread_id, part] += 1
                self.was_inside = True
            self.began[part] = count
        return True

    def has_ended(self, part: str) -> bool:
        written = "SELECT 1 FROM checkpoint_writes WHERE thread_id = %s AND channel IN ('notes', '__interrupt__')"
        about = ENDED_WITH.get(part, part if part in ("work", "close") else f"{part}:").encode()
        return bool(self.arena.rows(f"{written} AND position(%s::bytea IN blob) > 0", self.thread_id, about))

    @property
    def status(self) -> str:
        [(status,)] = self.arena.rows("SELECT status FROM approvals_run WHERE id = %s", self.run_id)
        return str(status)

    def __repr__(self) -> str:
        return f"seed {SEED}: {self.thread_id} died at {self.died_at}"


# Making them


@pytest.fixture(scope="module")
def waiting(arena: Arena) -> list[str]:
    """Return the ids of threads at the first question of each graph, which they are named after."""
    graphs = [graph for kind in KINDS for graph in (kind, f"{kind}_resuming")]
    call(arena, "carry_out_in_turn", [arena.call("start", graph, [graph])[0] for graph in graphs])
    return graphs


def answered(arena: Arena, history: History, given: list[Given]) -> list[str]:
    """Answer questions, and return the runs; no worker has them yet."""
    sent = [history.sent(paused.approval_id, "alice") for paused, _, _ in given]
    votes = call(arena, "answer", given)
    for action, vote in zip(sent, votes, strict=True):
        action.note(vote.get("vote"))
    return [vote["run"] for vote in votes]


def trials(arena: Arena, history: History, template: str, count: int, edits: dict[str, Any]) -> list[Trial]:
    threads = copied(arena, template, count)
    kind = template.removesuffix("_resuming")
    given = [(asked(arena, each)[ANSWERED[kind]], f"A {each}", edits) for each in threads]
    runs = answered(arena, history, given)
    return [
        Trial(arena, history, thread, kind, value, edits, run)
        for thread, (_, value, _), run in zip(threads, given, runs, strict=True)
    ]


def die_everywhere(made: list[Trial]) -> list[Trial]:
    """Kill a worker at each step, in each place of the nodes, and at each write until there is no other."""
    kind, number = made[0].kind, SHARES[made[0].kind]
    inside = share([f"{part}:{place}" for part in PARTS[kind] for place in PLACES], number, of=6)
    if kind == "later":
        return [trial for trial, at in zip(made, inside, strict=True) if trial.dies(at)]
    once = [*share(STEPS, number, of=4), *inside]
    dead = [trial for trial, at in zip(made, once, strict=False) if trial.dies(at)]
    left = iter(made[len(once) :])
    for at in share(WRITES, number, of=4):
        for time_reached in itertools.count(1):
            trial = next(left)
            if not trial.dies(f"{at}@{time_reached}"):
                break
            dead.append(trial)
    return dead


# Ending them


def recovered(arena: Arena, found: list[Trial]) -> None:
    arena.end_leases()
    arena.call("recover", [trial.run_id for trial in found])


def gone_on(arena: Arena, runs: list[str]) -> None:
    """A person says to each that is held: go on; then a worker carries out what is due."""
    states = dict(arena.rows("SELECT id::text, status FROM approvals_run WHERE id::text = ANY(%s)", runs))
    arena.call("retry", [run for run, status in states.items() if status == "held"])
    due = [run for run, status in states.items() if status in ("held", "queued")]
    arena.due_now(due)
    call(arena, "carry_out_in_turn", due)


def test_a_worker_that_dies_at_any_step_of_an_answer_gives_it_once_and_to_its_question_alone(
    arena: Arena, waiting: list[str]
) -> None:
    history = History()
    graphs = waiting if IS_FULL else USUAL
    plans = [(graph, graph in ("one_resuming", "turns", "beside")) for graph in graphs]
    made = [
        trials(arena, history, graph, COUNTS[graph.removesuffix("_resuming")], EDITS if is_edited else {})
        for graph, is_edited in plans * TIMES
    ]
    with ThreadPoolExecutor(AT_A_TIME) as killers:
        found = [trial for dead in killers.map(die_everywhere, made) for trial in dead]
    recovered(arena, found)
    for trial in found:
        if "_resuming-" in trial.thread_id:
            assert trial.status != "held", (trial, "its policy says: go on")
        else:
            assert not trial.was_inside or trial.status == "held", (trial, trial.status)
        if trial.died_at == ["run.stopped"]:
            assert trial.status == ("finished" if trial.kind == "one" else "paused"), (trial, trial.status)

    dice = random.Random(SEED)
    again = [trial for trial in found if trial.status in ("held", "queued") and dice.random() < AGAIN]
    arena.call("retry", [trial.run_id for trial in again if trial.status == "held"])
    arena.due_now([trial.run_id for trial in again])
    places = [*STEPS, *(f"{at}@{number}" for at in PENDING for number in (1, 2, 3))]
    where = [dice.choice([*places, *(f"{part}:{at}" for part in PARTS[t.kind] for at in PLACES)]) for t in again]
    with ThreadPoolExecutor(AT_A_TIME) as killers:
        list(killers.map(lambda each: each[0].dies(each[1]), zip(again, where, strict=True)))
    recovered(arena, again)
    gone_on(arena, [trial.run_id for trial in found])
    check(arena, history, found)
    assert history.faults.total() >= tries(10, full=1_000), history.faults
    print(f"seed {SEED}: {len(found)} threads, {history.faults.total()} kills, {dict(history.faults)}")  # noqa: T201


def check(arena: Arena, history: History, found: list[Trial]) -> None:
    """What each asks now is what comes next; that is answered too, and all is as recorded."""
    later = []
    for trial in found:
        asks = ASKED_NEXT[trial.kind]
        assert trial.status == ("paused" if asks else "finished"), (trial, trial.status)
        opened = asked(arena, trial.thread_id)
        assert list(opened) == ([asks] if asks else []), trial
        if asks:
            later.append((trial, opened[asks]))
            if trial.kind == "turns":
                history.deaths[trial.thread_id, "first"] += 1  # it runs again for the second answer, as nodes do
    runs = answered(arena, history, [(paused, f"B {trial.thread_id}", {}) for trial, paused in later])
    call(arena, "carry_out_in_turn", runs)
    for trial in found:
        told = "SELECT state::json -> 'notes', state::json -> 'messages', status FROM approvals_thread WHERE id = %s"
        [(notes, messages, status)] = arena.rows(told, trial.thread_id)
        wanted = [note.format(trial.answer, f"B {trial.thread_id}") for note in NOTES[trial.kind]]
        assert sorted(notes) == sorted(wanted + ["looked at"] * bool(trial.edits)), (trial, notes)
        assert [each["content"] for each in messages or []] == ["by hand"] * bool(trial.edits), trial
        assert status == "idle", trial
    names = sorted({trial.thread_id.rpartition("-")[0] + "-%" for trial in found})
    facts = read_facts(arena.rows, arena.folder / "ran", names, arena.call("verify"))
    for trial in found:
        paid = {node: count for (thread, node), count in facts.paid.items() if thread == trial.thread_id}
        wanted_parts = PAID[trial.kind] - {"work"} if trial.kind == "beside" else PAID[trial.kind]
        assert paid == dict.fromkeys(wanted_parts, 1), trial
    ours = {trial.run_id for trial in found} | set(runs)
    of = "SELECT decision_id::text, id::text FROM approvals_run WHERE thread_id LIKE ANY(%s)"
    ended = {decision for decision, run in arena.rows(of, names) if run in ours}
    facts.decisions = [each for each in facts.decisions if each[0] in ended]  # nobody worked on the others
    assert complaints(history, facts) == []


# The same edit with two answers


SAME_AT = [
    "run.entered",
    *share([f"{at}@{number}" for number in (1, 2) for at in PENDING], 1, of=4),
    "right:began",
]


def test_the_same_edit_with_both_answers_of_a_step_is_there_twice_though_a_worker_died(
    arena: Arena, waiting: list[str]
) -> None:
    """One is the other's in every respect but its run: none may be taken for the other, or be given twice."""
    history = History()
    found = trials(arena, history, "beside_resuming", len(SAME_AT), EDITS)
    call(arena, "carry_out_in_turn", [trial.run_id for trial in found])
    given = [(asked(arena, each.thread_id)["right?"], f"B {each.thread_id}", EDITS) for each in found]
    for trial, run in zip(found, answered(arena, history, given), strict=True):
        trial.run_id = run
    with ThreadPoolExecutor(AT_A_TIME) as killers:
        assert all(killers.map(lambda each: each[0].dies(each[1]), zip(found, SAME_AT, strict=True)))
    recovered(arena, found)
    gone_on(arena, [trial.run_id for trial in found])
    for trial in found:
        assert trial.status == "finished", trial
        told = "SELECT state::json -> 'notes', state::json -> 'messages' FROM approvals_thread WHERE id = %s"
        [(notes, messages)] = arena.rows(told, trial.thread_id)
        answers = [f"left: {trial.answer}", f"right: B {trial.thread_id}"]
        assert sorted(notes) == sorted([*answers, "looked at", "looked at", "work", "close"]), (trial, notes)
        assert [each["content"] for each in messages] == ["by hand", "by hand"], trial


# Asked again


AGAIN_AT = ("run.claimed", "saver.before_writes", "saver.after_writes", "run.stopped", "run.settled")


@pytest.mark.parametrize(
    ("kind", "words", "others"),
    [("beside", "left?", ["right?"]), pytest.param("turns", "second?", [], marks=pytest.mark.full)],
)
def test_a_question_is_asked_again_once_though_the_worker_that_does_it_dies(
    arena: Arena, waiting: list[str], kind: str, words: str, others: list[str]
) -> None:
    history, places = History(), share(AGAIN_AT, SHARES[kind], of=2)
    threads = copied(arena, kind, len(places))

    def carried_out(words: str, value: str) -> None:
        given = [(asked(arena, each)[words], value, {}) for each in threads]
        call(arena, "carry_out_in_turn", answered(arena, history, given))

    if kind == "turns":
        carried_out("first?", "A")
    carried_out(words, BAD)
    runs = call(arena, "repair", threads)
    for run, at in zip(runs, places, strict=True):
        assert arena.fork("carry_out", [run], failpoints=f"{at}=kill").died(), at
        history.faults[at] += 1
    arena.end_leases()
    arena.call("recover", runs)
    gone_on(arena, runs)
    rounds = "SELECT title, round FROM approvals_approval WHERE thread_id = %s AND status = 'pending' ORDER BY title"
    for thread, at in zip(threads, places, strict=True):
        assert arena.rows(rounds, thread) == [
            (f"Question: “{words}”", 2),
            *((f"Question: “{each}”", 1) for each in others),
        ], at
    for each in (words, *others):
        carried_out(each, f"B {each}")
    for thread, at in zip(threads, places, strict=True):
        [(notes,)] = arena.rows("SELECT state::json -> 'notes' FROM approvals_thread WHERE id = %s", thread)
        wanted = {"beside": ["left: B left?", "right: B right?", "work"], "turns": ["first: A", "second: B second?"]}
        assert sorted(notes) == sorted(["close", *wanted[kind]]), at
        assert times_run(arena.folder, thread, "work") == 0, "what had ended did not run again"
        history.deaths[thread, "first"] += 2  # it runs again for each answer to the second question
    name = threads[0].rpartition("-")[0]
    facts = read_facts(arena.rows, arena.folder / "ran", f"{name}-%", arena.call("verify"))
    assert facts.paid and max(facts.paid.values()) == 1
    assert complaints(history, facts) == []


# Asked on


def test_only_what_may_have_been_running_when_the_worker_died_is_in_doubt(arena: Arena, waiting: list[str]) -> None:
    """Much of it happens at one checkpoint: the questions there tell which nodes were done, and which were not."""
    history = History()
    cases = [("turns", "run.stopped", "paused"), ("beside", "run.stopped", "paused"), ("later", "work:paying", "held")]
    made = [trials(arena, history, kind, 1, EDITS)[0] for kind, _, _ in cases]
    for trial, (_, at, _) in zip(made, cases, strict=True):
        assert trial.dies(at)
    recovered(arena, made)
    assert [(trial.kind, *trial.died_at, trial.status) for trial in made] == cases
    gone_on(arena, [trial.run_id for trial in made])
    check(arena, history, made)


def test_a_node_that_had_ended_before_its_step_was_stored_is_not_in_doubt(arena: Arena, waiting: list[str]) -> None:
    """Both are written at the same time. Here the step's checkpoint is the one that was not written."""
    history = History()
    made = [trials(arena, history, graph, 1, EDITS)[0] for graph in ("one", "one_resuming")]
    for trial in made:
        assert trial.dies("saver.after_writes@2")
        assert trial.has_ended("ask")
        with arena.database() as database:
            database.execute("SET session_replication_role = replica")  # as if it had never been written
            newer = "checkpoint_id > (SELECT resume_from FROM approvals_run WHERE id = %s)"
            gone = f"DELETE FROM checkpoints WHERE thread_id = %s AND {newer}"
            database.execute(gone, [trial.thread_id, trial.run_id])
    recovered(arena, made)
    assert [trial.status for trial in made] == ["queued", "queued"]
    gone_on(arena, [trial.run_id for trial in made])
    check(arena, history, made)


# A held answer, and another one


def test_while_an_answer_is_held_the_other_question_waits(arena: Arena, waiting: list[str]) -> None:
    """Its run would go on with the held answer's node, that may have acted already, before a person said so."""
    history, places = History(), ["run.entered", "left:paid"]
    made = trials(arena, history, "beside", len(places), {})
    for trial, at in zip(made, places, strict=True):
        assert trial.dies(at)
    recovered(arena, made)
    assert [trial.status for trial in made] == ["held", "held"]
    rights = [asked(arena, trial.thread_id)["right?"] for trial in made]
    assert call(arena, "answer", [(right, "B", {}) for right in rights]) == [{"refused": "busy"}] * len(places)
    gone_on(arena, [trial.run_id for trial in made])
    check(arena, history, made)


# Frozen


FROZEN_AT = ("first:paid", "saver.before_writes@2", "saver.after_writes@2")


def test_a_worker_that_thaws_at_a_question_after_it_was_replaced_writes_nothing(
    arena: Arena, waiting: list[str]
) -> None:
    history = History()
    found = trials(arena, history, "turns_resuming", len(FROZEN_AT), EDITS)
    children = []
    for trial, at in zip(found, FROZEN_AT, strict=True):
        armed = {"nodes": f"{at}=stop"} if ":" in at else {"failpoints": at.replace("@", "=stop@")}
        children.append(arena.fork("carry_out", [trial.run_id], **armed))
        children[-1].wait_until_stopped()
        history.faults[at] += 1
        history.deaths[trial.thread_id, "first"] += 1
    recovered(arena, found)
    gone_on(arena, [trial.run_id for trial in found])
    threads = [trial.thread_id for trial in found]
    rows = "SELECT thread_id, checkpoint_id, task_id, idx, channel, md5(blob), xmin::text FROM checkpoint_writes"
    before = arena.rows(f"{rows} WHERE thread_id = ANY(%s) ORDER BY 1, 2, 3, 4", threads)
    for child in children:
        child.go_on()
    assert [child.died() for child in children] == [False] * len(children), "each zombie ends in peace"
    assert arena.rows(f"{rows} WHERE thread_id = ANY(%s) ORDER BY 1, 2, 3, 4", threads) == before
    refused = "SELECT thread_id, count(*) FROM approvals_auditentry WHERE action = 'run.fenced' GROUP BY 1"
    entries = dict(arena.rows(refused))
    tried = [1, 1, 0]  # the last had nothing left to write but how its run had stopped, which is dropped
    assert [entries.get(thread, 0) for thread in threads] == tried
    check(arena, history, found)
