"""Load the demo: people, and threads that wait in every way a thread can."""

import asyncio
import itertools
import os
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentcore.demo.cases import Case, iter_cases
from agentcore.plain.errors import AgentCoreError, CheckpointsElsewhere
from approvals.actions.runs.execution import execute_run
from approvals.actions.runs.starts import start_run
from approvals.actions.threads.creation import create_thread
from approvals.actions.workers.cards import publish_graphs
from approvals.jobs import runtime
from approvals.management.people import links_of, make_people
from approvals.models import Run, Thread

DEFAULT_THREADS = 16
_AT_A_TIME = 8


class Command(BaseCommand):
    help = "Load the demo people (no passwords: use the links) and N threads that wait for approval."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--threads", type=int, default=DEFAULT_THREADS, metavar="N")
        parser.add_argument("--links", action="store_true", help="print a one-time sign-in link for each person")

    def handle(self, *, threads: int, links: bool, **options: Any) -> None:
        if threads < 0:
            raise CommandError("--threads is how many there shall be: 0 or more.")
        people = make_people()
        try:
            runs = self._start(threads, publish_graphs(), by=people["olga"])
            where = _run_now(runs) if runs else ""
        except AgentCoreError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"The demo is loaded: {len(runs)} new threads.{where}")
        if links:
            self.stdout.write(links_of(people))

    def _start(self, count: int, known: list[str], *, by: AbstractUser) -> list[Run]:
        """Start the first `count` cases that are not there yet, so that loading twice changes nothing."""
        cases = [case for case in itertools.islice(iter_cases(count), count) if case.graph_id in known]
        there = set(Thread.objects.filter(pk__in=[_thread_id(case) for case in cases]).values_list("pk", flat=True))
        return [_start_case(case, by) for case in cases if _thread_id(case) not in there]


def _thread_id(case: Case) -> str:
    return f"demo-{case.id}"


def _start_case(case: Case, by: AbstractUser) -> Run:
    thread = create_thread(thread_id=_thread_id(case), metadata={"title": case.title}, by=by)
    Thread.objects.filter(pk=thread.pk).update(title=case.title)
    return start_run(thread_id=thread.pk, graph_id=case.graph_id, input=case.input, by=by)


def _run_now(runs: list[Run]) -> str:
    """Run the cases without pauses between nodes; return a sentence if that was not possible here."""
    os.environ["DEMO_PACE"], pace = "0", os.environ.get("DEMO_PACE")
    try:
        return asyncio.run(_run_all(runs))
    finally:
        os.environ.pop("DEMO_PACE") if pace is None else os.environ.update(DEMO_PACE=pace)


async def _run_all(runs: list[Run]) -> str:
    """Run the cases now, so that the queue is full when the page opens. The queued jobs then find nothing to do."""
    gate = asyncio.Semaphore(_AT_A_TIME)

    async def one(run: Run) -> None:
        async with gate:
            await execute_run(str(run.pk))

    try:
        await runtime.worker()
        await asyncio.gather(*(one(run) for run in runs))
    except CheckpointsElsewhere:
        return " The server, which has the checkpoints, runs them."
    finally:
        await runtime.close_worker()
    return ""
