"""Deciding: one vote that decides, alone and over HTTP, beside a bare LangGraph loop that updates a state and goes on.

`ratio` is decisions a second over those of the bare loop with as many clients, over the same PostgreSQL in one run.
The bare loop carries the thread on as well; ours hands that to a worker, and none runs here.
"""

import asyncio
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from agentcore.demo.refund import graph
from agentcore.graphs.snapshots import config_for, with_saver

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "400"))
OPEN = (1_000, max(map(int, os.environ.get("BENCH_OPEN", "100000").split(","))))
CLIENTS = (1, 16, 64)
INPUT = {"order_id": "NL-48213", "customer": "Mei-Ling Chen", "reason": "Broken.", "amount": 640.0, "currency": "EUR"}


def table() -> list[dict[str, object]]:
    import psycopg
    from django.conf import settings

    from tests import copies

    template, bare = asyncio.run(_paused()), {clients: asyncio.run(_bare(clients)) for clients in CLIENTS}
    rows = [_row("bare aupdate_state + ainvoke", "", clients, bare[clients], bare[clients]) for clients in CLIENTS]
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as database, _server() as send:
        there = 0
        for count in OPEN:
            used = 2 * len(CLIENTS) * ROUNDS
            waiting = iter(copies.copy_paused(database, template, count - there + used, name=f"bench-{count}"))
            copies.tell(f"bench-{count}")
            database.execute("VACUUM ANALYZE")  # what follows a bulk load is not what is measured
            database.execute("CHECKPOINT")
            for who, vote in (("decide.vote", _vote), ("POST /votes", send)):
                for clients in CLIENTS:
                    measured = _measured(vote, list(itertools.islice(waiting, ROUNDS)), clients)
                    rows.append(_row(who, f"{count:,}", clients, measured, bare[clients]))
            there = count
    return rows


Measured = tuple[float, list[float]]
"""Seconds for all, and for each."""


def _row(who: str, waiting: str, clients: int, measured: Measured, bare: Measured) -> dict[str, object]:
    seconds, each = measured
    a_second = len(each) / seconds
    return {
        "who": who,
        "open": waiting,
        "clients": clients,
        "n": len(each),
        "a second": round(a_second),
        "p50 ms": round(statistics.median(each) * 1e3, 1),
        "p95 ms": round(statistics.quantiles(each, n=20)[-1] * 1e3, 1),
        "ratio": round(a_second / (len(bare[1]) / bare[0]), 2),
    }


async def _paused() -> str:
    """Have one thread wait, by a real run; return its id."""
    from django.contrib.auth.models import User

    from approvals.actions.runs.execution import execute_run
    from approvals.actions.runs.starts import start_run
    from approvals.actions.threads.creation import create_thread
    from approvals.database import in_database
    from approvals.jobs import runtime

    def begin() -> tuple[str, str]:
        olga = User.objects.get(username="olga")
        thread = create_thread(by=olga)
        return thread.pk, str(start_run(thread_id=thread.pk, graph_id="refund", input=INPUT, by=olga).pk)

    thread_id, run_id = await in_database(begin)()
    await execute_run(run_id)
    await runtime.close_worker()
    return thread_id


async def _bare(clients: int) -> Measured:
    """The plain library: its own saver over its own kind of pool."""
    from django.conf import settings

    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(settings.DATABASE_URL, kwargs=options, max_size=20, open=False) as pool:
        return await _looped(with_saver(graph, AsyncPostgresSaver(pool)), clients)


async def _looped(bound: Any, clients: int) -> Measured:
    configs = [config_for(str(uuid.uuid4())) for _ in range(ROUNDS)]
    for config in configs:
        await bound.ainvoke(INPUT, config, durability="sync")
    gate = asyncio.Semaphore(clients)

    async def timed(config: Any) -> float:
        async with gate:
            began = time.perf_counter()
            await bound.aupdate_state(config, {"amount": 80.0})
            await bound.ainvoke(None, config, durability="sync")
            return time.perf_counter() - began

    began = time.perf_counter()
    each = list(await asyncio.gather(*map(timed, configs)))
    return time.perf_counter() - began, each


def _measured(vote: Callable[[Any], None], threads: list[Any], clients: int) -> Measured:
    def timed(paused: Any) -> float:
        began = time.perf_counter()
        vote(paused)
        return time.perf_counter() - began

    with ThreadPoolExecutor(clients) as people:
        began = time.perf_counter()
        each = list(people.map(timed, threads))
    return time.perf_counter() - began, each


def _vote(paused: Any) -> None:
    from django.contrib.auth.models import User
    from django.db import connection

    from approvals.actions.votes import ballots, votes

    try:
        alice = User.objects.get(username="alice")
        votes.cast(approval_id=paused.approval_id, ballot=ballots.Ballot("approve", paused.digest, {}), by=alice)
    finally:
        connection.close()


@contextmanager
def _server() -> Iterator[Callable[[Any], None]]:
    """Serve without a worker, in a process of its own; yield what sends a vote."""
    from django.contrib.auth.models import User

    from approvals.actions.people.sign_in import make_token

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    token = make_token(User.objects.get(username="alice"))
    command = [sys.executable, "manage.py", "serve", "--no-worker", "--port", str(port)]

    def send(paused: Any) -> None:
        ballot = json.dumps({"verdict": "approve", "seen_digest": paused.digest}).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        path = f"http://127.0.0.1:{port}/api/approvals/{paused.approval_id}/votes"
        urllib.request.urlopen(urllib.request.Request(path, ballot, headers), timeout=60).close()

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait(port)
            yield send
        finally:
            process.terminate()


def _wait(port: int) -> None:
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("The server did not start.")
