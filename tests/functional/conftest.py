"""A real browser. Its pages fail the test if a script errs or the content policy refuses something."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests import programs
from tests.console import Console

SignIn = Callable[..., Page]
# A refusal is a page, not a fault; the browser and htmx each log it all the same.
EXPECTED = tuple(
    f"{words} {status}"
    for words in ("Failed to load resource: the server responded with a status of", "Response Status Error Code")
    for status in ("4", "503")
)
expect.set_options(timeout=10_000)  # milliseconds; less than the 15 s after which a page asks by itself


class Launched(NamedTuple):
    browser: Browser
    loop: asyncio.AbstractEventLoop


@contextmanager
def running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Have Playwright's loop be the one of this thread; it would be in the way of async tests, so only meanwhile."""
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)


@pytest.fixture(scope="session")
def launched() -> Iterator[Launched]:
    """One browser for all tests of a worker."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=programs.chromium(), args=programs.CHROMIUM_FLAGS)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield Launched(found, loop)
        asyncio._set_running_loop(loop)
        found.close()


@pytest.fixture
def browser(launched: Launched) -> Iterator[Browser]:
    with running(launched.loop):
        yield launched.browser


def begin_session(username: str) -> str:
    """Return the cookie of a new session in the shared database."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(username=username))
    return client.cookies["sessionid"].value


class Windows:
    """Pages, each in a browser context of its own. The next test uses them again: a new one costs as four loads do."""

    def __init__(self, browser: Browser) -> None:
        self.complaints: list[str] = []
        self._browser = browser
        self._free: dict[str, list[Page]] = defaultdict(list)
        self._used: list[tuple[str, Page]] = []

    def open(self, *, is_live: bool, is_own: bool, options: dict[str, Any]) -> Page:
        """Return a page without cookies that shows nothing. One that is its `own` is closed when the test ends."""
        kind = "" if is_own else repr((is_live, options))
        page = self._free[kind].pop() if self._free[kind] else self._make(is_live, options)
        self._used.append((kind, page))
        return page

    def _make(self, is_live: bool, options: dict[str, Any]) -> Page:
        page = self._browser.new_context(reduced_motion="reduce", **options).new_page()
        if not is_live:
            page.route_web_socket("**/ws/live/**", lambda socket: socket.close())
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(EXPECTED):
            self.complaints.append(message.text)

    def take_back(self) -> list[str]:
        """Empty what was used; return what the pages complained of."""
        complaints = list(self.complaints)
        for kind, page in self._used:
            if kind:
                _empty(page)
                self._free[kind].append(page)
            else:
                page.context.close()
        self._used.clear()
        self.complaints.clear()  # a request that ended with its page is no fault
        return complaints


def _empty(page: Page) -> None:
    """Leave for a page without scripts of the same site: anywhere else would end the process that draws the page."""
    if page.url.startswith("http"):
        page.goto(urljoin(page.url, "/healthz"))
        page.evaluate("sessionStorage.clear(); localStorage.clear()")
    page.context.clear_cookies()


@pytest.fixture(scope="session")
def windows(launched: Launched) -> Windows:
    return Windows(launched.browser)


@pytest.fixture
def sign_in(browser: Browser, windows: Windows, console: Console) -> Iterator[SignIn]:
    """Return a page of a person who is signed in, in a browser of their own.

    The page is empty. One that is not `is_live` has no socket: it hears of others when it asks, every 15 s. With a
    one-time `link` they sign in by that, at any console, and see the queue. A test that changes the page itself (its
    clock, its scripts, its handlers, the medium) asks for one that `is_own`, which no other test sees.
    """

    def open_page(
        username: str, *, link: str = "", is_live: bool = True, is_own: bool = False, **options: object
    ) -> Page:
        page = windows.open(is_live=is_live, is_own=is_own, options=options)
        if link:
            page.goto(link)
        else:
            page.context.add_cookies([{"name": "sessionid", "value": begin_session(username), "url": console.url}])
        return page

    yield open_page
    assert windows.take_back() == []


@pytest.fixture
def look_at(sign_in: SignIn, console: Console) -> Callable[..., None]:
    """Return a check of many pages in one browser."""

    def look(username: str, paths: list[str], **options: object) -> None:
        page = sign_in(username, **options)
        for path in paths:
            answer = page.goto(console.url + path)
            assert answer is not None and answer.status == 200, path
            assert page.locator("h1").count() == 1, path
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{path} is {overflow} px wider than the screen"

    return look
