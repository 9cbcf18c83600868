"""Cache entries in Redis: signed bytes that are either valid or a miss, and that nobody waits long for.

A circuit breaker guards every call. It is doubted after an error, and after three slow answers: one may be large, or
this process busy. From then on Redis is not asked until the breaker has found it quick again.
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

from agentcore.plain.breaker import LONGEST_WAIT_SECONDS, Breaker
from agentcore.savers.postgres import off_loop

logger = logging.getLogger(__name__)
T = TypeVar("T")

SLOW_ANSWERS = 3
WRITE_SECONDS = 2.0
"""Time limit of a write. It may carry many megabytes, and nobody waits for it."""
MOST_UNWRITTEN = 64 * 1024 * 1024
"""Limit of unwritten bytes; beyond it, new entries are dropped."""
_SCHEMA = b"countersign:1:"  # with another number, every entry from before is a miss
_SIGNATURE_BYTES = 32


class CacheSigner:
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


class CachedEntries:
    """Reads and writes bytes in Redis. Nothing here raises, and no read waits longer than LONGEST_WAIT_SECONDS."""

    def __init__(self, redis: Redis, breaker: Breaker, signer: CacheSigner, *, ttl_seconds: int) -> None:
        self.breaker, self.signer = breaker, signer
        self._redis, self._ttl = redis, ttl_seconds
        self._slow_answers = 0
        self._unwritten: dict[bytes, bytes] = {}
        self._unwritten_bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._is_refused = False

    @property
    def _is_used(self) -> bool:
        return self.breaker.patience_seconds > 0

    async def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries of these keys in one round trip, not yet verified."""
        wanted = list(dict.fromkeys(keys))
        if not wanted or not self._is_used:
            return {}
        found = await self._in_time(self._redis.mget(wanted)) or []
        return {key: entry for key, entry in zip(wanted, found, strict=False) if isinstance(entry, bytes)}

    def put(self, contents: Mapping[bytes, bytes]) -> None:
        """Sign and write in the background. While too many bytes are unwritten, new ones are dropped."""
        size = sum(map(len, contents.values()))
        if not self._is_used or self._unwritten_bytes + size > MOST_UNWRITTEN:
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
        self.breaker.end()
        await self._redis.aclose()

    async def _write(self) -> None:
        """Write until nothing is left. What arrives during a round trip goes with the next one."""
        while self._unwritten and self._is_used:
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

    async def _in_time(self, answer: Awaitable[T], seconds: float = LONGEST_WAIT_SECONDS) -> T | None:
        try:
            async with asyncio.timeout(seconds):
                found = await answer
        except ResponseError as error:  # it answers: full, perhaps, or not allowed; reading may still work
            self._refused(type(error).__name__)
        except (TimeoutError, RedisTimeout):
            self._slow_answers += 1
            if self._slow_answers >= SLOW_ANSWERS:
                self._slow_answers = 0
                self.breaker.doubt()
        except Exception:  # noqa: BLE001 - a failing cache must not make a read or a write fail
            self.breaker.doubt()
        else:
            self._slow_answers, self._is_refused = 0, False
            return found
        return None

    def _refused(self, why: str) -> None:
        if not self._is_refused:
            logger.warning("Redis refuses checkpoint entries: %s", why)
        self._is_refused = True


@asynccontextmanager
async def open_cached_entries(redis_url: str, signer: CacheSigner, *, ttl_seconds: int) -> AsyncIterator[CachedEntries]:
    """Connect at the first use. It does no harm if Redis is down at the start."""
    if ttl_seconds < 1:
        raise ValueError("The time to live of entries in Redis is a number of seconds, at least 1, such as 86400.")
    redis: Redis = Redis.from_url(
        redis_url,
        socket_timeout=WRITE_SECONDS,
        socket_connect_timeout=LONGEST_WAIT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # with 3, redis-py keeps connections that a restarted Redis has closed
    )
    breaker = Breaker(redis_url, meanwhile="checkpoints come from PostgreSQL alone")
    entries = CachedEntries(redis, breaker, signer, ttl_seconds=ttl_seconds)
    try:
        yield entries
    finally:
        await entries.aclose()
