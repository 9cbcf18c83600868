"""The tables of checkpoints that are kept in the memory of one process."""

import itertools
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from agentcore.plain import bound_bytes
from agentcore.plain.bound_bytes import Bound
from agentcore.plain.tables import (
    MOST_WRITTEN,
    Head,
    Measured,
    Sizes,
    StoredValue,
    Written,
    fingerprint,
    measured,
)


@dataclass
class MemoryMove:
    """The last move of a thread, and whether it was read since."""

    number: int
    at: float
    is_indexed: bool = False


@dataclass
class MemoryHold:
    """The hold of a run that keeps other writers out, or has their writes noted."""

    until: float
    lets_others: bool
    has_others: bool = False


@dataclass
class Tombstone:
    """The mark of a removed thread."""

    laid_at: float
    deleted: int = 0
    is_settled: bool = False


class CheckpointMemory(Protocol):
    """What the saver holds: LangGraph's own dictionaries, and beside them what a database keeps in tables."""

    storage: Any
    """Checkpoints by thread, namespace and id: checkpoint and metadata as type and bytes, and the parent's id."""
    writes: Any
    """Writes by thread, namespace and checkpoint, then by task and place."""
    blobs: Any
    """Type and bytes by thread, namespace, channel and version."""
    moves: dict[str, MemoryMove]
    fences: dict[str, int]
    holds: dict[str, MemoryHold]
    tombstones: dict[str, Tombstone]
    effects: dict[str, tuple[str, str]]
    guard: Any
    serde: Any

    def delete_thread(self, thread_id: str) -> None: ...


