"""Several votes in one request, and several approvals on one page: each checked and stored by itself."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tests.console import Console, refund
from tests.voting import LOWER, policy, read, vote


@pytest.fixture(scope="module")
def approvals(console: Console) -> list[dict[str, Any]]:
    """Three that alice may decide, one for bob alone, one that was decided."""
    threads = [console.start_run("voting", {"text": f"bulk {number}"}) for number in range(3)]
    free = [console.pending(thread_id) for thread_id in threads]
    with policy("voting", people=["bob"]):
        bobs = console.pause("voting", {"text": "for bob"})
    decided = console.pause("voting", {"text": "decided"})
    vote(console, "carol", decided).raise_for_status()
    return [*free, bobs, decided]


@pytest.fixture
def alice(console: Console) -> Iterator[Client]:
    from django.contrib.auth.models import User

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username="alice"))
    yield client


def ballot(approval: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"approval_id": approval["id"], "verdict": "approve", "seen_digest": approval["digest"], **more}


def test_each_ballot_has_its_own_answer(console: Console, approvals: list[dict[str, Any]]) -> None:
    first, second, third, bobs, decided = approvals
    ballots = [
        ballot(first, idempotency_key=str(uuid.uuid4())),
        ballot(bobs),
        ballot(decided),
        ballot({**second, "digest": "0" * 64}),
        ballot(second, verdict="reject"),
        ballot({"id": str(uuid.uuid4()), "digest": ""}),
        ballot(third, verdict="reject", comment="No."),
    ]
    with console.api("alice") as api:
        sent = api.post("/votes", json={"ballots": ballots})
        assert sent.status_code == 200, sent.text
        results = sent.json()["results"]
        again = api.post("/votes", json={"ballots": ballots[:1]}).json()["results"]
    told = [(result["status"], result["error"] and result["error"]["code"]) for result in results]
    assert told == [
        (201, None), (403, "denied"), (409, "already_decided"), (409, "stale"), (422, "invalid_answer"),
        (404, "not_found"), (201, None),
    ]  # fmt: skip
    assert [result["approval_id"] for result in results] == [each["approval_id"] for each in ballots]
    assert results[0]["decision"]["verdict"] == "approve" and results[0]["run"]
    assert (again[0]["status"], again[0]["vote"]) == (200, results[0]["vote"])
    assert read(console, second)["status"] == "pending"
    with console.api("erin") as erin:
        refused = erin.get("/audit", params={"actor": "alice", "action": "permission.refused"}).json()["items"]
    assert refused[0]["object"] == {"permission": "policy"}


@pytest.mark.parametrize("count", [0, 51])
def test_too_many_and_none_are_refused_whole(console: Console, count: int) -> None:
    with console.api("alice") as api:
        one = ballot({"id": str(uuid.uuid4()), "digest": ""})
        refused = api.post("/votes", json={"ballots": [one] * count})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid")


def test_the_page_shows_each_whole_and_leaves_out_what_is_not_mine(console: Console, alice: Client) -> None:
    with policy("voting", approvals=2):
        mine = console.pause("voting", {"text": "the whole of this text", "count": 640})
    vote(console, "carol", mine, edits=LOWER).raise_for_status()
    with policy("voting", people=["bob"]):
        bobs = console.pause("voting", {"text": "of bob"})
    shown = read(console, mine)
    page = alice.get("/approvals/bulk/", {"id": [mine["id"], bobs["id"]]}).content.decode()
    assert "the whole of this text" in page and shown["digest"] in page
    assert "carol proposes to approve with this edit" in page
    assert f'name="digest-{mine["id"]}"' in page and f'name="digest-{bobs["id"]}"' not in page
    assert "lets bob decide here" in page
    assert "Agree with carol" in page and "Send the votes as chosen" in page


def test_each_is_voted_on_as_it_was_shown(console: Console, alice: Client) -> None:
    one, two = (console.pause("voting", {"text": text}) for text in ("bulk one", "bulk two"))
    key = str(uuid.uuid4())
    form = {
        "id": [one["id"], two["id"]],
        f"digest-{one['id']}": one["digest"],
        f"digest-{two['id']}": "0" * 64,
        f"key-{one['id']}": key,
    }
    undecided = alice.post("/approvals/bulk/", {**form, f"verdict-{one['id']}": "approve", "comment": "Not these."})
    assert undecided.status_code == 422 and "Say of each" in undecided.content.decode()
    form |= {f"verdict-{each['id']}": "reject" for each in (one, two)}
    silent = alice.post("/approvals/bulk/", form)
    assert silent.status_code == 422 and "Say why you reject" in silent.content.decode()
    done = alice.post("/approvals/bulk/", {**form, "comment": "Not these."}).content.decode()
    assert "1 of 2 votes are in" in done and "the digest differs" in done
    again = alice.post("/approvals/bulk/", {**form, "comment": "Not these."}).content.decode()
    assert "1 of 2 votes are in" in again, "the same form sent twice counts once and says the same"
    assert read(console, one)["decision"]["comment"] == "Not these."
    assert read(console, two)["status"] == "pending"


def test_each_is_voted_on_by_its_own_choice_and_one_is_left_out(console: Console, alice: Client) -> None:
    with policy("refund", node="senior_desk", approvals=2):
        proposed = console.pause("refund", refund(900))
    vote(console, "root", proposed, "skip").raise_for_status()
    proposed = read(console, proposed)
    yes, no, left = (console.pause("voting", {"text": text}) for text in ("yes", "no", "left"))
    every = [yes, no, left, proposed]
    form = {"id": [each["id"] for each in every]} | {f"digest-{each['id']}": each["digest"] for each in every}
    page = alice.post("/approvals/bulk/", {**form, "do": "reject"})
    assert (
        page.content.decode().count('value="reject" data-word="reject" form="bulk-vote" autocomplete="off" checked')
        == 4
    )
    assert {read(console, each)["status"] for each in every} == {"pending"}, "to set them all sends nothing"
    wanted = zip(every, ("approve", "reject", "none", "approve"), strict=True)
    form |= {f"verdict-{each['id']}": verdict for each, verdict in wanted}
    done = alice.post("/approvals/bulk/", {**form, "comment": "One of each."}).content.decode()
    assert "2 of 3 votes are in" in done, "alice may not skip, so she does not agree with that"
    assert [read(console, each)["status"] for each in every] == ["approved", "rejected", "pending", "pending"]
    assert {each["voter"]: each["ended_as"] for each in read(console, proposed)["votes"]} == {"root": None}


@pytest.mark.parametrize("ids", [[], ["nonsense"], [str(uuid.uuid4()) for _ in range(51)]])
def test_a_choice_that_is_none_is_said(alice: Client, ids: list[str]) -> None:
    refused = alice.get("/approvals/bulk/", {"id": ids})
    assert refused.status_code == 422
    assert "in the queue" in refused.content.decode()
