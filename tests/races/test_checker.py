"""The checker is tested too: it must complain of each bad history, and of no good one."""

from collections.abc import Callable

import pytest

from tests.checker import Action, Facts, History, complaints

THREAD, RAN = "t-1", ("t-1", "pay")


def good() -> tuple[History, Facts]:
    """Alice's vote was answered, Bob's was refused, nobody knows of Carol's; one run, killed once in its node."""
    history = History(
        actions=[
            Action("a-1", "alice", "k", "ok", "v-1"),
            Action("a-1", "alice", "k", "ok", "v-1"),
            Action("a-1", "bob", None, "failed"),
            Action("a-2", "carol", "k"),
        ]
    )
    history.faults["killed"] += 1
    history.deaths[RAN] += 1
    facts = Facts(
        votes={"v-1": ("a-1", "alice", "k")},
        decisions=[("d-1", "a-1")],
        runs={"d-1": "finished"},
    )
    facts.children[THREAD, "", "c-1"] = 1
    facts.ran[RAN], facts.paid[RAN] = 2, 1
    facts.entries["vote.cast", "v-1"] = facts.entries["decision.reached", "d-1"] = 1
    return history, facts


def test_a_good_history_has_no_complaint() -> None:
    assert complaints(*good()) == []


def test_a_vote_whose_answer_never_came_may_be_there_or_not() -> None:
    history, facts = good()
    facts.votes["v-2"] = ("a-2", "carol", "k")
    facts.entries["vote.cast", "v-2"] = 1
    assert complaints(history, facts) == []


Spoil = Callable[[History, Facts], object]
BAD: dict[str, tuple[Spoil, str]] = {
    "nothing tried": (lambda history, facts: history.faults.clear(), "no fault"),
    "nobody did anything": (lambda history, facts: (history.actions.clear(), facts.votes.clear()), "no client"),
    "an answered vote is lost": (lambda history, facts: facts.votes.clear(), "Lost"),
    "two answers for a key": (lambda history, facts: setattr(history.actions[1], "vote", "v-2"), "two answers"),
    "a refused vote counts": (
        lambda history, facts: facts.votes.update({"v-2": ("a-1", "bob", None)}),
        "told that it was refused",
    ),
    "a vote nobody made": (lambda history, facts: facts.votes.update({"v-2": ("a-9", "dave", None)}), "nobody made"),
    "the vote is another's": (
        lambda history, facts: facts.votes.update({"v-1": ("a-1", "carol", "k")}),
        "Lost",
    ),
    "decided twice": (lambda history, facts: facts.decisions.append(("d-2", "a-1")), "decided 2 times"),
    "never ended": (lambda history, facts: facts.runs.update({"d-1": "running"}), "not ended"),
    "no run at all": (lambda history, facts: facts.runs.clear(), "is missing"),
    "two lineages": (lambda history, facts: facts.children.update([(THREAD, "", "c-1")]), "2 children"),
    "a node ran too often": (lambda history, facts: facts.ran.update([RAN]), "ran 3 times"),
    "paid twice": (lambda history, facts: facts.paid.update([RAN]), "paid 2 times"),
    "the log is broken": (lambda history, facts: setattr(facts, "log", "7: It is missing."), "log is broken"),
    "a decision without its entry": (
        lambda history, facts: facts.entries.pop(("decision.reached", "d-1")),
        "0 entries decision.reached",
    ),
    "a vote with two entries": (
        lambda history, facts: facts.entries.update([("vote.cast", "v-1")]),
        "2 entries vote.cast",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_complained_of(name: str) -> None:
    history, facts = good()
    spoil, sentence = BAD[name]
    spoil(history, facts)
    assert sentence in " ".join(complaints(history, facts))
