"""The WebSocket of an open page. It only tells the page to ask again; nothing is changed over it."""

import asyncio
import contextlib
import logging
import time
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user
from django.db import Error

from approvals.database import in_database
from approvals.domain import permissions
from approvals.live import breaker, events

logger = logging.getLogger(__name__)

LONGEST_JOIN_SECONDS = 1.0
LONGEST_SECONDS = 8 * 3600.0
REFUSED = 4403
TOO_OLD = 4408
TRY_AGAIN = 1013


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """`/ws/live/?thread=ID`: sends `{"changed": "queue" | "thread"}`. Each heartbeat checks the person's rights again.

    The socket stays open without Redis. The page asks again when Redis goes, to show the notice, and when it is back.
    """

    channel_layer_alias = "followed by a task of our own"  # Channels would end the socket when the layer fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        try:
            await super().__call__(scope, receive, send)
        except Error as error:
            logger.debug("a page could not open its socket (%s); it tries again", type(error).__name__)
            with contextlib.suppress(Exception):
                await send({"type": "websocket.close", "code": TRY_AGAIN})
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def connect(self) -> None:
        self.topics: dict[str, str] = {}
        if not await self._may_see():
            await self.close(REFUSED)
            return
        query = parse_qs(self.scope["query_string"].decode("utf-8", "replace"))
        self.topics = {events.QUEUE: "queue"}
        if thread_id := query.get("thread", [""])[0]:
            self.topics[events.thread_topic(thread_id)] = "thread"
        layer = get_channel_layer()
        assert layer is not None
        self.layer, self.channel = layer, await layer.new_channel()
        self.joined = asyncio.Event()
        await self._join()
        await self.accept()
        self.tasks = [asyncio.create_task(work()) for work in (self._listen, self._watch_redis, self._beat)]

    async def disconnect(self, code: int) -> None:
        if breaker.redis.is_closed:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LONGEST_JOIN_SECONDS):
                    for topic in self.topics:
                        await self.layer.group_discard(topic, self.channel)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Drop frames unread. Pages send nothing, and a broken frame must not close the socket with an error."""

    async def _join(self) -> bool:
        """Subscribe to the groups again: a restarted Redis has forgotten who subscribed."""
        if not breaker.redis.is_closed:
            return False
        try:
            async with asyncio.timeout(LONGEST_JOIN_SECONDS):
                for topic in self.topics:
                    await self.layer.group_add(topic, self.channel)
        except Exception:  # noqa: BLE001 - a Redis that is gone shows as errors of redis-py, asyncio and Python itself
            breaker.redis.doubt()
            return False
        self.joined.set()
        return True

    async def _listen(self) -> None:
        while await self.joined.wait():
            try:
                message = await self.layer.receive(self.channel)
            except Exception:  # noqa: BLE001 - as above
                breaker.redis.doubt()
                self.joined.clear()
            else:
                await self._tell(message["topic"])

    async def _watch_redis(self) -> None:
        known = breaker.redis.state()
        while await asyncio.sleep(settings.REDIS_LOOK_SECONDS, result=True):
            is_back = not self.joined.is_set() and await self._join()
            if known != (known := breaker.redis.state()) or is_back:
                await self._tell_everything()

    async def _beat(self) -> None:
        began = time.monotonic()
        while await asyncio.sleep(settings.SOCKET_BEAT_SECONDS, result=True):
            await self._join()
            if time.monotonic() - began > LONGEST_SECONDS:
                return await self.close(TOO_OLD)
            with contextlib.suppress(
                Error
            ):  # without a database the person cannot be checked, and sees nothing from it either
                if not await self._may_see():
                    return await self.close(REFUSED)

    async def _tell(self, topic: str) -> None:
        await self.send_json({"changed": self.topics.get(topic, "queue")})

    async def _tell_everything(self) -> None:
        for topic in self.topics:
            await self._tell(topic)

    async def _may_see(self) -> bool:
        return await in_database(self._is_welcome)()

    def _is_welcome(self) -> bool:
        """Read session and person anew: either may have been removed since the page was opened."""
        session = self.scope.get("session")
        if session is None:
            return False
        fresh = session.__class__(session.session_key)  # type() would be the LazyObject
        request = type("Request", (), {"session": fresh})()
        return permissions.can_view(get_user(request))
