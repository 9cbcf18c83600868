"""What an open page asks for by itself: seldom while messages come, and nothing is sent to it twice."""

from collections.abc import Callable

from playwright.sync_api import Page, Response, expect

from tests.console import Console

SignIn = Callable[..., Page]
EVERY = 15_000  # milliseconds
SELDOM = 120_000
TRIES = 3
"""What other tests left running may change the queue, and then the page asks because it was told to."""


def is_of_list(answer: Response) -> bool:
    return answer.request.headers.get("hx-target") == "list"


def opened(page: Page, console: Console, thread_id: str) -> Page:
    """Open the queue of one thread, and let the page ask for it once, so that it knows what it shows."""
    page.clock.install()
    page.goto(f"{console.url}/?q={thread_id}")
    ask(page, EVERY)
    expect(page.locator("#list[data-etag]")).to_be_visible()
    return page


def ask(page: Page, after: int) -> int:
    """Let time pass until the page asks for its list; return the status of the answer."""
    with page.expect_response(is_of_list) as answer:
        page.clock.run_for(after + 1_000)
    return answer.value.status


def times_asked(page: Page, milliseconds: int) -> int:
    """Return how often the page asks for its list in this time."""
    asked: list[Response] = []

    def note(answer: Response) -> None:
        asked.append(answer)

    page.on("response", note)
    page.clock.run_for(milliseconds)
    page.remove_listener("response", note)
    return len([answer for answer in asked if is_of_list(answer)])


def test_a_page_whose_socket_is_open_asks_every_two_minutes(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("gated", {"text": "seldom"})
    page = opened(sign_in("alice", is_own=True), console, approval["thread_id"])
    expect(page.locator("html")).to_have_attribute("data-live", "on")
    asked = []
    for _ in range(TRIES):
        asked.append(times_asked(page, SELDOM // 2))
        assert ask(page, SELDOM) == 304
        if not asked[-1]:
            break
    assert asked[-1] == 0, asked
    expect(page.locator(f"#row-{approval['id']}")).to_be_visible()


def test_a_page_without_a_socket_asks_every_15_s_and_is_sent_only_what_is_new(
    console: Console, sign_in: SignIn
) -> None:
    approval = console.pause("gated", {"text": "often"})
    page = opened(sign_in("alice", is_own=True, is_live=False), console, approval["thread_id"])
    assert [ask(page, EVERY) for _ in range(3)] == [304, 304, 304]
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    assert ask(page, EVERY) == 200
    expect(page.locator(f"#row-{approval['id']}")).to_have_count(0)
