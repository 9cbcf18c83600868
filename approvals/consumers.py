"""The socket of an open page. It only tells the page to ask again; nothing is ever changed over it."""

import asyncio
import contextlib
import logging
import time
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import get_user
from redis.exceptions import RedisError

from approvals import events, permissions, runtime

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 20.0
LONGEST_SECONDS = 8 * 3600.0
REFUSED = 4403
TOO_OLD = 4408
TRY_AGAIN = 1013


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """`/ws/live/?thread=ID`: sends `{"changed": "queue" | "thread"}`. The person is checked again at each heartbeat."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (RedisError, OSError) as error:
            logger.warning("an open page lost its socket (%s); it polls and tries again", type(error).__name__)
            with contextlib.suppress(Exception):
                await send({"type": "websocket.close", "code": TRY_AGAIN})

    async def connect(self) -> None:
        self.topics: dict[str, str] = {}
        self.heart: asyncio.Task[None] | None = None
        if not await self._may_see():
            await self.close(REFUSED)
            return
        query = parse_qs(self.scope["query_string"].decode("utf-8", "replace"))
        self.topics = {events.QUEUE: "queue"}
        if thread_id := query.get("thread", [""])[0]:
            self.topics[events.thread_topic(thread_id)] = "thread"
        for topic in self.topics:
            await self.channel_layer.group_add(topic, self.channel_name)
        await self.accept()
        self.heart = asyncio.create_task(self._beat())

    async def disconnect(self, code: int) -> None:
        if self.heart:
            self.heart.cancel()
        for topic in self.topics:
            await self.channel_layer.group_discard(topic, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Drop frames unread: pages have nothing to tell, and a broken one must not close the socket with an error."""

    async def changed(self, event: dict[str, Any]) -> None:
        await self.send_json({"changed": self.topics.get(event["topic"], "queue")})

    async def _beat(self) -> None:
        began = time.monotonic()
        while await asyncio.sleep(HEARTBEAT_SECONDS, result=True):
            if time.monotonic() - began > LONGEST_SECONDS:
                return await self.close(TOO_OLD)
            if not await self._may_see():
                return await self.close(REFUSED)

    async def _may_see(self) -> bool:
        return await runtime.in_database(self._is_welcome)()

    def _is_welcome(self) -> bool:
        """Read the session and the person anew: both may have been taken away since the page was opened."""
        session = self.scope.get("session")
        if session is None:
            return False
        fresh = session.__class__(session.session_key)  # type() would be the LazyObject
        request = type("Request", (), {"session": fresh})()
        return permissions.can_view(get_user(request))
