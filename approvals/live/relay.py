"""Messages between processes, carried by PostgreSQL: part of the transaction that makes the change.

Each process listens on one connection and passes on what it hears, to its open sockets and to its threads that wait.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from approvals import checkpoints, last_writes
from approvals.database import give_back, in_database, is_for_a_moment

logger = logging.getLogger(__name__)
T = TypeVar("T")
Tell = Callable[[str], object]
"""Called with a topic that was heard of."""

CHANNEL = "countersign_live"
_ANNOUNCE = f"SELECT pg_notify('{CHANNEL}', %s)"
EVERYTHING = "everything"
"""A topic of which everybody is told who waits for any topic."""
_BEAT = "beat"
"""A topic without listeners: a connection that does not bring it is dead."""
_FIRST_SECONDS = 1.0
"""A socket waits this long at most for the first connection."""
_UNHEARD_LOOK_SECONDS = 0.02
"""A thread looks this often in a process that does not listen."""
_HEARD_LOOK_SECONDS = 1.0
"""And this often in one that does."""
_REMEMBERED_SECONDS = 120.0
"""It is remembered for so long when a topic was heard of."""
_ON_ITS_WAY_SECONDS = 2.0
"""A message may be heard so much later than its change was committed."""


def announce(topics: Collection[str]) -> None:
    """Tell every process of these topics once the caller's transaction is committed; now, if there is none."""
    last_writes.write(_ANNOUNCE, [" ".join(topics)])


async def follow() -> None:
    """Listen from now on, in this event loop, if the process does not listen yet."""
    await _listener.begin()


def is_down() -> bool:
    """Return whether this process tried to listen and cannot."""
    return _listener.is_lost


def is_up() -> bool:
    """Return whether this process hears of changes now."""
    return _listener.is_up


def told(topics: Collection[str], tell: Tell) -> AbstractContextManager[None]:
    """Have `tell` called with each of these topics that is heard of, and with EVERYTHING, until the block ends.

    It is called in the event loop that listens, and must not wait.
    """
    return _listener.told(topics, tell)


def may_have_missed(topic: str, *, seconds: float) -> bool:
    """Return whether the topic was heard of in the last `seconds`, or whether that is not known."""
    return _listener.may_have_missed(topic, seconds)


def has_waiting() -> bool:
    """Return whether anybody in this process waits for a topic."""
    return bool(_listener._waiting)


def tell_here(topics: Iterable[str]) -> None:
    """Tell those who wait in this process, as if the topics had been heard of. Call it in the loop that listens."""
    _listener.pass_on(topics)


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
        self._waiting: dict[str, set[Tell]] = defaultdict(set)
        self._lock = threading.Lock()
        self._up_since = 0.0
        self._heard_at: dict[str, float] = {}  # oldest first

    async def begin(self) -> None:
        if self._task is None or self._task.done():
            self._tried = asyncio.Event()
            self._task = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), _FIRST_SECONDS)

    @contextmanager
    def heard(self, topic: str) -> Iterator[threading.Event]:
        """Yield an event that is set whenever the topic is heard of."""
        event = threading.Event()
        with self.told([topic], lambda _: event.set()):
            yield event

    @contextmanager
    def told(self, topics: Collection[str], tell: Tell) -> Iterator[None]:
        with self._lock:
            for topic in topics:
                self._waiting[topic].add(tell)
        try:
            yield
        finally:
            with self._lock:
                for topic in topics:
                    self._waiting[topic].discard(tell)
                    if not self._waiting[topic]:
                        del self._waiting[topic]

    def may_have_missed(self, topic: str, seconds: float) -> bool:
        now = time.monotonic()
        since = now - seconds - _ON_ITS_WAY_SECONDS
        if not self.is_up or since < max(self._up_since, now - _REMEMBERED_SECONDS):
            return True
        return any(self._heard_at.get(name, since) > since for name in (topic, EVERYTHING))

    def pass_on(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self._remember(topic)
            with self._lock:
                waiting = self._everybody() if topic == EVERYTHING else list(self._waiting.get(topic, ()))
            for tell in waiting:
                tell(topic)

    def _everybody(self) -> set[Tell]:
        return {tell for waiting in self._waiting.values() for tell in waiting}

    def _remember(self, topic: str) -> None:
        now = time.monotonic()
        self._heard_at.pop(topic, None)
        self._heard_at[topic] = now
        while (oldest := next(iter(self._heard_at))) and self._heard_at[oldest] < now - _REMEMBERED_SECONDS:
            del self._heard_at[oldest]

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001 - whatever it is, this process hears nothing until it listens again
                self.is_up = False
                if not self.is_lost:
                    logger.warning("live updates are off (%s): pages ask every 15 s", type(error).__name__)
                    self.is_lost = True
                    self.pass_on([EVERYTHING])  # pages show it, and ask by themselves
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
                        self._be_up()
                    self.pass_on(told.payload.split())
            raise TimeoutError

    def _be_up(self) -> None:
        if self.is_lost:
            logger.warning("live updates are on again")
        self.is_up, self.is_lost, self._up_since = True, False, time.monotonic()
        self._tried.set()
        self.pass_on([EVERYTHING])  # what was announced while nobody listened is lost


def _conninfo() -> str:
    return make_conninfo("", **checkpoints.libpq_params(DEFAULT_DB_ALIAS))


_listener = _Listener()
