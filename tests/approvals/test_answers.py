"""Questions of interrupt(), answered through the API: in turn, side by side, deep down, many at once; and what fails.

Killed workers at questions are in tests/races; which answers fit is in test_answers_matrix.py.
"""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.types import Command

from tests import dialects, outside
from tests.console import Console, wait_for
from tests.dialects import did
from tests.edited import drifting
from tests.graphs import times_run
from tests.scale import share
from tests.voting import code_of, make_overdue, policy, read, vote

ENDED = ("finished", "paused", "failed", "held", "superseded")
_ANSWERABLE = """
SELECT id FROM approvals_approval WHERE thread_id = %s AND status = 'pending' AND allowed_verdicts <> '[]' LIMIT 1
"""


def answer(console: Console, approval: dict[str, Any], given: Any, **more: Any) -> dict[str, Any]:
    """Answer as alice and return the run, once it has ended."""
    vote(console, "alice", approval, "respond", answer=given, **more).raise_for_status()
    return console.run_of(approval["id"], until=ENDED)


def decide(console: Console, approval: dict[str, Any], verdict: str, **more: Any) -> dict[str, Any]:
    vote(console, "alice", approval, verdict, **more).raise_for_status()
    return console.run_of(approval["id"], until=ENDED)


def asked(console: Console, thread_id: str) -> dict[str, dict[str, Any]]:
    """Return what waits on a thread, by title."""
    with console.api("alice") as alice:
        waits = {"thread_id": thread_id, "status": "pending", "limit": 50}
        found = alice.get("/approvals", params=waits).json()["items"]
        return {each["title"]: alice.get(f"/approvals/{each['id']}").json() for each in found}


def values(console: Console, thread_id: str) -> dict[str, Any]:
    with console.api("erin") as erin:
        return dict(erin.get(f"/threads/{thread_id}/state").json()["values"])


def status(console: Console, thread_id: str) -> str:
    with console.api("erin") as erin:
        return str(erin.get(f"/threads/{thread_id}").json()["status"])


def ask_again(console: Console, thread_id: str, *, by: str = "olga") -> httpx.Response:
    with console.api(by) as person:
        return person.post(f"/threads/{thread_id}/ask_again")


def asked_again(console: Console, thread_id: str) -> dict[str, Any]:
    """Have it asked again, and return what can be answered then."""
    ask_again(console, thread_id).raise_for_status()
    with console.rows(_ANSWERABLE, thread_id) as rows:
        ((approval_id,),) = wait_for(rows, what="the question to be asked again", shortest=0.01)
    return read(console, {"id": approval_id})


def entries(console: Console, thread_id: str, action: str) -> list[dict[str, Any]]:
    with console.api("erin") as erin:
        return list(erin.get("/audit", params={"thread_id": thread_id, "action": action}).json()["items"])


# One after the other


def test_questions_of_one_node_are_asked_in_turn(console: Console, data_dir: Path) -> None:
    first = console.pause("d_in_turn", {"amount": 1})
    thread_id = first["thread_id"]
    assert answer(console, first, "A")["status"] == "paused"
    second = console.pending(thread_id)
    assert (second["title"], second["summary"]) == ("Question: “second?”", "after: A")
    assert code_of(vote(console, "bob", first, "respond", answer="again")) == (409, "already_decided")
    assert answer(console, second, None)["status"] == "paused"
    third = console.pending(thread_id)
    ids = {each["interrupt_id"] for each in (first, second, third)}
    assert len(ids) == 3, "each is a question of its own"
    assert answer(console, third, 3)["status"] == "finished"
    assert values(console, thread_id)["got"] == [["A", None, 3]]
    assert times_run(data_dir, thread_id, "twice") == 1


