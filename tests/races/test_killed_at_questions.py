"""Workers die at each step of answering `interrupt()`, and again while that is recovered.

What is recorded is what the node is given; it answers no other question, and what has ended does not run again.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.checker import History
from tests.races.answer_trials import (
    AT_A_TIME,
    EDITS,
    PARTS,
    PENDING,
    SEED,
    SHARES,
    TIMES,
    Trial,
    check,
    gone_on,
    recovered,
    trials,
)
from tests.races.forked import Arena
from tests.scale import IS_FULL, share, times_reached, tries

AGAIN = 0.5 if IS_FULL else 0.2
"""Which part of them dies once more."""
STEPS = ("run.claimed", "run.entered", "run.stopped", "run.settled")
WRITES = ("saver.before_put", *PENDING, "saver.after_put")
PLACES = ("began", "paying", "paid")
USUAL = ("one_resuming", "turns", "beside", "later")
COUNTS = {
    "one": tries(4, full=28),
    "turns": tries(4, full=20),
    "beside": tries(4, full=22),
    "later": tries(1, full=3),
}
"""Places to die at; with FULL=1 one more for each kind of write: the one that there is not."""
pytestmark = pytest.mark.timeout(600 * TIMES)


def die_everywhere(made: list[Trial]) -> list[Trial]:
    """Kill a worker at each step, in each place of the nodes, and at each write; usually at a part of them."""
    kind, number = made[0].kind, SHARES[made[0].kind]
    inside = share([f"{part}:{place}" for part in PARTS[kind] for place in PLACES], number, of=6)
    if kind == "later":
        return [trial for trial, at in zip(made, inside, strict=True) if trial.dies(at)]
    once = [*share(STEPS, number, of=4), *inside]
    dead = [trial for trial, at in zip(made, once, strict=False) if trial.dies(at)]
    left = iter(made[len(once) :])
    for at in share(WRITES, number, of=4):
        for time_reached in times_reached():
            trial = next(left)
            if not trial.dies(f"{at}@{time_reached}"):
                break
            dead.append(trial)
    return dead


def test_a_worker_that_dies_at_any_step_of_an_answer_gives_it_once_and_to_its_question_alone(
    arena: Arena, at_questions: list[str]
) -> None:
    history = History()
    graphs = at_questions if IS_FULL else USUAL
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
