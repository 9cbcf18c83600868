"""Cache entries in Redis: signed bytes that are either valid or a miss, and that nobody waits long for.

A circuit breaker guards every call. It opens at once when Redis is gone, and after three slow answers and a slow ping.
A task then checks once a second whether Redis is back.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from agentcore.savers.postgres import off_loop

logger = logging.getLogger(__name__)
T = TypeVar("T")

SLOW_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 1.0
SLOW_ANSWERS = 3
WRITE_SECONDS = 2.0
"""Time limit of a write. It may carry many megabytes, and nobody waits for it."""
MOST_UNWRITTEN = 64 * 1024 * 1024
"""Limit of unwritten bytes; beyond it, new entries are dropped."""
_SCHEMA = b"countersign:1:"  # with another number, every entry from before is a miss
_SIGNATURE_BYTES = 32


class EntrySigner:
    """Makes keys that tell nothing about their content, and signs entries with an HMAC, so that nobody else can make
    one.

    The signature covers the key: an entry that was moved to another key is a miss.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def key(self, *parts: str) -> bytes:
        told = b"".join(len(part := text.encode()).to_bytes(8) + part for text in parts)
        return _SCHEMA + hashlib.blake2b(told, key=self._secret, digest_size=20).hexdigest().encode()

    def sign(self, key: bytes, content: bytes) -> bytes:
        return self._signature(key, content) + content

    def verified(self, key: bytes, entry: bytes) -> bytes | None:
        """Return the content; None for an entry that is cut, forged, moved or of another schema."""
        content = entry[_SIGNATURE_BYTES:]
        return content if hmac.compare_digest(entry[:_SIGNATURE_BYTES], self._signature(key, content)) else None

    def verified_all(self, entries: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Return the contents of the valid entries."""
        opened = {key: self.verified(key, entry) for key, entry in entries.items()}
        return {key: content for key, content in opened.items() if content is not None}

    def _signature(self, key: bytes, content: bytes) -> bytes:
        mark = hmac.new(self._secret, key, "sha256")
        mark.update(content)
        return mark.digest()


class Entries:
    """Reads and writes bytes in Redis. Nothing here raises, and no read waits longer than SLOW_SECONDS."""

    def __init__(self, redis: Redis, signer: EntrySigner, *, ttl_seconds: int) -> None:
        self.signer = signer
        self._redis, self._ttl = redis, ttl_seconds
        self._slow_answers = 0
        self._returning: asyncio.Task[None] | None = None
        self._unwritten: dict[bytes, bytes] = {}
        self._unwritten_bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[bool] | None = None
        self._is_refused = False

    @property
    def is_bypassed(self) -> bool:
        return self._returning is not None

    async def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries of these keys in one round trip, not yet verified."""
        wanted = list(dict.fromkeys(keys))
        if not wanted or self.is_bypassed:
            return {}
        found = await self._in_time(self._redis.mget(wanted)) or []
        return {key: entry for key, entry in zip(wanted, found, strict=False) if isinstance(entry, bytes)}

    def put(self, contents: Mapping[bytes, bytes]) -> None:
        """Sign and write in the background. While too many bytes are unwritten, new ones are dropped."""
        size = sum(map(len, contents.values()))
        if self.is_bypassed or self._unwritten_bytes + size > MOST_UNWRITTEN:
            return
        self._unwritten_bytes += size
        self._unwritten.update(contents)
        if contents and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._end_writing)

    async def written(self) -> None:
        """Wait until everything put so far is written or dropped."""
        if self._writing:
            await self._writing

    async def aclose(self) -> None:
        await self.written()
        for task in (self._returning, self._pinging):
            if task:
                task.cancel()
        await self._redis.aclose()

    async def _write(self) -> None:
        """Write until nothing is left. What arrives during a round trip goes with the next one."""
        while self._unwritten and not self.is_bypassed:
            contents, size = self._unwritten, self._unwritten_bytes
            self._unwritten, self._unwritten_bytes = {}, 0
            entries = await off_loop(size, self._signed, contents)
            pipeline = self._redis.pipeline(transaction=False)
            for key, entry in entries.items():
                pipeline.set(key, entry, ex=self._ttl)
            await self._in_time(pipeline.execute(), WRITE_SECONDS)

    def _end_writing(self, task: object) -> None:
        if self._writing is task:
            self._unwritten, self._unwritten_bytes, self._writing = {}, 0, None

    def _signed(self, contents: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        return {key: self.signer.sign(key, content) for key, content in contents.items()}

    async def _in_time(self, answer: Awaitable[T], seconds: float = SLOW_SECONDS) -> T | None:
        try:
            async with asyncio.timeout(seconds):
                found = await answer
        except ResponseError as error:  # it answers: full, perhaps, or not allowed; reading may still work
            self._refused(type(error).__name__)
        except (TimeoutError, RedisTimeout):
            self._slow_answers += 1
            if self._slow_answers >= SLOW_ANSWERS:
                self._suspect()
        except Exception as error:  # noqa: BLE001 - a failing cache must not make a read or a write fail
            self._bypass(type(error).__name__)
        else:
            self._slow_answers, self._is_refused = 0, False
            return found
        return None

    def _refused(self, why: str) -> None:
        if not self._is_refused:
            logger.warning("Redis refuses checkpoint entries: %s", why)
        self._is_refused = True

    def _suspect(self) -> None:
        """Ping Redis: only a slow ping means that it is slow. Otherwise the answer was large, or this process busy."""
        if self._pinging is None:
            self._pinging = asyncio.create_task(self._is_quick())
            self._pinging.add_done_callback(self._end_pinging)

    def _end_pinging(self, pinged: "asyncio.Task[bool]") -> None:
        self._pinging, self._slow_answers = None, 0
        if not pinged.cancelled() and not pinged.result():
            self._bypass("slow")

    async def _is_quick(self) -> bool:
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                await self._redis.ping()
            return True
        except Exception:  # noqa: BLE001 - any error means that it is not quick
            return False

    def _bypass(self, why: str) -> None:
        if self._returning is None:
            logger.warning("Redis is bypassed (%s); checkpoints come from PostgreSQL alone", why)
            self._returning = asyncio.create_task(self._return())
            self._returning.add_done_callback(self._end_bypass)

    async def _return(self) -> None:
        while not await self._is_quick():  # noqa: ASYNC110 - Redis does not tell when it is back
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        logger.warning("Redis is back")

    def _end_bypass(self, _: object) -> None:
        self._returning, self._slow_answers = None, 0


@asynccontextmanager
async def open_entries(redis_url: str, signer: EntrySigner, *, ttl_seconds: int) -> AsyncIterator[Entries]:
    """Connect at the first use. A Redis that is down at the start is bypassed."""
    if ttl_seconds < 1:
        raise ValueError("The time to live of entries in Redis is a number of seconds, at least 1, such as 86400.")
    redis: Redis = Redis.from_url(
        redis_url,
        socket_timeout=WRITE_SECONDS,
        socket_connect_timeout=SLOW_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # with 3, redis-py keeps connections that a restarted Redis has closed
    )
    entries = Entries(redis, signer, ttl_seconds=ttl_seconds)
    try:
        yield entries
    finally:
        await entries.aclose()
