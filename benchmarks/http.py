"""Edit and approve over HTTP, until the run has stopped: Countersign, Aegra, and a bare server over LangGraph.

All serve one small graph over the same PostgreSQL, each in a database of its own, one after the other. The threads wait
before the clock starts. `ratio` is threads a second over those of Aegra with as many clients.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from benchmarks.running import started, up
from tests.console import free_port

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "200"))
CLIENTS = (1, 16, 64)
ROOT = Path(__file__).parent.parent
PEERS = ROOT / "benchmarks" / "peers"
GRAPH = f"{PEERS / 'graph.py'}:graph"
GIVEN, EDITED = {"text": " as asked "}, "as edited"
OLDEST_PYTHON = (3, 12)
"""Aegra needs it."""


class Server(Protocol):
    """One of the servers."""

    async def pause(self, client: httpx.AsyncClient) -> Any: ...

    async def approve(self, client: httpx.AsyncClient, paused: Any) -> None: ...


class Measured(NamedTuple):
    """Seconds of all, and of each."""

    seconds: float
    each: list[float]

    @property
    def a_second(self) -> float:
        return len(self.each) / self.seconds


def table() -> list[dict[str, object]]:
    return asyncio.run(_table())


async def _table() -> list[dict[str, object]]:
    python = _peers_python()
    found: dict[tuple[str, int], Measured] = {}
    for who, served in (("countersign", _countersign()), ("aegra", _aegra(python)), ("bare", _bare(python))):
        async with served as (server, url, headers):
            for clients in CLIENTS:
                found[who, clients] = await _measured(server, url, headers, clients)
    return [_row(who, clients, measured, found["aegra", clients]) for (who, clients), measured in found.items()]


def _row(who: str, clients: int, measured: Measured, aegra: Measured) -> dict[str, object]:
    return {
        "who": who,
        "clients": clients,
        "n": len(measured.each),
        "a second": round(measured.a_second, 1),
        "p50 ms": round(statistics.median(measured.each) * 1e3, 1),
        "p95 ms": round(statistics.quantiles(measured.each, n=20)[-1] * 1e3, 1),
        "ratio": round(measured.a_second / aegra.a_second, 2),
    }


async def _measured(server: Server, url: str, headers: dict[str, str], clients: int) -> Measured:
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60) as client:
        gate = asyncio.Semaphore(clients)

        async def pause() -> Any:
            async with gate:
                return await server.pause(client)

        async def timed(paused: Any) -> float:
            async with gate:
                began = time.perf_counter()
                await server.approve(client, paused)
                return time.perf_counter() - began

        waiting = await asyncio.gather(*(pause() for _ in range(ROUNDS)))
        began = time.perf_counter()
        each = await asyncio.gather(*map(timed, waiting))
        return Measured(time.perf_counter() - began, list(each))


Served = tuple[Server, str, dict[str, str]]


class _Countersign:
    """Two people: one starts the runs, the other decides."""

    def __init__(self, starter: str) -> None:
        self._starter = {"Authorization": f"Bearer {starter}"}

    async def pause(self, client: httpx.AsyncClient) -> Any:
        thread_id = (await _post(client, "/api/threads", {}, self._starter))["thread_id"]
        new = {"assistant_id": "gated", "input": GIVEN}
        run = await _post(client, f"/api/threads/{thread_id}/runs", new, self._starter)
        await _get(client, f"/api/threads/{thread_id}/runs/{run['run_id']}/join")
        [item] = (await _get(client, f"/api/approvals?status=pending&thread_id={thread_id}"))["items"]
        return item

    async def approve(self, client: httpx.AsyncClient, paused: Any) -> None:
        edits = {"text": {"op": "set", "value": EDITED}}
        ballot = {"verdict": "approve", "seen_digest": paused["digest"], "edits": edits}
        run = (await _post(client, f"/api/approvals/{paused['id']}/votes", ballot))["run"]
        _check(await _get(client, f"/api/threads/{paused['thread_id']}/runs/{run['id']}/join"))


@asynccontextmanager
async def _countersign() -> AsyncIterator[Served]:
    from django.contrib.auth.models import User

    from approvals.actions.people.sign_in import make_token
    from approvals.database import in_database

    def token(name: str) -> str:
        return make_token(User.objects.get(username=name))

    starter, voter = [await in_database(token)(name) for name in ("olga", "alice")]
    graphs = Path(os.environ["DATA_DIR"]) / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {"gated": GRAPH}}))
    port = free_port()
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    with started(command, {"LANGGRAPH_JSON": str(graphs)}):
        url = await up(port, "/readyz")
        yield _Countersign(starter), url, {"Authorization": f"Bearer {voter}"}


class _Aegra:
    """A server of LangGraph's API: no vote, no fence, no audit log."""

    async def pause(self, client: httpx.AsyncClient) -> Any:
        thread_id = (await _post(client, "/threads", {}))["thread_id"]
        await _post(client, f"/threads/{thread_id}/runs/wait", {"assistant_id": "gated", "input": GIVEN})
        return thread_id

    async def approve(self, client: httpx.AsyncClient, paused: Any) -> None:
        edited = await _post(client, f"/threads/{paused}/state", {"values": {"text": EDITED}})
        # Without input it goes on only from a checkpoint that is named.
        go_on = {"assistant_id": "gated", "checkpoint_id": edited["checkpoint"]["checkpoint_id"]}
        _check(await _post(client, f"/threads/{paused}/runs/wait", go_on))


