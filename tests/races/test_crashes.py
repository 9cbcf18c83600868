"""The server is killed as by a power cut; what was decided goes on, or asks a person. Nothing is lost, nothing twice.

One story, told once because a dead worker's lease takes a while to end: decisions in flight, a burst of them, a
run before its gate, kill -9; decisions that no worker takes, kill -9; then `manage.py serve` again.
"""

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.console import Console, wait_for
from tests.graphs import times_run
from tests.scale import tries

COUNT = tries(2, full=10)
"""Decisions that stay queued, and decisions of a burst."""
LEASE_SECONDS = tries(3, full=5)
LEASE_AND_LOOK = 60.0  # seconds at most: the lease of a dead worker ends, and at the next look another takes over
pytestmark = pytest.mark.timeout(240)


@dataclass
class Story:
    console: Console
    slow: dict[str, Any]
    edited: dict[str, Any]
    queued: list[dict[str, Any]]
    burst: list[dict[str, Any]]
    starting: str

    def ran(self, thread_id: str, node: str = "act") -> int:
        return times_run(Path(self.console.env["DATA_DIR"]), thread_id, node)

    def vote(self, approval: dict[str, Any], **more: Any) -> dict[str, Any]:
        with self.console.api("alice") as alice:
            ballot = {"verdict": "approve", "seen_digest": approval["digest"], **more}
            answer = alice.post(f"/approvals/{approval['id']}/votes", json=ballot)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def run(self, approval: dict[str, Any], *until: str) -> dict[str, Any]:
        return self.console.run_of(approval["id"], until=until, seconds=LEASE_AND_LOOK)


@pytest.fixture(scope="module")
def story(database: str, data_dir: Path) -> Iterator[Story]:
    folder = Path(tempfile.mkdtemp(prefix="crash-", dir=data_dir))
    folder.chmod(0o755)
    env = {"DATA_DIR": str(folder), "DATABASE_URL": servers.clone(), "REDIS_URL": ""}
    console = Console(env | {"LEASE_SECONDS": str(LEASE_SECONDS)}).start()
    told = Story(
        console,
        slow=console.pause("gated", {"seconds": 60}),
        edited=console.pause("gated", {"seconds": 5}),
        queued=console.pause_all("gated", [{"seconds": 0}] * COUNT),
        burst=console.pause_all("gated", [{"seconds": 0.3}] * COUNT),
        starting=console.start_run("gated", {"flag": True, "seconds": 5}),
    )
    told.vote(told.slow)
    told.vote(told.edited, edits={"notes": {"op": "append", "value": ["looked at"]}})
    for thread_id, node in [
        (told.slow["thread_id"], "act"),
        (told.edited["thread_id"], "act"),
        (told.starting, "prepare"),
    ]:
        wait_for(lambda at=thread_id, node=node: told.ran(at, node) == 1, what=f"{node} to begin")
    together = threading.Barrier(len(told.burst))

    def cast(approval: dict[str, Any]) -> None:
        together.wait()
        told.vote(approval)

    with ThreadPoolExecutor(len(told.burst)) as pool:
        list(pool.map(cast, told.burst))
    console.kill()

    console.options = ("--no-worker",)  # so that what is decided now stays queued
    console.start()
    for approval in told.queued:
        assert told.vote(approval)["run"]["status"] == "queued"
    console.kill()

    console.options = ()
    console.start()
    yield told
    assert console.stop() == 0


def test_queued_decisions_are_carried_out_once(story: Story) -> None:
    for approval in story.queued:
        assert story.run(approval, "finished")["attempts"] == 1
        assert story.ran(approval["thread_id"]) == 1


def test_a_decision_in_flight_asks_a_person_and_does_not_run_again(story: Story) -> None:
    held = story.run(story.slow, "held")
    assert "may have been running" in held["problem"]
    assert story.ran(story.slow["thread_id"]) == 1, "nobody said that it may run again"


def test_a_burst_of_decisions_is_neither_lost_nor_run_twice(story: Story) -> None:
    ends = [story.run(approval, "finished", "held")["status"] for approval in story.burst]
    counts = [story.ran(approval["thread_id"]) for approval in story.burst]
    assert len(ends) == len(story.burst)
    assert max(counts) <= 1
    assert all(count == 1 for end, count in zip(ends, counts, strict=True) if end == "finished")


def test_a_run_killed_before_any_gate_goes_on_by_itself_and_stops_at_the_gate(story: Story) -> None:
    assert story.console.pending(story.starting, seconds=LEASE_AND_LOOK)
    assert story.ran(story.starting) == 0, "recovery must not pass the gate"


def test_a_person_lets_a_held_run_go_on_and_the_edit_is_not_written_twice(story: Story) -> None:
    held = story.run(story.edited, "held")
    with story.console.api("alice") as alice:
        alice.post(f"/runs/{held['id']}/retry").raise_for_status()
        assert story.run(story.edited, "finished")["attempts"] == 2
        state = alice.get(f"/threads/{story.edited['thread_id']}/state").json()
    assert story.ran(story.edited["thread_id"]) == 2, "once before the crash, once because a person said so"
    assert state["values"]["notes"] == ["prepared", "looked at", "acted"]


def test_a_person_gives_a_held_run_up(story: Story) -> None:
    held = story.run(story.slow, "held")
    with story.console.api("alice") as alice:
        alice.post(f"/runs/{held['id']}/give_up").raise_for_status()
        assert story.run(story.slow, "cancelled")
        assert alice.get(f"/threads/{story.slow['thread_id']}").json()["status"] == "idle"
    assert story.ran(story.slow["thread_id"]) == 1


def test_the_audit_log_is_whole_after_the_crashes(story: Story) -> None:
    with story.console.api("erin") as erin:
        assert erin.get("/audit/verify").json()["ok"] is True
