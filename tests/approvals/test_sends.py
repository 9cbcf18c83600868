"""Tasks that came by a Send, questions that nodes raise, and runs that do nothing: through the console."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.console import Console
from tests.dialects import did
from tests.graphs import times_run
from tests.scale import share

MALLORY = {"payee": "MALLORY-77", "amount": 98765.0}
ALICE = {"payee": "ALICE-11", "amount": 1.0}


def post(console: Console, approval: dict[str, Any], what: str = "votes", **ballot: Any) -> Any:
    seen = {"verdict": "approve", "seen_digest": approval["digest"]} if what == "votes" else {}
    with console.api("alice") as alice:
        return alice.post(f"/approvals/{approval['id']}/{what}", json={**seen, **ballot})


def decisions(*each: Any) -> dict[str, Any]:
    return {"decisions": [{"type": item} if isinstance(item, str) else item for item in each]}


def edited(name: str, args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


def state_of(console: Console, thread_id: str) -> dict[str, Any]:
    with console.api("alice") as alice:
        found: dict[str, Any] = alice.get(f"/threads/{thread_id}").json()["values"]
    return found


@pytest.fixture(scope="module")
def waiting(console: Console) -> dict[str, dict[str, Any]]:
    """A paused thread of each graph that sends, to look at and to be refused at."""
    graphs = ("s_by_command", "s_by_edge", "s_one")
    return {graph: console.pause(graph, {"order": "A1"}) for graph in graphs}


def test_each_task_is_shown_with_what_was_sent_to_it(waiting: dict[str, dict[str, Any]]) -> None:
    approval = waiting["s_by_command"]
    assert [(action["name"], action["args"]) for action in approval["actions"]] == [("pay", MALLORY), ("pay", ALICE)]
    assert approval["title"] == "Pay(payee “MALLORY-77”, amount 98765.00) + Pay(payee “ALICE-11”, amount 1.00)"
    assert approval["summary"] == "98765.00 to “MALLORY-77” + 1.00 to “ALICE-11”"
    assert approval["allowed_verdicts"] == ["approve", "reject", "skip", "respond"]
    one = waiting["s_one"]
    assert (one["title"], one["summary"], one["actions"][0]["args"]) == (
        "Pay",
        "7.00 to A1-ONE",
        {"payee": "A1-ONE", "amount": 7.0},
    )
    assert waiting["s_by_edge"]["actions"][0]["args"] == {"payee": "A1-SPLIT", "amount": 5.0}


@pytest.mark.parametrize("graph", share(["s_by_command", "s_by_edge", "s_one"], 1, of=3))
def test_a_plain_approval_runs_every_task_with_what_was_shown(console: Console, graph: str) -> None:
    approval = console.pause(graph, {"order": "A1"})
    assert post(console, approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    paid = state_of(console, approval["thread_id"])["paid"]
    assert paid == [f"{each['args']['payee']} {each['args']['amount']}" for each in approval["actions"]]


def test_each_task_is_approved_edited_or_rejected_by_itself(console: Console, data_dir: Path) -> None:
    approval = console.pause("s_by_command", {"order": "A1"})
    answer = decisions({"type": "reject", "message": "not ours"}, edited("pay", {**ALICE, "amount": 2}))
    tried = post(console, approval, "preview", answer=answer)
    assert tried.status_code == 200, tried.text
    assert (tried.json()["next"], tried.json()["sent"]) == (["pay"], [{"node": "pay", "args": {**ALICE, "amount": 2}}])
    voted = post(console, approval, verdict="respond", answer=answer, seen_preview=tried.json()["digest"])
    assert voted.status_code == 201, voted.text
    assert console.run_of(approval["id"])["status"] == "finished"
    assert state_of(console, approval["thread_id"])["paid"] == ["ALICE-11 2"]
    assert times_run(data_dir, approval["thread_id"], "pay") == 1


def test_a_task_that_reads_the_state_is_decided_beside_one_that_was_sent(console: Console, data_dir: Path) -> None:
    approval = console.pause("s_mixed", {"order": "A1"})
    assert [action["allowed"] for action in approval["actions"]] == [
        ["approve", "edit", "reject"],
        ["approve", "reject"],
    ]
    assert post(console, approval, verdict="respond", answer=decisions("approve", "reject")).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    assert state_of(console, approval["thread_id"])["paid"] == ["ALICE-11 1.0"]
    assert times_run(data_dir, approval["thread_id"], "audit") == 0


@pytest.mark.full
def test_a_thread_of_which_every_task_is_rejected_ends(console: Console, data_dir: Path) -> None:
    approval = console.pause("s_by_command", {"order": "A1"})
    assert post(console, approval, verdict="respond", answer=decisions("reject", "reject")).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    assert times_run(data_dir, approval["thread_id"], "pay") == 0


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        (decisions("approve"), "decisions"),
        (decisions("approve", "skip"), "decisions/1"),
        (decisions("approve", edited("wire", ALICE)), "decisions/1"),
        (decisions("approve", edited("pay", {**ALICE, "amount": "much"})), "decisions/1/edited_action/args/amount"),
        (decisions("approve", edited("pay", {"payee": "BOB"})), "decisions/1/edited_action/args/amount"),
    ],
    ids=["one missing", "no such verdict", "another node", "another type", "an argument missing"],
)
def test_an_answer_that_does_not_fit_the_tasks_is_refused_with_the_path(
    console: Console, waiting: dict[str, dict[str, Any]], answer: Any, path: str
) -> None:
    approval = waiting["s_by_command"]
    for refused in (
        post(console, approval, "preview", answer=answer),
        post(console, approval, verdict="respond", answer=answer),
    ):
        assert refused.status_code == 422
        assert any(fault["path"].startswith(path) for fault in refused.json()["error"]["detail"]["faults"]), (
            refused.text
        )
    assert_waits(approval)


def assert_waits(approval: dict[str, Any]) -> None:
    """Nobody voted, and nothing ran."""
    from approvals.models import Approval, Run, Vote

    assert Approval.objects.get(pk=approval["id"]).status == "pending"
    assert not Vote.objects.filter(approval_id=approval["id"]).exists()
    assert Run.objects.filter(thread_id=approval["thread_id"]).count() == 1


@pytest.mark.parametrize("graph", ["s_by_command", "s_by_edge", "s_one"])
def test_an_edit_of_the_state_that_would_drop_a_send_is_refused_before_anybody_presses_a_button(
    console: Console, waiting: dict[str, dict[str, Any]], data_dir: Path, graph: str
) -> None:
    approval = waiting[graph]
    edits = {"order": {"op": "set", "value": "B2"}}
    for refused in (post(console, approval, "preview", edits=edits), post(console, approval, edits=edits)):
        assert refused.status_code == 422, refused.text
        assert "drop" in refused.json()["error"]["message"]
    assert times_run(data_dir, approval["thread_id"], "pay") == 0
    assert_waits(approval)


def test_the_calls_of_an_agent_are_decided_one_by_one_and_its_message_agrees(console: Console, data_dir: Path) -> None:
    calls = [{"name": "send_mail", "args": {"to": to, "subject": "hi"}} for to in ("ann", "ben", "cy")]
    approval = console.pause("s_agent", {"messages": [{"role": "user", "content": json.dumps(calls)}]})
    assert [(action["name"], action["args"], action["call_id"]) for action in approval["actions"]] == [
        ("send_mail", call["args"], f"call-{place}") for place, call in enumerate(calls)
    ]
    assert approval["title"].startswith("send_mail(to “ann”, subject “hi”) + send_mail(to “ben”")
    answer = decisions(
        "approve", edited("send_mail", {"to": "bob", "subject": "hi"}), {"type": "reject", "message": "not cy"}
    )
    assert post(console, approval, verdict="respond", answer=answer).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    thread_id = approval["thread_id"]
    assert [each["args"]["to"] for each in did(thread_id, data_dir)] == ["ann", "bob"]
    said = state_of(console, thread_id)["messages"]
    assert [call["args"]["to"] for call in said[1]["tool_calls"]] == ["ann", "bob", "cy"]
    told = {each["tool_call_id"]: (each["content"], each.get("status")) for each in said if each["type"] == "tool"}
    assert told["call-2"] == ("not cy", "error")
    assert said[-1]["content"] == "Done."
    with console.api("alice") as alice:
        assert alice.get(f"/approvals/{approval['id']}").json()["decision"]["deviations"] == []


def test_a_question_that_a_node_raised_goes_on_once_the_state_is_mended(console: Console, data_dir: Path) -> None:
    approval = console.pause("s_raised", {"input": "far too long"})
    assert (approval["kind"], approval["allowed_verdicts"]) == ("raised", ["approve", "reject"])
    assert post(console, approval, verdict="respond", answer="yes").status_code == 422
    assert post(console, approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "paused"
    again = console.pending(approval["thread_id"])
    assert again["id"] != approval["id"], "it raised it again"
    for value, status in (("still too long", "paused"), ("ok", "finished")):
        edits = {"input": {"op": "set", "value": value}}
        tried = post(console, again, "preview", edits=edits)
        assert tried.status_code == 200, tried.text
        voted = post(console, again, edits=edits, seen_preview=tried.json()["digest"])
        assert voted.status_code == 201, voted.text
        assert console.run_of(again["id"])["status"] == status
        again = console.pending(approval["thread_id"]) if status == "paused" else again
    assert state_of(console, approval["thread_id"])["out"] == "ok ok"
    assert times_run(data_dir, approval["thread_id"], "aside") == 1, "what had ended does not run again"


def test_two_questions_with_one_id_are_two_approvals(console: Console) -> None:
    approval = console.pause("s_raised_twice", {"input": "far too long"})
    with console.api("alice") as alice:
        found = alice.get("/approvals", params={"thread_id": approval["thread_id"], "status": "pending"}).json()[
            "items"
        ]
    assert len({each["title"] for each in found}) == 2
    assert post(console, approval, edits={"input": {"op": "set", "value": "ok"}}).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    assert state_of(console, approval["thread_id"])["out"] == "ok ok"


@pytest.mark.full
def test_a_raised_question_that_is_rejected_ends_the_thread(console: Console) -> None:
    approval = console.pause("s_raised_twice", {"input": "far too long"})
    assert post(console, approval, verdict="reject", comment="no").status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    with console.api("alice") as alice:
        thread = alice.get(f"/threads/{approval['thread_id']}").json()
    assert (thread["status"], thread["values"].get("out")) == ("idle", None)


@pytest.mark.parametrize("graph", share(["s_deaf_gate", "s_deaf_asking"], 0, of=2))
def test_a_run_that_did_nothing_fails_and_is_asked_anew(console: Console, data_dir: Path, graph: str) -> None:
    approval = console.pause(graph, {"order": "A1"})
    ballot: dict[str, Any] = {} if graph == "s_deaf_gate" else {"verdict": "respond", "answer": "ann"}
    assert post(console, approval, **ballot).status_code == 201
    run = console.run_of(approval["id"], until=("failed",))
    assert run["error"] == "NothingRan"
    again = console.pending(approval["thread_id"])
    assert again["id"] != approval["id"]
    with console.api("olga") as operator:
        refused = operator.post(f"/runs/{run['id']}/retry")
    assert refused.status_code == 409, "nothing but a new decision passes it"
    (data_dir / f"hears-{approval['thread_id']}").touch()
    assert post(console, again, **ballot).status_code == 201
    wanted = "paused" if graph == "s_deaf_gate" else "finished"
    assert console.run_of(again["id"])["status"] == wanted
