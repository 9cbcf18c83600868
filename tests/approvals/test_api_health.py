"""What a load balancer sees when something is gone."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests import servers
from tests.console import Console, free_port, wait_for


def ready(console: Console) -> tuple[int, dict[str, object]]:
    response = httpx.get(f"{console.url}/readyz", timeout=60)
    return response.status_code, response.json()


def test_a_whole_console_is_ready(console: Console) -> None:
    status, told = ready(console)
    assert status == 200
    graphs = told.pop("graphs")
    assert told == {"status": "ok", "database": "ok", "worker": "ok", "redis": "ok", "checkpointer": "ok"}
    assert isinstance(graphs, list) and "refund" in graphs


def test_health_is_asked_without_signing_in(console: Console) -> None:
    response = httpx.get(f"{console.url}/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_probe_may_name_any_host_and_nobody_else(console: Console) -> None:
    answers = {
        path: httpx.get(f"{console.url}{path}", headers={"Host": "10.0.0.7:8000"}).status_code
        for path in ("/healthz", "/readyz", "/", "/api/docs")
    }
    assert answers == {"/healthz": 200, "/readyz": 200, "/": 400, "/api/docs": 400}


def test_without_redis_people_can_still_decide(console: Console, own_console: Callable[..., Console]) -> None:
    redis_url = f"redis://127.0.0.1:{free_port()}/0"
    other = own_console("--no-worker", DATABASE_URL=os.environ["DATABASE_URL"], REDIS_URL=redis_url).start()
    status, told = ready(other)
    assert (status, told["status"], told["redis"]) == (200, "degraded", "down")
    approval = console.pause("gated", {"text": "no redis"})
    ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
    with other.api("alice") as alice:
        assert alice.post(f"/approvals/{approval['id']}/votes", json=ballot).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"


@pytest.mark.timeout(180)
def test_a_worker_and_then_the_database_go(own_console: Callable[..., Console]) -> None:
    """First no worker ever came, then PostgreSQL dies: each is named, and no address of it is told."""
    console = own_console("--no-worker", DATABASE_URL="", TEST_REPLY_SECONDS="1", TEST_POOL_SECONDS="2")
    servers.fill_own(Path(console.env["DATA_DIR"]))
    console.start()
    console.manage("demo", "--threads", "1")
    status, told = ready(console)
    assert (status, told["status"], told["worker"], told["database"]) == (503, "unavailable", "missing", "ok")
    assert (told["redis"], told["checkpointer"]) == ("off", "ok")
    with console.api("alice") as alice:
        [approval] = alice.get("/approvals", params={"status": "pending"}).json()["items"]
        asked = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": {}})
        assert (asked.status_code, asked.json()["error"]["code"]) == (503, "unavailable")

        folder = Path(console.env["DATA_DIR"])
        os.kill(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        wait_for(lambda: ready(console)[1]["database"] == "down", what="PostgreSQL to die")
        refused = alice.get("/approvals", timeout=60)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    status, told = ready(console)
    assert (status, told["status"], told["database"], told["worker"]) == (503, "unavailable", "down", "unknown")
    assert told["graphs"] == []
    assert httpx.get(f"{console.url}/healthz").status_code == 200
    for text in (refused.text, str(told)):
        assert str(folder) not in text and "postgres" not in text
    console.kill()
