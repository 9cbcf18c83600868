"""The history in a browser: look back, compare two, fork one, run the fork; also on a phone, in the dark, and alone."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console, refund
from tests.scale import some

SignIn = Callable[..., Page]
Look = Callable[..., None]
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
LOOKS = some({"wide": {}, "dark phone": PHONE}, "dark phone")
PATHS = ["", "{checkpoint_id}/", "{checkpoint_id}/fork/", "{checkpoint_id}/replay/"]


@pytest.fixture(scope="module")
def approved(console: Console) -> dict[str, Any]:
    approval = console.pause("refund", refund(640))
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "comment": "The photo shows it."}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    console.run_of(approval["id"])
    return approval


def test_somebody_looks_back_compares_forks_and_runs(
    console: Console, sign_in: SignIn, approved: dict[str, Any]
) -> None:
    olga = sign_in("olga")
    olga.goto(f"{console.url}/threads/{approved['thread_id']}/history/")
    expect(olga.locator(".point")).to_have_count(5)
    expect(olga.locator(".point").first).to_contain_text("Approved by alice: “The photo shows it.”")
    expect(olga.locator(".edge.taken")).not_to_have_count(0)

    olga.locator(".point").nth(3).get_by_label("Compare step").check()
    olga.locator(".point").nth(0).get_by_label("with step").check()
    olga.locator("#compare").click()
    expect(olga.locator("[data-channel=closing_note]")).to_be_visible()

    olga.goto(f"{console.url}/threads/{approved['thread_id']}/history/")
    olga.locator(".point[data-step='0'] .point-what").click()
    olga.locator("#fork").click()
    olga.get_by_label("With an edit").check()
    olga.locator(".way-edit").get_by_label("Amount").fill("20")
    olga.locator("#make-fork").click()
    expect(olga.locator("#origin")).to_have_text(str(approved["thread_id"]))
    olga.locator("#go-on").click()
    expect(olga.locator("body")).to_contain_text("Pay the refund", timeout=15_000)
    olga.locator("#compare-branches").click()
    expect(olga.locator("[data-channel=amount] .before")).to_contain_text("640")
    expect(olga.locator("[data-channel=amount] .after")).to_contain_text("20")


@pytest.mark.parametrize("options", LOOKS.values(), ids=LOOKS)
def test_every_page_fits(look_at: Look, approved: dict[str, Any], options: dict[str, Any]) -> None:
    history = f"/threads/{approved['thread_id']}/history/"
    look_at("root", [history + path.format(**approved) for path in PATHS], **options)


def test_it_all_works_without_scripts(console: Console, sign_in: SignIn, approved: dict[str, Any]) -> None:
    olga = sign_in("olga", java_script_enabled=False)
    olga.goto(f"{console.url}/threads/{approved['thread_id']}/history/")
    olga.locator("#compare").click()
    expect(olga.locator("#difference-title")).to_be_visible()
    olga.goto(f"{console.url}/threads/{approved['thread_id']}/history/{approved['checkpoint_id']}/fork/")
    olga.locator("#make-fork").click()
    expect(olga.locator("#origin")).to_have_text(str(approved["thread_id"]))


def test_a_replay_is_behind_the_typed_id(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    root = sign_in("root")
    root.goto(f"{console.url}/threads/{approval['thread_id']}/history/{approval['checkpoint_id']}/")
    root.locator("#replay").click()
    root.get_by_label("Type the thread's id").fill("not it")
    root.locator("#make-replay").click()
    expect(root.locator("#problem")).to_contain_text("Nothing was run")
    root.get_by_label("Type the thread's id").fill(str(approval["thread_id"]))
    root.locator("#make-replay").click()
    expect(root.locator("#status")).to_be_visible()
    anew = console.pending(str(approval["thread_id"]))
    assert anew["next"] == approval["next"]
