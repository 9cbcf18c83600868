"""The WebSocket of an open page. It only tells the page what changed; nothing is changed over it."""

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.db import Error

from approvals.database import in_database
from approvals.domain import permissions
from approvals.live import clock, events, relay

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 8 * 3600.0
REFUSED = 4403
TOO_OLD = 4408
TRY_AGAIN = 1013
SPREAD_SECONDS = 0.015
"""All pages show the queue. They ask for it over a time that is so long for each page that is open here."""
LONGEST_SPREAD_SECONDS = 30.0
THREAD, LOG = "thread", "log"
LISTS = {"threads": events.THREADS}
"""Lists that only some pages show. Every page shows something of the queue."""


class LiveConsumer(AsyncWebsocketConsumer):
    """`/ws/live/?thread=ID&list=threads&age=MS` sends `{"live": true, "changed": {"queue": 0.3, "thread": 0}}`.

    `live` is false while this server is not told of changes: the page then asks again and again by itself. `changed`
    names what to ask for, and within how many seconds. The page says how old what it shows is, and is told at once
    what changed since. A message without changes, every SOCKET_BEAT_SECONDS, shows the page that its socket works.
    """

    open_pages: ClassVar[int] = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.began = time.monotonic()
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
        person_id = await self._person_id()
        if person_id is None:
            await self.close(REFUSED)
            return
        query = parse_qs(self.scope["query_string"].decode("utf-8", "replace"))
        await relay.follow()
        clock.begin()
        await self.accept()
        topics = _topics(query, person_id)
        self.tasks = [asyncio.create_task(self._tell(topics, _age_of(query))), asyncio.create_task(self._check())]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Drop frames unread. Pages send nothing, and a broken frame must not close the socket with an error."""

    async def _tell(self, topics: Mapping[str, str], age_seconds: float) -> None:
        """Tell the page what it has missed, then each change. What changes while it is being told is told next."""
        noted, changed = asyncio.Event(), dict[str, float]()

        def note(topic: str) -> None:
            names = topics.values() if topic == relay.EVERYTHING else [topics[topic]]
            for name in names:
                is_own = name in (THREAD, LOG) and topic != relay.EVERYTHING
                changed[name] = min(changed.get(name, LONGEST_SPREAD_SECONDS), 0 if is_own else _spread())
            noted.set()

        with relay.told(topics, note), _counted():
            age_seconds += time.monotonic() - self.began
            for topic in topics:
                if relay.may_have_missed(topic, seconds=age_seconds):
                    note(topic)
            while True:
                text = json.dumps({"live": relay.is_up(), "changed": changed})
                changed.clear()
                noted.clear()
                await self.send(text_data=text)
                beat = asyncio.get_running_loop().call_later(settings.SOCKET_BEAT_SECONDS, noted.set)
                await noted.wait()
                beat.cancel()

    async def _check(self) -> None:
        """Close the socket when the person may see nothing any more, and when it is old."""
        while await asyncio.sleep(settings.SOCKET_CHECK_SECONDS, result=True):
            if time.monotonic() - self.began > LONGEST_SECONDS:
                return await self.close(TOO_OLD)
            with contextlib.suppress(
                Error
            ):  # without a database they cannot be checked, and see nothing from it either
                if await self._person_id() is None:
                    return await self.close(REFUSED)

    async def _person_id(self) -> int | None:
        """Return the id of the person, or None if they may see nothing."""
        return await in_database(self._read_person_id)()

    def _read_person_id(self) -> int | None:
        """Read session and person anew: either may have been removed since the page was opened."""
        session = self.scope.get("session")
        if session is None:
            return None
        fresh = session.__class__(session.session_key)  # type() would be the LazyObject
        person = get_user(type("Request", (), {"session": fresh})())
        return person.pk if permissions.can_view(person) else None


def _topics(query: Mapping[str, Sequence[str]], person_id: int) -> dict[str, str]:
    """Return what the page is told of, and the name under which it is told."""
    topics = {events.QUEUE: "queue", events.person_topic(person_id): "queue"}
    if thread_id := query.get("thread", [""])[0]:
        topics |= {events.thread_topic(thread_id): THREAD, events.log_topic(thread_id): LOG}
    if topic := LISTS.get(name := query.get("list", [""])[0]):
        topics[topic] = name
    return topics


def _age_of(query: Mapping[str, Sequence[str]]) -> float:
    """Return how many seconds ago the page was asked for; endless if it does not say."""
    age = query.get("age", [""])[0]
    return int(age) / 1000 if age.isascii() and age.isdigit() and len(age) < 12 else math.inf


def _spread() -> float:
    return min(LONGEST_SPREAD_SECONDS, SPREAD_SECONDS * LiveConsumer.open_pages)


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    LiveConsumer.open_pages += 1
    try:
        yield
    finally:
        LiveConsumer.open_pages -= 1
