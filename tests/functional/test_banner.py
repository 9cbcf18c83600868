"""What people see while live updates or PostgreSQL are gone: one sentence, and everything they typed."""

import contextlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests import servers
from tests.console import Console
from tests.outages import Proxy, end_listeners

SignIn = Callable[..., Page]
NAME = "other web"
LOOKS = [{}, {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}}]
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def postgres(database: str) -> Proxy:
    return Proxy(str(servers.socket()))


@pytest.fixture(scope="module")
def other(console: Console, postgres: Proxy) -> Iterator[Console]:
    """A second console over the same database; what is between it and its servers is broken here."""
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}{urlsplit(console.env['DATABASE_URL']).path}"
    running = Console({"DATABASE_URL": url, "PGAPPNAME": NAME}, "--no-worker").start()
    yield running
    assert running.stop() == 0


def test_a_notice_comes_and_goes_with_live_updates_and_the_page_goes_on(
    console: Console, other: Console, postgres: Proxy, sign_in: SignIn
) -> None:
    approval = console.pause("gated", {"text": "while nobody is told"})
    # A cookie is good at every port of its host.
    pages = [sign_in("alice", is_own=True, **options) for options in LOOKS]
    for page in pages:
        page.clock.install()
        page.goto(f"{other.url}/?q={approval['thread_id']}")
        page.evaluate("window.isSamePage = true")
        expect(page.locator("#banner")).to_have_attribute("role", "status")
        expect(page.locator("#banner")).to_be_empty()
    postgres.lets_listen = False
    with psycopg.connect(console.env["DATABASE_URL"], autocommit=True) as database:
        end_listeners(database, NAME)
    try:
        for page in pages:
            expect(page.locator("#banner")).to_have_text(
                "Live updates are off: changes show within 15 s. Decisions are not affected."
            )
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{overflow} px wider than the screen"
        with console.api("alice") as alice:
            ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
            alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
        for page in pages:
            ask_until_gone(page, f"#row-{approval['id']}")
        pages[0].goto(f"{other.url}/threads/")
        assert "Live updates are off" in pages[0].locator("#banner").inner_text(), "it is there when the page opens"
    finally:
        postgres.lets_listen = True
    for page in pages:
        expect(page.locator("#banner")).to_be_empty()
    assert pages[1].evaluate("window.isSamePage")


def ask_until_gone(page: Page, row: str) -> None:
    """Pass the 15 s after which the list asks by itself; a question may be on its way at that moment."""
    for _ in range(3):
        page.clock.fast_forward(16_000)
        with contextlib.suppress(AssertionError):
            return expect(page.locator(row)).to_have_count(0, timeout=5_000)
    expect(page.locator(row)).to_have_count(0)


def ask_now(page: Page) -> None:
    """Have the page ask as it does every 15 s."""
    page.evaluate("document.body.dispatchEvent(new CustomEvent('changed-queue'))")


def test_a_vote_is_kept_on_the_page_until_postgresql_is_back(
    console: Console, other: Console, postgres: Proxy, sign_in: SignIn
) -> None:
    approval = console.pause("gated", {"text": "while postgresql is away"})
    alice, bob = sign_in("alice"), sign_in("bob")
    alice.goto(f"{other.url}/approvals/{approval['id']}/")
    alice.click("#reject-open")
    alice.locator("#reject-reason").fill("the order is a double")
    postgres.refuse()
    try:
        ask_now(alice)
        alice.click("#reject")
        bob.goto(f"{other.url}/threads/{approval['thread_id']}/")
        expect(bob.locator("#refusal")).to_contain_text("The database does not answer.")
        expect(alice.locator(".toast-error")).to_contain_text("What you typed is still here.")
        expect(alice.locator("#banner")).to_contain_text("The database does not answer.")
        expect(alice.locator("#reject-reason")).to_have_value("the order is a double")
    finally:
        postgres.allow()
    expect(bob.locator("#status")).to_have_text("At a breakpoint", timeout=15_000)
    ask_now(alice)
    expect(alice.locator("#banner")).to_be_empty()
    alice.click("#reject")
    expect(alice.locator("#run")).to_be_visible()
    with console.api("alice") as api:
        votes = api.get(f"/approvals/{approval['id']}").json()["votes"]
    assert [vote["comment"] for vote in votes] == ["the order is a double"]
