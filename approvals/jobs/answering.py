"""Answer what web processes ask about graphs, as soon as they ask: somebody at a page waits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from django.conf import settings
from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from approvals.actions.workers import replies
from approvals.database import in_database
from approvals.live import events, relay
from approvals.models import Inquiry

logger = logging.getLogger(__name__)


@asynccontextmanager
async def answering(graph_ids: Collection[str]) -> AsyncIterator[None]:
    """Answer inquiries about these graphs until the block ends, up to WORKER_CONCURRENCY at a time."""
    asked = asyncio.Event()
    topics = [events.inquiry_topic(each) for each in ("", *graph_ids)]
    await relay.follow()
    with relay.told(topics, lambda _: asked.set()):
        task = asyncio.create_task(_answer_on(graph_ids, asked))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _answer_on(graph_ids: Collection[str], asked: asyncio.Event) -> None:
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
    try:
        await replies.answer(inquiry)
    except Exception as error:  # noqa: BLE001 - the person is told that nobody answered; others are answered
        logger.warning("an inquiry was not answered (%s)", type(error).__name__, extra={"kind": inquiry.kind})
