"""Several people at the same question, or at questions of one step, at the same moment. Over HTTP, but for the last."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console import Console, wait_for
from tests.graphs import times_run
from tests.races.forked import Arena
from tests.races.questions import asked as asked_in
from tests.races.questions import call, copied
from tests.scale import tries
from tests.voting import code_of, vote

ROUNDS = tries(3, full=300)
PAIRS = tries(3, full=100)
REPAIRS = tries(2, full=100)
ENDED = ("finished", "paused", "failed", "superseded")
pytestmark = pytest.mark.timeout(tries(300, full=1_800))
Send = Callable[[], httpx.Response]
_OPEN = "SELECT 1 FROM approvals_approval WHERE thread_id = %s AND status = 'pending'"


def at_once(*sending: Send) -> list[httpx.Response]:
    """Have each sent at the same moment, from threads of their own."""
    together = threading.Barrier(len(sending))

    def send(each: Send) -> httpx.Response:
        together.wait(60)
        return each()

    with ThreadPoolExecutor(len(sending)) as people:
        return list(people.map(send, sending))


def asked(console: Console, thread_id: str) -> dict[str, dict[str, Any]]:
    """Return what waits on a thread for an answer, by its words."""
    with console.api("erin") as erin:
        found = erin.get("/approvals", params={"thread_id": thread_id, "status": "pending"}).json()["items"]
        full = [erin.get(f"/approvals/{each['id']}").json() for each in found]
    assert len({each["interrupt_id"] for each in full}) == len(full), "the same question is open twice"
    return {each["title"].removeprefix("Question: “").removesuffix("”"): each for each in full}


def asking(console: Console, graph: str, count: int, questions: int) -> list[dict[str, dict[str, Any]]]:
    """Start threads, and return what each asks."""
    threads = [console.start_run(graph, {"ask": "limit?", "amount": 1}) for _ in range(count)]
    for thread_id in threads:
        with console.rows(_OPEN, thread_id) as read:
            wait_for(lambda read=read: len(read()) == questions, what="the questions")
    return [asked(console, thread_id) for thread_id in threads]


def answering(console: Console, name: str, approval: dict[str, Any], given: Any) -> Send:
    console.token(name)
    return lambda: vote(console, name, approval, "respond", answer=given)


def waiting(console: Console, thread_id: str) -> list[dict[str, Any]]:
    return [each for each in asked(console, thread_id).values() if each["allowed_verdicts"]]


def repairing(console: Console, thread_id: str) -> Send:
    console.token("olga")

    def send() -> httpx.Response:
        with console.api("olga") as olga:
            return olga.post(f"/threads/{thread_id}/ask_again")

    return send


def once_free(send: Send) -> httpx.Response:
    """Send again while a run holds the thread."""
    deadline = time.monotonic() + 30
    while True:
        answer = send()
        if answer.status_code != 409 or time.monotonic() > deadline:
            return answer
        assert code_of(answer)[1] in ("busy", "conflict"), answer.text
        time.sleep(0.05)


def got(console: Console, thread_id: str) -> Any:
    with console.api("erin") as erin:
        return erin.get(f"/threads/{thread_id}/state").json()["values"]["got"]


def runs_of(thread_id: str, kind: str) -> int:
    from approvals.models import Run

    return Run.objects.filter(thread_id=thread_id, kind=kind).count()


def test_of_two_who_answer_the_same_question_one_is_told_that_it_is_answered(console: Console, data_dir: Path) -> None:
    won = {"alice": 0, "bob": 0}
    for number, questions in enumerate(asking(console, "d_asks", ROUNDS, questions=1)):
        [approval] = questions.values()
        answers = at_once(*(answering(console, name, approval, f"{name} {number}") for name in won))
        assert sorted(answer.status_code for answer in answers) == [201, 409], (number, [a.text for a in answers])
        for name, answer in zip(won, answers, strict=True):
            if answer.status_code == 201:
                won[name] += 1
                assert console.run_of(approval["id"])["status"] == "finished"
                assert got(console, approval["thread_id"]) == [f"{name} {number}"], number
            else:
                assert code_of(answer)[1] == "already_decided"
        assert times_run(data_dir, approval["thread_id"], "ask") == 1, number
        assert runs_of(approval["thread_id"], "resume") == 1
    print(f"{ROUNDS} rounds, won by {won}")  # noqa: T201


def test_two_who_answer_two_questions_of_a_step_each_get_their_answer_in(console: Console) -> None:
    waited = 0
    for number, questions in enumerate(asking(console, "d_parallel", PAIRS, questions=2)):
        left, right = questions["left?"], questions["right?"]
        sending = [answering(console, "alice", left, f"L {number}"), answering(console, "bob", right, f"R {number}")]
        answers = at_once(*sending)
        assert 201 in [answer.status_code for answer in answers], number
        for answer, send in zip(answers, sending, strict=True):
            if answer.status_code != 201:
                assert code_of(answer) == (409, "busy"), (number, answer.text)
                waited += 1
                assert once_free(send).status_code == 201, number
        assert {console.run_of(each["id"], until=ENDED)["status"] for each in (left, right)} <= {"paused", "finished"}
        wanted = [{"left": f"L {number}", "amount": 1}, {"right": f"R {number}", "amount": 1}]
        assert wait_for(lambda t=left["thread_id"]: got(console, t), what="both") == wanted, number
        assert runs_of(left["thread_id"], "resume") == 2
    assert waited > PAIRS / 2, "the two met"
    print(f"{PAIRS} pairs, {waited} of whom had to wait")  # noqa: T201


def test_a_question_that_two_have_asked_again_is_asked_again_once(console: Console) -> None:
    for number, questions in enumerate(asking(console, "d_poisonable", REPAIRS, questions=1)):
        [approval] = questions.values()
        thread_id = approval["thread_id"]
        vote(console, "alice", approval, "respond", answer="many").raise_for_status()
        assert console.run_of(approval["id"], until=ENDED)["status"] == "failed"
        answers = at_once(*[repairing(console, thread_id)] * 2)
        assert sorted(answer.status_code // 100 for answer in answers) == [2, 4], (number, [a.text for a in answers])
        assert {answer.status_code for answer in answers if answer.is_error} == {409}
        [again] = wait_for(lambda t=thread_id: waiting(console, t), what="it to be asked again")
        assert runs_of(thread_id, "repair") == 1
        late = repairing(console, thread_id)()
        assert code_of(late) == (409, "conflict"), "it waits already"
        vote(console, "bob", again, "respond", answer=number).raise_for_status()
        assert console.run_of(again["id"], until=ENDED)["status"] == "finished"
        assert got(console, thread_id) == [number]


def test_asking_again_and_an_answer_to_the_other_question_take_turns(arena: Arena) -> None:
    """The left answer was held when its worker died, and given up. At once, and with a head start for each."""
    call(arena, "carry_out_in_turn", arena.call("start", "beside", ["at-once"]))
    threads = copied(arena, "at-once", PAIRS)
    lefts = [asked_in(arena, each)["left?"] for each in threads]
    runs = [vote["run"] for vote in call(arena, "answer", [(left, "given up", {}) for left in lefts])]
    for run in runs:
        assert arena.fork("carry_out", [run], failpoints="run.entered=kill").died()
    arena.end_leases()
    arena.call("recover", runs)
    call(arena, "give_up", runs)
    rights = {each: asked_in(arena, each)["right?"] for each in threads}
    rounds = [((rights[each], f"R {each}", {}), 0.3 * (number % 3 - 1)) for number, each in enumerate(threads)]
    turns = Counter(call(arena, "repair_beside", rounds))
    assert turns.keys() == {("", "busy"), ("conflict", "")}, turns

    def carried_out() -> None:
        due = arena.rows("SELECT id::text FROM approvals_run WHERE thread_id = ANY(%s) AND status = 'queued'", threads)
        call(arena, "carry_out_in_turn", [run for (run,) in due])

    carried_out()
    without = [each for each in threads if "left?" not in asked_in(arena, each)]
    call(arena, "repair", without)
    carried_out()
    rounds_of = "SELECT max(round) FROM approvals_approval WHERE thread_id = %s AND title = 'Question: “left?”'"
    for words, value in (("left?", "L"), ("right?", "R")):
        waiting = [(asked_in(arena, each).get(words), f"{value} {each}", {}) for each in threads]
        call(arena, "answer", [each for each in waiting if each[0]])
        carried_out()
    for each in threads:
        assert arena.rows(rounds_of, each) == [(2,)]
        [(status, notes)] = arena.rows(
            "SELECT status, state::json -> 'notes' FROM approvals_thread WHERE id = %s", each
        )
        assert (status, sorted(notes)) == ("idle", ["close", f"left: L {each}", f"right: R {each}", "work"])
    print(f"{PAIRS} times: {dict(turns)}")  # noqa: T201


def test_a_vote_that_waited_for_another_answer_of_its_step_rests_on_what_that_left(arena: Arena) -> None:
    """It began to wait before the run of the other answer had stored what the open questions rest on now."""
    threads = [f"waited-{number}" for number in range(PAIRS)]
    call(arena, "carry_out_in_turn", arena.call("start", "beside", threads))
    for number, thread_id in enumerate(threads):
        questions = asked_in(arena, thread_id)
        [answered] = call(arena, "answer", [(questions["left?"], f"L {number}", {})])
        storing = arena.fork("carry_out", [answered["run"]], failpoints="audit.written=stop@2", most_idle_seconds=None)
        storing.wait_until_stopped()
        with ThreadPoolExecutor(1) as beside:
            voting = beside.submit(call, arena, "answer", [(questions["right?"], f"R {number}", {})])
            wait_for(
                lambda: arena.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                what="the vote to wait",
            )
            storing.go_on()
            [voted] = voting.result()
        assert "run" in voted, voted
        storing.result()
