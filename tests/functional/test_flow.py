"""From one approval to the next: the list travels along, the run goes on in the tray, a vote can be taken back."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console

SignIn = Callable[..., Page]
FOCUS = "document.activeElement && document.activeElement !== document.body"


def waiting(console: Console, thread_id: str, graph: str = "gated") -> dict[str, Any]:
    return console.pending(console.start_run(graph, {"text": "x"}, thread_id=thread_id))


@pytest.fixture
def three(console: Console) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Three that wait, oldest first, and the query string of a list that has them alone."""
    mark = f"m{uuid.uuid4().hex[:11]}"
    made = [waiting(console, f"{mark}-{number}") for number in range(3)]
    yield f"?tab=needs&q=thread:{mark}", made


def opened(page: Page, console: Console, query: str, approval: dict[str, Any]) -> Page:
    page.goto(f"{console.url}/approvals/{approval['id']}/{query}")
    return page


def is_at(page: Page, console: Console, approval: dict[str, Any]) -> None:
    expect(page.locator(f"#side #open-{approval['id']}")).to_have_attribute("aria-current", "true")
    assert f"/approvals/{approval['id']}/?tab=needs" in page.url


def test_list_place_and_neighbours_are_those_of_where_one_came_from(
    console: Console, sign_in: SignIn, three: tuple[str, list[dict[str, Any]]]
) -> None:
    query, made = three
    alice = opened(sign_in("alice"), console, f"{query}&sort=newest", made[2])
    expect(alice.locator("#place-number")).to_have_text("1 of 3")
    expect(alice.locator("#previous-one")).to_have_count(0)
    alice.keyboard.press("j")
    is_at(alice, console, made[1])
    expect(alice.locator("#place-number")).to_have_text("2 of 3")
    alice.keyboard.press("j")
    is_at(alice, console, made[0])
    alice.keyboard.press("k")
    is_at(alice, console, made[1])
    alice.keyboard.press("s")
    is_at(alice, console, made[0])
    assert alice.evaluate(FOCUS), "what came anew has the focus"
    alice.click(".place .back")
    expect(alice.locator(f"#open-{made[0]['id']}")).to_be_focused()


def test_after_a_vote_the_neighbour_opens_and_the_tray_tells_of_the_run(
    console: Console, sign_in: SignIn, three: tuple[str, list[dict[str, Any]]]
) -> None:
    query, made = three
    alice = opened(sign_in("alice"), console, query, made[1])
    alice.click("#approve")
    is_at(alice, console, made[2])
    expect(alice.locator("#place-number")).to_have_text("2 of 2")
    told = alice.locator(f".tray-item:has(a[href='/approvals/{made[1]['id']}/'])")
    expect(told).to_have_attribute("data-state", "done", timeout=15_000)
    expect(told).to_contain_text("Approved Act")
    alice.click("#approve")
    is_at(alice, console, made[0])
    alice.click("#approve")
    expect(alice.locator("h1")).to_have_text("Queue")
    expect(alice.locator("#empty")).to_be_visible()


def test_without_scripts_the_next_one_opens_as_well(
    console: Console, sign_in: SignIn, three: tuple[str, list[dict[str, Any]]]
) -> None:
    query, made = three
    alice = opened(sign_in("alice", java_script_enabled=False), console, query, made[0])
    alice.click("#approve")
    is_at(alice, console, made[1])
    expect(alice.locator(".toast")).to_contain_text("Approved.")
    alice.click("#skip-for-now")
    is_at(alice, console, made[2])
    alice.click("#previous-one")
    is_at(alice, console, made[1])


def test_whoever_wants_to_stay_stays(
    console: Console, sign_in: SignIn, three: tuple[str, list[dict[str, Any]]]
) -> None:
    query, made = three
    alice = sign_in("alice")
    alice.goto(f"{console.url}/{query}")
    alice.click("#look-open")
    alice.get_by_label("After my vote, open the next one").uncheck()
    alice.click("#keep-look")
    alice.click(f"#open-{made[0]['id']}")
    alice.click("#approve")
    expect(alice.locator("#run[data-status=finished]")).to_be_visible(timeout=15_000)
    assert made[0]["id"] in alice.url