def test_calls_are_decided_one_at_a_time(console: Console, data_dir: Path) -> None:
    calls = [
        ("pay", {"order": "A1", "amount": 2}),
        ("wipe", {"path": "/x"}),
        ("send_mail", {"to": "a", "subject": "b"}),
    ]
    content = json.dumps([{"name": name, "args": args} for name, args in calls])
    thread_id = console.pause("d_per_call", {"messages": [{"role": "user", "content": content}]})["thread_id"]
    by_name = {each["actions"][0]["name"]: each for each in asked(console, thread_id).values()}
    assert by_name.keys() == {"pay", "wipe", "send_mail"}
    edited = {"type": "edit", "edited_action": {"name": "pay", "args": {"order": "A1", "amount": 1}}}
    assert answer(console, by_name["pay"], edited)["status"] == "paused"
    assert decide(console, by_name["wipe"], "reject", comment="No.")["status"] == "paused"
    assert answer(console, by_name["send_mail"], {"type": "respond", "message": "Sent."})["status"] == "finished"
    assert did(thread_id, data_dir) == [{"name": "pay", "args": {"order": "A1", "amount": 1.0, "currency": "EUR"}}]
    told = [each["content"] for each in values(console, thread_id)["messages"] if each["type"] == "tool"]
    assert told[0].endswith("pay is done")
    assert told[1:] == ["User rejected the tool call for `wipe` with reason: No.", "Sent."]


# Side by side


@pytest.mark.full
def test_two_nodes_ask_at_once_and_an_answer_to_one_leaves_the_other_as_it_was(console: Console) -> None:
    thread_id = console.pause("d_parallel", {"amount": 1})["thread_id"]
    before = asked(console, thread_id)
    assert answer(console, before["Question: “left?”"], "L")["status"] == "paused"
    after = asked(console, thread_id)
    assert list(after) == ["Question: “right?”"]
    assert (after["Question: “right?”"]["id"], after["Question: “right?”"]["digest"]) == (
        before["Question: “right?”"]["id"],
        before["Question: “right?”"]["digest"],
    )
    assert answer(console, before["Question: “right?”"], "R")["status"] == "finished"
    assert values(console, thread_id)["got"] == [{"left": "L", "amount": 1}, {"right": "R", "amount": 1}]


def test_an_edit_that_comes_with_an_answer_is_seen_by_the_other_node_and_by_who_votes_there(console: Console) -> None:
    thread_id = console.pause("d_parallel", {"amount": 1})["thread_id"]
    before = asked(console, thread_id)
    edits = {"amount": {"op": "set", "value": 5}}
    assert answer(console, before["Question: “left?”"], "L", edits=edits)["status"] == "paused"
    right = asked(console, thread_id)["Question: “right?”"]
    assert right["id"] == before["Question: “right?”"]["id"]
    assert (right["state"]["amount"], right["digest"] == before["Question: “right?”"]["digest"]) == (5, False)
    assert code_of(vote(console, "alice", before["Question: “right?”"], "respond", answer="R")) == (409, "stale")
    again = vote(console, "alice", right, "respond", answer="R", edits={"amount": {"op": "set", "value": 6}})
    assert code_of(again) == (422, "invalid_edit")
    assert again.json()["error"]["detail"]["faults"][0]["path"] == "amount"
    assert answer(console, right, "R")["status"] == "finished"
    assert values(console, thread_id) == {
        "amount": 5,
        "got": [{"left": "L", "amount": 5}, {"right": "R", "amount": 5}],
    }


@pytest.mark.full
def test_many_questions_of_one_fan_out_are_each_answered(console: Console, data_dir: Path) -> None:
    thread_id = console.pause("d_fanned", {"amount": 1})["thread_id"]
    waiting = asked(console, thread_id)
    assert set(waiting) == {f"Question: “budget of {number}?”" for number in range(dialects.FANNED)}
    for number in reversed(range(dialects.FANNED)):
        run = answer(console, waiting[f"Question: “budget of {number}?”"], number * 10)
        assert run["status"] == ("paused" if number else "finished")
    assert values(console, thread_id)["got"] == [{str(number): number * 10} for number in range(dialects.FANNED)]
    assert times_run(data_dir, thread_id, "before") == 1


# Deep down


def test_a_question_two_graphs_down_is_answered_from_above(console: Console, data_dir: Path) -> None:
    approval = console.pause("d_deep", {"amount": 1})
    assert (approval["next"], approval["request"]["path"]) == (["outer"], ["outer", "middle", "strict_int"])
    assert answer(console, approval, 4)["status"] == "finished"
    assert values(console, approval["thread_id"]) == {"amount": 1, "got": [4]}
    assert times_run(data_dir, approval["thread_id"], "before") == 2, "one in each graph, and none of them again"


# Several people


