"""`countersign dev` in a folder of an author's own, as a person has it in a terminal."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.console import ROOT, free_port, wait_for

NAMED = {"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}
AGENT = """
import operator
import time
from pathlib import Path
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    payee: str
    waits_for: str
    done: Annotated[list[str], operator.add]


def prepare(state: State) -> State:
    while state.get("waits_for") and not Path(state["waits_for"]).exists():
        time.sleep(0.05)
    return {"done": ["prepared by one"]}


def pay(state: State) -> State:
    return {"done": ["paid by one"]}


builder = StateGraph(State)
builder.add_node("prepare", prepare)
builder.add_node("pay", pay)
builder.add_edge(START, "prepare")
builder.add_edge("prepare", "pay")
builder.add_edge("pay", END)
graph = builder.compile(interrupt_before=["pay"])
"""
"""What an author may have: a node, and a gate before the next one."""
IN_THE_CLONE = (sys.executable, "-c", "from approvals.management.command_line import run_installed; run_installed()")
"""The command `countersign`, without an installed package."""


class AtHome:
    """A folder with a langgraph.json, and `countersign dev` in it. What it says is read from `log`."""

    def __init__(self, folder: Path, program: Sequence[str] = IN_THE_CLONE, **env: str) -> None:
        self.folder, self.program, self.port = folder, list(program), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder.parent / f"{folder.name}.log"
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_TESTS}
        self.env = {**inherited, **({"PYTHONPATH": str(ROOT)} if program is IN_THE_CLONE else {}), **env}
        self.process: subprocess.Popen[bytes] | None = None
        self._links: dict[str, str] = {}
        self._tokens: dict[str, str] = {}

    def write(self, source: str = AGENT) -> None:
        """Save the agent's code, and langgraph.json if it does not name the agent yet."""
        named, file = json.dumps(NAMED), self.folder / "langgraph.json"
        (self.folder / "agent.py").write_text(source)
        if not file.exists() or file.read_text() != named:
            file.write_text(named)

    def change(self, do: Callable[[], object], word: str = "Reloaded") -> str:
        """Change something, and return what is said until this word is said of it."""
        before = self.log.read_text()
        do()
        return self.wait_until(word, times=before.count(word) + 1)[len(before) :]

    def start(self) -> "AtHome":
        command = [*self.program, "dev", "--port", str(self.port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        self.wait_until("serves on", seconds=120)
        said = re.findall(r"^  (\w+) .* (http://\S+)$", self.log.read_text(), re.MULTILINE)
        self._links = dict(said)
        return self

    def wait_until(self, words: str, *, times: int = 1, seconds: float = 60) -> str:
        """Wait until it has said this, so many times in all; return everything it said."""

        def said() -> str:
            assert self.process is None or self.process.poll() is None or words in self.log.read_text(), (
                self.log.read_text()
            )
            return self.log.read_text() if self.log.read_text().count(words) >= times else ""

        return wait_for(said, seconds=seconds, what=f"{words!r} in {self.log.name}")

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)

    @contextlib.contextmanager
    def browser(self, username: str) -> Iterator[httpx.Client]:
        """Sign in with the link that it printed. A link works once."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=30) as browser:
            browser.get(self._links.pop(username)).raise_for_status()
            yield browser

    def manage(self, *arguments: str) -> str:
        command = [*self.program, "manage", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=True
        ).stdout.strip()

    def api(self, username: str) -> httpx.Client:
        if username not in self._tokens:
            self._tokens[username] = self.manage("token", username)
        headers = {"Authorization": f"Bearer {self._tokens[username]}"}
        return httpx.Client(base_url=f"{self.url}/api", headers=headers, timeout=30)

    def start_run(self, thread_id: str, graph: str = "agent", **given: Any) -> None:
        with self.api("olga") as olga:
            olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
            asked = {"assistant_id": graph, "input": {"payee": "Ana", **given}}
            olga.post(f"/threads/{thread_id}/runs", json=asked).raise_for_status()

    def approve(self, thread_id: str, channel: str = "done") -> Any:
        """Approve what the thread waits for, and return this channel once it has ended."""
        with self.api("alice") as alice:
            [waits] = wait_for(
                lambda: alice.get("/approvals", params={"thread_id": thread_id}).json()["items"], what="an approval"
            )
            seen = alice.get(f"/approvals/{waits['id']}").json()["digest"]
            ballot = {"verdict": "approve", "seen_digest": seen}
            alice.post(f"/approvals/{waits['id']}/votes", json=ballot).raise_for_status()

            def done() -> Any:
                state = alice.get(f"/threads/{thread_id}/state").json()
                return None if state["next"] else state["values"].get(channel)

            return wait_for(done, what=f"{thread_id} to end")


_OF_TESTS = {"DJANGO_SETTINGS_MODULE", "DATA_DIR", "LANGGRAPH_JSON", "DATABASE_URL", "REDIS_URL", "DEMO_PACE"}
