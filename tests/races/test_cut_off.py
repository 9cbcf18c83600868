"""A console is cut off from its database or its checkpoints by a proxy, or is told to stop while it starts."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests import servers
from tests.console import ROOT, Console, wait_for
from tests.outages import IMPATIENT, Cut, Proxy, ballot, check_unavailable

pytestmark = pytest.mark.timeout(180)


@dataclass
class Beside:
    """A second console over the same database, through proxies; the first one carries out the runs."""

    console: Console
    database: Proxy
    checkpoints: Proxy


@pytest.fixture(scope="module")
def beside(console: Console) -> Iterator[Beside]:
    database, checkpoints = (Proxy(str(servers.socket())) for _ in range(2))
    name = urlsplit(console.env["DATABASE_URL"]).path
    urls = [f"postgresql://postgres@127.0.0.1:{proxy.port}{name}" for proxy in (database, checkpoints)]
    running = Console({**IMPATIENT, "DATABASE_URL": urls[0], "CHECKPOINT_URL": urls[1]}, "--no-worker").start()
    yield Beside(running, database, checkpoints)
    assert running.stop() == 0


def test_checkpoints_that_are_gone_from_a_server_of_their_own_stop_decisions_only(
    console: Console, beside: Beside
) -> None:
    approval = console.pause("gated", {"text": "apart"})
    sent = ballot(approval)
    path = f"/api/approvals/{approval['id']}"
    headers = {"Authorization": f"Bearer {console.token('alice')}"}
    with httpx.Client(base_url=beside.console.url, headers=headers, follow_redirects=True, timeout=30) as alice:
        alice.get(console.link("alice"))  # a cookie is good at every port of its host
        beside.checkpoints.refuse()
        try:
            assert alice.get("/", params={"q": approval["thread_id"]}).text.count(approval["thread_id"]) > 1
            assert alice.get(f"/approvals/{approval['id']}/").status_code == 200
            check_unavailable(alice.post(f"{path}/votes", json=sent))
            told = alice.get("/readyz").json()
            assert (told["status"], told["database"], told["checkpointer"]) == ("unavailable", "ok", "down")
        finally:
            beside.checkpoints.allow()
        wait_for(lambda: alice.get("/readyz").status_code == 200, what="readiness")
        assert alice.post(f"{path}/votes", json=sent).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"


@pytest.mark.parametrize(("cut", "again"), [("before", 201), pytest.param("after", 200, marks=pytest.mark.full)])
def test_a_vote_whose_commit_was_cut_off_is_sent_again_and_counts_once(
    console: Console, beside: Beside, cut: Cut, again: int
) -> None:
    """The console cannot know whether PostgreSQL heard the COMMIT. The key tells it when the vote comes again."""
    approval = console.pause("gated", {"text": f"cut {cut}"})
    sent = ballot(approval)
    path = f"{beside.console.url}/api/approvals/{approval['id']}/votes"
    headers = {"Authorization": f"Bearer {console.token('alice')}"}
    beside.database.cut = cut
    try:
        check_unavailable(httpx.post(path, json=sent, headers=headers, timeout=30))
    finally:
        beside.database.cut = None
    assert httpx.post(path, json=sent, headers=headers, timeout=30).status_code == again
    console.run_of(approval["id"])
    with console.api("alice") as alice:
        assert len(alice.get(f"/approvals/{approval['id']}").json()["votes"]) == 1


def test_a_console_that_is_told_to_stop_while_it_starts_leaves_no_database_behind(
    own_console: Callable[..., Console],
) -> None:
    console = own_console("--demo", DATABASE_URL="")
    folder = Path(console.env["DATA_DIR"]) / "postgres"
    with subprocess.Popen([sys.executable, "manage.py", "serve", "--demo"], cwd=ROOT, env=console.env) as process:
        try:
            # The log is there once the real server starts; initdb runs one of its own before, which comes and goes.
            is_up = [folder / "log", folder / "postmaster.pid"]
            wait_for(lambda: all(file.exists() for file in is_up), what="PostgreSQL to start")
            postgres = int((folder / "postmaster.pid").read_text().splitlines()[0])
        finally:
            process.terminate()
            process.wait(timeout=20)
    wait_for(lambda: not Path(f"/proc/{postgres}").exists(), seconds=10, what="PostgreSQL to stop")
