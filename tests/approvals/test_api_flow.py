"""A thread from its first input to its effect, through the API alone."""

import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.console import Console, refund
from tests.graphs import times_run

pytestmark = pytest.mark.quick
LOWER = {"amount": {"op": "set", "value": 80.0}}


def vote(
    console: Console, name: str, approval: dict[str, Any], verdict: str = "approve", **more: Any
) -> httpx.Response:
    ballot = {"verdict": verdict, "seen_digest": approval["digest"], **more}
    with console.api(name) as person:
        return person.post(f"/approvals/{approval['id']}/votes", json=ballot)


def error_of(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert body.keys() == {"error"} and body["error"].keys() == {"code", "message", "detail"}, response.text
    return dict(body["error"])


def outbox(data_dir: Path, thread_id: str) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in (data_dir / "outbox").glob(f"*-{thread_id}-*.json")]


def test_a_lowered_amount_is_previewed_approved_and_paid_exactly_once(console: Console, data_dir: Path) -> None:
    with console.api("olga") as olga:
        thread = olga.post("/threads", json={"metadata": {"desk": "north"}}).json()
        thread_id = thread["thread_id"]
        assert (thread["status"], thread["metadata"], thread["values"]) == ("idle", {"desk": "north"}, {})
        started = olga.post(f"/threads/{thread_id}/runs", json={"assistant_id": "refund", "input": refund(640)})
        assert started.status_code == 200, started.text
        assert (started.json()["status"], started.json()["assistant_id"]) == ("pending", "refund")
    approval = console.pending(thread_id)
    assert (approval["graph"], approval["next"], approval["kind"]) == ("refund", ["senior_desk"], "breakpoint")
    assert (approval["status"], approval["decision"], approval["run"], approval["votes"]) == ("pending", None, None, [])
    assert [action["name"] for action in approval["actions"]] == ["senior_desk"]
    assert approval["state"]["amount"] == 640 and len(approval["digest"]) == 64

    with console.api("alice") as alice:
        preview = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": LOWER}).json()
    assert (preview["next_before"], preview["next"]) == (["senior_desk"], ["pay_refund"])
    assert (preview["values_before"]["amount"], preview["values"]["amount"]) == (640, 80)
    assert preview["diff"] == [{"channel": "amount", "before": 640.0, "after": 80.0, "op": "set"}]
    assert outbox(data_dir, thread_id) == []

    voted = vote(console, "alice", approval, edits=LOWER, comment="By phone.", seen_preview=preview["digest"])
    assert voted.status_code == 201, voted.text
    assert voted.json()["decision"]["decided_by"] == "alice"
    assert console.run_of(approval["id"])["status"] == "finished"
    [paid] = outbox(data_dir, thread_id)
    assert paid["reference"].startswith("refund-") and paid["amount"] == 80
    with console.api("erin") as erin:
        assert erin.get(f"/threads/{thread_id}").json()["status"] == "idle"
        told = erin.get(f"/approvals/{approval['id']}").json()
    assert (told["status"], told["run"]["id"]) == ("approved", voted.json()["run"]["id"])
    [cast] = told["votes"]
    assert (cast["voter"], cast["verdict"], cast["edits"], cast["comment"]) == ("alice", "approve", LOWER, "By phone.")


