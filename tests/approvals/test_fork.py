"""Forks and replays through the API: a thread of its own that asks its own people, and the old one as it was."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from tests.console import Console, wait_for
from tests.holding import Foreign, agent_holds


def fork(console: Console, thread_id: str, checkpoint_id: str, *, by: str = "olga", **given: Any) -> httpx.Response:
    with console.api(by) as client:
        return client.post(f"/threads/{thread_id}/fork", json={"checkpoint_id": checkpoint_id, **given})


def forked(console: Console, thread_id: str, checkpoint_id: str, **given: Any) -> dict[str, Any]:
    answer = fork(console, thread_id, checkpoint_id, **given)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def read(console: Console, path: str) -> Any:
    with console.api("root") as root:
        return root.get(path).raise_for_status().json()


def history(console: Console, thread_id: str) -> list[dict[str, Any]]:
    with console.api("alice") as alice:
        return list(alice.post(f"/threads/{thread_id}/history", json={"limit": 100}).raise_for_status().json())


def approve(console: Console, approval: dict[str, Any], by: str = "alice") -> None:
    with console.api(by) as client:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        client.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()


_NOTHING_RUNS = """
SELECT 1 FROM approvals_run WHERE thread_id = %s HAVING count(*) > 0 AND NOT bool_or(status IN ('queued', 'running'))
"""


def is_over(console: Console, thread_id: str) -> dict[str, Any]:
    def ask() -> Any:
        thread = read(console, f"/threads/{thread_id}")
        return thread if thread["status"] == "idle" and not thread["next"] else None

    with console.rows(_NOTHING_RUNS, thread_id) as rows:
        wait_for(rows, what=f"the runs of {thread_id} to end", shortest=0.01)
    return dict(wait_for(ask, what=f"{thread_id} to end"))


def finished(console: Console, **input: Any) -> dict[str, Any]:
    """Return the approval of a thread that has run to its end."""
    approval = console.pause("gated", {"text": "x", **input})
    approve(console, approval)
    console.run_of(approval["id"])
    return approval


@pytest.fixture(scope="module")
def paused(console: Console) -> dict[str, Any]:
    """A thread at a gate, to fork from: that leaves it as it was."""
    return console.pause("gated", {"text": "x"})


def faults(answer: httpx.Response) -> dict[str, str]:
    return {fault["path"]: fault["message"] for fault in answer.json()["error"]["detail"]["faults"]}


def test_a_fork_of_a_paused_thread_is_decided_on_its_own(console: Console, paused: dict[str, Any]) -> None:
    new = forked(console, paused["thread_id"], paused["checkpoint_id"])
    assert (new["status"], new["next"], new["checkpoint_id"]) == ("interrupted", ["act"], paused["checkpoint_id"])
    assert new["forked_from"] == {"thread_id": paused["thread_id"], "checkpoint_id": paused["checkpoint_id"]}
    own = console.pending(new["thread_id"])
    assert own["id"] != paused["id"]
    approve(console, own)
    assert is_over(console, new["thread_id"])["values"]["notes"] == ["prepared", "acted"]
    assert read(console, f"/approvals/{paused['id']}") == paused


def test_a_question_is_asked_in_the_fork_too(console: Console) -> None:
    origin = console.pause("asking", {"text": "x"})
    new = forked(console, origin["thread_id"], origin["checkpoint_id"])
    own = console.pending(new["thread_id"])
    assert own["interrupt_id"] == origin["interrupt_id"]
    with console.api("alice") as alice:
        ballot = {"verdict": "respond", "answer": "9", "seen_digest": own["digest"]}
        alice.post(f"/approvals/{own['id']}/votes", json=ballot).raise_for_status()
    assert console.run_of(own["id"])["status"] == "paused"
    assert read(console, f"/approvals/{origin['id']}")["status"] == "pending"


def test_a_fork_in_the_middle_waits_until_it_is_run(console: Console) -> None:
    origin = finished(console)
    before = history(console, origin["thread_id"])
    first = next(state for state in before if state["next"] == ["prepare"])
    new = forked(console, origin["thread_id"], first["checkpoint"]["checkpoint_id"])
    assert (new["status"], new["next"]) == ("idle", ["prepare"])
    with console.api("olga") as olga:
        run = {"assistant_id": "gated", "input": None}
        olga.post(f"/threads/{new['thread_id']}/runs", json=run).raise_for_status()
    approve(console, console.pending(new["thread_id"]))
    assert is_over(console, new["thread_id"])["values"] == read(console, f"/threads/{origin['thread_id']}")["values"]
    assert history(console, origin["thread_id"]) == before


def test_a_gate_that_was_passed_holds_in_the_fork(console: Console) -> None:
    origin = finished(console)
    new = forked(console, origin["thread_id"], origin["checkpoint_id"])
    assert (new["status"], new["next"]) == ("interrupted", ["act"])
    assert new["values"]["notes"] == ["prepared"]


def test_a_fork_with_an_edit(console: Console, paused: dict[str, Any]) -> None:
    edits = {"text": {"op": "set", "value": "y"}}
    new = forked(console, paused["thread_id"], paused["checkpoint_id"], edits=edits)
    assert (new["status"], new["values"]["text"]) == ("interrupted", "y")
    assert console.pending(new["thread_id"])["state"]["text"] == "y"
    over = forked(console, paused["thread_id"], paused["checkpoint_id"], edits=edits, as_node="act")
    assert (over["status"], over["next"]) == ("idle", [])


def test_a_fork_with_other_input_runs_from_its_beginning(console: Console, paused: dict[str, Any]) -> None:
    new = forked(console, paused["thread_id"], paused["checkpoint_id"], input={"text": "other"})
    own = console.pending(new["thread_id"])
    assert own["state"]["text"] == "other"
    assert own["state"]["notes"] == ["prepared", "prepared"]
    assert read(console, f"/approvals/{paused['id']}") == paused


def test_a_fork_of_a_fork_says_where_it_comes_from(console: Console, paused: dict[str, Any]) -> None:
    new = forked(console, paused["thread_id"], paused["checkpoint_id"])
    again = forked(console, new["thread_id"], paused["checkpoint_id"])
    assert again["forked_from"]["thread_id"] == new["thread_id"]
    entries = read(console, f"/audit?thread_id={again['thread_id']}&action=thread.forked")["items"]
    assert [(each["actor"], each["object"]["from"]) for each in entries] == [("olga", new["thread_id"])]


def test_nobody_decides_the_fork_they_made(console: Console, paused: dict[str, Any]) -> None:
    new = forked(console, paused["thread_id"], paused["checkpoint_id"])
    own = console.pending(new["thread_id"])
    with console.api("olga") as olga:
        ballot = {"verdict": "skip", "seen_digest": own["digest"]}
        assert olga.post(f"/approvals/{own['id']}/votes", json=ballot).status_code == 403


def test_a_run_does_not_pass_a_gate_without_input(console: Console, paused: dict[str, Any]) -> None:
    new = forked(console, paused["thread_id"], paused["checkpoint_id"])
    with console.api("olga") as olga:
        refused = olga.post(f"/threads/{new['thread_id']}/runs", json={"assistant_id": "gated", "input": None})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "busy")
        assert "Decide it first" in refused.json()["error"]["message"]
        over = finished(console)
        none = olga.post(f"/threads/{over['thread_id']}/runs", json={"assistant_id": "gated", "input": None})
    assert none.status_code == 422
    assert "Nothing waits on this thread" in none.json()["error"]["message"]


@pytest.mark.full
def test_a_finished_thread_takes_new_input_and_a_paused_one_says_why_not(console: Console) -> None:
    approval = finished(console)
    with console.api("olga") as olga:
        again = {"assistant_id": "gated", "input": {"text": "second"}}
        olga.post(f"/threads/{approval['thread_id']}/runs", json=again).raise_for_status()
        second = console.pending(approval["thread_id"])
        assert second["state"]["text"] == "second"
        refused = olga.post(f"/threads/{approval['thread_id']}/runs", json=again)
    assert refused.status_code == 409
    assert "new input would drop their question" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("given", "path", "told"),
    [
        ({"edits": {"nothing": {"op": "set", "value": 1}}}, "nothing", "no channel of this name"),
        ({"edits": {"text": "y"}}, "text", "Send"),
        ({"edits": {"notes": {"op": "set", "value": []}}}, "notes/op", "merges values"),
        ({"as_node": "nowhere"}, "as_node", "the graph has prepare, act"),
    ],
)
def test_an_edit_that_does_not_fit_makes_no_thread(
    console: Console, paused: dict[str, Any], given: dict[str, Any], path: str, told: str
) -> None:
    from approvals.models import Thread

    before = Thread.objects.filter(forked_from=paused["thread_id"]).count()
    refused = fork(console, paused["thread_id"], paused["checkpoint_id"], **given)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_edit")
    assert told in faults(refused)[path]
    assert Thread.objects.filter(forked_from=paused["thread_id"]).count() == before


@pytest.mark.full
def test_an_edit_of_parallel_branches_says_to_name_the_node(console: Console) -> None:
    origin = console.pause("branching", {"text": "x"})
    edits = {"text": {"op": "set", "value": "y"}}
    refused = fork(console, origin["thread_id"], origin["checkpoint_id"], edits=edits)
    assert refused.status_code == 422
    assert "as_node" in refused.json()["error"]["message"]


def test_what_is_not_there_is_refused_with_a_sentence(console: Console, paused: dict[str, Any]) -> None:
    origin = console.pause("gated", {"text": "x"})
    nowhere = fork(console, f"t-{uuid.uuid4()}", origin["checkpoint_id"])
    assert (nowhere.status_code, nowhere.json()["error"]["message"]) == (404, "There is no such thread.")
    for checkpoint_id in (paused["checkpoint_id"], "1f0-nothing"):
        missing = fork(console, origin["thread_id"], checkpoint_id)
        assert (missing.status_code, missing.json()["error"]["message"]) == (404, "The thread has no such checkpoint.")
    both = fork(console, origin["thread_id"], origin["checkpoint_id"], input={"text": "z"}, as_node="act")
    assert both.status_code == 422
    assert "not with both" in both.json()["error"]["message"]
    with console.api("root") as root:
        root.request("DELETE", f"/threads/{origin['thread_id']}", json={"reason": "A test."}).raise_for_status()
    gone = fork(console, origin["thread_id"], origin["checkpoint_id"])
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "gone")


def test_a_state_with_types_that_are_not_allowed_cannot_be_forked(console: Console, database: str) -> None:
    """The copy would hold bare data in their place."""
    thread_id = f"t-{uuid.uuid4()}"
    asyncio.run(agent_holds(database, thread_id, {"anything": {"order": Foreign(7)}}))
    head = console.pending(thread_id)["checkpoint_id"]
    refused = fork(console, thread_id, head)
    assert refused.status_code == 409
    assert "langgraph.json" in refused.json()["error"]["message"]


def test_a_replay_asks_anew_and_supersedes_what_waited(console: Console) -> None:
    approval = console.pause("two_gates", {"text": "x"})
    approve(console, approval)
    console.run_of(approval["id"])
    second = console.pending(approval["thread_id"])
    thread_id = approval["thread_id"]
    asked = {"checkpoint_id": approval["checkpoint_id"], "confirm": thread_id}
    with console.api("root") as root:
        wrong = root.post(f"/threads/{thread_id}/replay", json={**asked, "confirm": "it"})
        assert (wrong.status_code, "Nothing was run" in wrong.json()["error"]["message"]) == (422, True)
        assert root.post(f"/threads/{thread_id}/replay", json={**asked, "checkpoint_id": "none"}).status_code == 404
        run = root.post(f"/threads/{thread_id}/replay", json=asked).raise_for_status().json()
        wait_for(lambda: root.get(f"/threads/{thread_id}/runs/{run['run_id']}").json()["status"] != "pending")
    with console.rows(
        f"SELECT 1 FROM approvals_approval WHERE id = '{second['id']}' AND status = 'superseded'"
    ) as rows:
        wait_for(rows, what="it to be superseded", shortest=0.01)
    anew = console.pending(thread_id)
    assert (anew["next"], anew["round"] if "round" in anew else 1) == (["first_gate"], 1)
    assert anew["checkpoint_id"] != approval["checkpoint_id"]
    assert read(console, f"/approvals/{approval['id']}")["status"] == "approved"
    approve(console, anew)
    console.run_of(anew["id"])
    assert console.pending(thread_id)["next"] == ["second_gate"]
    entries = read(console, f"/audit?thread_id={thread_id}&action=thread.replayed")["items"]
    assert [(each["actor"], each["object"]["checkpoint"]) for each in entries] == [("root", approval["checkpoint_id"])]


@pytest.mark.full
def test_a_replay_from_the_middle_runs_on_at_once(console: Console) -> None:
    approval = finished(console)
    first = next(state for state in history(console, approval["thread_id"]) if state["next"] == ["prepare"])
    asked = {"checkpoint_id": first["checkpoint"]["checkpoint_id"], "confirm": approval["thread_id"]}
    with console.api("root") as root:
        root.post(f"/threads/{approval['thread_id']}/replay", json=asked).raise_for_status()
    anew = console.pending(approval["thread_id"])
    assert anew["state"]["notes"] == ["prepared"]
