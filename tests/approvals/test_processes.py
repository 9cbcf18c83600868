"""`manage.py serve` as people start it: web and workers in processes of their own, which end together."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from tests import servers
from tests.console import FEW_GRAPHS, ROOT, Console, free_port, wait_for
from tests.outages import is_told

pytestmark = pytest.mark.slow

THREE = {"WEB_PROCESSES": "2", "WORKER_PROCESSES": "1"}
TWO = {"WEB_PROCESSES": "1", "WORKER_PROCESSES": "1"}


@pytest.fixture
def several(database: str, tmp_path: Path) -> Iterator[Console]:
    env = {"DATABASE_URL": servers.clone(), "DATA_DIR": str(tmp_path), "REDIS_URL": "", **THREE}
    running = Console(env).start(is_forked=False)
    wait_for(lambda: "serves on" in running.log.read_text(), what="all of them to serve")
    try:
        yield running
    finally:
        if running.process and running.process.poll() is None:
            running.kill()


def processes_of(console: Console) -> list[psutil.Process]:
    """Return the web and worker processes, in the order of their start."""
    assert console.process is not None
    children = psutil.Process(console.process.pid).children()
    return sorted(filter(_serves, children), key=lambda child: (child.create_time(), child.pid))


def _serves(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # or a zombie
        return False


def test_a_process_that_is_killed_is_replaced_and_all_end_together(several: Console) -> None:
    web, worker, _ = processes_of(several)
    with httpx.Client(follow_redirects=True) as browser:
        browser.get(several.link("alice"))
        headers = {"Cookie": f"sessionid={browser.cookies['sessionid']}", "Origin": several.url}
    with connect(f"{several.url.replace('http', 'ws')}/ws/live/", additional_headers=headers) as page:
        approval = several.pause("gated", {"text": "in a process of its own"})
        assert is_told(page), "a worker of another process paused"
    for killed in (worker, web):
        killed.kill()
        wait_for(lambda: len(processes_of(several)) == 3, what="another process")
    with several.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    assert several.run_of(approval["id"])["status"] == "finished"
    ended = processes_of(several)
    assert several.stop() == 0
    assert not any(process.is_running() for process in ended)
    log = several.log.read_text()
    assert log.count("another is started") == 2
    assert "Traceback" not in log


def test_no_process_stays_behind_when_the_first_one_is_killed(several: Console) -> None:
    started = processes_of(several)
    several.kill()
    psutil.wait_procs(started, timeout=30)
    assert not any(process.is_running() for process in started)


def test_ctrl_c_ends_all_of_them_without_a_traceback(database: str, tmp_path: Path) -> None:
    port = free_port()
    env = {**os.environ, "LANGGRAPH_JSON": str(FEW_GRAPHS), "DATA_DIR": str(tmp_path), "PORT": str(port), **TWO}
    command = [sys.executable, "manage.py", "serve"]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert any("serves on" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to every process at once
        said = process.stdout.read()
        assert process.wait(timeout=30) == 0
    assert said == ""


def test_a_graph_that_cannot_be_loaded_ends_all_of_them_and_is_said_once(database: str, tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "./nowhere.py:graph"}}')
    env = {**os.environ, "LANGGRAPH_JSON": str(tmp_path / "langgraph.json"), "PORT": str(free_port())}
    command = [sys.executable, "manage.py", "serve"]
    more = {"DATA_DIR": str(tmp_path), **TWO}
    done = subprocess.run(command, cwd=ROOT, env=env | more, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("there is no such file") == 1
    assert "Traceback" not in done.stderr
    assert "serves on" not in done.stdout
