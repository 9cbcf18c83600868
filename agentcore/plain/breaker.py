"""The circuit breaker for Redis: closed, or open until Redis answers quickly again.

Requests and runs never wait for a Redis that is slow, gone or full. A caller that had to wait, or got an error, calls
`doubt`; then a thread of the breaker looks at Redis, and until it has finished nobody waits. The result opens or closes
the breaker, and pages show it.
"""

import logging
import math
import threading
import time
from typing import Literal

logger = logging.getLogger(__name__)

RedisState = Literal["ok", "slow", "down", "off"]

LONGEST_WAIT_SECONDS = 0.05
"""The longest wait for Redis. A Redis that always takes longer counts as slow."""
LOOK_SECONDS = 0.5
"""Time limit of a look, for the connection and for each answer."""
LOOK_EVERY_SECONDS = 3.0
LOOK_AGAIN_SECONDS = 1.0
"""Pause between two looks while Redis does not work."""
KEY = "countersign:look"


class Breaker:
    """Open while Redis is not used. Without a URL it is closed and its state is `off`."""

    def __init__(
        self, url: str, *, meanwhile: str = "it is not used", look_again_seconds: float = LOOK_AGAIN_SECONDS
    ) -> None:
        """`meanwhile` is logged when it opens: what happens without Redis."""
        self._url, self._meanwhile, self._look_again_seconds = url, meanwhile, look_again_seconds
        self._state: RedisState = "ok" if url else "off"
        self._is_doubted = False
        self._looked_at = -math.inf
        self._looker: threading.Thread | None = None
        self._ended = threading.Event()
        self._news = threading.Condition()

    @property
    def is_closed(self) -> bool:
        """True while Redis may be used."""
        return self._state in ("ok", "off")

    @property
    def patience_seconds(self) -> float:
        """Seconds to wait for Redis now; 0 means not to ask it. What takes longer goes on without the caller."""
        return 0 if self._is_doubted or not self.is_closed else LONGEST_WAIT_SECONDS

    def state(self, *, wait_seconds: float = 0) -> RedisState:
        """Return the result of the latest look. If that is old, start another one; wait for it up to `wait_seconds`."""
        asked_at = time.monotonic()
        if not self._url or asked_at - self._looked_at < LOOK_EVERY_SECONDS:
            return self._state
        with self._news:
            self._begin_to_look()
            is_new = self._news.wait_for(lambda: self._looked_at >= asked_at, wait_seconds)
        return self._state if is_new or not wait_seconds else "down"

    def doubt(self) -> None:
        """Report that Redis failed or was slow. This process may just have been busy: the next look decides."""
        with self._news:
            if self._url:
                self._is_doubted = True
                self._begin_to_look()

    def end(self) -> None:
        """Stop looking: nobody uses this breaker any more."""
        self._ended.set()

    def _begin_to_look(self) -> None:
        if self._looker is None:
            self._looker = threading.Thread(target=self._look_until_well, name="redis-look", daemon=True)
            self._looker.start()

    def _look_until_well(self) -> None:
        is_well = False
        while not is_well and not self._ended.wait(self._rest_seconds()):
            is_well = self._keep(look(self._url))

    def _rest_seconds(self) -> float:
        return max(0, self._looked_at + self._look_again_seconds - time.monotonic())

    def _keep(self, found: RedisState) -> bool:
        with self._news:
            if found == "ok" and not self.is_closed:
                logger.warning("Redis is back")
            elif found != "ok" and self.is_closed:
                logger.warning("Redis is %s. Until it is back, %s", found, self._meanwhile)
            self._state, self._looked_at, self._is_doubted = found, time.monotonic(), False
            if found == "ok":
                self._looker = None
            self._news.notify_all()
            return found == "ok"


def look(url: str) -> RedisState:
    """Write a small value until one write is quick. A ping would be answered by a Redis that is full or read-only."""
    from redis import Redis  # here, as most consoles have no Redis, and it takes long to load
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

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