def test_the_second_person_agrees_with_an_answer_or_proposes_another(console: Console) -> None:
    with policy("d_asks", approvals=2):
        approval = console.pause("d_asks", {"ask": "What is the limit?"})
    assert vote(console, "alice", approval, "respond", answer=True).json()["decision"] is None
    first = read(console, approval)
    assert (first["proposal"]["answer"] is True, first["digest"] == approval["digest"]) == (True, False)
    assert code_of(vote(console, "bob", approval, "respond")) == (409, "stale"), "who has not seen it cannot agree"
    other = vote(console, "bob", first, "respond", answer=1).json()
    assert (other["approvals_so_far"], other["decision"]) == (1, None), "true is no vote for one"
    second = read(console, approval)
    assert [each["ended_as"] for each in second["votes"]] == ["cleared", None]
    decided = vote(console, "carol", second, "respond").json()["decision"]
    assert (decided["decided_by"], decided["answer"]) == ("bob, carol", 1)
    console.run_of(approval["id"])
    assert json.dumps(values(console, approval["thread_id"])["got"]) == "[1]"


@pytest.mark.full
def test_null_is_an_answer_that_others_can_agree_with(console: Console) -> None:
    with policy("d_asks", approvals=2):
        approval = console.pause("d_asks", {"ask": "What is the limit?"})
    assert code_of(vote(console, "alice", approval, "respond")) == (422, "invalid_answer")
    assert vote(console, "alice", approval, "respond", answer=None).json()["decision"] is None
    proposed = read(console, approval)
    assert vote(console, "bob", proposed, "respond").json()["decision"]["verdict"] == "respond"
    assert console.run_of(approval["id"])["status"] == "finished"
    assert values(console, approval["thread_id"])["got"] == [None]


@pytest.mark.full
def test_when_the_time_is_over_a_call_is_rejected_and_a_question_is_shown_to_others(console: Console) -> None:
    request = {"action_request": {"action": "pay", "args": {}}, "config": {"allow_accept": True, "allow_ignore": True}}
    with policy("d_legacy", deadline_minutes=1, on_deadline="deny"):
        call = console.pause("d_legacy", {"ask": [request]})
    with policy("d_asks", deadline_minutes=1, on_deadline="deny"):
        question = console.pause("d_asks", {"ask": "What is the limit?"})
    make_overdue(call)
    make_overdue(question)
    assert console.run_of(call["id"])["status"] == "finished"
    assert values(console, call["thread_id"])["got"] == [["ignore", None]]
    assert read(console, call)["decision"]["decided_by"] == "the deadline"
    wait_for(lambda: read(console, question)["escalated_at"], what="the question to be shown to others")
    assert answer(console, question, 7)["status"] == "finished"


# Edits


def test_an_answer_with_an_edit_does_what_the_preview_showed(console: Console) -> None:
    approval = console.pause("d_asks", {"ask": "What is the limit?", "got": ["before"]})
    edits = {"amount": {"op": "set", "value": 9.5}, "got": {"op": "append", "value": ["by hand"]}}
    with console.api("alice") as alice:
        shown = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": edits}).json()
    assert (shown["next"], shown["next_before"]) == (["ask"], ["ask"])
    assert (shown["values"]["amount"], shown["values"]["got"]) == (9.5, ["before", "by hand"])
    assert answer(console, approval, 1, edits=edits, seen_preview=shown["digest"])["status"] == "finished"
    assert values(console, approval["thread_id"]) == {
        "ask": "What is the limit?",
        "amount": 9.5,
        "got": ["before", "by hand", 1],
    }


@pytest.mark.full
def test_an_edit_that_leads_elsewhere_than_was_shown_gives_no_answer(console: Console, data_dir: Path) -> None:
    with policy("fickle_asking", approvals=2):
        approval = console.pause("fickle_asking", {"total": 1})
    edits = {"drifted": {"op": "append", "value": 73}}
    vote(console, "alice", approval, "respond", answer="one", edits=edits).raise_for_status()
    drifting(data_dir, 73).touch()
    vote(console, "bob", read(console, approval), "respond").raise_for_status()
    run = console.run_of(approval["id"], until=ENDED)
    assert (run["status"], "preview" in run["problem"]) == ("superseded", True)
    assert not values(console, approval["thread_id"]).get("drifted")
    again = console.pending(approval["thread_id"])
    assert (again["id"] == approval["id"], again["digest"] == approval["digest"]) == (False, True)
    assert answer(console, again, "two", edits=edits)["status"] == "finished"
    assert values(console, approval["thread_id"])["notes"] == ["answered two"]


# What ran, and what was decided


