"""Two people press Approve on one item at the same moment, again and again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.console import Console
from tests.graphs import times_run
from tests.scale import tries

ROUNDS = tries(1, full=50)
PRESS_AT = "at => setTimeout(() => document.querySelector('#approve').click(), at - Date.now())"


@pytest.mark.timeout(240)
def test_one_wins_and_the_other_reads_who_and_when(
    console: Console, sign_in: Callable[..., Page], data_dir: Path
) -> None:
    alice, bob = sign_in("alice", is_live=False), sign_in("bob", is_live=False)  # or one hears of the other in time
    losers = []
    for _ in range(ROUNDS):
        approval = console.pause("gated", {"seconds": 0.05})
        for page in (alice, bob):
            page.goto(f"{console.url}/approvals/{approval['id']}/")
        at = alice.evaluate("Date.now() + 120")
        for page in (alice, bob):
            page.evaluate(PRESS_AT, at)
        for page in (alice, bob):
            page.wait_for_selector("#run, #conflict")
        conflicts = [page for page in (alice, bob) if page.locator("#conflict").count()]
        assert len(conflicts) == 1, "one must win, the other must be told"
        winner = "alice" if conflicts[0] is bob else "bob"
        told = conflicts[0].locator("#who-decided")
        assert winner in told.inner_text()
        assert told.locator("time").count() == 1
        losers.append(winner)
        console.run_of(approval["id"])
        assert times_run(data_dir, approval["thread_id"], "act") == 1
    assert len(losers) == ROUNDS
