"""Stopping the server while nodes run."""

from collections.abc import Callable
from pathlib import Path

from tests.console import Console, wait_for
from tests.graphs import times_run


def test_a_node_that_blocks_its_thread_does_not_keep_the_server_from_stopping(
    own_console: Callable[..., Console], own_postgres: Path
) -> None:
    console = own_console(DATA_DIR=str(own_postgres), DATABASE_URL="").start()
    data_dir = Path(console.env["DATA_DIR"])
    approvals = console.pause_all("blocking", [{"seconds": 120}] * 7)
    with console.api("alice") as alice:
        for approval in approvals:
            alice.post(
                f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
            ).raise_for_status()
    for approval in approvals:
        wait_for(lambda at=approval: times_run(data_dir, at["thread_id"], "act_in_a_thread") == 1, what="the node")
    assert console.pause("gated", {"text": "x"}), "others go on meanwhile"

    postgres = int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    assert console.stop() == 0
    wait_for(lambda: not Path(f"/proc/{postgres}").exists(), seconds=10, what="PostgreSQL to stop")

    console.start()
    for approval in approvals:
        run = console.run_of(approval["id"], until=("held",), seconds=20)
        assert "may have been running" in run["problem"]
