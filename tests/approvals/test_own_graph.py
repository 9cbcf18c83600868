"""docs/how-to/own-graph.md begins with two commands: what it says is done here, as it is written there."""

import re
from pathlib import Path

import pytest

from tests import servers
from tests.at_home import AtHome
from tests.console import ROOT, wait_for

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "how-to" / "own-graph.md").read_text()


def block(language: str) -> str:
    """Return the first block of code in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no {language}"
    return found[1]


def test_the_page_begins_with_two_commands() -> None:
    assert PAGE.index("```sh") < 200
    assert block("sh").splitlines() == ["pip install ../countersign", "countersign dev"]


def test_the_two_commands_lead_to_an_approved_action(database: str, tmp_path: Path) -> None:
    folder = tmp_path / "payouts"
    folder.mkdir()
    (folder / "langgraph.json").write_text(block("json"))
    (folder / "payouts.py").write_text(block("python"))
    home = AtHome(folder, DATABASE_URL=servers.clone()).start()
    try:
        thread_id = started_on_page(home)
        with home.api("alice") as alice:
            [waits] = wait_for(lambda: alice.get("/approvals").json()["items"], what="the question")
        with home.browser("alice") as alice:
            page = alice.get(f"/approvals/{waits['id']}/").text
            assert waits["thread_id"] == thread_id and "send_payout" in page
        assert home.approve(thread_id, "receipt") == "20.5 to Ana"
        with home.browser("erin") as erin:
            assert "paying Ana" in erin.get(f"/threads/{thread_id}/log/").text
        (folder / "payouts.py").write_text(block("python").replace(" to ", " sent to "))
        home.wait_until("Reloaded: payouts.py changed")
        home.start_run("again", "payouts", amount=1)
        assert home.approve("again", "receipt") == "1 sent to Ana"
    finally:
        assert home.stop() == 0


def started_on_page(home: AtHome) -> str:
    with home.browser("olga") as olga:
        olga.get("/start/payouts/").raise_for_status()
        typed = {"input-payee": "Ana", "input-amount": "20.5", "do": "start"}
        sent = olga.post("/start/payouts/", data={"csrfmiddlewaretoken": olga.cookies["csrftoken"], **typed})
        return str(sent.url).rstrip("/").rpartition("/")[2]
