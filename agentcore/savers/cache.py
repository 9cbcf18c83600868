"""A Redis cache in front of PostgreSQL that never returns an outdated checkpoint.

The heavy part of a checkpoint, its blobs, never changes; the light part, its document, does. Both are stored in Redis
as signed entries, and what this process used last also in its memory. A *validated* read asks PostgreSQL with one small
indexed query for the versions of all rows, and a cached value counts only if it was made of these. A *notified* read,
for pages, trusts a validated value until PostgreSQL notifies a change of the thread. While no notification can be
received, notified reads are validated too.

A Redis that is slow, gone, empty or full of forged entries changes nothing but the time of a read.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import ormsgpack
from cachetools import LRUCache
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from agentcore.savers import setup
from agentcore.savers.cache_entries import CachedEntries, CacheSigner, open_cached_entries
from agentcore.savers.listening import ChangeListener, listening, mark_of
from agentcore.savers.postgres import PostgresSaver, config_of, divided, off_loop, place_of
from agentcore.savers.reads import SAVED_SQL, Blob, CheckpointKey, CheckpointReader, Document, Line, StampedCheckpoint
from agentcore.savers.setup import Pool

Reads = Literal["validated", "notified"]
Here = tuple[str, str, str | None]
"""Thread, namespace, and the id of a checkpoint or None for the latest: what a read asks for."""

NEAR_BYTES = 64 * 1024 * 1024
"""What a process keeps of checkpoints in its memory, at most."""
_MOST_BELIEVED = 10_000
_LISTED_AT_ONCE = 50
_TRIES = 3
_NONE: Mapping[Blob, bytes] = MappingProxyType({})


class Parts(NamedTuple):
    """A complete checkpoint as bytes."""

    stamped: StampedCheckpoint
    document: Document
    blobs: dict[Blob, bytes]

    @property
    def size(self) -> int:
        document = self.document
        return sum(map(len, (*self.blobs.values(), document.checkpoint, *(write[3] for write in document.writes))))


class Cache:
    """What the savers of one process share. Open it with `open_cache`, in the event loop that uses it."""

    def __init__(
        self, pool: Pool, entries: CachedEntries, listener: ChangeListener, *, near_bytes: int = NEAR_BYTES
    ) -> None:
        self.entries, self.listener, self.stored = entries, listener, CheckpointReader(pool)
        self._near: LRUCache[Here, Parts] = LRUCache(near_bytes, getsizeof=lambda parts: parts.size)
        self._believed: LRUCache[str, dict[Here, tuple[str, StampedCheckpoint]]] = LRUCache(_MOST_BELIEVED)
        self._gathering: dict[StampedCheckpoint, asyncio.Task[Parts | None]] = {}

    def near(self, here: Here) -> Parts | None:
        """Return what this process found there last. Only its stamp says whether that is still current."""
        return self._near.get(here)

    def keep(self, here: Here, parts: Parts) -> None:
        if parts.size <= self._near.maxsize:
            self._near[here] = parts

    def believed(self, mark: str) -> dict[Here, tuple[str, StampedCheckpoint]]:
        """Return the current checkpoints of a thread that count until a change, each with the session in which it
        was read.

        A change replaces the dict: a reader that started before writes to the old one, which nobody reads.
        """
        return self._believed.setdefault(mark, {})

    def forget(self, mark: str) -> None:
        """Drop what is believed of a changed thread; of all threads for "*"."""
        if mark == "*":
            self._believed.clear()
        self._believed.pop(mark, None)

    def saved(self, place: CheckpointKey, document: Document, new: Mapping[Blob, bytes]) -> None:
        """Store a checkpoint that was just saved: in Redis, and in memory if its older blobs are there."""
        blobs = {self._key_of_blob(place.line, blob): content for blob, content in new.items()}
        self.entries.put({self._key_of_document(place): document.packed(), **blobs})
        latest = (*place.line, None)
        older = near.blobs if (near := self.near(latest)) else _NONE
        at_hand = {(place.line, blob): content for blob, content in {**older, **new}.items()}
        if parts := _whole(StampedCheckpoint(place, document.stamp), document, at_hand):
            self.keep(latest, parts)

    async def gathered_once(self, stamped: StampedCheckpoint, have: Mapping[Blob, bytes]) -> Parts | None:
        """Do what `gathered` does for one checkpoint.

        Concurrent callers share one read, which goes on if one of them is cancelled.
        """
        if stamped not in self._gathering:
            self._gathering[stamped] = task = asyncio.create_task(self._gathered_one(stamped, have))
            task.add_done_callback(lambda _: self._gathering.pop(stamped))
        return await asyncio.shield(self._gathering[stamped])

    async def _gathered_one(self, stamped: StampedCheckpoint, have: Mapping[Blob, bytes]) -> Parts | None:
        return (await self.gathered([stamped], have))[0]

    async def gathered(
        self, checkpoints: Sequence[StampedCheckpoint], have: Mapping[Blob, bytes] = _NONE
    ) -> list[Parts | None]:
        """Return each checkpoint from Redis or PostgreSQL; None for one that is gone or was written to meanwhile.

        `have` are blobs of the same thread and namespace that need not be read.
        """
        documents = await self._documents(checkpoints)
        wanted = dict.fromkeys((each.place.line, blob) for each, found in documents.items() for blob in found.blobs)
        at_hand = {(line, blob): have[blob] for line, blob in wanted if blob in have}
        blobs = at_hand | await self._blobs([each for each in wanted if each not in at_hand])
        return [_whole(each, documents.get(each), blobs) for each in checkpoints]

    async def _documents(self, checkpoints: Sequence[StampedCheckpoint]) -> dict[StampedCheckpoint, Document]:
        keys = {each: self._key_of_document(each.place) for each in checkpoints}
        opened = await self._opened(list(keys.values()))
        found = {}
        for each, key in keys.items():
            if key in opened and (document := Document.of(ormsgpack.unpackb(opened[key]))).stamp == each.stamp:
                found[each] = document
        missing = [each for each in checkpoints if each not in found]
        if missing:
            fresh = await self.stored.documents([each.place for each in missing])
            self.entries.put({self._key_of_document(place): document.packed() for place, document in fresh.items()})
            found |= {each: fresh[each.place] for each in missing if each.place in fresh}
        return found

    async def _blobs(self, wanted: Sequence[tuple[Line, Blob]]) -> dict[tuple[Line, Blob], bytes]:
        keys = {each: self._key_of_blob(*each) for each in wanted}
        opened = await self._opened(list(keys.values()))
        found = {each: opened[key] for each, key in keys.items() if key in opened}
        missing = [each for each in wanted if each not in found]
        if missing:
            fresh = await self.stored.blobs(missing)
            self.entries.put({keys[each]: content for each, content in fresh.items()})
            found |= fresh
        return found

    async def _opened(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        signed = await self.entries.get(keys)
        return await off_loop(sum(map(len, signed.values())), self.entries.signer.verified_all, signed)

    def _key_of_document(self, place: CheckpointKey) -> bytes:
        return self.entries.signer.key("document", *place)

    def _key_of_blob(self, line: Line, blob: Blob) -> bytes:
        return self.entries.signer.key("blob", *line, *blob)


def _whole(
    stamped: StampedCheckpoint, document: Document | None, blobs: Mapping[tuple[Line, Blob], bytes]
) -> Parts | None:
    if document is None or any((stamped.place.line, blob) not in blobs for blob in document.blobs):
        return None
    here = StampedCheckpoint(stamped.place, document.stamp)  # it may be newer than what was asked for
    return Parts(here, document, {blob: blobs[stamped.place.line, blob] for blob in document.blobs})


class CachedPostgresSaver(PostgresSaver):
    """A PostgresSaver that reads through the cache. It writes to PostgreSQL first, then the same bytes to Redis."""

    def __init__(self, pool: Pool, cache: Cache, *, serde: SerializerProtocol, reads: Reads = "validated") -> None:
        super().__init__(pool, serde=serde)
        self.cache, self.reads = cache, reads

    def reading(self, reads: Reads) -> "CachedPostgresSaver":
        """Return another saver over the same cache with this kind of reads."""
        other = copy.copy(self)
        other.reads = reads
        return other

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names, or the thread's latest; None if there is none."""
        self._check_loop()
        checkpoint_id = get_checkpoint_id(config)
        here = (*place_of(config), str(checkpoint_id) if checkpoint_id else None)
        mark = mark_of(here[0])
        for _ in range(_TRIES):
            session = self.cache.listener.session(mark) if self.reads == "notified" else None
            believed = self.cache.believed(mark) if session else {}
            since, stamped = believed.get(here, (None, None))
            if since != session or stamped is None:
                stamped = await self.cache.stored.stamped(*here)
            if stamped is None:
                return None
            parts = near = self.cache.near(here)
            if near is None or near.stamped != stamped:
                parts = await self.cache.gathered_once(stamped, near.blobs if near else _NONE)
            if parts:
                self.cache.keep(here, parts)
                if session:
                    believed[here] = session, parts.stamped
                return await off_loop(parts.size, self._decoded, parts)
            believed.pop(here, None)
        return await super().aget_tuple(config)  # it changes faster than it can be read in pieces

    async def small_row(self, *place: Any, most: int) -> None:
        """Read nothing: what is in the cache need not be read from PostgreSQL."""
        return None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, newest first. Shared blobs are read once."""
        self._check_loop()
        where, params = self._search_where(config, filter, before)
        listed = await self.cache.stored.listed(where, params, limit)
        for start in range(0, len(listed), _LISTED_AT_ONCE):
            checkpoints = listed[start : start + _LISTED_AT_ONCE]
            for stamped, parts in zip(checkpoints, await self.cache.gathered(checkpoints), strict=True):
                if found := await self._listed(stamped, parts):
                    yield found

    async def _listed(self, stamped: StampedCheckpoint, parts: Parts | None) -> CheckpointTuple | None:
        if parts:
            return await off_loop(parts.size, self._decoded, parts)
        return await super().aget_tuple(config_of(*stamped.place))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint in PostgreSQL, then the same bytes in Redis."""
        place = CheckpointKey(*place_of(config), checkpoint["id"])
        with self._changing([place.thread_id]):
            told, contents = await self._put(config, checkpoint, metadata, new_versions, SAVED_SQL)
        if told:
            document, named = Document.of(told), checkpoint["channel_versions"]
            stored = {(blob.channel, blob.version) for blob in document.blobs}
            # The statement does not see a blob that somebody else stored at the same time. Then the next read finds it.
            if stored.issuperset((c, str(named[c])) for c in divided(checkpoint["channel_values"])[1] if c in named):
                new = {blob: contents[blob[:2]] for blob in document.blobs if blob[:2] in contents}
                self.cache.saved(place, document, new)
        return config_of(*place)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save pending writes. The document in Redis is outdated from then on; the next read replaces it."""
        with self._changing([place_of(config)[0]]):
            await super().aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread. Its entries in Redis name rows that are gone, and expire."""
        with self._changing([thread_id]):
            await super().adelete_thread(thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete all but what the strategy keeps, as the library does."""
        with self._changing(thread_ids):
            await super().aprune(thread_ids, strategy=strategy)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread in PostgreSQL, row by row."""
        with self._changing([target_thread_id]):
            await super().acopy_thread(source_thread_id, target_thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of these runs and their writes."""
        for thread_id in await self._delete_for_runs(run_ids):
            self.cache.forget(mark_of(thread_id))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read the writes of a delta channel from PostgreSQL, never from the cache: more may be arriving."""
        return await super().aget_delta_channel_history(config=config, channels=channels)

    @contextmanager
    def _changing(self, thread_ids: Sequence[str]) -> Iterator[None]:
        """Believe nothing of these threads however the write ends: one that seems to fail may have been stored."""
        try:
            yield
        finally:
            for thread_id in thread_ids:
                self.cache.forget(mark_of(str(thread_id)))

    def _decoded(self, parts: Parts) -> CheckpointTuple:
        document, (thread_id, namespace, checkpoint_id) = parts.document, parts.stamped.place
        checkpoint = json.loads(document.checkpoint)
        values = [(blob.channel.encode(), blob.type.encode(), content) for blob, content in parts.blobs.items()]
        if document.sends:
            self._migrate_pending_sends([(kind, sent) for kind, sent in document.sends], checkpoint, values)
        return self._tuple(
            {
                "thread_id": thread_id,
                "checkpoint_ns": namespace,
                "checkpoint_id": checkpoint_id,
                "parent_checkpoint_id": document.parent,
                "checkpoint": checkpoint,
                "metadata": json.loads(document.metadata),
                "channel_values": values,
                "pending_writes": document.writes,
            }
        )


@asynccontextmanager
async def open_cache(
    pool: Pool, redis_url: str, *, ttl_seconds: int, near_bytes: int = NEAR_BYTES
) -> AsyncIterator[Cache]:
    """Open the cache of one process over tables that are set up. A Redis that is down is not used until it is back."""
    signer = CacheSigner(await setup.cache_secret(pool))
    async with open_cached_entries(redis_url, signer, ttl_seconds=ttl_seconds) as entries, listening(pool) as listener:
        cache = Cache(pool, entries, listener, near_bytes=near_bytes)
        listener.on_change = cache.forget
        yield cache
