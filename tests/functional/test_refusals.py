"""Every refusal says why, and nothing that was typed is lost."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.console import Console, refund
from tests.races.test_moved_threads import MOVES, agent
from tests.scale import some

SignIn = Callable[..., Page]


def test_what_was_typed_is_kept_when_the_agent_moves_the_thread(
    console: Console, database: str, sign_in: SignIn
) -> None:
    approval = console.pause("refund", refund(640))
    alice = sign_in("alice", is_live=False)
    alice.goto(f"{console.url}/approvals/{approval['id']}/")
    alice.click("#edit-open")
    alice.get_by_label("Amount").fill("75.5")
    alice.click("#preview-button")
    expect(alice.locator("#preview")).to_be_visible()
    alice.locator("#edit-comment").fill("seventy-five is fair")
    agent(database, approval["thread_id"], MOVES["edits"])
    alice.click("#approve-edit")
    conflict = alice.locator("#conflict")
    expect(conflict).to_contain_text("amount")
    expect(conflict).to_contain_text("9999")
    expect(alice.locator("#kept-draft")).to_contain_text("75.5")
    expect(alice.locator("#kept-draft")).to_contain_text("seventy-five is fair")
    alice.click("#newer")
    alice.click("#use-draft")
    expect(alice.get_by_label("Amount")).to_have_value("75.5")


@pytest.mark.full
def test_a_rejection_needs_a_reason_and_the_node_does_not_run(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    alice = sign_in("alice")
    alice.goto(f"{console.url}/approvals/{approval['id']}/")
    alice.click("#reject-open")
    alice.click("#reject")
    expect(alice.locator("#reject-reason")).to_be_focused()
    alice.locator("#reject-reason").fill("no proof of the damage")
    alice.click("#reject")
    expect(alice.locator("#run[data-status=finished]")).to_be_visible()
    expect(alice.locator("body")).to_contain_text("no proof of the damage")
    with console.api("alice") as api:
        state = api.get(f"/threads/{approval['thread_id']}/state").json()
    assert state["values"]["route"] is None
    assert state["next"] == []


def test_who_may_not_vote_reads_why(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    olga = sign_in("olga")
    olga.goto(f"{console.url}/approvals/{approval['id']}/")
    expect(olga.locator("#approve")).to_be_disabled()
    expect(olga.locator("#decide")).to_contain_text("Only reviewers vote.")


WRONG = {
    "{": "JSON",
    '{"amount": {"op": "set", "value": "much"}}': "number",
    '{"nonsense": {"op": "set", "value": 1}}': "no channel",
    '{"reason": {"op": "set", "value": {"__overwrite__": 1}}}': "LangGraph",
    '{"amount": {"op": "set", "value": NaN}}': "NaN",
}
"""What is typed, and what is said of it."""
TOLD = some(WRONG, *list(WRONG)[:2])


def test_a_wrong_type_is_said_at_the_field_and_the_form_keeps_it(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    alice = sign_in("alice")
    alice.goto(f"{console.url}/approvals/{approval['id']}/")
    alice.click("#edit-open")
    alice.click("#as-json")
    for text, told in TOLD.items():
        alice.locator("#id_raw").fill(text)
        alice.click("#preview-button")
        expect(alice.locator("#edit .errors, #edit [role=alert]").first).to_contain_text(told)
        expect(alice.locator("#id_raw")).to_have_value(text)
        expect(alice.locator("#approve-edit")).to_have_text("Preview the edit")


def test_a_form_without_its_token_is_refused_with_a_page(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    alice = sign_in("alice")
    cookies = {cookie["name"]: cookie["value"] for cookie in alice.context.cookies()}
    answer = httpx.post(
        f"{console.url}/approvals/{approval['id']}/vote/",
        data={"verdict": "approve", "seen_digest": approval["digest"], "csrfmiddlewaretoken": "wrong"},
        cookies={"sessionid": cookies["sessionid"]},
        headers={"Origin": console.url},
    )
    assert answer.status_code == 403
    assert "Open the page again" in answer.text
    assert console.pending(approval["thread_id"])["id"] == approval["id"]


def test_hostile_text_is_drawn_and_not_run(console: Console, sign_in: SignIn) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\">\u202egnp.exe"
    approval = console.pause("gated", {"text": hostile})
    alice = sign_in("alice")
    alice.goto(f"{console.url}/approvals/{approval['id']}/")
    expect(alice.locator("#item")).to_contain_text("<img src=x onerror=")
    expect(alice.locator("#item")).to_contain_text("U+202E")
    expect(alice.locator("#warnings")).to_contain_text("1 character that cannot be seen")
    assert "owned" not in alice.title()


def test_another_sites_page_cannot_open_our_socket(console: Console, sign_in: SignIn) -> None:
    import asyncio

    import websockets

    alice = sign_in("alice")
    session = next(cookie["value"] for cookie in alice.context.cookies() if cookie["name"] == "sessionid")

    async def opens(origin: str) -> bool:
        url = console.url.replace("http", "ws") + "/ws/live/"
        headers = {"Cookie": f"sessionid={session}"}
        try:
            async with websockets.connect(url, origin=origin, additional_headers=headers):  # type: ignore[arg-type]
                return True
        except websockets.InvalidStatus:
            return False

    def run(origin: str) -> bool:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:  # Playwright holds this thread's loop
            return pool.submit(asyncio.run, opens(origin)).result()

    assert run(console.url)
    assert not run("https://evil.example")
    assert not run(console.url.replace("http", "https"))
