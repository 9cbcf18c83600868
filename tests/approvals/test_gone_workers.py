"""Workers that are gone and graphs that changed, with a console of their own: the right diagnosis and first step."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests import forks
from tests.approvals.test_diagnosis import decided, diagnosis, take, until
from tests.console import Console, wait_for
from tests.voting import vote

OTHER = "team/other"
"""The id of a graph may have a slash, as langgraph.json takes it."""


class Workers:
    """A web console, a langgraph.json of its own, and a worker that is started, stopped and killed."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console, self.folder = console, folder
        self.process: subprocess.Popen[bytes] | forks.Forked | None = None

    def write(self, *, graphs: Sequence[str] = ("mine", OTHER), node: str = "act", remark: str = "") -> None:
        """Write the file of the graph, which has these names in langgraph.json."""
        (self.folder / "mine.py").write_text(_GRAPH.format(node) + remark)
        named = dict.fromkeys(graphs, "./mine.py:graph")
        (self.folder / "langgraph.json").write_text(json.dumps({"graphs": named}))

    def start(self) -> None:
        with (self.folder / "worker.log").open("a") as log:
            self.process = forks.start(["manage.py", "procrastinate", "worker"], self.console.env, log.fileno())

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)
        self.process.wait(60)

    def restart(self, **changes: Any) -> None:
        self.kill(signal.SIGTERM)
        self.write(**changes)
        self.start()


_GRAPH = """\
from tests.graphs import _builder, act, prepare
graph = _builder(prepare=prepare, {0}=act).compile(interrupt_before=["{0}"], name="mine")
"""


@pytest.fixture
def workers(own_console: Callable[..., Console], tmp_path: Path) -> Iterator[Workers]:
    env = {"LANGGRAPH_JSON": str(tmp_path / "langgraph.json"), "LEASE_SECONDS": "3"}
    console = own_console("--no-worker", **env)
    made = Workers(console, tmp_path)
    made.write()
    console.start()
    yield made
    if made.process and made.process.poll() is None:
        made.kill(signal.SIGTERM)


@pytest.mark.timeout(400)
def test_workers_that_are_gone_and_graphs_that_were_renamed_or_changed(workers: Workers) -> None:
    """One console and its worker go through all of it: each start of a worker costs seconds."""
    console = workers.console
    workers.start()
    wait_for(
        lambda: httpx.get(f"{console.url}/readyz").json()["graphs"] == ["mine", OTHER], seconds=90, what="the cards"
    )
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as person:
        person.get(console.link("olga")).raise_for_status()
        assert f'href="/start/{OTHER}/"' in person.get("/start/").text
        assert person.get(f"/start/{OTHER}/").status_code == 200
    lost = a_worker_that_is_killed_in_a_node_is_found_dead(workers)
    queued = a_run_without_a_worker_says_so(console)
    workers.start()
    held = until(console, lost, "held", seconds=90)
    assert held["health"] == "crashed" and "See whether its effect happened" in held["sentence"]
    take(console, held, "retry")
    until(console, lost, "done", seconds=90)
    asked = until(console, queued, "breakpoint", seconds=90)
    assert "changed" not in asked["sentence"]
    graphs_that_were_renamed_or_changed_are_named(workers, queued)


def a_worker_that_is_killed_in_a_node_is_found_dead(workers: Workers) -> str:
    console = workers.console
    approval = console.pause("mine", {"seconds": 3})
    thread_id = str(approval["thread_id"])
    vote(console, "alice", approval).raise_for_status()
    wait_for(lambda: diagnosis(console, thread_id)["facts"].get("Node") == "Act", what="the node to begin")
    workers.kill()
    assert workers.process is not None
    assert diagnosis(console, thread_id)["kind"] == "running", "its lease is still good"
    lost = until(console, thread_id, "lease_lost", seconds=15)
    assert lost["health"] == "crashed"
    assert f":{workers.process.pid}, whose lease ended " in lost["sentence"]
    assert "while Act may have been running" in lost["sentence"]
    alone = wait_for(
        lambda: next((d for d in [diagnosis(console, thread_id)] if d["actions"][0]["action"] == "worker"), None),
        seconds=40,
        what="the worker to be thought dead",
    )
    assert not alone["is_moving"] and "manage.py procrastinate worker" in alone["steps"][0]
    return thread_id


def a_run_without_a_worker_says_so(console: Console) -> str:
    thread_id = console.start_run("mine", {"text": "x"})
    queued = until(console, thread_id, "no_worker", seconds=90)
    assert (queued["health"], queued["is_moving"]) == ("unknown", False)
    assert "no worker is alive" in queued["sentence"] and queued["actions"][0]["action"] == "worker"
    shown = console.manage("diagnose_thread", thread_id, "--as", "erin", check=False)
    assert shown.returncode == 1 and "1. Start a worker (whoever runs the console)" in shown.stdout
    return thread_id