@dataclass(frozen=True)
class MemoryTables:
    """The `Tables` of a MemorySaver."""

    saver: CheckpointMemory

    def is_set_up(self) -> bool:
        return True

    def read_head(self, thread_id: str) -> Head | None:
        with self.saver.guard:
            newest = max(self.saver.storage.get(thread_id, {}).get("", {}), default=None)
            if newest is None:
                return None
            stored = self.saver.writes.get((thread_id, "", newest), {}).items()
            writes = fingerprint((*place, channel, *value) for place, (_, channel, value, _) in stored)
            move = self.saver.moves.get(thread_id)
            return Head(newest, writes, move.number if move else None)

    def read_bound(
        self,
        thread_id: str,
        *,
        unread: Collection[str] = (),
        at: tuple[str, str] | None = None,
        is_hashed: bool = False,
    ) -> Bound | None:
        """Return what tasks can read there. Values are always hashed, as memory has no row versions to compare."""
        with self.saver.guard:
            stored = self.saver.storage.get(thread_id, {})
            places = {space: max(found) for space, found in stored.items() if found and space not in unread}
            places |= {space: found for space, found in [at] if space in places} if at else {}
            if "" not in places:
                return None
            read = [self._part(thread_id, *place) for place in places.items()]
            noted = self.saver.effects.items()
            effects = sorted((key, result) for key, (thread, result) in noted if thread == thread_id)
            return bound_bytes.of_values(read, effects).without(unread)

    def _part(self, thread_id: str, namespace: str, checkpoint_id: str) -> bound_bytes.Values:
        found = self.saver.storage[thread_id][namespace]
        packed, metadata, parent = found.get(checkpoint_id, ((b"", b""), (b"", b""), None))
        told = bound_bytes.metadata_of(metadata[1])
        names = told.get(bound_bytes.DELTAS) or {}
        above: list[Any] = []
        here, seen = parent, set[str]()
        while here in found and here not in seen and names:
            seen.add(here)
            above += [here, found[here][0], found[here][2], self._blobs(thread_id, namespace, here)]
            above += [each for each in self._writes(thread_id, namespace, here) if each[1] in names]
            here = found[here][2]
        sent = self._writes(thread_id, namespace, parent) if parent else []
        above += [each for each in sent if each[1] == bound_bytes.TASKS]
        return bound_bytes.Values(
            *(namespace, checkpoint_id, told),
            stored=[parent, packed, metadata, self._blobs(thread_id, namespace, checkpoint_id)],
            above=above,
            writes=self._writes(thread_id, namespace, checkpoint_id),
        )

    def _writes(self, thread_id: str, namespace: str, checkpoint_id: str) -> list[tuple[Any, ...]]:
        stored = self.saver.writes.get((thread_id, namespace, checkpoint_id), {}).items()
        return sorted((place, channel, *value, path) for place, (_, channel, value, path) in stored)

    def _blobs(self, thread_id: str, namespace: str, checkpoint_id: str) -> list[tuple[Any, ...]]:
        packed = self.saver.storage[thread_id][namespace].get(checkpoint_id)
        versions = self.saver.serde.loads_typed(packed[0])["channel_versions"] if packed else {}
        blobs = ((name, v, self.saver.blobs.get((thread_id, namespace, name, v))) for name, v in versions.items())
        return sorted((name, str(version), blob) for name, version, blob in blobs if blob)

    def read_head_and_metadata(self, thread_id: str) -> tuple[Head | None, dict[str, Any]]:
        with self.saver.guard:
            found = self.saver.storage.get(thread_id, {}).get("", {})
            metadata = dict(self.saver.serde.loads_typed(found[max(found)][1])) if found else {}
            return self.read_head(thread_id), metadata

    def threads_to_index(self, *, limit: int, settled_seconds: float = 0) -> list[str]:
        latest = time.monotonic() - settled_seconds
        with self.saver.guard:
            waiting = (each for each, move in self.saver.moves.items() if not move.is_indexed and move.at <= latest)
            return list(itertools.islice(waiting, limit))

    def mark_indexed(self, thread_id: str, head: Head | None) -> None:
        with self.saver.guard:
            move = self.saver.moves.get(thread_id)
            if head is None and self.read_head(thread_id) is None:
                self.saver.moves.pop(thread_id, None)
            elif head and move and head.change == move.number:
                move.is_indexed = True

    def value_sizes(self, thread_id: str, checkpoint_id: str | None = None, *, namespace: str = "") -> Sizes | None:
        with self.saver.guard:
            found = self.saver.storage.get(thread_id, {}).get(namespace, {})
            here = checkpoint_id or max(found, default="")
            if here not in found:
                return None
            versions = self.saver.serde.loads_typed(found[here][0])["channel_versions"]
            place = (thread_id, namespace)
            blobs = ((name, str(v), self.saver.blobs.get((*place, name, v))) for name, v in versions.items())
            values = [
                StoredValue("blob", name, version, len(blob[1]), namespace) for name, version, blob in blobs if blob
            ]
            for (task, idx), each in self.saver.writes.get((*place, here), {}).items():
                values.append(StoredValue("write", each[1], f"{idx}:{task}", len(each[2][1]), namespace))
            return Sizes(here, tuple(values))

    def measure(self, thread_id: str, checkpoint_id: str, values: list[StoredValue]) -> list[Measured]:
        return [measured(value, *self._stored(thread_id, checkpoint_id, value)) for value in values]

    def read_slice(self, thread_id: str, checkpoint_id: str, value: StoredValue, offset: int, length: int) -> bytes:
        return self._stored(thread_id, checkpoint_id, value)[1][offset : offset + length]

    def _stored(self, thread_id: str, checkpoint_id: str, value: StoredValue) -> tuple[str, bytes]:
        with self.saver.guard:
            if value.place == "write":
                idx, _, task = value.key.partition(":")
                writes = self.saver.writes.get((thread_id, value.namespace, checkpoint_id), {})
                found = writes.get((task, int(idx)))
                return found[2] if found else ("empty", b"")
            blobs = self.saver.blobs.items()
            here = (thread_id, value.namespace, value.channel)
            return next((blob for key, blob in blobs if key[:3] == here and str(key[3]) == value.key), ("empty", b""))

    def raise_fence(
        self, thread_id: str, fence: int, *, held_seconds: float | None = None, lets_others: bool = False
    ) -> None:
        with self.saver.guard:
            if fence < self.saver.fences.get(thread_id, 0):
                return
            self.saver.fences[thread_id] = fence
            hold = self.saver.holds.pop(thread_id, None)
            if held_seconds is not None:
                has_others = hold is not None and hold.has_others
                self.saver.holds[thread_id] = MemoryHold(time.monotonic() + held_seconds, lets_others, has_others)

    def hold_on(self, thread_id: str, fence: int, *, held_seconds: float) -> None:
        with self.saver.guard:
            hold = self.saver.holds.get(thread_id)
            if hold and self.saver.fences.get(thread_id) == fence:
                hold.until = time.monotonic() + held_seconds

    def let_go(self, thread_id: str, fence: int) -> bool:
        with self.saver.guard:
            if self.saver.fences.get(thread_id) != fence:
                return False
            hold = self.saver.holds.pop(thread_id, None)
            return bool(hold and hold.has_others)

    def written(self, thread_id: str, *, since: str, run_key: str) -> list[Written]:
        with self.saver.guard:
            found = self.saver.storage.get(thread_id, {}).get("", {})
            newest = [each for each in sorted(found, reverse=True) if each > since][:MOST_WRITTEN]
            told = [(each, found[each][2], self.saver.serde.loads_typed(found[each][1])) for each in newest]
            return [Written(each, parent or "", str(metadata.get(run_key) or "")) for each, parent, metadata in told]

    def read_fence(self, thread_id: str) -> int:
        return self.saver.fences.get(thread_id, 0)

    def lay_tombstone(self, thread_id: str) -> None:
        with self.saver.guard:
            self.saver.tombstones.setdefault(thread_id, Tombstone(time.monotonic()))

    def count_rows(self, thread_id: str) -> dict[str, int]:
        with self.saver.guard:
            checkpoints = self.saver.storage.get(thread_id, {}).values()
            return {
                "checkpoints": sum(map(len, checkpoints)),
                "blobs": sum(key[0] == thread_id for key in self.saver.blobs),
                "writes": sum(len(each) for key, each in self.saver.writes.items() if key[0] == thread_id),
                "effects": sum(thread == thread_id for thread, _ in self.saver.effects.values()),
            }

    def count_by_namespace(self, thread_id: str) -> dict[str, int]:
        with self.saver.guard:
            counts = {space: len(each) for space, each in self.saver.storage.get(thread_id, {}).items()}
            spaces = [key[1] for key in self.saver.blobs if key[0] == thread_id]
            spaces += [key[1] for key, each in self.saver.writes.items() if key[0] == thread_id for _ in each]
            spaces += ["" for thread, _ in self.saver.effects.values() if thread == thread_id]
            for space in spaces:
                counts[space] = counts.get(space, 0) + 1
            return {space: counts[space] for space in sorted(counts) if counts[space]}

    def delete_rows(self, thread_id: str, *, limit: int | None = None) -> dict[str, int]:
        """Delete everything at once: nobody waits for a table here."""
        with self.saver.guard:
            counts = self.count_rows(thread_id)
            self.saver.delete_thread(thread_id)
            for key in [key for key, (thread, _) in self.saver.effects.items() if thread == thread_id]:
                del self.saver.effects[key]
            self.saver.moves.pop(thread_id, None)
            if thread_id in self.saver.tombstones:
                self.saver.tombstones[thread_id].deleted += sum(counts.values())
            return counts

    def threads_to_empty(self, *, limit: int) -> list[str]:
        with self.saver.guard:
            waiting = (each for each, stone in self.saver.tombstones.items() if not stone.is_settled)
            return list(itertools.islice((each for each in waiting if any(self.count_rows(each).values())), limit))

    def threads_emptied(self, *, settled_seconds: float) -> dict[str, int]:
        latest = time.monotonic() - settled_seconds
        with self.saver.guard:
            laid = {each: stone for each, stone in self.saver.tombstones.items() if not stone.is_settled}
            return {
                each: stone.deleted
                for each, stone in laid.items()
                if stone.laid_at <= latest and not any(self.count_rows(each).values())
            }

    def settle(self, thread_ids: list[str]) -> None:
        with self.saver.guard:
            for each in thread_ids:
                self.saver.tombstones[each].is_settled = True
