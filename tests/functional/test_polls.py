"""What an open page asks for by itself is sent to it only when it is different."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Response, Route, WebSocketRoute, expect

from tests.console import Console

SignIn = Callable[..., Page]
EVERY = 15_000  # milliseconds
NOTICE = '<div id="banner" hx-swap-oob="true" role="status">The database does not answer.</div>'


def is_of_list(answer: Response) -> bool:
    return answer.request.headers.get("hx-target") == "list"


def opened(page: Page, console: Console, thread_id: str) -> Page:
    """Open the queue of one thread, and let the page ask for it once, so that it knows what it shows."""
    page.clock.install()
    page.goto(f"{console.url}/?q={thread_id}")
    assert ask(page) == 200
    expect(page.locator("#list[data-etag]")).to_be_visible()
    return page


def ask(page: Page) -> int:
    """Let time pass until the page asks for its list; return the status of the answer."""
    with page.expect_response(is_of_list) as answer:
        page.clock.run_for(EVERY + 1_000)
    return answer.value.status


def test_a_page_is_sent_only_what_is_new(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("gated", {"text": "once"})
    page = opened(sign_in("alice", is_own=True, is_live=False), console, approval["thread_id"])
    assert [ask(page) for _ in range(3)] == [304, 304, 304]
    expect(page.locator(f"#row-{approval['id']}")).to_be_visible()
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    assert ask(page) == 200
    expect(page.locator(f"#row-{approval['id']}")).to_have_count(0)


def test_a_notice_that_came_with_an_error_goes_with_the_next_answer(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("gated", {"text": "notice"})
    page = opened(sign_in("alice", is_own=True, is_live=False), console, approval["thread_id"])

    def refuse(route: Route) -> None:
        route.fulfill(status=503, headers={"HX-Reswap": "none", "Content-Type": "text/html"}, body=NOTICE)

    page.route("**/?q=*", refuse)
    assert ask(page) == 503
    expect(page.locator("#banner")).to_have_text("The database does not answer.")
    page.unroute_all(behavior="wait")
    assert ask(page) == 200
    expect(page.locator("#banner")).to_be_empty()


def test_a_page_asks_for_nothing_while_its_socket_is_open_and_nothing_changes(
    console: Console, sign_in: SignIn
) -> None:
    approval = console.pause("gated", {"text": "quiet"})
    page = sign_in("alice", is_own=True)
    page.clock.install()
    for path in (f"/?q={approval['thread_id']}", "/threads/", f"/threads/{approval['thread_id']}/"):
        page.goto(console.url + path)
        expect(page.locator("html[data-live=on]")).to_be_attached()
        page.clock.run_for(3_000)  # what changed just before the page was opened
        page.wait_for_load_state("networkidle")
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        for _ in range(3):
            page.clock.run_for(EVERY)
        assert asked == [], path
    page.goto(f"{console.url}/?q={approval['thread_id']}")
    expect(page.locator(f"#row-{approval['id']}")).to_be_visible()
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    expect(page.locator(f"#row-{approval['id']}")).to_have_count(0)


def test_a_page_asks_by_itself_while_its_server_is_told_of_nothing(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("gated", {"text": "not live"})
    page = sign_in("alice", is_own=True)
    page.route_web_socket("**/ws/live/**", lambda socket: socket.send('{"live": false, "changed": {}}'))
    opened(page, console, approval["thread_id"])


def test_a_page_takes_a_silent_socket_for_dead(console: Console, sign_in: SignIn) -> None:
    """As after sleep: the socket looks open, and its other end is gone."""
    approval = console.pause("gated", {"text": "silent"})
    sockets: list[str] = []

    def be_silent(socket: WebSocketRoute) -> None:
        sockets.append(socket.url)
        socket.send('{"live": true, "changed": {}}')

    page = sign_in("alice", is_own=True)
    page.route_web_socket("**/ws/live/**", be_silent)
    page.clock.install()
    page.goto(f"{console.url}/?q={approval['thread_id']}")
    expect(page.locator("html[data-live=on]")).to_be_attached()
    page.clock.run_for(4 * EVERY)
    expect(page.locator("html[data-live=on]")).to_be_attached()
    assert len(sockets) == 2
    age = parse_qs(urlsplit(sockets[1]).query)["age"][0]
    assert int(age) > 3 * EVERY, "it says how old what it shows is, and is told what it missed"
