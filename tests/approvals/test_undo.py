"""A vote on a page can be taken back before its run begins; it is then asked again, and the log has all of it."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.console import Console

SECONDS = 30


@pytest.fixture
def holding(own_console: Callable[..., Console]) -> Console:
    """A console whose runs wait for so long that every vote of a test can be taken back."""
    return own_console(TEST_UNDO_SECONDS=str(SECONDS)).start()


@contextmanager
def signed_in(console: Console, name: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=console.url, follow_redirects=True) as client:
        client.get(console.link(name)).raise_for_status()
        yield client


def post(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    page = client.get("/sign-in/" if path == "" else path.rsplit("/", 2)[0] + "/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token, path
    return client.post(
        path, data={"csrfmiddlewaretoken": token[1], **fields}, headers={"Referer": str(client.base_url)}
    )


def approve(client: httpx.Client, approval: dict[str, Any], **fields: str) -> httpx.Response:
    path = f"/approvals/{approval['id']}/vote/"
    key = str(uuid.uuid4())
    return post(client, path, verdict="approve", seen_digest=approval["digest"], idempotency_key=key, **fields)


def test_a_vote_is_taken_back_asked_again_and_then_carried_out_once(holding: Console) -> None:
    approval = holding.pause("gated", {"text": "x"})
    with signed_in(holding, "alice") as alice, signed_in(holding, "bob") as bob:
        voted = approve(alice, approval)
        assert 'id="undo"' in voted.text, "the page of the decision offers it"
        assert 'data-state="waiting"' in alice.get("/tray/").text
        assert post(bob, f"/approvals/{approval['id']}/undo/").status_code == 403
        undone = post(alice, f"/approvals/{approval['id']}/undo/")
        assert undone.status_code == 200 and "Taken back: nothing ran." in undone.text
        again = holding.pending(approval["thread_id"])
        assert again["id"] != approval["id"] and again["digest"] == approval["digest"]
        assert again["id"] in str(undone.url)
        assert 'data-state="undone"' in alice.get("/tray/").text
        twice = post(alice, f"/approvals/{approval['id']}/undo/")
        assert twice.status_code == 409 and "taken back or cancelled already" in twice.text
        with holding.api("bob") as api:  # over the API no run waits
            ballot = {"verdict": "approve", "seen_digest": again["digest"]}
            api.post(f"/approvals/{again['id']}/votes", json=ballot).raise_for_status()
        holding.run_of(again["id"])
        assert post(alice, f"/approvals/{approval['id']}/undo/").status_code == 409
    with holding.api("erin") as erin:
        actions = [each["action"] for each in erin.get(f"/audit?thread_id={approval['thread_id']}").json()["items"]]
        assert actions.count("decision.reached") == 2 and actions.count("decision.undone") == 1
        assert erin.get("/audit/verify").json()["ok"] is True


def test_an_edit_that_is_taken_back_leaves_a_draft_and_no_author(holding: Console) -> None:
    approval = holding.pause("gated", {"text": "x"})
    with holding.api("alice") as api, signed_in(holding, "alice") as alice:
        edits = {"text": {"op": "set", "value": "kept as a draft"}}
        seen = api.post(f"/approvals/{approval['id']}/preview", json={"edits": edits}).raise_for_status().json()
        approve(
            alice, approval, edits='{"text": {"op": "set", "value": "kept as a draft"}}', seen_preview=seen["digest"]
        )
        post(alice, f"/approvals/{approval['id']}/undo/").raise_for_status()
        again = holding.pending(approval["thread_id"])
        page = alice.get(f"/approvals/{again['id']}/?draft=1").text
        assert "kept as a draft" in page and "You have a draft" not in page
    with holding.rows("SELECT authors FROM approvals_thread WHERE id = %s", approval["thread_id"]) as ask:
        assert [each for each in ask()[0][0] if each["how"] == "edit"] == []


def test_a_run_begins_by_itself_when_its_time_has_come(own_console: Callable[..., Console]) -> None:
    console = own_console(TEST_UNDO_SECONDS="1").start()
    approval = console.pause("gated", {"text": "x"})
    with signed_in(console, "alice") as alice:
        approve(alice, approval)
        console.run_of(approval["id"])
        late = post(alice, f"/approvals/{approval['id']}/undo/")
        assert late.status_code == 409 and "the run has begun" in late.text
