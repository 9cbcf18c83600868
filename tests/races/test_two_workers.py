"""Workers with different graphs over one database: each works on its own, and neither hides the other's."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import forks
from tests.console import ROOT, Console, wait_for


@pytest.fixture
def other_worker(own_console: Callable[..., Console], tmp_path: Path) -> Iterator[Console]:
    """A console that has only the refund graph, and a worker elsewhere that has only ours."""
    only_refund = tmp_path / "refund.json"
    only_refund.write_text(json.dumps({"graphs": {"refund": f"{ROOT}/agentcore/demo/refund.py:graph"}}))
    only_gated = tmp_path / "gated.json"
    only_gated.write_text(json.dumps({"graphs": {"gated": f"{ROOT}/tests/graphs.py:gated"}}))
    console = own_console(LANGGRAPH_JSON=str(only_refund)).start()
    with (tmp_path / "worker.log").open("w") as log:
        env = {**console.env, "LANGGRAPH_JSON": str(only_gated)}
        worker = forks.start(["manage.py", "procrastinate", "worker"], env, log.fileno())
    yield console
    worker.terminate()
    worker.wait(timeout=30)


def test_each_worker_runs_the_graphs_it_has(other_worker: Console) -> None:
    console = other_worker
    with console.rows("SELECT 1 FROM approvals_graph") as read:
        wait_for(lambda: len(read()) == 2, what="both cards")
    with console.api("alice") as alice:
        assert len(alice.get("/graphs").json()) == 2
        for graph, input in [("gated", {"text": "x"}), ("refund", refund_input())]:
            approval = console.pause(graph, input)
            alice.post(
                f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
            ).raise_for_status()
            assert console.run_of(approval["id"])["status"] == "finished"


def refund_input() -> dict[str, object]:
    from tests.console import refund

    return refund(20)
