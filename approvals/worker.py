"""A Procrastinate worker in the loop of whoever runs it: `manage.py serve`, or a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from django.conf import settings
from procrastinate.contrib.django import app

from approvals import runtime
from approvals.actions.publish_graphs import publish_graphs

GRACE_SECONDS = 8
"""How long runs may go on after a stop is asked for; what is left is taken up by recovery."""


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    """Load and publish the graphs, then work on jobs until the block ends. Raises RegistryError before that."""
    await runtime.in_database(publish_graphs)()
    await runtime.worker()
    # Not replace_connector: the web half of this process defers jobs inside Django's transactions.
    own = app.with_connector(app.connector.get_worker_connector())  # type: ignore[attr-defined]
    async with own.open_async():
        task = asyncio.create_task(
            own.run_worker_async(
                concurrency=settings.WORKER_CONCURRENCY,
                install_signal_handlers=False,
                listen_notify=True,
                fetch_job_polling_interval=2,
                shutdown_graceful_timeout=GRACE_SECONDS,
                delete_jobs="successful",
            )
        )
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await runtime.close_worker()