def graphs_that_were_renamed_or_changed_are_named(workers: Workers, thread_id: str) -> None:
    """A question of each waits meanwhile."""
    console = workers.console
    of_other, left, of_gone = (console.pause(each, {"text": "x"})["thread_id"] for each in (OTHER, OTHER, "mine"))
    # One name is gone, and of the other graph the node.
    workers.restart(graphs=["mine"], node="do_it")
    gone = until(console, of_other, "graph_gone", seconds=90)
    assert gone["health"] == "unknown"
    assert "no worker has its graph team/other, which is gone or renamed" in gone["sentence"]
    assert gone["steps"][0].startswith("Add graph team/other to langgraph.json and restart the worker")
    what_waits_for_a_graph_of_nobody_is_voted_on(console, of_other, left)
    missing = until(console, thread_id, "node_gone", seconds=90)
    assert "the graph has no act any more" in missing["sentence"]
    approve_what_no_code_would_run(console, of_gone)
    # The steps are taken: graph and node are back, in other code.
    workers.restart(remark="# looked at again\n")
    take(console, diagnosis(console, of_gone), "retry", place=1)
    until(console, of_gone, "done", seconds=90)
    changed = until(console, thread_id, "breakpoint", seconds=90)
    assert "The graph's code was changed since this was asked." in changed["sentence"]
    decided(console, changed)
    until(console, thread_id, "done", seconds=90)
    until(console, of_other, "done", seconds=90)
    until(console, left, "breakpoint", seconds=90)


def what_waits_for_a_graph_of_nobody_is_voted_on(console: Console, thread_id: str, other: str) -> None:
    """A plain vote needs no worker. An edit does: the page says so, and what was typed stays."""
    with psycopg.connect(console.database_url, autocommit=True) as database:
        database.execute("DELETE FROM approvals_graph WHERE id = %s", [OTHER])  # as `countersign dev` does
    approval, edited = console.pending(thread_id), console.pending(other)
    assert "No worker has the graph 'team/other' any more." in approval["notice"]
    with console.api("alice") as alice:
        listed = alice.get("/approvals", params={"thread_id": thread_id}).json()["items"]
    assert [each["notice"] for each in listed] == [approval["notice"]]
    voted = vote(console, "alice", approval)
    assert voted.status_code == 201, voted.text
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as person:
        person.get(console.link("alice")).raise_for_status()
        page = f"/approvals/{edited['id']}/"
        person.get(page)

        def sent(headers: dict[str, str], **typed: str) -> httpx.Response:
            data = {"verdict": "approve", "seen_digest": edited["digest"], "comment": "why", "on": "edit", **typed}
            data["csrfmiddlewaretoken"] = person.cookies["csrftoken"]
            return person.post(f"{page}vote/", data=data, headers=headers)

        raw = json.dumps({"text": {"op": "set", "value": "typed by hand"}})
        for headers in ({}, {"HX-Request": "true"}):
            refused = sent(headers, mode="json", raw=raw, seen_preview="0" * 64)
            assert refused.status_code == 503 and 'id="page"' in refused.text
            assert "No worker has the graph" in refused.text and "typed by hand" in refused.text
        assert "typed by hand" in person.get(page, params={"draft": "1"}).text
        kept = sent({"HX-Request": "true"}, mode="form", **{"edit-text": "typed"})
        assert (kept.status_code, kept.headers["HX-Reswap"]) == (503, "none")
        assert "What you typed is still here." in kept.text and "No worker has the graph" in kept.text
        assert "typed by hand" in person.get(page, params={"draft": "1"}).text


def approve_what_no_code_would_run(console: Console, thread_id: str) -> None:
    """A node that is gone: its approval says so, what is approved is not told as done, and the decision is kept."""
    approval = console.pending(thread_id)
    approval_id, page = approval["id"], f"/approvals/{approval['id']}/"
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as person:
        person.get(console.link("alice")).raise_for_status()
        assert "Node missing" in person.get("/").text
        told = person.get(page).text
    assert 'id="graph-gone"' in told and "has no node act any more" in told
    vote(console, "alice", approval).raise_for_status()
    run = console.run_of(approval_id, until=("failed",), seconds=90)
    assert run["error"] == "NodeGone"
    assert "The graph has no node act any more. What was decided was not carried out" in run["problem"]
    failed = diagnosis(console, thread_id)
    assert (failed["kind"], failed["actions"][1]["action"]) == ("node_gone", "retry")
    with console.api("alice") as alice:
        assert alice.get(f"/approvals/{approval_id}").json()["decision"]["verdict"] == "approve"