def test_a_run_that_fails_says_why_in_the_tray(console: Console, sign_in: SignIn) -> None:
    mark = f"m{uuid.uuid4().hex[:11]}"
    made = [waiting(console, f"{mark}-{number}", graph) for number, graph in enumerate(("failing", "gated"))]
    alice = opened(sign_in("alice"), console, f"?tab=needs&q=thread:{mark}", made[0])
    alice.click("#approve")
    is_at(alice, console, made[1])
    expect(alice.locator(".tray-item[data-state=failed]")).to_contain_text("failed: ", timeout=15_000)
    alice.locator(".tray-item[data-state=failed] a").click()
    expect(alice.locator("#run-status")).to_have_text("Failed")


def test_a_snoozed_one_leaves_the_list_until_its_time(
    console: Console, sign_in: SignIn, three: tuple[str, list[dict[str, Any]]]
) -> None:
    from django.utils import timezone

    from approvals.models import Snooze

    query, made = three
    alice, bob = sign_in("alice"), sign_in("bob")
    opened(alice, console, query, made[0])
    alice.keyboard.press("z")
    alice.keyboard.press("Enter")
    is_at(alice, console, made[1])
    expect(alice.locator("#place-number")).to_have_text("1 of 2")
    bob.goto(f"{console.url}/{query}")
    expect(bob.locator("[data-row]")).to_have_count(3)
    alice.goto(f"{console.url}/{query.replace('needs', 'snoozed')}")
    expect(alice.locator("[data-row]")).to_have_count(1)
    alice.locator(".row-link").click()
    expect(alice.locator("#snoozed")).to_contain_text("You snoozed this until")
    alice.click("#wake")
    expect(alice.locator("#snoozed")).to_have_count(0)
    opened(alice, console, query, made[0])
    alice.keyboard.press("z")
    alice.keyboard.press("Enter")
    is_at(alice, console, made[1])
    alice.goto(f"{console.url}/{query}")
    expect(alice.locator("[data-row]")).to_have_count(2)
    Snooze.objects.filter(approval_id=made[0]["id"]).update(until=timezone.now())
    expect(alice.locator("[data-row]")).to_have_count(3)


def test_what_is_typed_is_kept_and_leaving_asks(
    console: Console, sign_in: SignIn, three: tuple[str, list[dict[str, Any]]]
) -> None:
    query, made = three
    alice = opened(sign_in("alice", is_own=True), console, query, made[0])
    asked: list[str] = []
    alice.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    alice.keyboard.press("e")
    with alice.expect_response(lambda answer: answer.url.endswith("/draft/")) as answer:
        alice.get_by_role("textbox", name="Text").fill("typed and kept")
    assert answer.value.status == 204
    alice.reload()
    assert asked == ["beforeunload"]
    expect(alice.get_by_role("textbox", name="Text")).to_have_value("typed and kept")
    elsewhere = opened(sign_in("alice"), console, query, made[0])
    elsewhere.click("#use-draft")
    expect(elsewhere.get_by_role("textbox", name="Text")).to_have_value("typed and kept")


def test_rows_do_not_move_under_a_pointer(
    console: Console, sign_in: SignIn, three: tuple[str, list[dict[str, Any]]]
) -> None:
    query, made = three
    alice = sign_in("alice")
    alice.goto(f"{console.url}/{query}")
    expect(alice.locator("html[data-live=on]")).to_be_attached()
    alice.wait_for_load_state("networkidle")  # it asks for what changed just before it was opened
    alice.locator(f"#row-{made[2]['id']}").hover()
    before = alice.locator(f"#row-{made[2]['id']}").bounding_box()
    with console.api("bob") as bob:
        ballot = {"verdict": "approve", "seen_digest": made[0]["digest"]}
        bob.post(f"/approvals/{made[0]['id']}/votes", json=ballot).raise_for_status()
    expect(alice.locator(".waiting")).to_have_text("1 gone. Show it")
    expect(alice.locator(f"#row-{made[0]['id']}.gone")).to_be_visible()
    assert alice.locator(f"#row-{made[2]['id']}").bounding_box() == before
    alice.click(".waiting")
    expect(alice.locator(f"#row-{made[0]['id']}")).to_have_count(0)
