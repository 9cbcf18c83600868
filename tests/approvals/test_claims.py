"""Reserving an approval: it holds others off for a while, ends by itself, and can be taken over for all to see."""

from datetime import timedelta
from typing import Any

from tests.console import Console
from tests.voting import code_of, make_overdue, policy, read, vote


def pause(console: Console) -> dict[str, Any]:
    return console.pause("voting", {"text": "claims"})


def claim(console: Console, name: str, approval: dict[str, Any], **more: bool) -> Any:
    with console.api(name) as person:
        return person.post(f"/approvals/{approval['id']}/claim", json=more)


def actions_on(console: Console, approval: dict[str, Any]) -> list[tuple[str, str]]:
    with console.api("erin") as erin:
        entries = erin.get("/audit", params={"thread_id": approval["thread_id"]}).json()["items"]
    found = [entry for entry in reversed(entries) if entry["object"].get("approval") == approval["id"]]
    return [(entry["action"], entry["actor"]) for entry in found if entry["action"] != "thread.paused"]


def test_a_claim_holds_others_off_until_it_is_released(console: Console) -> None:
    approval = pause(console)
    claimed = claim(console, "alice", approval)
    assert (claimed.status_code, claimed.json()["claim"]["by"]) == (200, "alice")
    refused = vote(console, "bob", approval)
    assert code_of(refused) == (409, "claimed")
    assert "alice is reviewing this, 15 min left" in refused.json()["error"]["message"]
    assert code_of(claim(console, "bob", approval)) == (409, "claimed")
    with console.api("bob") as bob, console.api("alice") as alice:
        address = f"/approvals/{approval['id']}/claim"
        assert code_of(bob.delete(address)) == (404, "not_found")
        released = alice.delete(address)
        assert (released.status_code, released.json()["claim"]) == (200, None)
    assert vote(console, "bob", approval).status_code == 201


def test_a_claim_is_renewed_without_an_entry_and_taken_over_with_one(console: Console) -> None:
    approval = pause(console)
    first = claim(console, "alice", approval).json()["claim"]
    assert claim(console, "alice", approval).json()["claim"]["until"] > first["until"]
    assert claim(console, "bob", approval, take_over=True).json()["claim"]["by"] == "bob"
    assert code_of(vote(console, "alice", approval)) == (409, "claimed")
    assert vote(console, "bob", approval).status_code == 201
    assert actions_on(console, approval) == [
        ("approval.claimed", "alice"),
        ("approval.taken_over", "bob"),
        ("vote.cast", "bob"),
        ("decision.reached", "bob"),
    ]


def test_a_claim_ends_by_itself_and_with_the_vote(console: Console) -> None:
    from approvals.models import Approval

    with policy("voting", approvals=2):
        approval = pause(console)
    until = claim(console, "alice", approval).json()["claim"]["until"]
    assert until
    assert vote(console, "alice", approval).status_code == 201
    assert read(console, approval)["claim"] is None
    found = Approval.objects.get(pk=approval["id"])
    assert claim(console, "bob", approval).status_code == 200
    Approval.objects.filter(pk=found.pk).update(claimed_until=found.created_at - timedelta(minutes=1))
    assert read(console, approval)["claim"] is None
    assert vote(console, "carol", approval).status_code == 201


def test_only_who_may_vote_claims(console: Console) -> None:
    with policy("voting", people=["alice"]):
        approval = pause(console)
    assert code_of(claim(console, "bob", approval)) == (403, "denied")
    assert code_of(claim(console, "olga", approval)) == (403, "denied")
    assert claim(console, "alice", approval).status_code == 200
    assert vote(console, "alice", approval).status_code == 201
    assert code_of(claim(console, "alice", approval)) == (409, "already_decided")


def test_the_queue_is_filtered_by_who_has_it(console: Console) -> None:
    mine, nobodys = pause(console), pause(console)
    claim(console, "carol", mine)

    def found(name: str, assignee: str) -> set[str]:
        with console.api(name) as person:
            asked = {"assignee": assignee, "graph": "voting", "limit": 100}
            listed = {item["id"] for item in person.get("/approvals", params=asked).json()["items"]}
            return listed & {mine["id"], nobodys["id"]}

    assert found("carol", "me") == found("alice", "carol") == {mine["id"]}
    assert found("alice", "me") == set()
    assert mine["id"] not in found("alice", "none")
    assert nobodys["id"] in found("alice", "none")


def test_without_a_decision_in_time_it_is_rejected(console: Console) -> None:
    with policy("voting", deadline_minutes=60, on_deadline="deny"):
        approval = pause(console)
    assert approval["due_at"]
    make_overdue(approval)
    late = vote(console, "alice", approval)
    assert code_of(late) == (410, "expired")
    run = console.run_of(approval["id"])
    told = read(console, approval)
    assert (told["status"], run["status"]) == ("expired", "finished")
    assert (told["decision"]["verdict"], told["decision"]["decided_by"]) == ("reject", "the deadline")
    assert told["votes"] == []
    assert code_of(vote(console, "alice", approval)) == (410, "expired")


def test_without_a_decision_in_time_others_are_asked_and_nothing_is_approved(console: Console) -> None:
    from tests.console import wait_for

    with policy("voting", people=["alice"], deadline_minutes=60, on_deadline="escalate"):
        approval = pause(console)
    assert code_of(vote(console, "bob", approval)) == (403, "denied")
    make_overdue(approval)
    wait_for(lambda: read(console, approval)["escalated_at"], what="it to be escalated")
    assert read(console, approval)["status"] == "pending"
    assert vote(console, "bob", approval).json()["decision"]["decided_by"] == "bob"
    assert ("approval.escalated", "countersign") in actions_on(console, approval)
