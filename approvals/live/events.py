"""Messages to open pages: something changed. Delivery is at most once, so pages also poll."""

import asyncio
import hashlib
import logging
from functools import partial

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from approvals.live import breaker

logger = logging.getLogger(__name__)

QUEUE = "queue"
LONGEST_SEND_SECONDS = 5.0
"""Time limit of a message. Callers wait only a moment; then the message goes on without them."""
MOST_ON_THEIR_OWN = 10
"""Limit on messages that go on without their caller: each holds a connection to Redis."""
_on_their_own: set[asyncio.Task[None]] = set()


def thread_topic(thread_id: str) -> str:
    """Return the name of a thread's group. It is a hash, as thread ids may hold any character."""
    return "thread." + hashlib.sha256(thread_id.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def publish(*, thread_id: str = "", is_queue_changed: bool = True) -> None:
    """Announce after commit that a thread, and the queue, changed. Never raises: a page that misses a message polls."""
    topics = [thread_topic(thread_id)] if thread_id else []
    topics += [QUEUE] if is_queue_changed else []
    transaction.on_commit(partial(_tell, topics))


def _tell(topics: list[str]) -> None:
    if not breaker.redis.is_closed or len(_on_their_own) >= MOST_ON_THEIR_OWN:
        return
    try:
        async_to_sync(_send)(topics)
    except Exception as error:  # noqa: BLE001 - Redis may be gone in many ways; the decision stands and pages poll
        logger.debug("could not tell open pages of a change (%s)", type(error).__name__)
        breaker.redis.doubt()


async def _send(topics: list[str]) -> None:
    """Send to each topic, but wait only a moment. A slower message may still arrive."""
    sending = asyncio.create_task(_send_all(topics))
    await asyncio.wait([sending], timeout=breaker.redis.patience_seconds)
    if sending.done():
        return sending.result()
    breaker.redis.doubt()
    _on_their_own.add(sending)
    sending.add_done_callback(_forget)


async def _send_all(topics: list[str]) -> None:
    layer = get_channel_layer()
    assert layer is not None
    async with asyncio.timeout(LONGEST_SEND_SECONDS):
        await asyncio.gather(*[layer.group_send(topic, {"type": "changed", "topic": topic}) for topic in topics])


def _forget(sent: asyncio.Task[None]) -> None:
    _on_their_own.discard(sent)
    if not sent.cancelled():
        sent.exception()  # asked for, so that asyncio does not log it: a look is under way
