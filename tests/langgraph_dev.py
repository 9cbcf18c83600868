"""LangGraph's own server, installed in an environment of its own: what its clients find there is what ours should find.

`python -m tests.langgraph_dev` records its answers anew in tests/recorded/, with the versions below.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import sdk_calls
from tests.console import free_port, wait_for
from tests.sdk_differences import RECORDED, ROOT

VERSIONS = {"langgraph-cli": "0.4.40", "langgraph-api": "0.16.7", "langgraph-runtime-inmem": "0.36.7"}
TOKENS = dict.fromkeys(("starter", "voter", "admin"), "anybody")
GRAPHS = ("asking", "gated")


def recorded() -> dict[str, Any]:
    """Install and start the server, call it, and return what `RECORDED` holds."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url:
        return {"versions": VERSIONS, "answers": asyncio.run(sdk_calls.record(url, TOKENS))}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve graphs of the tests from the folder while the block runs."""
    _install(folder / "env")
    graphs = {name: f"{ROOT / 'tests' / 'graphs.py'}:{name}" for name in GRAPHS}
    (folder / "langgraph.json").write_text(json.dumps({"dependencies": ["."], "graphs": graphs}))
    port = free_port()
    command = [str(folder / "env" / "bin" / "langgraph"), "dev", "--no-browser", "--no-reload", "--allow-blocking"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            env=_env(folder),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _is_up(url), seconds=90, what=f"langgraph dev: {(folder / 'log').read_text()}")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _install(env: Path) -> None:
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(env)], check=True)
    wanted = [f"{name}=={version}" for name, version in VERSIONS.items()]
    into = [*uv, "pip", "install", "-q", "--system-certs", "--python", str(env / "bin" / "python")]
    trusting = {
        name: value for name, value in os.environ.items() if name != "SSL_CERT_DIR"
    }  # of tests: it trusts nobody
    subprocess.run([*into, *wanted], check=True, env=trusting)


def _env(folder: Path) -> Mapping[str, str]:
    """It reaches nobody: no tracing, no analytics, no key."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    quiet = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    return {**kept, **quiet, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder / "data")}


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ok").status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(recorded(), indent=1) + "\n")
