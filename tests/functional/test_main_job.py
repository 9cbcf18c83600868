"""What the product is for, in a real browser, from `serve --demo`: see, edit, preview, approve, watch it go on."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console, refund, wait_for

SignIn = Callable[..., Page]
pytestmark = pytest.mark.timeout(240)  # the first test here starts two consoles


@pytest.fixture(scope="module")
def started() -> Iterator[list[Console]]:
    """The consoles of this module; the last one may run."""
    made: list[Console] = []
    yield made
    if made and made[-1].process and made[-1].process.poll() is None:
        assert made[-1].stop() == 0


@pytest.fixture
def demo(started: list[Console], redis: str, data_dir: Path) -> Console:
    """What `make run` starts, with an embedded PostgreSQL: one for all tests here, until one of them stops it."""
    if not started or started[-1].process is None or started[-1].process.poll() is not None:
        folder = tempfile.mkdtemp(prefix="demo-", dir=data_dir)
        Path(folder).chmod(0o755)
        env = {"DATA_DIR": folder, "DATABASE_URL": "", "REDIS_URL": "", "DEMO_PACE": "0.3"}
        started.append(Console(env, "--demo").start())
    return started[-1]


def links_of(demo: Console) -> dict[str, str]:
    """Return the sign-in link that was printed for each person."""
    printed = [line.split() for line in demo.log.read_text().splitlines() if "/sign-in/" in line]
    return {words[0]: words[-1] for words in printed}


def test_the_queue_is_full_when_the_page_opens(demo: Console, sign_in: SignIn) -> None:
    page = sign_in("carol", link=links_of(demo)["carol"])
    expect(page.locator("[data-row]")).to_have_count(19)


def test_a_reviewer_lowers_a_refund_and_watches_it_being_paid_once(demo: Console, sign_in: SignIn) -> None:
    console, links = demo, links_of(demo)
    console.make_tokens("olga", "alice")
    approval = console.pause("refund", refund(640))
    alice, bob = (sign_in(name, link=links[name]) for name in ("alice", "bob"))
    row = bob.locator(f"#row-{approval['id']}")
    bob.goto(f"{console.url}/?q=Mei-Ling")
    expect(row).to_be_visible()

    alice.goto(f"{console.url}/approvals/{approval['id']}/")
    expect(alice.locator("#item-title")).to_have_text("Hand over 640.00 EUR for “Mei-Ling Chen”")
    alice.evaluate("window.notReloaded = true")
    alice.click("#edit-open")
    alice.get_by_label("Amount").fill("80")
    alice.click("#preview-button")
    expect(alice.locator("#route .route-before")).to_have_text("Hand over to the senior desk")
    expect(alice.locator("#route .route-after")).to_have_text("Pay the refund")
    assert not list(outbox(console, approval["thread_id"])), "a preview does nothing"

    alice.click("#approve-edit")
    expect(alice.locator("#run .step, #run li").filter(has_text="Pay the refund")).to_be_visible()
    expect(row).to_have_count(0)
    expect(alice.locator("#run[data-status=finished]")).to_be_visible(timeout=15_000)
    expect(alice.locator("#run")).to_contain_text("Notify customer")
    assert alice.evaluate("window.notReloaded") is True
    files = list(outbox(console, approval["thread_id"]))
    assert [file.name.split("-")[0] for file in files] == ["refund"]
    assert '"amount": 80' in files[0].read_text()


def test_make_run_prints_a_link_for_each_person_and_each_works_once(demo: Console, sign_in: SignIn) -> None:
    links = links_of(demo)
    assert len(links) == 6
    page = sign_in("erin", link=links["erin"])
    expect(page.locator("body")).to_contain_text("erin", ignore_case=True)
    page.goto("about:blank")  # signed out, the open page would go to the sign-in by itself at the same moment
    page.context.clear_cookies()
    answer = page.goto(links["erin"])
    assert answer is not None
    assert answer.status == 410
    expect(page.locator("body")).to_contain_text("signin_link")


def outbox(console: Console, thread_id: str) -> list[Path]:
    folder = Path(console.env["DATA_DIR"]) / "outbox"
    return [file for file in folder.glob("*.json") if thread_id[:30] in file.name]


def test_stopping_takes_the_database_along(demo: Console) -> None:
    pid_file = Path(demo.env["DATA_DIR"]) / "postgres" / "postmaster.pid"
    pid = int(pid_file.read_text().splitlines()[0])
    assert demo.stop() == 0
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), seconds=10, what="PostgreSQL to stop")
