"""A real browser. Its pages fail the test if a script errs or the content policy refuses something."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests import programs
from tests.console import Console

SignIn = Callable[..., Page]
# A refusal is a page, not a fault; the browser and htmx each log it all the same.
EXPECTED = tuple(
    f"{words} {status}"
    for words in ("Failed to load resource: the server responded with a status of", "Response Status Error Code")
    for status in ("4", "503")
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # One for each module: Playwright's loop would otherwise be in the way of the async tests of other modules.
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=programs.chromium(), args=programs.CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture
def sign_in(browser: Browser, console: Console) -> Iterator[SignIn]:
    """Return a page of a person in a browser of their own, signed in by a one-time link."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(EXPECTED):
            complaints.append(message.text)

    def open_page(username: str, *, at: Console = console, **options: object) -> Page:
        contexts.append(browser.new_context(**options))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(at.link(username))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
