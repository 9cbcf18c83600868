"""From Approve to the end of the graph: bare LangGraph beside all of ours (vote, audit, job, run, index).

Both edit the amount and go on, over the same PostgreSQL, in the same process and run. `times` is ours divided by bare.
"""

import asyncio
import os
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from agentcore.demo.refund import graph
from agentcore.graphs.snapshots import config_for, with_saver

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "200"))
_people = ThreadPoolExecutor(16)
INPUT = {"order_id": "NL-48213", "customer": "Mei-Ling Chen", "reason": "Broken.", "amount": 640.0, "currency": "EUR"}
EDIT = {"amount": 80.0}


def table() -> list[dict[str, object]]:
    return asyncio.run(_table())


async def _table() -> list[dict[str, object]]:
    from approvals.jobs import worker

    async with worker.running():
        rows = []
        for at_once in (1, 16):
            bare = await _measured(_bare, at_once)
            ours = await _measured(_ours, at_once)
            rows += [
                _row("bare aupdate_state + ainvoke", at_once, bare, bare),
                _row("countersign", at_once, ours, bare),
            ]
        return rows


def _row(who: str, at_once: int, taken: list[float], bare: list[float]) -> dict[str, object]:
    return {
        "who": who,
        "at once": at_once,
        "n": len(taken),
        "p50 ms": round(statistics.median(taken) * 1e3, 1),
        "p95 ms": round(statistics.quantiles(taken, n=20)[-1] * 1e3, 1),
        "times": round(statistics.median(taken) / statistics.median(bare), 2),
    }


async def _measured(one: Any, at_once: int) -> list[float]:
    gate = asyncio.Semaphore(at_once)

    async def timed(paused: Any) -> float:
        async with gate:
            began = time.perf_counter()
            await one.go_on(paused)
            return time.perf_counter() - began

    paused = [await one.pause() for _ in range(ROUNDS)]
    return list(await asyncio.gather(*(timed(each) for each in paused)))


class _bare:
    @staticmethod
    async def pause() -> Any:
        from approvals.jobs import runtime

        config = config_for(str(uuid.uuid4()))
        bound = with_saver(graph, (await runtime.worker()).saver(None))
        await bound.ainvoke(INPUT, config, durability="sync")
        return bound, config

    @staticmethod
    async def go_on(paused: Any) -> None:
        bound, config = paused
        await bound.aupdate_state(config, EDIT)
        await bound.ainvoke(None, config, durability="sync")


class _ours:
    @staticmethod
    async def pause() -> Any:
        from approvals.actions.runs.starts import start_run
        from approvals.actions.threads.creation import create_thread
        from approvals.models import Approval

        olga = await _person("olga")
        thread = await _in_database(create_thread, by=olga)
        await _in_database(start_run, thread_id=thread.pk, graph_id="refund", input=INPUT, by=olga)
        while True:
            approval = await _in_database(Approval.objects.pending().filter(thread_id=thread.pk).first)
            if approval:
                return approval
            await asyncio.sleep(0.002)

    @staticmethod
    async def go_on(approval: Any) -> None:
        from approvals.actions.votes import ballots, votes
        from approvals.live import events, relay
        from approvals.models import Run

        edits = {name: {"op": "set", "value": value} for name, value in EDIT.items()}
        ballot = ballots.Ballot(verdict="approve", seen_digest=approval.digest, edits=edits)
        await relay.follow()
        told, alice = asyncio.Event(), await _person("alice")
        with relay.told([events.thread_topic(approval.thread_id)], lambda _: told.set()):
            voted = await _as_in_web(partial(votes.cast, approval_id=approval.pk, ballot=ballot, by=alice))
            while not await _in_database(Run.objects.filter(pk=voted.run.pk, ended_at__isnull=False).exists):
                await told.wait()  # told as pages are, not by asking all the time
                told.clear()


async def _as_in_web(function: Any) -> Any:
    """Call it in a thread of its own, as a web process does for each request: it may wait for the worker."""
    from approvals.database import give_back

    def call() -> Any:
        try:
            return function()
        finally:
            give_back()

    return await asyncio.get_running_loop().run_in_executor(_people, call)


async def _in_database(function: Any, *args: Any, **kwargs: Any) -> Any:
    from approvals.database import in_database

    return await in_database(function)(*args, **kwargs)


async def _person(name: str) -> Any:
    from django.contrib.auth import get_user_model

    return await _in_database(get_user_model().objects.get, username=name)
