"""Was the promise kept? What clients were told, held against what the database says. Plain values in, sentences out.

Each action of a client is noted as ok, failed or unknown: unknown is one whose answer never came. Then:

* what was ok has its row, and the same key always got the same answer;
* no row stands for an action that failed, or that nobody made;
* an approval has one decision at most, and each decision ends: done, superseded, or held for a person;
* no checkpoint has two children from our runs;
* a node ran once, and once more at most for each death inside it; through `once` it paid once;
* the audit log is whole, with an entry for each vote and each decision;
* something was tried at all: a history without a fault or a contention proves nothing.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDED = ("finished", "paused", "superseded", "held", "failed", "cancelled")
Ran = tuple[str, str]
"""A thread and one of its nodes."""


@dataclass
class Action:
    """One vote that a client sent."""

    approval: str
    by: str
    key: str | None = None
    outcome: str = "unknown"
    vote: str = ""

    def note(self, vote: str | None) -> None:
        """Say what the answer was: the vote's id, or a refusal."""
        self.outcome, self.vote = ("ok", vote) if vote else ("failed", "")


@dataclass
class History:
    """What clients did, and what was done to the servers."""

    actions: list[Action] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    contended: int = 0
    deaths: Counter[Ran] = field(default_factory=Counter)
    """Of each node: how often its process died, or lost its lease, while it ran."""

    def sent(self, approval: Any, by: str, key: str | None = None) -> Action:
        """Note an action before it is sent: it is unknown until its answer is noted."""
        self.actions.append(Action(str(approval), by, key))
        return self.actions[-1]


@dataclass
class Facts:
    """What the database and the folder of marks say about the same approvals."""

    votes: dict[str, tuple[str, str, str | None]] = field(default_factory=dict)
    """Approval, voter and key, by id."""
    decisions: list[tuple[str, str]] = field(default_factory=list)
    """Decision and approval."""
    runs: dict[str, str] = field(default_factory=dict)
    """The status of the run, by decision."""
    children: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Of each thread, namespace and checkpoint: its children from runs of ours."""
    ran: Counter[Ran] = field(default_factory=Counter)
    paid: Counter[Ran] = field(default_factory=Counter)
    entries: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Entries by action and by the vote or decision they tell of."""
    log: str = ""
    """Why the audit log is broken, or empty."""


def complaints(history: History, facts: Facts) -> list[str]:
    """Return a sentence for each thing that must not be."""
    return [
        *_not_tried(history),
        *_answers(history, facts),
        *_rows(history, facts),
        *_decisions(facts),
        *_lineage(facts),
        *_effects(history, facts),
        *_log(facts),
    ]


def _not_tried(history: History) -> Iterator[str]:
    if not history.faults and not history.contended:
        yield "Nothing was tried: no fault was seen and no contention."
    if not history.actions:
        yield "Nothing was tried: no client did anything."


def _answers(history: History, facts: Facts) -> Iterator[str]:
    told: dict[tuple[str, str], str] = {}
    for action in history.actions:
        if action.outcome != "ok":
            continue
        if facts.votes.get(action.vote, ("", "", None))[:2] != (action.approval, action.by):
            yield f"Lost: {action.by} was told of vote {action.vote}, which is not there."
        if action.key and told.setdefault((action.by, action.key), action.vote) != action.vote:
            yield f"The key {action.key} got two answers."


def _rows(history: History, facts: Facts) -> Iterator[str]:
    may_be = {(each.approval, each.by, each.key) for each in history.actions if each.outcome != "failed"}
    for vote, row in facts.votes.items():
        if row not in may_be:
            yield f"Vote {vote} is there, and nobody made it, or was told that it was refused."


def _decisions(facts: Facts) -> Iterator[str]:
    for approval, count in Counter(approval for _, approval in facts.decisions).items():
        if count > 1:
            yield f"Approval {approval} was decided {count} times."
    for decision, _ in facts.decisions:
        status = facts.runs.get(decision, "missing")
        if status not in ENDED:
            yield f"Decision {decision} has not ended: its run is {status}."


def _lineage(facts: Facts) -> Iterator[str]:
    for place, count in facts.children.items():
        if count > 1:
            yield f"Checkpoint {'/'.join(place)} has {count} children from our runs."


def _effects(history: History, facts: Facts) -> Iterator[str]:
    for (thread, node), count in facts.ran.items():
        most = 1 + history.deaths[thread, node]
        if count > most:
            yield f"{node} of {thread} ran {count} times; its process died {most - 1} times in it."
    for (thread, node), count in facts.paid.items():
        if count > 1:
            yield f"{node} of {thread} paid {count} times through once()."


def _log(facts: Facts) -> Iterator[str]:
    if facts.log:
        yield f"The audit log is broken: {facts.log}"
    wanted = {("vote.cast", vote) for vote in facts.votes}
    wanted |= {("decision.reached", decision) for decision, _ in facts.decisions}
    for action, about in wanted:
        if facts.entries[action, about] != 1:
            yield f"{about} has {facts.entries[action, about]} entries {action}."


# Reading the facts


def read_facts(rows: Any, marks: Path, threads: str | list[str], log: dict[str, Any]) -> Facts:
    """Read what there is about the threads whose ids are like one of `threads`; `rows` runs a query."""
    threads = [threads] if isinstance(threads, str) else threads
    of = "JOIN approvals_approval a ON a.id = approval_id WHERE a.thread_id LIKE ANY(%s)"
    facts = Facts(log="" if log["ok"] else f"{log['first_bad']}: {log['reason']}")
    voted = "SELECT v.id::text, v.approval_id::text, username, idempotency_key FROM approvals_vote v"
    for vote, *row in rows(f"{voted} JOIN auth_user u ON u.id = voter_id {of}", threads):
        facts.votes[vote] = tuple(row)
    facts.decisions = rows(f"SELECT d.id::text, approval_id::text FROM approvals_decision d {of}", threads)
    run = "SELECT decision_id::text, status FROM approvals_run WHERE decision_id IS NOT NULL AND thread_id LIKE ANY(%s)"
    facts.runs = dict(rows(run, threads))
    for *place, count in rows(
        "SELECT thread_id, checkpoint_ns, parent_checkpoint_id, count(*) FROM checkpoints WHERE thread_id LIKE ANY(%s)"
        " AND metadata ? 'countersign_run' AND parent_checkpoint_id IS NOT NULL GROUP BY 1, 2, 3",
        threads,
    ):
        facts.children[tuple(place)] = count
    for thread, node, count in rows(
        "SELECT thread_id, node, count(*) FROM payments WHERE thread_id LIKE ANY(%s) GROUP BY 1, 2", threads
    ):
        facts.paid[thread, node] = count
    for folder in itertools.chain(*(marks.glob(each.replace("%", "*")) for each in threads)):
        facts.ran.update((folder.name, mark.name.partition("-")[0]) for mark in folder.iterdir())
    for action, about in rows(
        "SELECT action, coalesce(body::json -> 'object' ->> 'decision', body::json -> 'object' ->> 'vote')"
        " FROM approvals_auditentry WHERE action IN ('vote.cast', 'decision.reached') AND thread_id LIKE ANY(%s)",
        threads,
    ):
        facts.entries[action, about] += 1
    return facts
