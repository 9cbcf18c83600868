"""What is on the screen is what is sent: two people in two windows, without scripts, and on pages that grew old."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console, refund
from tests.dialects import did
from tests.scale import some
from tests.voting import policy, read, vote

SignIn = Callable[..., Page]
CALLS = [
    {"name": "pay", "args": {"order": "A1", "amount": 20.5}},
    {"name": "wipe", "args": {"path": "/srv/old"}},
]
CHEAP = {"amount": {"op": "set", "value": 85.0}}
SCRIPTS = {"with scripts": {}, "without": {"java_script_enabled": False}}
MOSTLY = some(SCRIPTS, "with scripts")
BARE = some(SCRIPTS, "without")  # the same buttons with scripts: test_another_proposal_is_looked_at
WAYS = {way: way for way in ("by push", "by polling", "by going back")}
USUAL_WAYS = some(WAYS, "by polling", "by going back")  # others here hear by push
PRIMARY = ".bar [data-primary]:visible"


def opened(page: Page, console: Console, approval: dict[str, Any], query: str = "") -> Page:
    page.goto(f"{console.url}/approvals/{approval['id']}/{query}")
    return page


def calls(console: Console) -> dict[str, Any]:
    return console.pause("d_batched", {"messages": [{"role": "user", "content": json.dumps(CALLS)}]})


def choose(page: Page, place: int, word: str) -> None:
    page.locator(f"#choice-{place} .verdict", has_text=word).click()


def outbox(console: Console, thread_id: str) -> list[str]:
    folder = Path(console.env["DATA_DIR"]) / "outbox"
    return sorted(file.name.split("-")[0] for file in folder.glob("*.json") if thread_id[:30] in file.name)


# The four screens


@pytest.mark.parametrize("options", BARE.values(), ids=BARE)
def test_what_is_set_to_reject_is_not_approved_with_all_the_others(
    console: Console, sign_in: SignIn, options: dict[str, Any]
) -> None:
    approval = calls(console)
    bob = opened(sign_in("bob"), console, approval)
    alice = opened(sign_in("alice", **options), console, approval)
    expect(alice.locator(PRIMARY)).to_have_text("Approve all 2")
    choose(alice, 0, "Approve")
    if not options:
        expect(alice.locator(PRIMARY)).to_have_text("Decide on 1 more")
    choose(alice, 1, "Reject")
    alice.locator("#choice-1").get_by_label("Why?").fill("That folder is still needed.")
    if options:  # the button that says it approves all does not: it asks
        alice.click("#approve")
        expect(alice.locator("#problem")).to_contain_text("look at it, then send it")
        expect(alice.locator("#review")).to_contain_text("That folder is still needed.")
        assert read(console, approval)["status"] == "pending"
    expect(alice.locator(PRIMARY)).to_have_count(1)
    expect(alice.locator(PRIMARY)).to_have_text("Send 2 decisions: 1 approve, 1 reject")
    alice.click("#send-answer")
    expect(alice.locator("#decision .decided li")).to_have_count(2)
    expect(alice.locator("#item-title")).to_have_text("Asked: 2 actions: pay, wipe")
    console.run_of(approval["id"])
    assert [each["name"] for each in did(approval["thread_id"], console.env["DATA_DIR"])] == ["pay"]
    expect(bob.locator("#decide #standing")).to_contain_text("by alice")


@pytest.mark.parametrize("options", MOSTLY.values(), ids=MOSTLY)
def test_after_a_preview_there_is_one_green_button_and_it_sends_what_was_previewed(
    console: Console, sign_in: SignIn, options: dict[str, Any]
) -> None:
    approval = console.pause("refund", refund(900))
    alice = opened(sign_in("alice", **options), console, approval, "?edit=form" if options else "")
    if not options:
        alice.click("#edit-open")
        expect(alice.locator(PRIMARY)).to_have_text("Approve")
    alice.get_by_label("Amount").fill("90")
    if not options:
        expect(alice.locator(PRIMARY)).to_have_text("Preview the edit")
    alice.locator(PRIMARY).click()  # without scripts it says Approve, and asks
    expect(alice.locator("#route .route-after")).to_have_text("Pay the refund")
    assert read(console, approval)["status"] == "pending"
    expect(alice.locator(".button.primary:visible")).to_have_count(1)
    expect(alice.locator(PRIMARY)).to_have_text("Approve with the edit: Pay the refund")
    alice.get_by_label("Amount").fill("85")  # and not what the preview was of
    if not options:
        expect(alice.locator(PRIMARY)).to_have_text("Preview again")
        expect(alice.locator("#preview .stale-note")).to_be_visible()
    alice.locator(PRIMARY).click()
    expect(alice.locator("#preview [data-channel=amount] .after")).to_contain_text("85")
    assert read(console, approval)["status"] == "pending"
    alice.click("#approve-edit")
    expect(alice.locator("#decision")).to_contain_text("alice")
    expect(alice.locator("#item-title")).to_have_text("Pay the refund")
    console.run_of(approval["id"], until=("finished",))
    assert read(console, approval)["decision"]["edits"] == CHEAP
    assert outbox(console, approval["thread_id"]) == ["refund"]


@pytest.mark.parametrize("options", MOSTLY.values(), ids=MOSTLY)
def test_the_second_person_sees_what_the_edit_leads_to_before_they_agree(
    console: Console, sign_in: SignIn, options: dict[str, Any]
) -> None:
    with policy("refund", node="senior_desk", approvals=2, deadline_minutes=60):  # due: on top of every list
        approval = console.pause("refund", refund(900))
    alice = opened(sign_in("alice"), console, approval)
    alice.click("#edit-open")
    alice.get_by_label("Amount").fill("85")
    alice.click("#preview-button")
    expect(alice.locator(PRIMARY)).to_have_text("Propose the edit: Pay the refund")
    alice.click("#approve-edit")
    expect(alice.locator(".toast")).to_contain_text("1 more needed")
    proposed = "alice proposes: Pay the refund, 85 EUR to “Mei-Ling Chen”"
    alice.goto(f"{console.url}/approvals/bulk/?id={approval['id']}")
    expect(alice.locator(".bulk-item .proposed")).to_have_text(proposed)
    alice.goto(f"{console.url}/?tab=open&q={approval['thread_id']}")
    expect(alice.locator(f"#row-{approval['id']} .proposed")).to_have_text(proposed)

    bob = opened(sign_in("bob", **options), console, approval)
    expect(bob.locator(f"#side #row-{approval['id']} .proposed")).to_have_text(proposed)
    expect(bob.locator("#item-title")).to_have_text("Pay the refund")
    expect(bob.locator(".lead")).to_have_text("85 EUR to “Mei-Ling Chen”")
    expect(bob.locator("#proposal-route .route-before")).to_have_text("Hand over to the senior desk")
    expect(bob.locator("#proposal-route .route-after")).to_have_text("Pay the refund")
    expect(bob.locator("#proposal-actions")).to_contain_text("Sends money to the customer's card. Cannot be undone.")
    expect(bob.locator("#proposal-actions [data-argument=amount]")).to_contain_text("85")
    expect(bob.locator("#proposal .diff [data-channel=amount] .before")).to_contain_text("900")
    expect(bob.locator("#proposal .diff [data-channel=amount] .after")).to_contain_text("85")
    expect(bob.locator("#action .eyebrow")).to_have_text("What the agent asked")
    expect(bob.locator("#drawing .node-edited")).to_contain_text("Pay the refund")
    expect(bob.locator("#drawing .node-left")).to_contain_text("Hand over")
    expect(bob.locator(PRIMARY)).to_have_text("Agree: Pay the refund")
    bob.click("#approve")
    expect(bob.locator("#decision")).to_contain_text("alice, bob")
    expect(bob.locator("#item-title")).to_have_text("Pay the refund")
    expect(bob.locator("#asked-instead s")).to_have_text("Hand over to the senior desk, 900 EUR for “Mei-Ling Chen”")
    console.run_of(approval["id"], until=("finished",))
    for path in (f"/?tab=done&q={approval['thread_id']}", f"/threads/{approval['thread_id']}/"):
        bob.goto(console.url + path)
        told = bob.locator("tr, li").filter(has=bob.locator(f"a[href^='/approvals/{approval['id']}/']"), has_text="bob")
        expect(told.first.locator("a").first).to_have_text("Pay the refund")
        expect(told.first.locator(".asked s")).to_contain_text("900 EUR")
    assert outbox(console, approval["thread_id"]) == ["refund"]


@pytest.mark.parametrize("way", USUAL_WAYS)
def test_a_page_that_somebody_else_decided_disables_its_bar_and_says_why_in_it(
    console: Console, sign_in: SignIn, way: str
) -> None:
    approval = console.pause("refund", refund(900))
    carol = sign_in("carol", is_own=way == "by polling")
    if way == "by polling":
        carol.add_init_script("window.WebSocket = class extends EventTarget { close() {} };")
        carol.clock.install()
    opened(carol, console, approval)
    carol.click("#edit-open")
    carol.get_by_label("Amount").fill("90")
    if way == "by going back":
        carol.goto(f"{console.url}/threads/")
    vote(console, "bob", approval, "reject", comment="Too much.").raise_for_status()
    if way == "by polling":
        carol.clock.fast_forward(16_000)
    if way == "by going back":
        carol.go_back()
    else:
        why = carol.locator("#decide #standing[data-stale]")
        expect(why).to_contain_text("Rejected by bob")
        expect(why).to_have_attribute("role", "alert")
        for button in carol.locator(".bar button").all():
            expect(button).to_be_disabled()
            expect(button).to_have_attribute("aria-describedby", "standing")
        expect(carol.get_by_label("Amount")).to_have_value("90")
        carol.keyboard.press("Escape")
        carol.locator("#item-title").focus()
        carol.keyboard.press("a")
        expect(why).to_be_focused()
        carol.get_by_label("Amount").press("Control+Enter")
        expect(why).to_be_visible()
        carol.click("#look-again")
    expect(carol.locator("#decision")).to_contain_text("bob")
    expect(carol.locator("#decide")).to_have_count(0)


# Others of their kind


def test_another_proposal_is_looked_at_and_what_was_typed_comes_along(console: Console, sign_in: SignIn) -> None:
    with policy("d_batched", approvals=2):
        approval = calls(console)
    carol = opened(sign_in("carol"), console, approval)
    choose(carol, 0, "Reject")
    carol.locator("#choice-0").get_by_label("Why?").fill("Not twice.")
    vote(
        console,
        "bob",
        approval,
        "respond",
        answer={"decisions": [{"type": "approve"}, {"type": "reject", "message": "x"}]},
    ).raise_for_status()
    expect(carol.locator("#decide #standing")).to_contain_text("bob proposes something else")
    expect(carol.locator("#send-answer")).to_be_disabled()
    expect(carol.locator("#review-button")).to_be_disabled()
    carol.click("#show-proposed")
    expect(carol.locator("#proposal")).to_contain_text("bob proposes this answer")
    expect(carol.locator("#choice-0 input[value=reject]")).to_be_checked()
    expect(carol.locator("#choice-0").get_by_label("Why?")).to_have_value("Not twice.")
    expect(carol.locator(PRIMARY)).to_have_text("Decide on 1 more")
    choose(carol, 0, "Approve")
    carol.evaluate("sessionStorage.clear()")  # this window would give back what was typed
    carol.goto(carol.url.partition("?")[0])
    expect(carol.locator(PRIMARY)).to_have_text("Agree with 2 decisions: 1 approve, 1 reject")
    carol.click("#more-open")
    carol.click("#as-asked-open")
    expect(carol.locator("#as-asked")).to_contain_text("the votes for that no longer count")


@pytest.mark.full
@pytest.mark.parametrize("options", MOSTLY.values(), ids=MOSTLY)
def test_what_a_rejection_leaves_out_is_said_and_as_it_was_asked_is_asked(
    console: Console, sign_in: SignIn, options: dict[str, Any]
) -> None:
    approval = console.pause("refund", refund(90))
    alice = opened(sign_in("alice", **options), console, approval, "?edit=form")
    alice.get_by_label("Amount").fill("80")
    alice.click("#reject-open")
    expect(alice.locator("#reject")).to_have_text("Reject, without what is filled in")
    alice.click("#reject-open") if options else alice.keyboard.press("Escape")
    alice.click("#more-open")
    alice.click("#as-asked-open")
    expect(alice.locator("#as-asked")).to_contain_text("90 EUR to “Mei-Ling Chen”")
    expect(alice.locator("#as-asked")).to_contain_text("What is filled in on this page is not sent.")
    alice.click("#approve-as-asked")
    expect(alice.locator("#decision")).to_contain_text("alice")
    assert read(console, approval)["decision"]["edits"] == {}


def test_enter_and_control_enter_do_what_the_primary_button_does(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(900))
    alice = opened(sign_in("alice"), console, approval, "?edit=form")
    amount = alice.get_by_label("Amount")
    amount.fill("85")
    amount.press("Enter")
    expect(alice.locator("#preview")).to_be_visible()
    alice.get_by_label("Amount").fill("86")
    alice.get_by_label("Amount").press("Control+Enter")
    expect(alice.locator("#preview [data-channel=amount] .after")).to_contain_text("86")
    assert read(console, approval)["status"] == "pending"
    alice.locator("#edit-comment").fill("by hand")
    alice.locator("#edit-comment").press("Control+Enter")
    expect(alice.locator("#decision")).to_contain_text("by hand")
    assert read(console, approval)["decision"]["edits"] == {"amount": {"op": "set", "value": 86.0}}


@pytest.mark.full
def test_what_is_typed_stays_when_it_is_claimed(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(900))
    alice = opened(sign_in("alice"), console, approval)
    alice.click("#edit-open")
    alice.get_by_label("Amount").fill("85")
    alice.click("#claim-it")
    expect(alice.locator("#claim")).to_contain_text("You are reviewing")
    expect(alice.get_by_label("Amount")).to_have_value("85")
    expect(alice.locator(PRIMARY)).to_have_text("Preview the edit")


@pytest.mark.full
def test_several_together_send_what_is_chosen_of_each(console: Console, sign_in: SignIn) -> None:
    made = [console.pause("voting", {"text": f"together {number}"}) for number in range(3)]
    alice = sign_in("alice")
    alice.goto(f"{console.url}/approvals/bulk/?" + "&".join(f"id={each['id']}" for each in made))
    expect(alice.locator("#send-votes")).to_have_text("Send 3 votes: 3 approve")
    alice.locator(f"#bulk-{made[1]['id']} .verdict", has_text="Reject").click()
    alice.locator(f"#bulk-{made[2]['id']} .verdict", has_text="Leave out").click()
    expect(alice.locator("#send-votes")).to_have_text("Send 2 votes: 1 approve, 1 reject")
    alice.locator("#bulk-comment").fill("As agreed by phone.")
    alice.click("#send-votes")
    expect(alice.locator("#bulk-done h1")).to_have_text("2 of 2 votes are in")
    assert [read(console, each)["status"] for each in made] == ["approved", "rejected", "pending"]
