"""Answers to `interrupt()` whose worker dies, and what must have come of each in the end."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.checker import History, complaints, read_facts
from tests.copies import Paused
from tests.graphs import times_run
from tests.races.forked import Arena
from tests.races.questions import asked, call, copied
from tests.scale import tries

SEED = 20261128
TIMES = tries(1, full=10)
AT_A_TIME = 3
PENDING = ("saver.before_writes", "saver.after_writes")
ANSWERED = {"one": "ask?", "turns": "first?", "beside": "left?", "later": "ask?"}
ASKED_NEXT = {"one": None, "turns": "second?", "beside": "right?", "later": "left?"}
PARTS = {"one": ("ask", "close"), "turns": ("first",), "beside": ("left",), "later": ("work",)}
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
