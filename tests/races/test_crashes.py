"""The server is killed as by a power cut; whatever was decided goes on, or asks a person. Nothing is lost, nothing twice."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.console import Console, wait_for
from tests.graphs import times_run

LEASE_AND_LOOK = 60.0  # seconds: the lease of a dead worker ends after 30, the next look is 5 later
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def crashing(own_console: Callable[..., Console]) -> Console:
    console = own_console("--demo")
    return console.start()


def vote(console: Console, approval: dict[str, Any], verdict: str = "approve", **more: Any) -> dict[str, Any]:
    with console.api("alice") as alice:
        ballot = {"verdict": verdict, "seen_digest": approval["digest"], **more}
        answer = alice.post(f"/approvals/{approval['id']}/votes", json=ballot)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


def ran(console: Console, approval: dict[str, Any]) -> int:
    return times_run(Path(console.env["DATA_DIR"]), approval["thread_id"], "act")


def test_ten_queued_decisions_are_carried_out_and_the_one_in_flight_asks_a_person(crashing: Console) -> None:
    slow = crashing.pause("gated", {"seconds": 60})
    quick = [crashing.pause("gated", {"seconds": 0}) for _ in range(10)]
    vote(crashing, slow)
    wait_for(lambda: ran(crashing, slow) == 1, what="the gated node to begin")
    crashing.kill()

    crashing.options = ("--no-worker",)  # so that what is decided now stays queued
    crashing.start()
    for approval in quick:
        assert vote(crashing, approval)["run"]["status"] == "queued"
    crashing.kill()

    crashing.options = ()
    crashing.start()
    for approval in quick:
        assert crashing.run_of(approval["id"])["status"] == "finished"
        assert ran(crashing, approval) == 1
    held = wait_for_run(crashing, slow, "held")
    assert "may have been running" in held["problem"]
    assert ran(crashing, slow) == 1, "nobody said that it may run again"
    assert_log_is_intact(crashing)


def test_a_person_lets_a_held_run_go_on(crashing: Console) -> None:
    approval = crashing.pause("gated", {"seconds": 4})
    vote(crashing, approval, edits={"notes": {"op": "append", "value": ["looked at"]}})
    wait_for(lambda: ran(crashing, approval) == 1, what="the gated node to begin")
    crashing.kill()
    crashing.start()
    held = wait_for_run(crashing, approval, "held")
    with crashing.api("alice") as alice:
        alice.post(f"/runs/{held['id']}/retry").raise_for_status()
        assert wait_for_run(crashing, approval, "finished")["attempts"] == 2
        state = alice.get(f"/threads/{approval['thread_id']}/state").json()
    assert ran(crashing, approval) == 2, "once before the crash, once because a person said so"
    assert state["values"]["notes"] == ["prepared", "looked at", "acted"], "the edit was written once"


def test_a_run_killed_before_any_gate_goes_on_by_itself(crashing: Console) -> None:
    thread_id = crashing.start_run("gated", {"flag": True, "seconds": 3})
    data_dir = Path(crashing.env["DATA_DIR"])
    wait_for(lambda: times_run(data_dir, thread_id, "prepare") == 1, what="the first node to begin")
    crashing.kill()
    crashing.start()
    with crashing.api("alice") as alice:
        wait_for(
            lambda: alice.get("/approvals", params={"thread_id": thread_id}).json()["count"],
            seconds=LEASE_AND_LOOK,
            what="the thread to pause",
        )
    assert times_run(data_dir, thread_id, "act") == 0, "recovery must not pass the gate"


def test_killed_in_a_burst_of_decisions_none_is_lost_and_none_runs_twice(crashing: Console) -> None:
    paused = [crashing.pause("gated", {"seconds": 0.3}) for _ in range(10)]
    together = threading.Barrier(len(paused))

    def cast(approval: dict[str, Any]) -> str:
        together.wait()
        return str(vote(crashing, approval)["decision"]["verdict"])

    with ThreadPoolExecutor(len(paused)) as pool:
        assert list(pool.map(cast, paused)) == ["approve"] * len(paused)
    crashing.kill()
    crashing.start()
    ends = [wait_for_run(crashing, approval, "finished", "held")["status"] for approval in paused]
    counts = [ran(crashing, approval) for approval in paused]
    assert len(ends) == 10
    assert all(count <= 1 for count in counts), counts
    assert all(count == 1 for end, count in zip(ends, counts, strict=True) if end == "finished")
    assert_log_is_intact(crashing)


def wait_for_run(console: Console, approval: dict[str, Any], *until: str) -> dict[str, Any]:
    with console.api("alice") as alice:

        def ask() -> dict[str, Any] | None:
            run = alice.get(f"/approvals/{approval['id']}").json()["run"]
            return run if run and run["status"] in until else None

        return wait_for(ask, seconds=LEASE_AND_LOOK, what=f"the run to be {until}") or {}


def assert_log_is_intact(console: Console) -> None:
    assert console.manage("verify_audit_log").stdout.startswith("Intact")
