"""`useStream` of LangGraph's JavaScript SDK, in React, against a running console; and the calls that it makes.

The packages come from npm, into a folder of the test.
"""

import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console import Console
from tests.talking import ANSWER

PACKAGES = {
    "@langchain/langgraph-sdk": "1.15.0",
    "@langchain/core": "^1.3.2",
    "react": "^19.0.0",
    "react-dom": "^19.0.0",
    "jsdom": "^26.1.0",
}
QUESTION = "Where is my lamp?"
SCRIPT = Path(__file__).parent / "use_stream.mjs"


@pytest.mark.full
@pytest.mark.timeout(300)
def test_use_stream_shows_a_run_and_answers_it(console: Console, tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("This needs Node.js and npm. Install them: apt-get install npm")
    (tmp_path / "package.json").write_text(json.dumps({"private": True, "type": "module", "dependencies": PACKAGES}))
    shutil.copy(SCRIPT, tmp_path)
    install = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=200)
    command = [node, SCRIPT.name, f"{console.url}/api", console.token("olga"), console.token("alice")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    started, answered = seen["started"], seen["answered"]
    assert started["texts"][-1] == f"{QUESTION} / {ANSWER}"
    assert len(started["texts"]) > 4, "the answer is shown piece by piece"
    assert started["custom"] == [{"progress": 1}]
    assert started["interrupt"]["value"] == answered["interrupt"]["value"] == {"question": "Send it?"}
    assert answered["notes"] == ["said", "waited", "answered yes"]


def events(text: str) -> list[tuple[str, Any]]:
    """Return the events of the server as a browser reads them."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\r\n")) for block in text.strip().split("\r\n\r\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def test_the_calls_of_use_stream_in_their_order(console: Console) -> None:
    """What the hook sends, as it writes it: without a thread, with an answer, and after the page was loaded again."""
    with client(console, "olga") as olga, client(console, "alice") as alice:
        thread_id = olga.post("/threads", json={"metadata": {}}).raise_for_status().json()["thread_id"]
        submitted = {
            "input": {"messages": [{"type": "human", "content": QUESTION, "id": str(uuid.uuid4())}], "asks": True},
            "stream_mode": ["values", "messages-tuple", "custom"],
            "stream_subgraphs": True,
            "stream_resumable": True,
            "assistant_id": "talking",
            "on_disconnect": "continue",
        }
        begun = olga.post(f"/threads/{thread_id}/runs/stream", json=submitted).raise_for_status()
        told = events(begun.text)
        assert begun.headers["Content-Location"].startswith(f"/threads/{thread_id}/runs/")
        assert told[0][0] == "metadata" and told[-1] == ("end", {"status": "success"})
        last = [data for name, data in told if name == "values"][-1]
        assert last["__interrupt__"][0]["value"] == {"question": "Send it?"}
        [head, *_] = olga.post(f"/threads/{thread_id}/history", json={"limit": 10}).raise_for_status().json()
        assert head["tasks"][0]["interrupts"][0]["id"] == last["__interrupt__"][0]["id"]

        run_id = told[0][1]["run_id"]
        modes = json.dumps(submitted["stream_mode"])
        asked = {"cancel_on_disconnect": "0", "stream_mode": modes}
        path = f"/threads/{thread_id}/runs/{run_id}/stream"
        again = alice.get(path, params=asked, headers={"Last-Event-ID": "-1"}).raise_for_status()
        assert events(again.text)[1:] == told[1:], "it begins with the first event"

        command = {"command": {"resume": "yes"}, "stream_mode": ["values"], "assistant_id": "talking"}
        answered = events(alice.post(f"/threads/{thread_id}/runs/stream", json=command).raise_for_status().text)
        assert [data["notes"][-1] for name, data in answered if name == "values"][-1] == "answered yes"
        assert alice.get(f"/threads/{thread_id}/state").raise_for_status().json()["next"] == []


def client(console: Console, name: str) -> httpx.Client:
    return httpx.Client(base_url=f"{console.url}/api", headers={"X-Api-Key": console.token(name)}, timeout=30)