def test_a_call_that_ran_though_it_was_rejected_is_flagged(console: Console, data_dir: Path) -> None:
    content = json.dumps([{"name": "wipe", "args": {"path": "/x"}}])
    approval = console.pause("d_flipping", {"messages": [{"role": "user", "content": content}]})
    decide(console, approval, "reject", comment="Never.")
    assert did(approval["thread_id"], data_dir) == [{"name": "wipe", "args": {"path": "/x"}}]
    sentence = "wipe ran although the call was rejected."
    assert read(console, approval)["decision"]["deviations"] == [sentence]
    [entry] = entries(console, approval["thread_id"], "decision.not_followed")
    assert (entry["object"]["what"], entry["outcome"]) == ([sentence], "deviated")
    assert entry["object"]["approval"] == approval["id"]


EDITED = {"type": "edit", "edited_action": {"name": "pay", "args": {"order": "A1", "amount": 5}}}


@pytest.mark.parametrize(
    ("choice", "flagged"),
    share(
        [
            ({"type": "approve"}, []),
            ({"type": "reject"}, ["pay ran although the call was rejected."]),
            (EDITED, ["pay ran with other arguments than were decided."]),
        ],
        2,
        of=3,
    ),
)
def test_an_agent_that_does_not_listen_is_flagged(
    console: Console, data_dir: Path, choice: dict[str, Any], flagged: list[str]
) -> None:
    approval = console.pause("d_heedless", {"amount": 1})
    assert answer(console, approval, {"decisions": [choice]})["status"] == "finished"
    assert [each["args"]["amount"] for each in did(approval["thread_id"], data_dir)] == [20.5]
    assert read(console, approval)["decision"]["deviations"] == flagged
    found = entries(console, approval["thread_id"], "decision.not_followed")
    assert [entry["object"]["what"] for entry in found] == ([flagged] if flagged else [])


# Answers that a node fails with


@pytest.mark.parametrize("graph", share(["d_poisonable", "d_deep"], 1, of=2))
def test_a_bad_answer_is_taken_back_and_a_good_one_given(console: Console, data_dir: Path, graph: str) -> None:
    first = console.pause(graph, {"amount": 1})
    thread_id = first["thread_id"]
    run = answer(console, first, "many")
    assert (run["status"], run["error"]) == ("failed", "TypeError")
    assert (status(console, thread_id), asked(console, thread_id)) == ("error", {})
    second = asked_again(console, thread_id)
    assert second["id"] != first["id"], "what was decided stays decided: this is another approval"
    assert second["interrupt_id"] == first["interrupt_id"]
    assert status(console, thread_id) == "interrupted"
    assert answer(console, second, 4)["status"] == "finished"
    assert values(console, thread_id)["got"] == [4]
    assert read(console, first)["decision"]["answer"] == "many"
    assert [entry["actor"] for entry in entries(console, thread_id, "run.repaired")] == ["olga"]
    assert times_run(data_dir, thread_id, "before") == (2 if graph == "d_deep" else 0)


@pytest.mark.full
def test_a_bad_answer_may_be_given_and_taken_back_more_than_once(console: Console) -> None:
    approval = console.pause("d_poisonable", {"amount": 1})
    for bad in ("one", [2]):
        assert answer(console, approval, bad)["status"] == "failed"
        approval = asked_again(console, approval["thread_id"])
    assert answer(console, approval, 3)["status"] == "finished"
    assert values(console, approval["thread_id"])["got"] == [3]


def test_a_question_beside_one_that_failed_waits_and_says_why(console: Console) -> None:
    thread_id = console.pause("d_parallel", {"amount": 1})["thread_id"]
    before = asked(console, thread_id)
    assert answer(console, before["Question: “right?”"], "fail")["status"] == "failed"
    left = asked(console, thread_id)["Question: “left?”"]
    assert (left["id"], left["allowed_verdicts"]) == (before["Question: “left?”"]["id"], [])
    assert "Another question of the same step" in left["why_not"]
    refused = vote(console, "alice", left, "respond", answer="L")
    assert code_of(refused) == (422, "invalid_answer")
    assert refused.json()["error"]["message"] == left["why_not"]
    ask_again(console, thread_id).raise_for_status()
    waiting = wait_for(lambda: len(asked(console, thread_id)) == 2 and asked(console, thread_id), what="both to wait")
    assert waiting["Question: “left?”"]["id"] == left["id"]
    assert waiting["Question: “left?”"]["digest"] == before["Question: “left?”"]["digest"], (
        "who looked at it may vote on it now"
    )
    assert answer(console, before["Question: “left?”"], "L")["status"] == "paused"
    assert answer(console, waiting["Question: “right?”"], "R")["status"] == "finished"
    assert values(console, thread_id)["got"] == [{"left": "L", "amount": 1}, {"right": "R", "amount": 1}]


