"""A process whose serializer would build whatever a row names does not start, and says why."""

import json
import os
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests import forks
from tests.console import FEW_GRAPHS, ONE_PROCESS, free_port
from tests.scale import IS_FULL

pytestmark = pytest.mark.slow

BROKEN = {
    "strict": "from agentcore.savers import strict_serializer as strict;"
    " strict._SAFE |= {('agentcore.plain.canary', 'Canary')}",
    "neutral": "from agentcore.plain import decoding; from agentcore.plain import canary;"
    " decoding._READERS['pickle'] = __import__('pickle').loads",
}
COMMANDS = {
    "serve": ["serve", "--port", "PORT"],
    "web alone": ["serve", "--no-worker", "--port", "PORT"],
    "worker alone": ["procrastinate", "worker"],
    "set-up": ["setup_checkpointer"],
}


def manage(database: str, command: str, *, before: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    arguments = ["manage.py", *(str(free_port()) if word == "PORT" else word for word in COMMANDS[command])]
    code = f"{before}\nfrom approvals.management import command_line; command_line.run({arguments!r})"
    few = {**os.environ, "LANGGRAPH_JSON": str(FEW_GRAPHS), "DATABASE_URL": database, "REDIS_URL": ""}
    return forks.run(["-c", code], env=few | ONE_PROCESS | env)


BUILDS_NOTHING = ("strict", "web alone")
"""A process of web alone has no serializer that builds objects."""
USUAL = {("strict", "serve"), ("neutral", "web alone"), ("neutral", "worker alone"), ("strict", "set-up")}
"""Each command, and each serializer with and without a web server. FULL=1: every pair."""


@pytest.mark.parametrize(
    ("what", "command"),
    [pair for pair in product(BROKEN, COMMANDS) if (IS_FULL or pair in USUAL) and pair != BUILDS_NOTHING],
)
def test_a_serializer_that_builds_anything_stops_the_start(database: str, what: str, command: str) -> None:
    done = manage(database, command, before=BROKEN[what])
    assert done.returncode == 1, done.stderr
    assert "a stored checkpoint could run code here. Not starting." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker alone"] if IS_FULL else ["worker alone"])
def test_the_list_of_one_graph_is_checked_as_it_is_used(database: str, tmp_path: Path, command: str) -> None:
    path = tmp_path / "langgraph.json"
    entry = {"path": "tests.holding:graph", "allowed_msgpack_modules": [["agentcore.plain.canary", "Canary"]]}
    path.write_text(json.dumps({"graphs": {"holding": entry}}))
    done = manage(database, command, LANGGRAPH_JSON=str(path))
    assert done.returncode == 1, done.stderr
    assert "Take agentcore.plain.canary off the allowlist of langgraph.json" in done.stderr
    assert "Traceback" not in done.stderr
