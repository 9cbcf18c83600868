"""The JavaScript client of the LangGraph SDK finds what the Python ones find: see tests/sdk_calls.py."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import sdk_differences
from tests.console import Console
from tests.functional.test_use_stream import PACKAGES
from tests.sdk_calls import CALLS, Shape, shape

SCRIPT = Path(__file__).parent / "sdk_calls.mjs"
NEEDED = ("@langchain/langgraph-sdk", "@langchain/core")


@pytest.mark.full
@pytest.mark.timeout(300)
def test_each_answer_is_as_langgraphs_server_gives_it_or_the_page_says_why_not(
    console: Console, tmp_path: Path
) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("This needs Node.js and npm. Install them: apt-get install npm")
    wanted = {name: PACKAGES[name] for name in NEEDED}
    (tmp_path / "package.json").write_text(json.dumps({"private": True, "type": "module", "dependencies": wanted}))
    shutil.copy(SCRIPT, tmp_path)
    install = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=200)
    tokens = [console.token(name) for name in ("olga", "alice", "root")]
    command = [node, SCRIPT.name, f"{console.url}/api", *tokens]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = {name: shape_of(came) for name, came in json.loads(done.stdout).items()}
    assert found.keys() <= {call.name for call in CALLS} and len(found) == 57
    assert sdk_differences.faults(found) == []


def shape_of(came: dict[str, Any]) -> Shape:
    """Return the shape of what the script wrote about a call."""
    if "answer" not in came:
        return came
    answer = came["answer"]
    if isinstance(answer, dict) and answer.keys() == {"events"}:
        parts: list[Shape] = []
        for event, data in answer["events"]:
            if (part := {"event": event, "data": shape(data)}) not in parts:
                parts.append(part)
        return parts
    return shape(answer)
