"""Telling open pages that something changed. Delivery is at most once, so pages also ask by themselves."""

import asyncio
import hashlib
import logging
from functools import partial

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)

QUEUE = "queue"
LONGEST_SEND_SECONDS = 0.5
"""A Redis that hangs may hold up an answer no longer than this; the decision is committed before."""


def thread_topic(thread_id: str) -> str:
    """Name the group of a thread: hashed, because thread ids may be anything."""
    return "thread." + hashlib.sha256(thread_id.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def publish(*, thread_id: str = "", is_queue_changed: bool = True) -> None:
    """Say after commit that a thread, and the queue, changed. Never fails: a page that missed it polls."""
    topics = [thread_topic(thread_id)] if thread_id else []
    topics += [QUEUE] if is_queue_changed else []
    for topic in topics:
        transaction.on_commit(partial(_send, topic))


def _send(topic: str) -> None:
    try:
        async_to_sync(_group_send)(topic)
    except Exception:  # noqa: BLE001 - Redis may be gone in many ways; the decision stands and pages poll
        logger.warning("could not tell open pages that %s changed; they will poll", topic)


async def _group_send(topic: str) -> None:
    async with asyncio.timeout(LONGEST_SEND_SECONDS):
        layer = get_channel_layer()
        assert layer is not None
        await layer.group_send(topic, {"type": "changed", "topic": topic})
