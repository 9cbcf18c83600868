"""The pages of the tests: one that is used again knows nothing of who used it before, and a fault in it is told."""

from playwright.sync_api import Browser, Page

from tests.console import Console
from tests.functional.conftest import Windows, begin_session

KEEP = "localStorage.setItem('kept', 'here'); sessionStorage.setItem('kept', 'here')"
KEPT = "[localStorage.length, sessionStorage.length, document.cookie]"


def opened(windows: Windows, console: Console, path: str) -> Page:
    page = windows.open(is_live=True, is_own=False, options={})
    page.goto(console.url + path)
    return page


def test_what_one_test_leaves_in_a_page_the_next_does_not_find(
    console: Console, browser: Browser, windows: Windows
) -> None:
    page = opened(windows, console, "/healthz")
    page.context.add_cookies([{"name": "sessionid", "value": begin_session("alice"), "url": console.url}])
    page.goto(console.url)
    page.evaluate(KEEP)
    assert page.evaluate(KEPT)[0] == 1
    assert windows.take_back() == []
    again = opened(windows, console, "/healthz")
    assert again is page
    assert again.evaluate(KEPT) == [0, 0, ""]
    assert again.context.cookies() == []
    assert windows.take_back() == []


def test_a_script_that_errs_is_told_once(console: Console, browser: Browser, windows: Windows) -> None:
    page = opened(windows, console, "/healthz")
    page.evaluate("setTimeout(() => { throw new Error('a fault') })")
    page.evaluate("new Promise(done => setTimeout(done, 50))")
    assert windows.take_back() == ["a fault"]
    assert windows.take_back() == []
