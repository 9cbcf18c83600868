"""A Procrastinate worker in the caller's event loop: that of `manage.py serve`, or of a test."""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from procrastinate.contrib.django import app
from procrastinate.worker import Worker as ProcrastinateWorker

from agentcore.graphs.runs import LONGEST_RUN_SECONDS
from agentcore.plain import kept_lines
from agentcore.savers.opening import open_pool
from approvals import checkpoints
from approvals.actions.threads.sweeps import store_lost_threads
from approvals.actions.workers import presence
from approvals.actions.workers.cards import publish_graphs
from approvals.actions.workers.presence import signed_on
from approvals.database import in_database
from approvals.jobs import (
    job_queue,
    runtime,
    tasks,  # noqa: F401 - registers them; a web process knows only their names
)
from approvals.jobs.answering import answering

logger = logging.getLogger(__name__)

NODE_THREADS = "node"
JOB_CONNECTIONS = 4
"""Most connections for fetching and finishing jobs; each is used for a moment."""
LAST_FETCH_SECONDS = 0.2
"""A job that was being fetched when the worker was told to retire is its own within this time."""
LONGEST_STOP_SECONDS = settings.GRACE_SECONDS + 2
"""Time limit for signing off at the database, which may be gone."""


class RunningWorker:
    """A worker at work: it takes jobs, answers inquiries and says that it lives, until it is stopped or retires."""

    def __init__(self) -> None:
        self._worker: ProcrastinateWorker | None = None
        self._is_retiring = False
        self._presence = AsyncExitStack()
        self._task = asyncio.create_task(self._work_on())

    async def sign_on(self) -> None:
        graphs = runtime.load_graphs()
        self._presence.enter_context(signed_on(graphs, runtime.load().broken))
        await self._presence.enter_async_context(answering(graphs))

    async def retire(self, on_retired: Callable[[], object]) -> None:
        """Take no more jobs, say so, and return when those in progress are over, however long they take."""
        self._is_retiring = True
        await self._presence.aclose()
        if self._worker:
            self._worker.shutdown_graceful_timeout = LONGEST_RUN_SECONDS
            self._worker.stop()  # type: ignore[no-untyped-call]
            await asyncio.sleep(LAST_FETCH_SECONDS)
        on_retired()
        await asyncio.wait([self._task])

    async def stop(self) -> None:
        await self._presence.aclose()
        self._task.cancel()
        await asyncio.wait([self._task], timeout=LONGEST_STOP_SECONDS)

    async def _work_on(self) -> None:
        """Work until cancelled or retired.

        Procrastinate's worker stops when the database is gone for a while; this starts it again.
        """
        task = asyncio.current_task()
        assert task is not None
        while not self._is_retiring:
            try:
                await self._work()
            except Exception as error:  # noqa: BLE001 - start again after any error: runs wait for a worker
                if task.cancelling():  # without a database, a cancelled worker raises this instead
                    return
                logger.warning("the worker stopped (%s); it begins again", type(error).__name__)
            if not self._is_retiring:
                await asyncio.sleep(settings.BEGIN_AGAIN_SECONDS)

    async def _work(self) -> None:
        # Periodic jobs are added through the app itself: over Django's connection of a thread, which nobody renews when
        # the database was gone, no worker would begin again. What web processes add goes through `job_queue`.
        connector = app.connector.get_worker_connector()  # type: ignore[attr-defined]
        # Procrastinate's own pool asks the server before each statement, and wraps each in a transaction.
        with app.replace_connector(connector) as own:
            async with (
                open_pool(checkpoints.libpq_params(DEFAULT_DB_ALIAS), max_size=JOB_CONNECTIONS) as pool,
                own.open_async(pool),
            ):
                self._worker = ProcrastinateWorker(
                    own,
                    queues=queues(),
                    concurrency=settings.WORKER_CONCURRENCY,
                    install_signal_handlers=False,
                    listen_notify=True,
                    fetch_job_polling_interval=settings.JOB_POLL_SECONDS,
                    shutdown_graceful_timeout=settings.GRACE_SECONDS,
                    delete_jobs="successful",
                    task_middleware=[],  # what our tasks do in the database gives its connection back by itself
                )
                await self._worker.run()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def running(*, is_reload: bool = False) -> AsyncIterator[RunningWorker]:
    """Load and publish the graphs, then work on jobs until the block ends.

    Raises RegistryError before the first job; with `is_reload` also where a graph is broken that other workers have.
    """
    if is_reload:
        await in_database(presence.check_kept)(runtime.load().broken)
    await in_database(publish_graphs)()
    nodes = ThreadPoolExecutor(2 * settings.WORKER_CONCURRENCY, thread_name_prefix=NODE_THREADS)
    asyncio.get_running_loop().set_default_executor(nodes)  # where LangGraph runs nodes that are no coroutines
    await runtime.worker()
    await in_database(store_lost_threads)()
    worker = RunningWorker()
    try:
        await worker.sign_on()
        with kept_lines.caught():
            yield worker
    finally:
        await worker.stop()
        await runtime.close_worker()
        nodes.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def running_until_exit(*, is_reload: bool = False) -> AsyncIterator[RunningWorker]:
    """Work as `running` does; then, if nodes still block threads, end the process."""
    async with running(is_reload=is_reload) as worker:
        yield worker
    leave_blocked_nodes()


def queues() -> list[str]:
    """Return the queues of this worker: one for each of its graphs, and the one for jobs without a graph."""
    return [job_queue.CONSOLE_QUEUE, *map(job_queue.graph_queue, runtime.load_graphs())]


def leave_blocked_nodes() -> None:
    """End the process if nodes still block threads: Python would wait for them at exit.

    Their runs were handed to recovery, which asks a person. Exit handlers run first: one of them stops the embedded
    database.
    """
    deadline = time.monotonic() + 1  # idle threads are gone by then
    while blocked := [thread for thread in threading.enumerate() if thread.name.startswith(NODE_THREADS)]:
        if time.monotonic() > deadline:
            logger.warning("%d nodes still block their threads and are left behind", len(blocked))
            atexit._run_exitfuncs()
            os._exit(0)
        time.sleep(0.05)
