"""PostgreSQL is killed under a serving console, stays away for a while, and comes back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from approvals import embedded
from tests.console import ROOT, Console, stop_postgres, wait_for


@pytest.mark.timeout(180)
def test_the_worker_comes_back_with_the_database(own_console: Callable[..., Console]) -> None:
    console = own_console("--demo").start()
    data_dir = Path(console.env["DATA_DIR"])
    postgres = int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postgres, signal.SIGKILL)
    time.sleep(20)  # longer than Procrastinate's worker waits before it gives up
    embedded.start(data_dir)
    wait_for(lambda: httpx.get(f"{console.url}/readyz", timeout=20).status_code == 200, seconds=40, what="readiness")
    approval = console.pause("gated", {"text": "after the outage"})
    assert approval["next"] == ["act"]
    assert console.manage("verify_audit_log").stdout.startswith("Intact")
    assert console.stop() == 0
    stop_postgres(data_dir)


def test_a_console_that_is_told_to_stop_while_it_starts_leaves_no_database_behind(
    own_console: Callable[..., Console],
) -> None:
    console = own_console("--demo")
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
