"""The log of a run in a browser: its lines come while the run goes on, and none of them is markup."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.console import Console


def test_lines_come_to_an_open_page(console: Console, sign_in: Callable[..., Page], tmp_path: Path) -> None:
    release = tmp_path / "release"
    given = {"word": "<b>Ana</b>", "api_key": "canary-of-the-page", "wait_for": str(release)}
    thread_id = console.start_run("printing", given)
    olga = sign_in("olga")
    olga.goto(f"{console.url}/threads/{thread_id}/")
    lines = olga.locator("#log .log li")
    expect(lines.last).to_contain_text("<b>Ana</b> told ••••••")
    expect(olga.locator("#log .log b")).to_have_count(0)
    expect(olga.locator("#status")).to_have_text("Running")
    release.touch()
    expect(lines.last).to_contain_text("goes on")  # though no step of the run has begun or ended
    expect(olga.locator("#status")).to_have_text("Running")
    (tmp_path / "release-2").touch()
    expect(olga.locator("#status")).to_have_text("Done")
