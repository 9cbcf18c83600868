"""Several people must agree, and they vote at the same moment. It is decided once, and never left undecided."""

import random
from collections import Counter
from typing import Any

import pytest

from tests.checker import History, complaints, read_facts
from tests.copies import Paused
from tests.races.forked import Arena
from tests.scale import tries

SEED = 20261122
ROUNDS = tries(8, full=1_000)
PEOPLE = ("alice", "bob", "carol")
pytestmark = pytest.mark.timeout(tries(240, full=900))


def hold(
    arena: Arena, people: tuple[str, ...], rule: dict[str, Any]
) -> tuple[Counter[str], History, list[Paused], list[Any]]:
    """Have these people vote, each as the dice say, round after round; return what came of it."""
    dice = random.Random(SEED)
    threads = arena.paused(ROUNDS, **rule)
    groups = [[(paused, name, dice.choice(["approve", "approve", "reject"])) for name in people] for paused in threads]
    history = History(contended=ROUNDS)
    answers = arena.call("rounds", groups, seconds=tries(100, full=600))
    for group, told in zip(groups, answers, strict=True):
        for (paused, name, _), answer in zip(group, told, strict=True):
            assert "error" not in answer, answer
            history.sent(paused.approval_id, name).note(answer.get("vote"))
    ids = [paused.approval_id for paused in threads]
    statuses = dict(arena.rows("SELECT id, status FROM approvals_approval WHERE id = ANY(%s)", ids))
    for group in groups:
        assert statuses[group[0][0].approval_id] == expected([verdict for *_, verdict in group])
    return Counter(statuses.values()), history, threads, answers


def expected(verdicts: list[str]) -> str:
    """Two of two: one rejection ends it. Two of three: whichever has two."""
    needed = 1 if len(verdicts) == 2 else 2
    return "rejected" if verdicts.count("reject") >= needed else "approved"


@pytest.mark.parametrize("people", [PEOPLE[:2], PEOPLE], ids=["two of two", "two of three"])
def test_people_who_vote_at_the_same_moment_decide_it_once(arena: Arena, people: tuple[str, ...]) -> None:
    rule = {"approvals": 2, "one_reject_ends": len(people) == 2, "people": list(people)}
    outcomes, history, threads, _ = hold(arena, people, rule)
    assert outcomes.total() == ROUNDS
    assert min(outcomes["approved"], outcomes["rejected"]) > ROUNDS / 10, "both outcomes were tried"
    runs = [str(run) for (run,) in arena.rows(
        "SELECT r.id FROM approvals_run r WHERE thread_id = ANY(%s) AND status = 'queued'",
        [paused.thread_id for paused in threads],
    )]  # fmt: skip
    assert len(runs) == ROUNDS, "a decision has a run"
    name = threads[0].thread_id.rpartition("-")[0]
    facts = read_facts(arena.rows, arena.folder / "ran", f"{name}-%", arena.call("verify"))
    facts.runs = dict.fromkeys(facts.runs, "done") | dict.fromkeys(facts.runs, "finished")
    assert complaints(history, facts) == []