@pytest.mark.parametrize("given", share(["A", None, 2**60], 1, of=3))
def test_after_a_failure_the_same_answer_is_given_again_and_the_next_question_is_asked(
    console: Console, data_dir: Path, given: Any
) -> None:
    first = console.pause("d_flaking", {"amount": 1})
    thread_id = first["thread_id"]
    run = answer(console, first, given)
    assert (run["status"], run["error"]) == ("failed", "ConnectionError")
    with console.api("olga") as olga:
        olga.post(f"/runs/{run['id']}/retry").raise_for_status()
    second = console.pending(thread_id)
    assert second["title"] == "Question: “second?”", "the first answer answers the first question alone"
    assert console.run_of(first["id"], until=ENDED)["status"] == "paused"
    assert answer(console, second, "B")["status"] == "finished"
    assert times_run(data_dir, thread_id, "flaky") == 3
    [[first_given, second_given]] = values(console, thread_id)["got"]
    assert (first_given == given or first_given["value"] == str(given), second_given) == (True, "B")


def test_a_run_that_was_given_up_is_asked_again(console: Console) -> None:
    first = console.pause("d_flaking", {"amount": 1})
    thread_id = first["thread_id"]
    run = answer(console, first, "A")
    with console.api("olga") as olga:
        olga.post(f"/runs/{run['id']}/give_up").raise_for_status()
    again = asked_again(console, thread_id)
    assert (again["title"], again["id"] == first["id"]) == ("Question: “first?”", False)
    assert answer(console, again, "other")["status"] == "paused"
    assert answer(console, console.pending(thread_id), "B")["status"] == "finished"
    assert values(console, thread_id)["got"] == [["other", "B"]]


# Others who answer, without the console


def test_a_question_that_somebody_else_poisoned_says_so_and_is_mended(console: Console, database: str) -> None:
    approval = console.pause("d_poisonable", {"amount": 1})
    thread_id = approval["thread_id"]
    bad = Command(resume={approval["interrupt_id"]: "many"})
    good = Command(resume={approval["interrupt_id"]: 4})
    assert outside.run(database, dialects.poisonable, thread_id, bad) == "TypeError"
    assert outside.run(database, dialects.poisonable, thread_id, good) == "TypeError", "and LangGraph cannot mend it"
    assert code_of(vote(console, "alice", approval, "respond", answer=4))[0] in (409, 422)
    found = wait_for(
        lambda: next((each for each in asked(console, thread_id).values() if each["why_not"]), None),
        what="the console to find out",
    )
    assert (found["id"] != approval["id"], found["allowed_verdicts"]) == (True, [])
    assert found["why_not"].startswith("An answer is stored here that the node failed with.")
    refused = vote(console, "alice", found, "respond", answer=4)
    assert code_of(refused) == (422, "invalid_answer")
    assert refused.json()["error"]["message"] == found["why_not"]
    assert answer(console, asked_again(console, thread_id), 4)["status"] == "finished"
    assert values(console, thread_id) == {"amount": 1, "got": [4]}


@pytest.mark.full
@pytest.mark.parametrize(
    ("graph_id", "graph"), share([("d_poisonable", dialects.poisonable), ("d_deep", dialects.deep)], 1, of=2)
)
def test_a_thread_that_came_poisoned_is_listed_and_mended(
    console: Console, database: str, graph_id: str, graph: Any
) -> None:
    thread_id = f"poisoned-elsewhere-{graph_id}"
    failed = outside.run(database, graph, thread_id, {"amount": 1}, Command(resume="many"), graph_id=graph_id)
    assert failed == "TypeError"
    found = console.pending(thread_id)
    assert (found["kind"], found["allowed_verdicts"], found["title"]) == ("plain", [], "Question: “How many?”")
    assert found["why_not"]
    assert answer(console, asked_again(console, thread_id), 4)["status"] == "finished"
    assert values(console, thread_id) == {"amount": 1, "got": [4]}


