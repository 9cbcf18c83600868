"""Checkpoints in a SQLite file, for one process at a time: a lock beside the file keeps the others out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agentcore.plain.canary import check_serializer
from agentcore.plain.errors import CheckpointsElsewhere, ThreadHeld
from agentcore.plain.sqlite_tables import BUSY_SECONDS, FENCE_SQL, HELD_SQL, NOW, TABLES, hold, telling_errors
from agentcore.plain.tables import NOTED_CHANNELS
from agentcore.savers.fence import HELD_SENTENCE, Fenceable
from agentcore.testing.failpoints import reach

T = TypeVar("T")

_MOVED = f"change = (SELECT coalesce(max(change), 0) + 1 FROM countersign_heads), changed_at = {NOW}, is_indexed = 0"
_CHANNELS = ", ".join(f"'{channel}'" for channel in NOTED_CHANNELS)

# A trigger inherits the conflict rule of its statement, here OR REPLACE, so ON CONFLICT does not work in it.
_NOTE_CHECKPOINT = f"""
    INSERT INTO countersign_heads (thread_id, checkpoint_id, change, changed_at)
    SELECT NEW.thread_id, NEW.checkpoint_id, 0, 0
    WHERE NOT EXISTS (SELECT 1 FROM countersign_heads WHERE thread_id = NEW.thread_id);
    UPDATE countersign_heads SET checkpoint_id = max(checkpoint_id, NEW.checkpoint_id), {_MOVED}
    WHERE thread_id = NEW.thread_id;
"""
_NOTE_CHECKPOINT_GONE = f"""
    UPDATE countersign_heads SET {_MOVED}, checkpoint_id = coalesce(
        (SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = OLD.thread_id AND checkpoint_ns = ''),
        checkpoint_id)
    WHERE thread_id = OLD.thread_id AND checkpoint_id = OLD.checkpoint_id;
"""
_NOTE_WRITE = f"UPDATE countersign_heads SET {_MOVED} WHERE thread_id = NEW.thread_id;"
_REFUSE = """
    SELECT RAISE(ABORT, 'this thread was force-cleaned: nothing is written to it any more')
    WHERE EXISTS (SELECT 1 FROM countersign_tombstones WHERE thread_id = NEW.thread_id);
"""
_TRIGGERS = {
    "countersign_checkpoint": ("INSERT ON checkpoints WHEN NEW.checkpoint_ns = ''", _NOTE_CHECKPOINT),
    "countersign_checkpoint_again": ("UPDATE ON checkpoints WHEN NEW.checkpoint_ns = ''", _NOTE_CHECKPOINT),
    "countersign_below": ("INSERT ON checkpoints WHEN NEW.checkpoint_ns <> ''", _NOTE_WRITE),
    "countersign_below_again": ("UPDATE ON checkpoints WHEN NEW.checkpoint_ns <> ''", _NOTE_WRITE),
    "countersign_checkpoint_gone": ("DELETE ON checkpoints WHEN OLD.checkpoint_ns = ''", _NOTE_CHECKPOINT_GONE),
    "countersign_write": (f"INSERT ON writes WHEN NEW.channel IN ({_CHANNELS})", _NOTE_WRITE),
    "countersign_write_again": (f"UPDATE ON writes WHEN NEW.channel IN ({_CHANNELS})", _NOTE_WRITE),
}
_INSTALL_SQL = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS countersign_heads (
    thread_id TEXT PRIMARY KEY,
    checkpoint_id TEXT NOT NULL,
    change INTEGER NOT NULL,
    changed_at REAL NOT NULL,
    is_indexed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS countersign_fences (thread_id TEXT PRIMARY KEY, fence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS countersign_holds (
    thread_id TEXT PRIMARY KEY, fence INTEGER NOT NULL, held_until REAL NOT NULL, lets_others INTEGER NOT NULL,
    has_others INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS countersign_effects (
    key TEXT PRIMARY KEY, thread_id TEXT NOT NULL, result TEXT, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS countersign_tombstones (
    thread_id TEXT PRIMARY KEY, laid_at REAL NOT NULL, deleted INTEGER NOT NULL, is_settled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS countersign_heads_change ON countersign_heads (change);
CREATE INDEX IF NOT EXISTS countersign_heads_to_index ON countersign_heads (change) WHERE NOT is_indexed;
{
    "".join(
        f"DROP TRIGGER IF EXISTS {name}; CREATE TRIGGER {name} AFTER {event} BEGIN {body} END;"
        for name, (event, body) in _TRIGGERS.items()
    )
}
{
    "".join(
        f"DROP TRIGGER IF EXISTS countersign_refused_{table};"
        f" CREATE TRIGGER countersign_refused_{table} BEFORE INSERT ON {table} BEGIN {_REFUSE} END;"
        for table in TABLES
    )
}
INSERT OR IGNORE INTO countersign_heads (thread_id, checkpoint_id, change, changed_at)
SELECT thread_id, max(checkpoint_id), 0, 0 FROM checkpoints WHERE checkpoint_ns = '' GROUP BY thread_id;
COMMIT;
"""