@asynccontextmanager
async def _aegra(python: Path) -> AsyncIterator[Served]:
    folder = Path(os.environ["DATA_DIR"]) / "aegra"
    folder.mkdir(exist_ok=True)
    (folder / "aegra.json").write_text(json.dumps({"graphs": {"gated": GRAPH}}))
    port = free_port()
    env = {
        "DATABASE_URL": _new_database("bench_aegra"),
        "AEGRA_CONFIG": str(folder / "aegra.json"),
        "AUTH_TYPE": "noop",
        "PORT": str(port),
        "SERVER_URL": f"http://127.0.0.1:{port}",
        "LOG_LEVEL": "ERROR",
    }
    command = [str(python), "-m", "uvicorn", "aegra_api.main:app", "--port", str(port), "--log-level", "error"]
    with started(command, env):
        yield _Aegra(), await up(port, "/health"), {}


class _Bare:
    """The bare FastAPI server: it keeps no record of anything."""

    async def pause(self, client: httpx.AsyncClient) -> Any:
        thread_id = str(uuid.uuid4())
        await _post(client, f"/threads/{thread_id}/begin", GIVEN)
        return thread_id

    async def approve(self, client: httpx.AsyncClient, paused: Any) -> None:
        _check(await _post(client, f"/threads/{paused}/approve", {"text": EDITED}))


@asynccontextmanager
async def _bare(python: Path) -> AsyncIterator[Served]:
    port = free_port()
    command = [str(python), "-m", "uvicorn", "benchmarks.peers.bare:app", "--port", str(port), "--log-level", "error"]
    with started(command, {"DATABASE_URL": _new_database("bench_bare")}):
        yield _Bare(), await up(port, "/docs"), {}


async def _post(client: httpx.AsyncClient, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
    return (await client.post(path, json=body, headers=headers)).raise_for_status().json()


async def _get(client: httpx.AsyncClient, path: str) -> Any:
    return (await client.get(path)).raise_for_status().json()


def _check(values: dict[str, Any]) -> None:
    if values.get("sent") != EDITED:
        raise RuntimeError(f"The graph did not run to its end with the edit: {values}")


def _new_database(name: str) -> str:
    """Make a database beside the console's; return its URL."""
    from django.conf import settings

    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as database:
        database.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        database.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))


def _peers_python() -> Path:
    """Install the peers in an environment of their own, once; return its Python."""
    lock, env = PEERS / "requirements.lock", ROOT / ".venv" / "peers"
    python, done = env / "bin" / "python", env / "installed"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([_newer_python(), "-m", "venv", "--clear", str(env)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*install, "-r", str(lock)], check=True)
        done.touch()
    return python


def _newer_python() -> str:
    names = [os.environ.get("PEER_PYTHON", ""), "python3.14", "python3.13", "python3.12", sys.executable]
    for name in filter(None, names):
        if (found := shutil.which(name)) and _version(found) >= OLDEST_PYTHON:
            return found
    sys.exit("Aegra needs Python 3.12 or newer. Type: PEER_PYTHON=/path/to/python3.12 make bench BENCH=http")


def _version(python: str) -> tuple[int, ...]:
    asked = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()
