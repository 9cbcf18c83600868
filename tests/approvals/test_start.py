"""A wrong setting, or a graph that cannot be loaded, stops the start and says what to type."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import forks
from tests.console import FEW_GRAPHS, ONE_PROCESS, ROOT, free_port
from tests.scale import share

pytestmark = pytest.mark.slow

SECRET = "hunter2-canary"
WRONG: list[tuple[dict[str, str], str]] = [
    ({"PORT": "eighty"}, "PORT must be a whole number, such as PORT=8000"),
    ({"DATABASE_URL": f"mysql://me:{SECRET}@db/name"}, "Type postgresql://"),
    ({"DATABASE_URL": f"postgresql://me:{SECRET}@db/name?nonsense=1"}, "nonsense"),
    ({"CHECKPOINT_URL": f"sqlite://me:{SECRET}@db/file"}, "CHECKPOINT_URL: A SQLite URL has three slashes"),
    ({"CHECKPOINT_URL": "sqlite:////no-such-folder/file.db"}, "a folder that does not exist"),
    ({"REDIS_URL": f"http://:{SECRET}@redis"}, "It must look like redis://"),
    ({"REDIS_URL": f"redis://:{SECRET}@redis:abc/0"}, "It must look like redis://"),
    ({"REDIS_URL": f"redis://:{SECRET}@redis/first"}, "It must look like redis://"),
    ({"PORT": "99999"}, "PORT must be from 1 to 65535"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of"),
    ({"DEMO_PACE": "quick"}, "DEMO_PACE must be a number"),
    ({"ALLOWED_HOSTS": "http://x"}, "ALLOWED_HOSTS takes host names"),
    ({"CORS_ALLOWED_ORIGINS": "https://a.org/chat"}, "CORS_ALLOWED_ORIGINS takes origins alone"),
    ({"CORS_ALLOWED_ORIGINS": "*"}, "CORS_ALLOWED_ORIGINS takes origins alone"),
    ({"PUBLIC_URL": "approvals.example.org"}, "PUBLIC_URL must be the address people type"),
    ({"PUBLIC_URL": "https://approvals.example.org"}, "Set SECRET_KEY"),
    ({"DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:1/name"}, "The database does not answer"),
]


def serve(database: str, **env: str) -> subprocess.CompletedProcess[str]:
    few = {**os.environ, "LANGGRAPH_JSON": str(FEW_GRAPHS), "DATABASE_URL": database, "REDIS_URL": "", **ONE_PROCESS}
    return forks.run(["manage.py", "serve", "--port", str(free_port())], env=few | env)


USUAL = {0, 1, 3, 5, 9, 12, 14, 15, 16}
"""One fault of each setting, and each check of its own. FULL=1: all."""


@pytest.mark.parametrize(
    ("env", "told"),
    [
        pytest.param(env, told, id=" ".join(env) + f" {number}", marks=() if number in USUAL else pytest.mark.full)
        for number, (env, told) in enumerate(WRONG)
    ],
)
def test_a_wrong_setting_stops_the_start_and_says_what_to_type(database: str, env: dict[str, str], told: str) -> None:
    done = serve(database, **env)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert told in said
    assert "Traceback" not in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("content", "told"),
    share(
        [
            ('{"graphs": {"a": "./nowhere.py:graph"}}', 'graph "a" (./nowhere.py:graph): there is no such file'),
            ('{"graphs": {"a": "./graphs.py:missing"}}', 'there is no "missing"'),
            ('{"graphs": {"a": "./graphs.py:gated", "a": "./graphs.py:asking"}}', '"a" twice'),
            ('{"graphs": {"a": "./graphs.py:gated"', "is not JSON"),
        ],
        0,
        of=2,
    ),
)
def test_a_graph_that_cannot_be_loaded_stops_the_start_and_is_named(
    database: str, tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "graphs.py").write_text((ROOT / "tests" / "graphs.py").read_text())
    (tmp_path / "langgraph.json").write_text(content)
    done = serve(database, LANGGRAPH_JSON=str(tmp_path / "langgraph.json"))
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said(database: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = ["manage.py", "serve", "--no-worker", "--port", str(taken.getsockname()[1])]
        env = {**os.environ, "LANGGRAPH_JSON": str(FEW_GRAPHS), "DATABASE_URL": database}
        done = forks.run(command, env=env)
    assert done.returncode == 1
    assert "Type: PORT=" in done.stderr
    assert "serves on" not in done.stdout
