"""Tasks that wait at a breakpoint with arguments of their own, decided one by one in a browser."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console
from tests.functional.test_answers import OPTIONS, choose, opened
from tests.graphs import times_run
from tests.scale import some

SignIn = Callable[..., Page]
LOOKS = some(OPTIONS, "dark phone")  # without scripts: test_on_screen


@pytest.mark.parametrize("options", LOOKS.values(), ids=LOOKS)
def test_of_two_payments_one_is_rejected_and_one_edited(
    options: dict[str, Any], console: Console, sign_in: SignIn, data_dir: Path, request: pytest.FixtureRequest
) -> None:
    approval = console.pause("s_by_command", {"order": "A1"})
    page = opened(sign_in("alice", **options), console, approval)
    snap(page, f"{request.node.callspec.id}-1")
    expect(page.locator("#choice-0")).to_contain_text("MALLORY-77")
    expect(page.locator("#choice-1")).to_contain_text("ALICE-11")
    expect(page.locator("#why-edit")).to_contain_text("by a Send")
    expect(page.locator("#edit-open")).to_have_count(0)

    choose(page, 0, "Reject")
    page.locator("#choice-0").get_by_label("Why?").fill("We owe nothing.")
    choose(page, 1, "Edit")
    page.locator("#choice-1").get_by_label("Amount").fill("2.5")
    page.click("#review-button")
    review = page.locator("#review")
    expect(review.locator("tr", has_text="amount")).to_contain_text("2.5")
    expect(review).to_contain_text("We owe nothing.")
    expect(review.locator("#route")).to_contain_text("Pay + Pay")
    snap(page, f"{request.node.callspec.id}-2")
    assert times_run(data_dir, approval["thread_id"], "pay") == 0, "a review does nothing"

    page.click("#send-answer")
    expect(page.locator("#decision .decided li")).to_have_count(2)
    snap(page, f"{request.node.callspec.id}-3")
    assert console.run_of(approval["id"])["status"] == "finished"
    with console.api("alice") as alice:
        assert alice.get(f"/threads/{approval['thread_id']}").json()["values"]["paid"] == ["ALICE-11 2.5"]


def snap(page: Page, name: str) -> None:
    if os.environ.get("SNAP"):
        page.screenshot(path=f"{os.environ['SNAP']}/{name.replace(' ', '-')}.png", full_page=True)


@pytest.mark.full
def test_a_question_that_a_node_raised_is_mended_and_goes_on(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("s_raised", {"input": "far too long"})
    page = opened(sign_in("alice"), console, approval)
    snap(page, "raised-1")
    expect(page.locator("#answer-open")).to_have_count(0)
    page.click("#edit-open")
    page.locator("#edit").get_by_label("input").first.fill("ok")
    page.click("#preview-button")
    expect(page.locator("#preview")).to_contain_text("ok")
    page.click("#approve-edit")
    assert console.run_of(approval["id"])["status"] == "finished"
