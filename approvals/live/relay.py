"""Messages between processes, carried by PostgreSQL: part of the transaction that makes the change.

Each process listens on one connection and passes on what it hears, to its open sockets and to its threads that wait.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from approvals import checkpoints
from approvals.database import give_back, in_database, is_for_a_moment

logger = logging.getLogger(__name__)
T = TypeVar("T")

CHANNEL = "countersign_live"
_ANNOUNCE = f"SELECT pg_notify('{CHANNEL}', %s)"
_BEAT = "beat"
"""A topic without listeners: a connection that does not bring it is dead."""
_FIRST_SECONDS = 1.0
"""A socket waits this long at most for the first connection."""
_UNHEARD_LOOK_SECONDS = 0.02
"""A thread looks this often in a process that does not listen."""
_HEARD_LOOK_SECONDS = 1.0
"""And this often in one that does."""


def announce(topics: Collection[str]) -> None:
    """Tell every process of these topics once the caller's transaction is committed; now, if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(_ANNOUNCE, [" ".join(topics)])


async def follow() -> None:
    """Listen from now on, in this event loop, if the process does not listen yet."""
    await _listener.begin()


def is_down() -> bool:
    """Return whether this process tried to listen and cannot."""
    return _listener.is_lost


def wait_for(topic: str, look: Callable[[], T | None], *, seconds: float) -> T | None:
    """Return the first true value of `look`, or None after the time limit. It looks when it is told of the topic.

    The calling thread waits, and meanwhile holds no connection.
    """
    assert not is_for_a_moment(), "who waits for a worker here takes the thread that the worker needs to answer"
    deadline = time.monotonic() + seconds
    with _listener.heard(topic) as told:
        while (left := deadline - time.monotonic()) > 0:
            told.clear()
            if found := look():
                return found
            give_back()
            told.wait(min(left, _HEARD_LOOK_SECONDS if _listener.is_up else _UNHEARD_LOOK_SECONDS))
    return None


class _Listener:
    """The connection on which this process listens. It is opened again for as long as its event loop runs."""

    def __init__(self) -> None:
        self.is_up = self.is_lost = False
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)
        self._lock = threading.Lock()

    async def begin(self) -> None:
        if self._task is None or self._task.done():
            self._tried = asyncio.Event()
            self._task = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), _FIRST_SECONDS)

    @contextmanager
    def heard(self, topic: str) -> Iterator[threading.Event]:
        """Yield an event that is set whenever the topic is heard."""
        event = threading.Event()
        with self._lock:
            self._waiting[topic].add(event)
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[topic].discard(event)
                if not self._waiting[topic]:
                    del self._waiting[topic]

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001 - whatever it is, this process hears nothing until it listens again
                self.is_up = False
                if not self.is_lost:
                    logger.warning("live updates are off (%s): pages ask every 15 s", type(error).__name__)
                    self.is_lost = True
                    await self._pass_on(self._topics())  # pages show it
                self._tried.set()
            await asyncio.sleep(settings.LISTEN_AGAIN_SECONDS)

    async def _hear(self) -> None:
        """Listen until the connection fails, or does not bring what it should: TimeoutError."""
        seconds = settings.LISTEN_BEAT_SECONDS
        async with asyncio.timeout(seconds):
            opened = await AsyncConnection.connect(_conninfo(), autocommit=True)
        async with opened:
            async with asyncio.timeout(seconds):
                await opened.execute(f"LISTEN {CHANNEL}")
            is_heard = True
            while is_heard:
                is_heard = False
                await in_database(announce)([_BEAT])  # not over `opened`: if that is dead, psycopg would wait for it
                async for told in opened.notifies(timeout=seconds):
                    is_heard = True
                    if not self.is_up:
                        await self._be_up()
                    await self._pass_on(told.payload.split())
            raise TimeoutError

    async def _be_up(self) -> None:
        if self.is_lost:
            logger.warning("live updates are on again")
        self.is_up, self.is_lost = True, False
        self._tried.set()
        await self._pass_on(self._topics())  # whatever was announced meanwhile was not heard

    async def _pass_on(self, topics: Iterable[str]) -> None:
        layer = _layer()
        for topic in topics:
            if topic in layer.groups:
                await layer.group_send(topic, {"type": "changed", "topic": topic})
            with self._lock:
                waiting = list(self._waiting.get(topic, ()))
            for event in waiting:
                event.set()

    def _topics(self) -> list[str]:
        """Return every topic that somebody here waits for."""
        with self._lock:
            return list({*_layer().groups, *self._waiting})


def _conninfo() -> str:
    return make_conninfo("", **checkpoints.libpq_params(DEFAULT_DB_ALIAS))


def _layer() -> InMemoryChannelLayer:
    layer = get_channel_layer()
    assert isinstance(layer, InMemoryChannelLayer)
    return layer


_listener = _Listener()
