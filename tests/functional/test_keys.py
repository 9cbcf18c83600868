"""What a morning at the queue costs: keys for mixed approvals, clicks for simple ones. Typing is not counted."""

import uuid
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.console import Console
from tests.scale import tries

SignIn = Callable[..., Page]
COUNT = tries(10, full=30)
MIX = ("approve", "approve", "edit", "calls", "approve", "question", "skip", "approve", "reject", "approve")
GRAPHS = {"calls": "assistant", "question": "asking"}
MOST_KEYS, MOST_CLICKS = 5, 1.2
INPUTS: dict[str, dict[str, Any]] = {
    "assistant": {"messages": [{"role": "user", "content": "Plan the week with Halden Paper"}]},
}


class Keys:
    """The keyboard of a person, who counts what they press beside typing."""

    def __init__(self, page: Page) -> None:
        self.page, self.count = page, 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.count += key.count("+") + 1
            expect(self.page.locator(":focus")).to_have_count(1)  # soon, also where a page opens

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)


def waiting(console: Console, mark: str, count: int, mix: tuple[str, ...]) -> dict[str, str]:
    """Start threads one after the other; return what to do with each approval."""
    todo = {}
    for number in range(count):
        kind = mix[number % len(mix)]
        graph = GRAPHS.get(kind, "gated")
        thread = console.start_run(graph, INPUTS.get(graph, {"text": "x"}), thread_id=f"{mark}-{number:02}")
        todo[console.pending(thread)["id"]] = kind
    return todo


def decide(keys: Keys, kind: str) -> None:
    page = keys.page
    match kind:
        case "edit":
            keys.press("e")
            keys.type("edited by hand")
            keys.press("Control+Enter")
            expect(page.locator("#preview-title")).to_be_focused()
            keys.press("a", "Enter")
        case "question":
            keys.press("e")
            keys.type("forty")
            keys.press("Control+Enter")
        case "skip":
            keys.press("s")
        case "reject":
            keys.press("r")
            keys.type("not this one")
            keys.press("Control+Enter")
        case _:
            keys.press("a", "Enter")


def test_mixed_approvals_by_keyboard_alone(console: Console, sign_in: SignIn) -> None:
    mark = f"k{uuid.uuid4().hex[:11]}"
    todo = waiting(console, mark, COUNT, MIX)
    made, skipped = list(todo), {each for each, kind in todo.items() if kind == "skip"}
    page = sign_in("alice")
    keys = Keys(page)
    page.goto(f"{console.url}/?tab=needs&q=thread:{mark}")
    keys.press("j", "Enter")
    for _ in range(COUNT):
        expect(page.locator("#place-number")).to_be_visible()
        here = next(each for each in todo if each in page.url)
        decide(keys, todo.pop(here))
        if todo:
            page.wait_for_url(lambda url, here=here: here not in url)
    assert keys.count <= MOST_KEYS * COUNT, f"{keys.count} keys for {COUNT}"
    with console.api("alice") as alice:
        left = {each for each in made if alice.get(f"/approvals/{each}").json()["status"] == "pending"}
    assert left == skipped


def test_ten_by_mouse(console: Console, sign_in: SignIn) -> None:
    mark = f"c{uuid.uuid4().hex[:11]}"
    todo = waiting(console, mark, COUNT, ("approve",))
    page = sign_in("alice")
    page.goto(f"{console.url}/?tab=needs&q=thread:{mark}")
    clicks = 1
    page.locator(".row-link").first.click()
    for number in range(COUNT):
        expect(page.locator("#place-number")).to_have_text(f"1 of {COUNT - number}")
        page.locator("#approve").click()
        clicks += 1
    expect(page.locator("#empty")).to_be_visible()
    assert clicks <= MOST_CLICKS * len(todo)
