"""Answer what web processes ask about graphs, as soon as they ask: somebody at a page waits."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from django.conf import settings
from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from approvals.actions.workers import replies
from approvals.database import in_database
from approvals.jobs import runtime
from approvals.live import events, relay
from approvals.models import Inquiry

logger = logging.getLogger(__name__)


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Answer inquiries about the graphs of this process until the block ends, up to WORKER_CONCURRENCY at a time."""
    graph_ids, asked = list(runtime.load_graphs()), asyncio.Event()
    topics = [events.inquiry_topic(each) for each in ("", *graph_ids)]
    await relay.follow()
    with relay.told(topics, lambda _: asked.set()):
        task = asyncio.create_task(_answer_on(graph_ids, asked))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _answer_on(graph_ids: list[str], asked: asyncio.Event) -> None:
    """Take what is asked whenever that is announced, or after a while: an announcement may be lost."""
    room = asyncio.Semaphore(settings.WORKER_CONCURRENCY)
    async with asyncio.TaskGroup() as answers:
        while True:
            asked.clear()
            try:
                async with room:
                    found = await in_database(replies.take)(graph_ids)
            except (DatabaseError, PoolTimeout) as error:
                logger.warning("inquiries cannot be read (%s); it begins again", type(error).__name__)
                await asyncio.sleep(settings.BEGIN_AGAIN_SECONDS)
                continue
            if found:
                await room.acquire()
                answers.create_task(_answer(found)).add_done_callback(lambda _: room.release())
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.JOB_POLL_SECONDS):
                    await asked.wait()


async def _answer(inquiry: Inquiry) -> None:
    with suppress(DatabaseError, PoolTimeout):  # then the person is told that nobody answered
        await replies.answer(inquiry)
