"""A yes needs the end of what is taller than a screen: the vote checks it, whatever the page shows."""

from html import unescape
from typing import Any

import httpx
import pytest

from agentcore.testing import failpoints
from tests.approvals.test_blocked import pages
from tests.console import Console

COMMAND = "echo ok" + "\n" * 400 + "rm -rf /"
ALLOW = {"allow_accept": True, "allow_ignore": True, "allow_edit": True, "allow_respond": True}


def asked(**args: Any) -> dict[str, Any]:
    return {"ask": [{"action_request": {"action": "run_command", "args": args}, "config": ALLOW}]}


def asked_all(*actions: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"ask": [{"action_request": {"action": name, "args": args}, "config": ALLOW} for name, args in actions]}


TALL = {f"a{number}": "x\n" * 19 + "x" for number in range(5)}
WIRE = ("wire_money", {"to": "evil", "amount": 99_999})


def whole(console: Console, approval: dict[str, Any]) -> dict[str, Any]:
    with console.api("erin") as erin:
        found: dict[str, Any] = erin.get(f"/approvals/{approval['id']}").json()
    return found


def vote(console: Console, who: str, approval: dict[str, Any], verdict: str = "approve", **more: Any) -> httpx.Response:
    with console.api(who) as api:
        body = {"verdict": verdict, "seen_digest": approval["digest"], **more}
        return api.post(f"/approvals/{approval['id']}/votes", json=body)


def opens(console: Console, who: str, approval: dict[str, Any], part: str) -> httpx.Response:
    with console.api(who) as api:
        return api.get(f"/approvals/{approval['id']}/whole", params={"part": part})


@pytest.mark.parametrize("verdict", ["approve", pytest.param("respond", marks=pytest.mark.full)])
def test_a_yes_is_refused_until_the_end_was_seen_by_who_votes(console: Console, verdict: str) -> None:
    approval = whole(console, console.pause("d_legacy", asked(command=COMMAND, note="short")))
    assert approval["folded"] == ["action/0/command"]
    more = {"answer": [{"type": "accept", "args": None}]} if verdict == "respond" else {}
    refused = vote(console, "alice", approval, verdict, **more)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "unopened")
    assert refused.json()["error"]["detail"]["parts"] == ["action/0/command"]

    assert opens(console, "bob", approval, "action/0/command").text == COMMAND
    assert vote(console, "alice", approval, verdict, **more).status_code == 409, "somebody else saw it"
    assert opens(console, "alice", approval, "action/0/note").status_code == 404
    assert opens(console, "alice", approval, "action/0/command").text == COMMAND
    assert vote(console, "alice", approval, verdict, **more).status_code == 201


def test_many_actions_hide_no_last_one(console: Console) -> None:
    many = asked_all(*((f"tool_{number}", TALL) for number in range(30)), WIRE)
    approval = whole(console, console.pause("d_legacy", many))
    assert approval["folded"] == ["action/0", "actions"]
    assert approval["title"].endswith(" and 19 more")
    with pages(console, "alice") as alice:
        page = alice.get(f"/approvals/{approval['id']}/").text
        bulk = alice.get("/approvals/bulk/", params={"id": approval["id"]}).text
    for text in map(unescape, (page, bulk)):
        assert "See all arguments, all actions to the end first" in text
        before, _, behind = text.partition("30 actions more: tool_1, tool_2,")
        assert "99999" not in before
        assert "tool_29, wire_money" in behind.partition("</summary>")[0]
        assert "99999" in behind
        assert "3 arguments more: a2, a3, a4" in before
    answer = {"answer": [{"type": "accept", "args": None}] * 31}
    refused = vote(console, "alice", approval, "respond", **answer)
    assert refused.json()["error"]["detail"]["parts"] == ["action/0", "actions"]
    assert '"wire_money"' in opens(console, "alice", approval, "actions").text
    assert vote(console, "alice", approval, "respond", **answer).status_code == 409
    assert opens(console, "alice", approval, "action/0").status_code == 200
    assert vote(console, "alice", approval, "respond", **answer).status_code == 201


def test_a_rejection_needs_no_more_than_its_reason(console: Console) -> None:
    approval = console.pause("d_legacy", asked(command=COMMAND))
    assert vote(console, "alice", approval, "reject", comment="No.").status_code == 201


def test_without_the_mechanism_nothing_has_to_be_seen(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    from django.contrib.auth.models import User

    from approvals.actions.threads.whole_values import unopened
    from approvals.models import Approval

    approval = Approval.objects.get(pk=console.pause("d_legacy", asked(command=COMMAND))["id"])
    alice = User.objects.get(username="alice")
    assert unopened(approval, alice) == ["action/0/command"]
    failpoints.arm("folds", "off")
    try:
        assert unopened(approval, alice) == []
    finally:
        failpoints.disarm()


def test_what_somebody_proposes_is_seen_to_its_end_too(console: Console) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.threads.whole_values import folded, opened
    from approvals.models import Approval

    found = Approval.objects.get(pk=console.pause("gated", {"text": "short"})["id"])
    assert folded(found) == []
    found.proposal = {"verdict": "approve", "edits": {"text": {"op": "set", "value": COMMAND}}, "answer": None}
    assert folded(found) == ["proposal/edits/text"]
    assert opened(found, User.objects.get(username="alice")) == set()


def test_warnings_are_in_the_api_with_their_place(console: Console) -> None:
    approval = whole(console, console.pause("d_legacy", asked(url="https://paypa1.com/in", to="ok")))
    assert approval["warnings"] == [
        {
            "kind": "host",
            "place": "/actions/0/args/url",
            "text": "paypa1.com",
            "sentence": "It looks like paypal and is not.",
        }
    ]
    with console.api("erin") as erin:
        [brief] = erin.get("/approvals", params={"thread_id": approval["thread_id"]}).json()["items"]
    assert brief["warnings"] == approval["warnings"]
