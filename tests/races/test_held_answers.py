"""What becomes of an answer whose worker died or froze: asked again, held, carried out once, and beside another one.

`test_killed_at_questions.py` kills at each step; here each test has a story of its own.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.checker import History, complaints, read_facts
from tests.graphs import times_run
from tests.races.answer_trials import (
    AT_A_TIME,
    EDITS,
    PENDING,
    SHARES,
    TIMES,
    answered,
    check,
    gone_on,
    recovered,
    trials,
)
from tests.races.asking import BAD
from tests.races.forked import Arena
from tests.races.questions import asked, call, copied
from tests.scale import share

pytestmark = pytest.mark.timeout(600 * TIMES)


# The same edit with two answers


SAME_AT = [
    "run.entered",
    *share([f"{at}@{number}" for number in (1, 2) for at in PENDING], 1, of=4),
    "right:began",
]


def test_the_same_edit_with_both_answers_of_a_step_is_there_twice_though_a_worker_died(
    arena: Arena, at_questions: list[str]
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
    arena: Arena, at_questions: list[str], kind: str, words: str, others: list[str]
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


def test_only_what_may_have_been_running_when_the_worker_died_is_in_doubt(
    arena: Arena, at_questions: list[str]
) -> None:
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


def test_a_node_that_had_ended_before_its_step_was_stored_is_not_in_doubt(
    arena: Arena, at_questions: list[str]
) -> None:
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


def test_while_an_answer_is_held_the_other_question_waits(arena: Arena, at_questions: list[str]) -> None:
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
    arena: Arena, at_questions: list[str]
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
    first, second, last = (entries.get(thread, 0) for thread in threads)
    assert (first, second) == (1, 1)
    # It had stored its question. If its node's end was noted too, only how the run had stopped is left, and dropped.
    assert last in (0, 1)
    check(arena, history, found)
