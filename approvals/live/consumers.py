"""The WebSocket of an open page. It only tells the page to ask again; nothing is changed over it."""

import asyncio
import contextlib
import logging
import time
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.db import Error

from approvals.database import in_database
from approvals.domain import permissions
from approvals.live import events, relay

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 8 * 3600.0
REFUSED = 4403
TOO_OLD = 4408
TRY_AGAIN = 1013


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """`/ws/live/?thread=ID`: sends `{"changed": "queue" | "thread"}`. Each heartbeat checks the person's rights again.

    When live updates go and when they are back, the page is told to ask as well, because it may have missed something.
    """

    beat: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.topics: dict[str, str] = {}
        try:
            await super().__call__(scope, receive, send)
        except Error as error:
            logger.debug("a page could not open its socket (%s); it tries again", type(error).__name__)
            with contextlib.suppress(Exception):
                await send({"type": "websocket.close", "code": TRY_AGAIN})
        finally:
            if self.beat:
                self.beat.cancel()
                await asyncio.gather(self.beat, return_exceptions=True)

    async def connect(self) -> None:
        if not await self._may_see():
            await self.close(REFUSED)
            return
        query = parse_qs(self.scope["query_string"].decode("utf-8", "replace"))
        self.topics = {events.QUEUE: "queue"}
        if thread_id := query.get("thread", [""])[0]:
            self.topics[events.thread_topic(thread_id)] = "thread"
        await relay.follow()
        await self._join()
        await self.accept()
        self.beat = asyncio.create_task(self._beat())

    async def disconnect(self, code: int) -> None:
        for topic in self.topics:
            await self.channel_layer.group_discard(topic, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Drop frames unread. Pages send nothing, and a broken frame must not close the socket with an error."""

    async def changed(self, message: dict[str, str]) -> None:
        """Tell the page. Channels calls this for messages of the type `changed`."""
        await self.send_json({"changed": self.topics[message["topic"]]})

    async def _join(self) -> None:
        for topic in self.topics:
            await self.channel_layer.group_add(topic, self.channel_name)

    async def _beat(self) -> None:
        began = time.monotonic()
        while await asyncio.sleep(settings.SOCKET_BEAT_SECONDS, result=True):
            await self._join()  # Channels drops who left a message unread for a minute
            if time.monotonic() - began > LONGEST_SECONDS:
                return await self.close(TOO_OLD)
            with contextlib.suppress(
                Error
            ):  # without a database the person cannot be checked, and sees nothing from it either
                if not await self._may_see():
                    return await self.close(REFUSED)

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
