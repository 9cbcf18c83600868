"""What the product is for, in a real browser, from `serve --demo`: see, edit, preview, approve, watch it go on."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.console import Console, refund, wait_for

SignIn = Callable[..., Page]


def test_a_reviewer_lowers_a_refund_and_watches_it_being_paid_once(
    own_console: Callable[..., Console], sign_in: SignIn
) -> None:
    console = own_console("--demo", DEMO_PACE="0.6").start()
    approval = console.pause("refund", refund(640))
    alice, bob = sign_in("alice", at=console), sign_in("bob", at=console)
    row = bob.locator(f"#row-{approval['id']}")
    bob.goto(f"{console.url}/?q=Mei-Ling")
    expect(row).to_be_visible()

    alice.goto(f"{console.url}/approvals/{approval['id']}/")
    expect(alice.locator("#item-title")).to_have_text("Hand over to the senior desk")
    alice.evaluate("window.notReloaded = true")
    alice.click("#edit-open")
    alice.get_by_label("Amount").fill("80")
    alice.click("#preview-button")
    expect(alice.locator("#route .route-before")).to_have_text("Hand over to the senior desk")
    expect(alice.locator("#route .route-after")).to_have_text("Pay the refund")
    assert not list(outbox(console, approval["thread_id"])), "a preview does nothing"

    alice.click("#approve-edit")
    expect(alice.locator("#run .step, #run li").filter(has_text="Pay the refund")).to_be_visible()
    expect(row).to_have_count(0, timeout=5_000)
    expect(alice.locator("#run[data-status=finished]")).to_be_visible(timeout=15_000)
    expect(alice.locator("#run")).to_contain_text("Notify customer")
    assert alice.evaluate("window.notReloaded") is True
    files = list(outbox(console, approval["thread_id"]))
    assert [file.name.split("-")[0] for file in files] == ["refund"]
    assert '"amount": 80' in files[0].read_text()


def test_make_run_prints_a_link_for_each_person_and_each_works_once(
    own_console: Callable[..., Console], sign_in: SignIn
) -> None:
    console = own_console("--demo", DATABASE_URL="").start()
    links = [line.split()[-1] for line in console.log.read_text().splitlines() if "/sign-in/" in line]
    assert len(links) == 6
    page = sign_in("alice", at=console)
    page.context.clear_cookies()
    page.goto(links[1])
    expect(page.locator("body")).to_contain_text("bob", ignore_case=True)
    page.context.clear_cookies()
    answer = page.goto(links[1])
    assert answer is not None
    assert answer.status == 410
    expect(page.locator("body")).to_contain_text("signin_link")


def test_the_queue_is_full_when_the_page_opens(own_console: Callable[..., Console], sign_in: SignIn) -> None:
    console = own_console("--demo").start()
    page = sign_in("carol", at=console)
    expect(page.locator("[data-row]")).to_have_count(19)


def outbox(console: Console, thread_id: str) -> list[Path]:
    folder = Path(console.env["DATA_DIR"]) / "outbox"
    return [file for file in folder.glob("*.json") if thread_id[:30] in file.name]


def test_stopping_takes_the_database_along(own_console: Callable[..., Console]) -> None:
    console = own_console("--demo", DATABASE_URL="").start()
    pid_file = Path(console.env["DATA_DIR"]) / "postgres" / "postmaster.pid"
    pid = int(pid_file.read_text().splitlines()[0])
    assert console.stop() == 0
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), seconds=10, what="PostgreSQL to stop")
