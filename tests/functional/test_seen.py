"""What is hidden by length, by look or by who says it: in a browser, with and without scripts, and by keyboard."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console
from tests.scale import some

SignIn = Callable[..., Page]
APPROVED = "Approved by alice, 2 of 2. No further action needed."
COMMAND = "echo ok" + "\n" * 400 + "rm -rf /"
ALLOW = {"allow_accept": True, "allow_ignore": True, "allow_edit": True, "allow_respond": True}
LOOKS = {
    "wide": {},
    "phone": {"viewport": {"width": 360, "height": 740}},
    "without scripts": {"java_script_enabled": False},
}
USUAL = some(LOOKS, "phone")


def asked(description: str = "", /, **args: Any) -> dict[str, Any]:
    request = {"action_request": {"action": "run_command", "args": args}, "config": ALLOW}
    return {"ask": [request | ({"description": description} if description else {})]}


def opened(page: Page, console: Console, approval: dict[str, Any]) -> Page:
    page.goto(f"{console.url}/approvals/{approval['id']}/")
    return page


@pytest.mark.parametrize("options", USUAL.values(), ids=USUAL)
def test_the_end_of_a_value_is_seen_before_a_yes(options: dict[str, Any], console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_legacy", asked(command=COMMAND))
    page = opened(sign_in("alice", **options), console, approval)
    argument = page.locator("[data-argument=command]")
    expect(argument.locator(".fold > summary")).to_contain_text("399 blank lines, 1 line more")
    expect(argument.get_by_text("rm -rf /")).not_to_be_visible()
    expect(page.locator("#approve")).to_be_disabled()
    expect(page.locator("#decide")).to_contain_text("See command to the end first: it is taller than a screen.")
    expect(page.locator("#reject-open")).to_be_visible()

    summary = argument.locator(".fold > summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(argument.get_by_text("rm -rf /")).to_be_visible()
    expect(argument.locator(".gap")).to_have_text("399 blank lines")
    expect(page.locator("#approve")).to_be_disabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#approve")).to_be_enabled()
    page.click("#approve")
    expect(page.locator("#status")).to_have_text("Approved")


def test_words_of_the_agent_stand_outside_of_what_will_happen(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_legacy", asked(APPROVED, command="rm -rf /"))
    page = opened(sign_in("alice"), console, approval)
    expect(page.locator("#action h2")).to_have_text("What will happen")
    expect(page.locator("#action")).not_to_contain_text("Approved")
    expect(page.get_by_role("region", name="What the agent says of it")).to_contain_text(APPROVED)
    expect(page.locator(".item-head .lead")).to_contain_text(f"The agent says: “{APPROVED}”")
    page.goto(f"{console.url}/approvals/bulk/?id={approval['id']}")
    expect(page.locator(".words-agent")).to_contain_text(APPROVED)
    page.goto(f"{console.url}/?q={approval['thread_id']}")
    expect(page.locator(f"#row-{approval['id']} .summary")).to_contain_text(f"The agent says: “{APPROVED}”")


def test_a_question_is_in_quotation_marks_in_titles_and_tabs(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_asks", {"ask": APPROVED})
    page = opened(sign_in("alice"), console, approval)
    expect(page.locator("#item-title")).to_have_text(f"Question: “{APPROVED}”")
    assert page.title().startswith(f"Question: “{APPROVED}”")
    expect(page.locator("#action .note").first).to_contain_text("in the words of the agent")


def test_a_warning_is_counted_on_top_and_stands_beside_its_value(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("d_legacy", asked(url="https://paypa1.com/in", to="DE89 37O4 0044 0532 0130 00"))
    page = opened(sign_in("alice"), console, approval)
    expect(page.locator("#warnings h2")).to_contain_text("2 warnings")
    expect(page.get_by_role("region", name="2 warnings")).to_contain_text("paypa1.com")
    value = page.locator("[data-argument=url]")
    expect(value.get_by_role("note", name="Warning about url: It looks like paypal and is not.")).to_be_visible()
    page.goto(f"{console.url}/?q={approval['thread_id']}")
    expect(page.locator(f"#row-{approval['id']} .tag-warn")).to_contain_text("2 warnings")