class SqliteSaver(Fenceable, AsyncSqliteSaver):
    """LangGraph's saver, with writes that are stored completely or not at all.

    A run may be stopped at any moment. Stopped between a write and its commit, the library's own saver leaves the file
    locked for every other connection, and the next commit, of another thread, stores the abandoned write.
    """

    def __init__(self, connection: aiosqlite.Connection, serializer: JsonPlusSerializer, file: Path) -> None:
        super().__init__(connection, serde=serializer)
        self.file = file
        self.jsonplus_serde = serializer  # the library's own would build any class
        self._writing: set[asyncio.Task[Any]] = set()
        self._one_writes = asyncio.Lock()  # one connection is one transaction
        self.running: dict[str, Future[None]] = {}
        """Effects in progress, by key."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        thread_id = str(config["configurable"]["thread_id"])
        reach("saver.before_put")
        stored = await self._whole(thread_id, super().aput(config, checkpoint, metadata, new_versions))
        reach("saver.after_put")
        return stored

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        thread_id = str(config["configurable"]["thread_id"])
        reach("saver.before_writes")
        await self._whole(thread_id, super().aput_writes(config, writes, task_id, task_path))
        reach("saver.after_writes")

    async def adelete_thread(self, thread_id: str) -> None:
        await self._whole(thread_id, super().adelete_thread(thread_id))

    async def _whole(self, thread_id: str, writing: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(self._or_nothing(thread_id, writing))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await asyncio.shield(task)

    async def _or_nothing(self, thread_id: str, writing: Coroutine[Any, Any, T]) -> T:
        async with self._one_writes:
            try:
                await self._check_fence(thread_id)
                return await writing
            except Exception:
                writing.close()
                await self.conn.rollback()
                raise

    async def _check_fence(self, thread_id: str) -> None:
        """Begin the transaction of the write. Until it commits nobody else can raise the fence."""
        if self.fence:
            await self.conn.execute("BEGIN IMMEDIATE")
            rows = await self.conn.execute_fetchall(FENCE_SQL, [thread_id])
            return self.fence.check(thread_id, next((row[0] for row in rows), None))
        held = await self.conn.execute_fetchall(HELD_SQL, [thread_id])
        if any(not lets_others for (lets_others,) in held):
            raise ThreadHeld(HELD_SENTENCE)
        if held:
            await self.conn.execute("UPDATE countersign_holds SET has_others = 1 WHERE thread_id = ?", [thread_id])

    async def settled(self) -> None:
        """Wait for the writes of stopped runs."""
        await asyncio.gather(*self._writing, return_exceptions=True)


@asynccontextmanager
async def open_sqlite(path: Path, serializer: JsonPlusSerializer) -> AsyncIterator[SqliteSaver]:
    """Open the one saver of a file, tables set up.

    Raises CheckpointsElsewhere while this or another process has it open, FileUnusable if the file cannot be written.
    """
    check_serializer(serializer)
    with hold(path) as file, _only_saver(file):
        with telling_errors(file):
            connection = await aiosqlite.connect(file, timeout=BUSY_SECONDS)
        saver = SqliteSaver(connection, serializer, file)
        try:
            with telling_errors(file):
                await saver.setup()
                await connection.executescript(_INSTALL_SQL)
            yield saver
        finally:
            await saver.settled()
            await connection.close()


_guard = threading.Lock()
_savers: set[Path] = set()


@contextmanager
def _only_saver(file: Path) -> Iterator[None]:
    """Refuse a second saver: a saver has one connection and waits for its own writes, so two would wait for each
    other.
    """
    with _guard:
        if file in _savers:
            raise CheckpointsElsewhere(f"This process has {file} open already. Use that saver, or close it first.")
        _savers.add(file)
    try:
        yield
    finally:
        with _guard:
            _savers.remove(file)
