"""Whether Redis can be used, as far as this process knows. Nobody waits for one that is slow, hung, full or gone.

Whoever has to wait for it, or hears an error, doubts it: then a thread of the breaker's own looks, away from every
request and run, and until it has nobody waits at all. What it finds opens the breaker or closes it, and pages show it.
"""

import logging
import math
import threading
import time
from typing import Literal

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)

State = Literal["ok", "slow", "down", "off"]

LONGEST_WAIT_SECONDS = 0.05
"""Redis may hold up whoever uses it no longer than this. One that always takes longer is slow."""
LOOK_SECONDS = 0.5
"""How long a look waits to connect, and for each answer."""
LOOK_EVERY_SECONDS = 3.0
LOOK_AGAIN_SECONDS = 1.0
"""Between two looks at a Redis that is not well."""
KEY = "countersign:look"


class Breaker:
    """Open while Redis is left alone. Without a URL there is nothing to break: it is closed, and the state is `off`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._state: State = "ok" if url else "off"
        self._is_doubted = False
        self._looked_at = -math.inf
        self._looker: threading.Thread | None = None
        self._news = threading.Condition()

    @property
    def is_closed(self) -> bool:
        """True while Redis may be used."""
        return self._state in ("ok", "off")

    @property
    def patience_seconds(self) -> float:
        """How long to wait for Redis now; what takes longer goes on without whoever asked."""
        return 0 if self._is_doubted else LONGEST_WAIT_SECONDS

    def state(self, *, wait_seconds: float = 0) -> State:
        """Say what the latest look found. If that is old another begins, and only who asks to waits for it."""
        asked_at = time.monotonic()
        if not self._url or asked_at - self._looked_at < LOOK_EVERY_SECONDS:
            return self._state
        with self._news:
            self._begin_to_look()
            is_new = self._news.wait_for(lambda: self._looked_at >= asked_at, wait_seconds)
        return self._state if is_new or not wait_seconds else "down"

    def doubt(self) -> None:
        """Say that Redis erred or took long. Perhaps only this process was busy: the next look tells."""
        with self._news:
            if self._url:
                self._is_doubted = True
                self._begin_to_look()

    def _begin_to_look(self) -> None:
        if self._looker is None:
            self._looker = threading.Thread(target=self._look_until_well, name="redis-look", daemon=True)
            self._looker.start()

    def _look_until_well(self) -> None:
        is_well = False
        while not is_well:
            time.sleep(max(0, self._looked_at + LOOK_AGAIN_SECONDS - time.monotonic()))
            is_well = self._keep(look(self._url))

    def _keep(self, found: State) -> bool:
        with self._news:
            if found != self._state:
                logger.warning("Redis is %s, and was %s. While it is not ok, pages poll", found, self._state)
            self._state, self._looked_at, self._is_doubted = found, time.monotonic(), False
            if found == "ok":
                self._looker = None
            self._news.notify_all()
            return found == "ok"


def look(url: str) -> State:
    """Write something small until it is quick once: a Redis that is full or read-only would answer a ping."""
    began = time.monotonic()
    try:
        with Redis.from_url(
            url, socket_connect_timeout=LOOK_SECONDS, socket_timeout=LOOK_SECONDS, retry=Retry(NoBackoff(), 0)
        ) as client:
            while (asked_at := time.monotonic()) - began < LOOK_SECONDS:
                client.set(KEY, 1, ex=60)
                if time.monotonic() - asked_at < LONGEST_WAIT_SECONDS:
                    return "ok"
    except (RedisError, OSError):
        return "down"
    return "slow"


redis = Breaker(settings.REDIS_URL)
