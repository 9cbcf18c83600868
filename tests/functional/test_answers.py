"""Questions of `interrupt()` in a browser: each action decided, forms filled in, what is odd drawn and never run."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console
from tests.dialects import did
from tests.scale import some

SignIn = Callable[..., Page]
CALLS = [
    {"name": "pay", "args": {"order": "A1", "amount": 20.5}},
    {"name": "wipe", "args": {"path": "/srv/old"}},
    {"name": "send_mail", "args": {"to": "ines@halden.example", "subject": "Prices"}},
]
OPTIONS = {
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "dark phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "has_touch": True},
    "without scripts": {"java_script_enabled": False},
}
LOOKS = some(OPTIONS, "without scripts")  # on a phone: test_sends


def said(calls: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": json.dumps(calls)}]}


def opened(page: Page, console: Console, approval: dict[str, Any]) -> Page:
    page.goto(f"{console.url}/approvals/{approval['id']}/")
    return page


def choose(page: Page, place: int, word: str) -> None:
    page.locator(f"#choice-{place} .verdict", has_text=word).click()


@pytest.mark.full
@pytest.mark.parametrize("options", LOOKS.values(), ids=LOOKS)
def test_of_three_calls_one_is_approved_one_edited_and_one_rejected(
    options: dict[str, Any], console: Console, sign_in: SignIn
) -> None:
    approval = console.pause("d_batched", said(CALLS))
    page = opened(sign_in("alice", **options), console, approval)
    expect(page.locator("#item-title")).to_have_text("3 actions: pay, wipe, send_mail")

    choose(page, 0, "Edit")
    page.locator("#choice-0").get_by_label("Amount").fill("7.25")
    choose(page, 1, "Reject")
    page.click("#review-button")
    expect(page.locator("#choice-1 .errors")).to_contain_text("Say why")
    expect(page.locator("#choice-2 .errors")).to_have_text("Decide on send_mail too.")
    expect(page.locator("#choice-0").get_by_label("Amount")).to_have_value("7.25")

    page.locator("#choice-1").get_by_label("Why?").fill("That folder is still needed.")
    choose(page, 2, "Approve")
    page.click("#review-button")
    review = page.locator("#review")
    expect(review.locator("tr", has_text="amount")).to_contain_text("20.5")
    expect(review.locator("tr", has_text="amount")).to_contain_text("7.25")
    expect(review).to_contain_text("That folder is still needed.")
    assert did(approval["thread_id"], console.env["DATA_DIR"]) == [], "a review does nothing"

    page.click("#send-answer")
    expect(page.locator("#decision .decided li")).to_have_count(3)
    assert console.run_of(approval["id"])["status"] == "finished"
    assert did(approval["thread_id"], console.env["DATA_DIR"]) == [
        {"name": "pay", "args": {"order": "A1", "amount": 7.25, "currency": "EUR"}},
        {"name": "send_mail", "args": {"to": "ines@halden.example", "subject": "Prices"}},
    ]
    with console.api("alice") as alice:
        state = alice.get(f"/threads/{approval['thread_id']}/state").json()["values"]["messages"]
    said_by = {message["name"]: message for message in state if message["type"] == "tool"}
    assert said_by["pay"]["content"].endswith("pay is done")
    assert (said_by["wipe"]["status"], "That folder is still needed." in said_by["wipe"]["content"]) == ("error", True)
    assert said_by["send_mail"]["content"] == "send_mail is done"


def test_the_fields_of_a_schema_are_filled_in_and_faults_stand_beside_them(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_schema", {"amount": 1})
    page = opened(sign_in("alice"), console, approval)
    page.get_by_label("Customer").fill("Mei-Ling")
    page.get_by_label("Kind").select_option(label="repeat")
    page.get_by_label("Name").fill("lamp")
    page.get_by_label("Price").fill("-1")
    page.click("#review-button")
    expect(page.locator(".has-errors .errors")).to_have_text("This must be more than 0.")
    page.get_by_label("Price").fill("12")
    page.click("#review-button")
    expect(page.locator("#review")).to_contain_text("Mei-Ling")
    page.click("#send-answer")
    expect(page.locator("#answered")).to_contain_text("lamp")
    console.run_of(approval["id"])
    with console.api("alice") as alice:
        got = alice.get(f"/threads/{approval['thread_id']}/state").json()["values"]["got"]
    assert got == [{"customer": "Mei-Ling", "kind": "repeat", "items": [{"name": "lamp", "price": 12}], "note": None}]


@pytest.mark.full
def test_json_that_nobody_can_check_is_sent_once_the_nodes_name_is_typed(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_asks", {"ask": {"a strange": ["shape"]}})
    page = opened(sign_in("alice"), console, approval)
    expect(page.locator("#action")).to_contain_text("a strange")
    page.get_by_label("Answer as JSON").fill('{"limit": 100}')
    page.click("#review-button")
    expect(page.locator(".errors")).to_have_text("Type ask.")
    page.get_by_label("Type the node's name").fill("ask")
    page.click("#review-button")
    page.click("#send-answer")
    expect(page.locator("#answered")).to_contain_text("100")
    console.run_of(approval["id"])
    with console.api("alice") as alice:
        assert alice.get(f"/threads/{approval['thread_id']}/state").json()["values"]["got"] == [{"limit": 100}]


def test_a_text_is_answered_with_a_text_and_the_state_edited_in_the_same_step(
    console: Console, sign_in: SignIn
) -> None:
    approval = console.pause("d_parallel", {"amount": 1})
    with console.api("alice") as alice:
        found = alice.get("/approvals", params={"thread_id": approval["thread_id"], "q": "left?"}).json()["items"][0]
    page = opened(sign_in("alice"), console, found)
    expect(page.locator("#together")).to_contain_text("Question: “right?”")
    page.get_by_label("Your answer").fill("go left")
    page.click("#state-edit > summary")
    page.get_by_label("Amount").fill("5")
    page.click("#review-button")
    expect(page.locator("#review .diff")).to_contain_text("5")
    page.click("#send-answer")
    expect(page.locator("#next-of-thread")).to_contain_text("Question: “right?”", timeout=15_000)
    with console.api("alice") as alice:
        assert alice.get(f"/threads/{approval['thread_id']}").json()["values"]["amount"] == 5


def test_a_bad_answer_is_explained_and_the_question_asked_again_in_one_click(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_poisonable", {"amount": 1})
    page = opened(sign_in("alice"), console, approval)
    page.get_by_label("Your answer").fill("many")
    page.click("#review-button")
    page.click("#send-answer")
    expect(page.locator("#run")).to_contain_text("The number must be whole.", timeout=15_000)
    page.click("#ask-again")
    again = console.pending(approval["thread_id"])
    assert again["id"] != approval["id"]
    opened(page, console, again)
    expect(page.locator("article")).to_contain_text("Question: “How many?”")
    expect(page.locator("#others-title ~ ul, .context")).to_contain_text("asked 2 times")
    page.click("#turn-answer")
    page.get_by_label("Answer as JSON").fill("4")
    page.click("#review-button")
    expect(page.locator(".errors")).to_have_text("Type strict_int.")
    page.get_by_label("Type the node's name").fill("strict_int")
    page.click("#review-button")
    page.click("#send-answer")
    assert console.run_of(again["id"])["status"] == "finished"
    opened(page, console, approval)
    expect(page.locator("#answered")).to_have_text("many"), "the first answer stays in the record"


@pytest.mark.full
def test_a_rejected_call_that_ran_anyway_is_flagged(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_flipping", said([{"name": "wipe", "args": {"path": "/srv/old"}}]))
    page = opened(sign_in("alice"), console, approval)
    page.click("#reject-open")
    page.fill("#reject-reason", "Still needed.")
    page.click("#reject")
    console.run_of(approval["id"])
    opened(page, console, approval)
    expect(page.locator("#deviations")).to_contain_text("wipe ran although the call was rejected.")


@pytest.mark.full
def test_a_draft_of_an_answer_survives_a_lost_race(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_batched", said(CALLS[:1]))
    page = opened(sign_in("alice", is_live=False), console, approval)
    page.click("#answer-open")
    choose(page, 0, "Edit")
    page.locator("#choice-0").get_by_label("Amount").fill("9")
    page.click("#review-button")
    expect(page.locator("#send-answer")).to_be_enabled()
    with console.api("bob") as bob:
        bob.post(
            f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
        ).raise_for_status()
    page.click("#send-answer")
    expect(page.locator("#conflict")).to_contain_text("bob")
    expect(page.locator("#kept-draft")).to_contain_text('"amount": 9')


ODD = "invoice\u202egpj.exe\u200b https://www.\u0440aypal.com/in <img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.mark.full
def test_what_is_odd_is_drawn_flagged_and_never_run(console: Console, sign_in: SignIn) -> None:
    """In the name of a tool, its description, the name of an argument and its value."""
    asked = [
        {
            "action_request": {"action": f"pay{ODD}", "args": {f"key{ODD}": f"value{ODD}"}},
            "config": {"allow_accept": True, "allow_ignore": True, "allow_edit": True, "allow_respond": True},
            "description": f"said{ODD}",
        }
    ]
    approval = console.pause("d_legacy", {"ask": asked})
    page = sign_in("alice", is_own=True)
    page.on("dialog", lambda dialog: pytest.fail(f"it ran: {dialog.message}"))
    opened(page, console, approval)
    expect(page.locator("#warnings h2")).to_contain_text("warnings")
    expect(page.locator("#warnings")).to_contain_text("xn--aypal-uye.com")
    for spot in ("#item-title", "#action h3", "#agent-says .description", "#action dt", "#action dd"):
        expect(page.locator(spot).first.locator(".odd").first).to_be_visible()
    assert page.locator("#page img, #page script").count() == 0
    page.click("#answer-open")
    choose(page, 0, "Edit")
    page.click("#review-button")
    expect(page.locator("#choice-0 .errors")).to_be_visible()
    page.goto(f"{console.url}/?q={approval['thread_id']}")
    expect(page.locator(f"#row-{approval['id']} .odd").first).to_be_visible()
    assert page.locator("#page img, #page script").count() == 0
