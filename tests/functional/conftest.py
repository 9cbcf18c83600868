"""A real browser. Its pages fail the test if a script errs or the content policy refuses something."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

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
    client.force_login(User.objects.get(username=username), backend="django.contrib.auth.backends.ModelBackend")
    return client.cookies["sessionid"].value


@pytest.fixture
def sign_in(browser: Browser, console: Console) -> Iterator[SignIn]:
    """Return a page of a person who is signed in, in a browser of their own.

    The page is empty. One that is not `is_live` has no socket: it hears of others when it asks, every 15 s. With a
    one-time `link` they sign in by that, at any console, and see the queue.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(EXPECTED):
            complaints.append(message.text)

    def open_page(username: str, *, link: str = "", is_live: bool = True, **options: object) -> Page:
        contexts.append(browser.new_context(reduced_motion="reduce", **options))  # type: ignore[arg-type]  # as the caller gives them
        if not link:
            contexts[-1].add_cookies([{"name": "sessionid", "value": begin_session(username), "url": console.url}])
        page = contexts[-1].new_page()
        if not is_live:
            page.route_web_socket("**/ws/live/**", lambda socket: socket.close())
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if link:
            page.goto(link)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


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
