"""A Procrastinate worker in the caller's event loop: that of `manage.py serve`, or of a test."""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from procrastinate.contrib.django import app

from agentcore.savers.opening import open_pool
from approvals import checkpoints
from approvals.actions.threads.sweeps import store_lost_threads
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
LONGEST_STOP_SECONDS = settings.GRACE_SECONDS + 2
"""Time limit for signing off at the database, which may be gone."""


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    """Load and publish the graphs, then work on jobs until the block ends.

    Raises RegistryError before the first job.
    """
    await in_database(publish_graphs)()
    nodes = ThreadPoolExecutor(2 * settings.WORKER_CONCURRENCY, thread_name_prefix=NODE_THREADS)
    asyncio.get_running_loop().set_default_executor(nodes)  # where LangGraph runs nodes that are no coroutines
    await runtime.worker()
    await in_database(store_lost_threads)()
    task = asyncio.create_task(_work_on())
    try:
        with signed_on(runtime.load_graphs(), runtime.load().broken):
            async with answering(runtime.load_graphs()):
                yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=LONGEST_STOP_SECONDS)
        await runtime.close_worker()
        nodes.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def running_until_exit() -> AsyncIterator[None]:
    """Work as `running` does; then, if nodes still block threads, end the process."""
    async with running():
        yield
    leave_blocked_nodes()


async def _work_on() -> None:
    """Work until cancelled.

    Procrastinate's worker stops when the database is gone for a while; this starts it again.
    """
    task = asyncio.current_task()
    assert task is not None
    while True:
        try:
            await _work()
        except Exception as error:  # noqa: BLE001 - start again after any error: runs wait for a worker
            if task.cancelling():  # without a database, a cancelled worker raises this instead
                return
            logger.warning("the worker stopped (%s); it begins again", type(error).__name__)
        await asyncio.sleep(settings.BEGIN_AGAIN_SECONDS)


async def _work() -> None:
    # Not replace_connector: the web half of this process defers jobs inside Django's transactions.
    own = app.with_connector(app.connector.get_worker_connector())  # type: ignore[attr-defined]
    # Procrastinate's own pool asks the server before each statement, and wraps each in a transaction.
    async with (
        open_pool(checkpoints.libpq_params(DEFAULT_DB_ALIAS), max_size=JOB_CONNECTIONS) as pool,
        own.open_async(pool),
    ):
        await own.run_worker_async(
            queues=queues(),
            concurrency=settings.WORKER_CONCURRENCY,
            install_signal_handlers=False,
            listen_notify=True,
            fetch_job_polling_interval=settings.JOB_POLL_SECONDS,
            shutdown_graceful_timeout=settings.GRACE_SECONDS,
            delete_jobs="successful",
            task_middleware=[],  # what our tasks do in the database gives its connection back by itself
        )


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
