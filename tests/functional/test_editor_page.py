"""The editor in a browser: objects and messages as fields, which node an edit comes from, secrets, and a preview."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agentcore.plain.masks import CHANGED
from tests.console import Console
from tests.scale import some

SignIn = Callable[..., Page]
DEVICES = {
    "wide": {},
    "a phone in the dark": {"viewport": {"width": 360, "height": 760}, "color_scheme": "dark"},
}
USUAL = some(DEVICES, "a phone in the dark")


def opened(page: Page, console: Console, approval: dict[str, Any]) -> Page:
    page.goto(f"{console.url}/approvals/{approval['id']}/?edit=form")
    return page


def state_after(console: Console, approval: dict[str, Any]) -> dict[str, Any]:
    console.run_of(approval["id"])
    with console.api("alice") as alice:
        return dict(alice.get(f"/threads/{approval['thread_id']}/state").json()["values"])


def is_in_view(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_every_channel_says_its_type_and_what_becomes_of_a_value(console: Console, sign_in: SignIn) -> None:
    page = opened(sign_in("alice"), console, console.pause("edited", {"total": 1}))
    said = {
        "order": ("Order", "replaces"),
        "messages": ("list of messages", "merges messages by id"),
        "facts": ("dict[str, int]", "merges keys"),
        "total": ("int", "adds"),
        "notes": ("list[str]", "appends"),
    }
    for name, words in said.items():
        assert tuple(page.locator(f"#channel-{name} .channel-kind .tag").all_inner_texts()) == words


@pytest.mark.parametrize("device", USUAL.values(), ids=USUAL)
def test_an_object_and_a_message_are_edited_as_fields_and_what_was_shown_is_what_comes(
    console: Console, sign_in: SignIn, device: dict[str, Any]
) -> None:
    approval = console.pause("edited", {"total": 1})
    page = opened(sign_in("alice", **device), console, approval)
    order = page.locator("#channel-order")
    order.get_by_label("City").fill("Gouda")
    order.get_by_label("Due").fill("2026-04-02")
    talk = page.locator("#channel-messages")
    talk.locator("summary", has_text="I look it up.").click()
    turn = talk.locator(".turn-form", has_text="m2")
    turn.get_by_label("Text", exact=True).fill("I look in Gouda.")
    turn.get_by_label("City").fill("Gouda")
    talk.locator("summary", has_text="Two depots.").click()
    talk.locator(".turn-form", has_text="m3").get_by_label("Take this message out").check()
    talk.locator(".turn-new > summary").click()
    talk.locator(".turn-new").get_by_label("Text").fill("Quickly, please.")
    page.click("#preview-button")
    expect(page.locator("#preview-title")).to_be_visible()
    expect(page.locator("#preview [data-channel=order] .after")).to_contain_text("Gouda")
    assert is_in_view(page)
    page.click("#approve-edit")
    expect(page.locator("#run[data-status=finished]")).to_be_visible(timeout=15_000)
    after = state_after(console, approval)
    assert (after["order"]["to"]["city"], after["order"]["due"], after["order"]["lines"]) == (
        "Gouda",
        "2026-04-02",
        ["lamp"],
    )
    assert [message["content"] for message in after["messages"]] == [
        "Send the lamp to Delft.",
        "I look in Gouda.",
        "Quickly, please.",
    ]
    assert after["messages"][1]["tool_calls"][0]["args"] == {"city": "Gouda", "limit": 3}


@pytest.mark.full
def test_a_part_turns_to_json_and_back_and_nothing_is_previewed_meanwhile(console: Console, sign_in: SignIn) -> None:
    page = opened(sign_in("alice"), console, console.pause("edited", {"total": 1}))
    order = page.locator("#channel-order")
    order.get_by_label("City").fill("Gouda")
    order.get_by_role("button", name="Write JSON").click()
    expect(order.locator("textarea.code")).to_be_visible()
    assert "Gouda" in order.locator("textarea.code").input_value()
    assert page.locator("#preview").count() == 0
    order.get_by_role("button", name="Fill in a form").click()
    expect(order.get_by_label("City")).to_have_value("Gouda")


def test_after_parallel_branches_the_form_asks_which_node_the_edit_comes_from(
    console: Console, sign_in: SignIn
) -> None:
    approval = console.pause("branched", {"notes": ["begun"], "stop": False})
    page = opened(sign_in("alice"), console, approval)
    page.get_by_label("Stop").select_option("true")
    page.click("#preview-button")
    expect(page.locator("#edit-problem")).to_contain_text("Say which of them the edit comes from")
    page.get_by_label("The edit comes from").select_option("left")
    page.click("#preview-button")
    expect(page.locator("#route .route-after")).to_have_text("Stop")
    page.click("#approve-edit")
    expect(page.locator("#run[data-status=finished]")).to_be_visible(timeout=15_000)
    assert "stop" in page.locator("#run").inner_text().lower()


@pytest.mark.full
def test_a_secret_is_an_empty_field_that_keeps_what_is_there_until_something_is_typed(
    console: Console, sign_in: SignIn, data_dir: Path
) -> None:
    token, new = f"canary-{uuid.uuid4()}", f"canary-{uuid.uuid4()}"
    given = {"api_key": f"canary-{uuid.uuid4()}", "account": {"host": "up", "token": token}, "accounts": []}
    approval = console.pause("secretive", given)
    page = opened(sign_in("alice"), console, approval)
    key = page.locator("#channel-api_key input")
    expect(key).to_have_value("")
    expect(key).to_have_attribute("type", "password")
    key.fill(new)
    page.click("#preview-button")
    expect(page.locator("#preview [data-channel=api_key] .after")).to_contain_text(CHANGED)
    assert new not in page.content()
    page.locator("#channel-account").get_by_label("Host").fill("other")
    page.click("#preview-button")
    expect(page.locator("#preview [data-channel=account] .after")).to_contain_text("other")
    expect(page.locator("#preview [data-channel=api_key] .after")).to_contain_text(CHANGED)
    page.click("#approve-edit")
    expect(page.locator("#run[data-status=finished]")).to_be_visible(timeout=15_000)
    assert new not in page.content() and token not in page.content()
    assert list((data_dir / "ran" / approval["thread_id"]).glob(f"act_with_{new}_{token}-*"))