def test_the_same_vote_sent_twice_counts_once_and_gets_the_same_answer(console: Console, data_dir: Path) -> None:
    approval = console.pause("gated", {"text": "twice"})
    key = str(uuid.uuid4())
    first = vote(console, "alice", approval, idempotency_key=key)
    again = vote(console, "alice", approval, idempotency_key=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["vote"] == again.json()["vote"] and first.json()["decision"] == again.json()["decision"]
    assert first.json()["run"]["id"] == again.json()["run"]["id"]
    console.run_of(approval["id"])
    assert times_run(data_dir, approval["thread_id"], "act") == 1


def test_a_key_that_was_used_for_another_vote_is_refused(console: Console) -> None:
    first, second = console.pause("gated", {"text": "one"}), console.pause("gated", {"text": "two"})
    key = str(uuid.uuid4())
    assert vote(console, "alice", first, idempotency_key=key).status_code == 201
    refused = vote(console, "alice", second, idempotency_key=key)
    assert (refused.status_code, error_of(refused)["code"]) == (409, "key_reused")


def test_whoever_comes_second_learns_who_decided_and_how(console: Console) -> None:
    approval = console.pause("gated", {"text": "first come"})
    assert vote(console, "alice", approval).status_code == 201
    late = vote(console, "bob", approval, "reject", comment="No.")
    assert late.status_code == 409
    told = error_of(late)
    assert (told["code"], told["detail"]["by"], told["detail"]["verdict"]) == ("already_decided", "alice", "approve")
    with console.api("bob") as bob:
        tried = bob.post(f"/approvals/{approval['id']}/preview", json={"edits": {}})
    assert (tried.status_code, error_of(tried)["code"]) == (409, "already_decided")


def test_a_vote_on_something_else_than_what_was_shown_is_refused(console: Console) -> None:
    approval = console.pause("gated", {"text": "stale"})
    refused = vote(console, "alice", {**approval, "digest": "0" * 64})
    assert (refused.status_code, error_of(refused)["code"]) == (409, "stale")
    assert vote(console, "alice", approval).status_code == 201


def test_a_rejected_node_does_not_run(console: Console, data_dir: Path) -> None:
    approval = console.pause("gated", {"text": "no"})
    silent = vote(console, "alice", approval, "reject")
    assert (silent.status_code, error_of(silent)["code"]) == (422, "invalid_answer")
    assert vote(console, "alice", approval, "reject", comment="Not today.").status_code == 201
    console.run_of(approval["id"])
    assert times_run(data_dir, approval["thread_id"], "act") == 0
    with console.api("alice") as alice:
        assert alice.get(f"/approvals/{approval['id']}").json()["status"] == "rejected"


def test_a_thread_takes_no_new_input_while_people_are_asked(console: Console) -> None:
    approval = console.pause("gated", {"text": "waits"})
    with console.api("olga") as olga:
        refused = olga.post(
            f"/threads/{approval['thread_id']}/runs", json={"assistant_id": "gated", "input": {"text": "more"}}
        )
    assert (refused.status_code, error_of(refused)["code"]) == (409, "busy")


@pytest.mark.full
def test_a_failed_run_is_retried_and_ends(console: Console) -> None:
    approval = console.pause("failing", {"text": "mail"})
    assert vote(console, "alice", approval).status_code == 201
    failed = console.run_of(approval["id"], until=("failed",))
    assert failed["error"] == "RuntimeError"
    address = f"/threads/{approval['thread_id']}/runs/{failed['id']}"
    with console.api("olga") as olga:
        assert olga.get(address).json()["status"] == "error"
        retried = olga.post(f"/runs/{failed['id']}/retry")
        assert (retried.status_code, retried.json()["countersign_status"]) == (200, "queued")
        console.run_of(approval["id"])
        assert olga.get(address).json()["status"] == "success"
        again = olga.post(f"/runs/{failed['id']}/retry")
        assert (again.status_code, error_of(again)["code"]) == (409, "conflict")


def test_a_failed_run_can_be_given_up(console: Console) -> None:
    approval = console.pause("failing", {"text": "mail"})
    assert vote(console, "alice", approval).status_code == 201
    failed = console.run_of(approval["id"], until=("failed",))
    with console.api("bob") as bob:
        given_up = bob.post(f"/runs/{failed['id']}/give_up")
        assert (given_up.status_code, given_up.json()["countersign_status"]) == (200, "cancelled")


def test_a_removed_thread_keeps_its_record_and_loses_its_state(console: Console) -> None:
    approval = console.pause("gated", {"text": "secret of the removed"})
    address = f"/threads/{approval['thread_id']}"
    with console.api("root") as root:
        silent = root.request("DELETE", address)
        assert (silent.status_code, error_of(silent)["code"]) == (422, "invalid")
        cleaned = root.request("DELETE", address, json={"reason": "Test data."})
        assert cleaned.status_code == 200, cleaned.text
        assert (cleaned.json()["approvals"], cleaned.json()["rows"]["checkpoints"] > 0) == (1, True)
        left = root.get(address).json()
        assert left["cleaned_at"] and left["values"] == {}
        assert root.get(f"{address}/state").status_code == 410
        assert root.get(f"/approvals/{approval['id']}").json()["status"] == "cleaned"
        assert "secret of the removed" not in root.get(f"/approvals/{approval['id']}").text
        assert root.request("DELETE", address, json={"reason": "Again."}).status_code == 410
    gone = vote(console, "alice", approval)
    assert (gone.status_code, error_of(gone)["code"]) == (410, "superseded")


@pytest.mark.parametrize("odd", ["customer/{}", "two\nlines {}", "{} ?#%"])
def test_a_thread_of_an_agent_is_found_whatever_its_id(console: Console, odd: str) -> None:
    from approvals.models import Thread

    thread_id = odd.format(uuid.uuid4())
    Thread.objects.create(id=thread_id)  # as an agent outside the console leaves it
    address = f"/threads/{quote(thread_id, safe='')}"
    with console.api("alice") as alice:
        assert alice.get(f"{address}/state").json()["checkpoint"]["thread_id"] == thread_id
        assert alice.get(f"{address}/runs").json() == []
        assert alice.post(f"{address}/history", json={}).json() == []
        assert alice.get(address).json()["thread_id"] == thread_id
        [found] = alice.post("/threads/search", json={"ids": [thread_id]}).json()
    assert found["thread_id"] == thread_id


@pytest.mark.full
def test_a_poisoned_state_is_shown_as_it_is(console: Console) -> None:
    from approvals.models import Approval, Thread

    deep: Any = "bottom"
    for _ in range(190):
        deep = {"in": deep}
    state = {
        "\ud800 key": "lone \udfff", "nul": "\x00", "deep": deep, "": {"__proto__": 1, "lc": 1}, "big": 2**53,
        "text": "{{7*7}} \u202e <script>", "wide": {f"k{n}": n for n in range(20_000)},
    }  # fmt: skip
    thread = Thread.objects.create(id=f"t-{uuid.uuid4()}", state=state)
    approval = Approval.objects.create(
        thread=thread, checkpoint_id="1", kind="interrupt", next=["ask"], title="Poison", request={"value": state},
        actions=[state], state=state, digest="0" * 64, allowed_verdicts=[], interrupt_id="1",
    )  # fmt: skip
    with console.api("alice") as alice:
        told = alice.get(f"/approvals/{approval.pk}").json()
        assert (told["state"], told["request"], told["actions"]) == (state, {"value": state}, [state])
        shown = alice.get(f"/threads/{thread.pk}").json()
        assert (shown["values"], shown["interrupts"]["1"][0]["value"]) == (state, state)
        [listed] = alice.get("/approvals", params={"thread_id": thread.pk}).json()["items"]
    assert listed["id"] == str(approval.pk)
    approval.delete()  # it would stand in the queue of every other test
    thread.delete()


def test_times_keep_their_microseconds(console: Console) -> None:
    with console.api("olga") as olga:
        made = [olga.post("/threads", json={}).json()["created_at"] for _ in range(4)]
    assert any(len(at.partition(".")[2].partition("+")[0]) == 6 for at in made), made