@pytest.mark.full
def test_an_answer_without_an_id_does_not_answer_what_is_asked_next(console: Console, database: str) -> None:
    """The agent's own code answers the first with Command(resume=...); the rest is answered here, and each is asked."""
    thread_id = console.pause("d_in_turn", {"amount": 1})["thread_id"]
    outside.run(database, dialects.in_turn, thread_id, Command(resume="yes"))
    second = wait_for(lambda: asked(console, thread_id).get("Question: “second?”"), what="the second question")
    assert answer(console, second, "B")["status"] == "paused"
    third = console.pending(thread_id)
    assert third["title"] == "Question: “third?”"
    assert answer(console, third, "C")["status"] == "finished"
    assert values(console, thread_id)["got"] == [["yes", "B", "C"]]


@pytest.mark.full
def test_a_question_answered_elsewhere_is_closed_here(console: Console, database: str) -> None:
    approval = console.pause("d_in_turn", {"amount": 1})
    answers = [Command(resume={approval["interrupt_id"]: "elsewhere"})]
    outside.run(database, dialects.in_turn, approval["thread_id"], *answers)
    late = vote(console, "alice", approval, "respond", answer="here")
    assert code_of(late) in ((409, "stale"), (410, "superseded"))
    second = wait_for(
        lambda: asked(console, approval["thread_id"]).get("Question: “second?”"), what="the second question"
    )
    assert read(console, approval)["status"] == "superseded"
    assert second["summary"] == "after: “elsewhere”"


# What cannot be asked again


def test_only_what_waits_for_no_answer_can_be_asked_again(console: Console) -> None:
    waiting = console.pause("d_asks", {"ask": "What is the limit?"})
    gate = console.pause("gated", {"text": "x"})
    refused = ask_again(console, waiting["thread_id"])
    assert code_of(refused) == (409, "conflict")
    assert refused.json()["error"]["message"] == "The question waits already: answer it."
    refused = ask_again(console, gate["thread_id"])
    assert code_of(refused) == (409, "conflict")
    assert "does not stand at a question" in refused.json()["error"]["message"]
    assert code_of(ask_again(console, "no-such-thread")) == (404, "not_found")
    assert code_of(ask_again(console, waiting["thread_id"], by="erin")) == (403, "denied")
    assert answer(console, waiting, 1)["status"] == "finished"
    refused = ask_again(console, waiting["thread_id"])
    assert code_of(refused) == (409, "conflict"), "a graph that has ended asks nothing"


def test_a_nul_in_what_an_agent_asks_hangs_nothing(console: Console) -> None:
    words = console.pause("d_with_nul", {"amount": 1})
    assert answer(console, words, "yes")["status"] == "paused"
    action = console.pending(words["thread_id"])
    assert action["actions"][0]["args"] == {"to\x00": "A\x00B"}
    vote(console, "alice", action, "approve").raise_for_status()
    assert console.run_of(action["id"])["status"] == "finished"
    assert values(console, words["thread_id"])["got"] == ["yes", "accept"]


@pytest.mark.parametrize(
    ("ran", "flagged"),
    [
        ([("pay", {"amount": 5}, "c1")], False),
        ([("pay", {"amount": 5}, "c1")] * 2, False),
        ([("pay", {"amount": 500}, "c1")], True),
        ([("wire", {"amount": 5}, "c1")], True),
        ([("pay", {"amount": 500}, "c2")], False),
        ([("pay", {"amount": 500}, "")], False),
        ([("pay", {"amount": "[secret]"}, "c1")], True),
    ],
    ids=["as approved", "once more", "other arguments", "another tool", "another call", "no id", "a text"],
)
def test_an_approved_call_that_ran_with_other_arguments_is_flagged(
    database: str, ran: list[tuple[str, Any, str]], flagged: bool
) -> None:
    """An agent may make another call of what was approved; by its id it is still the same."""
    from agentcore.plain.types import Call
    from approvals.domain.answers import deviations
    from approvals.models import Approval, Decision

    asked = {
        "action_requests": [{"name": "pay", "args": {"amount": 5}}],
        "review_configs": [{"action_name": "pay", "allowed_decisions": ["approve", "reject"]}],
    }
    action = {"name": "pay", "args": {"amount": 5}, "allowed": ["approve", "reject"], "call_id": "c1"}
    approval = Approval(kind="hitl_batched", request={"value": asked}, actions=[action])
    found = deviations(approval, Decision(verdict="approve"), [Call(*call) for call in ran])
    assert found == (["pay ran with other arguments than were approved."] if flagged else [])
