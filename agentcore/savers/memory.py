"""Checkpoints in the memory of one process. They are lost when it ends; used only where the setting says so."""

import itertools
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from agentcore.plain.canary import check_serializer
from agentcore.plain.errors import ThreadCleaned, ThreadHeld
from agentcore.plain.memory_tables import MemoryHold, MemoryMove, Tombstone
from agentcore.plain.tables import NOTED_CHANNELS
from agentcore.savers.fence import HELD_SENTENCE, Fenceable

_numbers = itertools.count(1)


class MemorySaver(Fenceable, InMemorySaver):
    """LangGraph's saver, which also records moves as the database triggers do. Any thread of the process may use it."""

    def __init__(self, serializer: JsonPlusSerializer) -> None:
        check_serializer(serializer)
        super().__init__(serde=serializer)
        self.moves: dict[str, MemoryMove] = {}
        self.fences: dict[str, int] = {}
        self.holds: dict[str, MemoryHold] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.effects: dict[str, tuple[str, str]] = {}
        """Thread and result of each finished effect; `running` holds the futures of those in progress."""
        self.running: dict[str, Future[None]] = {}
        self.guard = threading.RLock()

    def note(self, thread_id: str) -> None:
        self.moves.pop(thread_id, None)  # moved to the end, so that the longest waiting come first
        self.moves[thread_id] = MemoryMove(next(_numbers), time.monotonic())

    def check_fence(self, thread_id: str) -> None:
        """Check the fence. The caller holds the guard, and writes under the same guard."""
        if self.fence:
            self.fence.check(thread_id, self.fences.get(thread_id))

    def check_holder(self, thread_id: str) -> None:
        """Refuse or note a write while a run holds the thread. The caller holds the guard."""
        self.check_fence(thread_id)
        hold = self.holds.get(thread_id)
        if self.fence or hold is None or hold.until <= time.monotonic():
            return
        if not hold.lets_others:
            raise ThreadHeld(HELD_SENTENCE)
        hold.has_others = True

    def check_may_write(self, thread_id: str) -> None:
        """Refuse a write to a removed thread. The caller holds the guard."""
        self.check_holder(thread_id)
        if thread_id in self.tombstones:
            raise ThreadCleaned("This thread was force-cleaned: nothing is written to it any more.")

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        with self.guard:
            self.check_may_write(config["configurable"]["thread_id"])
            stored = super().put(config, checkpoint, metadata, new_versions)
            thread_id = stored["configurable"]["thread_id"]
            if not stored["configurable"]["checkpoint_ns"] or thread_id in self.moves:
                self.note(thread_id)
            return stored

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        with self.guard:
            self.check_may_write(config["configurable"]["thread_id"])
            super().put_writes(config, writes, task_id, task_path)
            thread_id = config["configurable"]["thread_id"]
            if thread_id in self.moves and any(channel in NOTED_CHANNELS for channel, _ in writes):
                self.note(thread_id)

    def delete_thread(self, thread_id: str) -> None:
        with self.guard:
            self.check_holder(thread_id)
            super().delete_thread(thread_id)
            if thread_id in self.moves:
                self.note(thread_id)


@asynccontextmanager
async def open_memory(serializer: JsonPlusSerializer) -> AsyncIterator[MemorySaver]:
    """Open a saver whose checkpoints are lost when the block ends."""
    yield MemorySaver(serializer)
