"""LangGraph's PostgreSQL saver over a pool: concurrent calls, and one statement for each checkpoint."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, ParamSpec, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from psycopg import AsyncConnection, AsyncCursor, DataError
from psycopg.rows import DictRow, dict_row, tuple_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from agentcore.plain.connections import may_be_gone, note_use
from agentcore.plain.errors import NotKept, storable
from agentcore.savers.fence import HELD_SQL, Fenceable
from agentcore.savers.setup import Pool
from agentcore.testing.failpoints import reach

P = ParamSpec("P")
T = TypeVar("T")

_OWN_SENDS = 4
"""From this version on a checkpoint holds what was sent to its tasks; before, that stands with its parent."""
_MOST_ROWS = 100
"""Most blobs or writes that are a parameter each. With more, each column is one parameter, an array."""
LARGE = 64 * 1024
"""Bytes from which decoding leaves the event loop. Below, moving to a thread costs more than decoding."""

_PUT_SQL = """
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id)
DO UPDATE SET checkpoint = EXCLUDED.checkpoint, metadata = EXCLUDED.metadata RETURNING *, xmin, ctid
"""
_PUT_BLOBS_SQL = """
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob) VALUES {rows}
ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING RETURNING *, xmin, ctid
"""
_NO_BLOBS_SQL = "SELECT *, xmin, ctid FROM checkpoint_blobs WHERE false"
# As a subquery the thread's id, and with it the fence, is asked for once and not for each row.
_PUT_MANY_BLOBS_SQL = """
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
SELECT (SELECT %s), %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %b::bytea[])
ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING
"""
_ONE_WRITE = "(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_MANY_WRITES = "SELECT (SELECT %s), %s, %s, %s, %s, * FROM unnest(%s::int[], %s::text[], %s::text[], %b::bytea[])"
_DELETE_SQL = """
WITH of AS MATERIALIZED (SELECT %s AS thread_id), gone AS (
    DELETE FROM checkpoints WHERE thread_id = (SELECT thread_id FROM of)
), blobs AS (
    DELETE FROM checkpoint_blobs WHERE thread_id = (SELECT thread_id FROM of)
), writes AS (
    DELETE FROM checkpoint_writes WHERE thread_id = (SELECT thread_id FROM of)
)
SELECT 1 FROM of
"""
_COPY_SQL = (
    "INSERT INTO checkpoint_blobs SELECT %(target)s, checkpoint_ns, channel, version, type, blob"
    " FROM checkpoint_blobs WHERE thread_id = %(source)s ON CONFLICT DO NOTHING",
    "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type,"
    " blob) SELECT %(target)s, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob"
    " FROM checkpoint_writes WHERE thread_id = %(source)s ON CONFLICT DO NOTHING",
    "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,"
    " metadata) SELECT %(target)s, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
    " FROM checkpoints WHERE thread_id = %(source)s ON CONFLICT DO NOTHING",
)
_DELETE_RUNS_SQL = """
WITH gone AS (
    DELETE FROM checkpoints WHERE metadata ->> 'run_id' = ANY(%s) RETURNING thread_id, checkpoint_ns, checkpoint_id
), writes AS (
    DELETE FROM checkpoint_writes w USING gone
    WHERE (w.thread_id, w.checkpoint_ns, w.checkpoint_id) = (gone.thread_id, gone.checkpoint_ns, gone.checkpoint_id)
)
SELECT DISTINCT thread_id FROM gone
"""


# Sizes are known without reading the values. A checkpoint that is larger itself may hold large texts.
_SMALL_SQL = """
WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = coalesce(%(checkpoint)s, (
    SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s
)) AND pg_column_size(checkpoint) <= 4000 AND %(most)s >= coalesce((
    SELECT sum(octet_length(b.blob)) FROM jsonb_each_text(checkpoint -> 'channel_versions') v JOIN checkpoint_blobs b
    ON b.thread_id = %(thread)s AND b.checkpoint_ns = %(ns)s AND b.channel = v.key AND b.version = v.value
), 0) + coalesce((
    SELECT sum(octet_length(w.blob)) FROM checkpoint_writes w WHERE w.thread_id = %(thread)s
    AND w.checkpoint_ns = %(ns)s AND w.checkpoint_id = checkpoints.checkpoint_id
), 0)
"""

_NOT_KEPT = (
    "PostgreSQL cannot keep NaN, an infinity, a NUL character or half a character in the JSON of a checkpoint."
    " Have the node write something else, such as None."
)


async def off_loop(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that works through `size` bytes; in a thread if that is many."""
    if size < LARGE:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


async def note_return(connection: AsyncConnection[Any]) -> None:
    """Record when a connection came back to its pool, for `check_quickly`."""
    note_use(connection)


async def check_quickly(connection: AsyncConnection[Any]) -> None:
    """Check a pooled connection, without a round trip if it was used just now and has nothing to read."""
    if may_be_gone(connection):
        await AsyncConnectionPool.check_connection(connection)


class PostgresSaver(Fenceable, AsyncPostgresSaver):
    """A saver with concurrent calls. The library's lock guards a single connection, which a pool does not need.

    Each write is one statement. Between two of them a frozen process would keep the fence locked, and in a pipeline
    PostgreSQL ends no silent transaction.

    It reads what the library's own saver wrote, and the other way round. Get one from `open_checkpointer`.
    """

    conn: Pool

    def __init__(self, pool: Pool, *, serde: SerializerProtocol) -> None:
        super().__init__(pool, serde=serde)

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        assert not pipeline, "what writes several statements is overridden here"
        self._check_loop()
        async with (
            self.conn.connection() as connection,
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            yield cursor

    def _held(self, query: str, params: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """Hold the fence in the same statement as the write: one round trip. Its first parameter is the thread's id."""
        if self.fence is None:
            return query, params
        return query.replace("%s", HELD_SQL, 1), [params[0], self.fence.number, *params[1:]]

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint and its new blobs in one statement. Return the config that names it."""
        await self._put(config, checkpoint, metadata, new_versions, "SELECT 1")
        return config_of(*place_of(config), checkpoint["id"])

    async def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        then: str,
    ) -> tuple[tuple[Any, ...] | None, dict[tuple[str, str], bytes]]:
        """Save; return the row that `then` selects from `saved` and `new_blob`, and the bytes of the blobs.

        A checkpoint with more than 100 blobs returns no row.
        """
        thread_id, namespace = place_of(config)
        reach("saver.before_put")
        inline, apart = divided(checkpoint["channel_values"])
        versions = {channel: version for channel, version in new_versions.items() if channel in apart}
        blobs = await asyncio.to_thread(self._dump_blobs, thread_id, namespace, apart, versions) if versions else []
        are_many = len(blobs) > _MOST_ROWS
        new_blob, fields = self._new_blobs(blobs)
        params = [
            *(thread_id, namespace, checkpoint["id"], config["configurable"].get("checkpoint_id")),
            Jsonb({**checkpoint, "channel_values": inline}),
            Jsonb(get_serializable_checkpoint_metadata(config, metadata)),
            *fields,
        ]
        query = f"WITH saved AS ({_PUT_SQL}), new_blob AS ({new_blob}) {'SELECT 1' if are_many else then}"
        self._check_loop()
        with self.holding(thread_id):
            async with self.conn.connection() as connection:
                cursor = connection.cursor(binary=True, row_factory=tuple_row)
                with _told_if_unkept(inline):
                    await cursor.execute(*self._held(query, params))
                row = await cursor.fetchone()
        reach("saver.after_put")
        if are_many:
            return None, {}
        return row, {(blob[2], blob[3]): blob[5] or b"" for blob in blobs}

    def _new_blobs(self, blobs: list[tuple[Any, ...]]) -> tuple[str, Sequence[Any]]:
        """Return the statement that inserts blobs, and its parameters.

        It holds the fence as well: PostgreSQL may insert these first, and their triggers check the writer.
        """
        if not blobs:
            return _NO_BLOBS_SQL, []
        if len(blobs) > _MOST_ROWS:
            return self._held(_PUT_MANY_BLOBS_SQL, _columns(blobs, same=2))
        rows = ", ".join(["(%s, %s, %s, %s, %s, %b)"] * len(blobs))
        return self._held(_PUT_BLOBS_SQL.format(rows=rows), [field for blob in blobs for field in blob])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save pending writes of a checkpoint in one statement."""
        thread_id, namespace = place_of(config)
        reach("saver.before_writes")
        here = (thread_id, namespace, config["configurable"]["checkpoint_id"], task_id, task_path)
        rows = await asyncio.to_thread(self._dump_writes, *here, writes)
        is_special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        if is_special:  # these are replaced, and a statement may replace a row once
            rows = list({row[5]: row for row in rows}.values())
        if rows:
            query = self.UPSERT_CHECKPOINT_WRITES_SQL if is_special else self.INSERT_CHECKPOINT_WRITES_SQL
            with self.holding(thread_id):
                async with self._cursor() as cursor:
                    await cursor.execute(*self._held(*_written(query, rows)))
        reach("saver.after_writes")

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete the thread's checkpoints, blobs and writes in one statement."""
        with self.holding(thread_id):
            async with self._cursor() as cursor:
                await cursor.execute(*self._held(_DELETE_SQL, [str(thread_id)]))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete all but what the strategy keeps, as the library does."""
        self.check_unfenced()
        await super().aprune(thread_ids, strategy=strategy)

    def _check_loop(self) -> None:
        """Refuse a call from another event loop. It would seem to work, and break connections for everybody."""
        if asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(
                "This saver belongs to another event loop. Open one in this loop, or call its sync methods elsewhere."
            )

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy every checkpoint, blob and write of a thread in one transaction. Nothing is decoded."""
        self.check_unfenced()
        async with self.conn.connection() as connection, connection.transaction():
            for query in _COPY_SQL:
                await connection.execute(query, {"source": str(source_thread_id), "target": str(target_thread_id)})

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of these runs and their writes. It scans the table: runs have no index."""
        await self._delete_for_runs(run_ids)

    async def _delete_for_runs(self, run_ids: Sequence[str]) -> list[str]:
        self.check_unfenced()
        async with self._cursor() as cursor:
            await cursor.execute(_DELETE_RUNS_SQL, [[str(run_id) for run_id in run_ids]])
            return [row["thread_id"] for row in await cursor.fetchall()]

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Do what `acopy_thread` does, from another thread than the event loop's."""
        self._from_outside(self.acopy_thread(source_thread_id, target_thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Do what `adelete_for_runs` does, from another thread than the event loop's."""
        self._from_outside(self.adelete_for_runs(run_ids))

    def _from_outside(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def small_row(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, *, most: int
    ) -> DictRow | None:
        """Return the row of a checkpoint, or of the newest, if its values have `most` bytes; else None.

        None as well for one that this version of LangGraph did not write.
        """
        where = {"thread": thread_id, "ns": namespace, "checkpoint": checkpoint_id, "most": most}
        with suppress(DataError):  # no object where LangGraph writes one
            async with self._cursor() as cursor:
                await cursor.execute(self.SELECT_SQL + _SMALL_SQL, where)
                row = await cursor.fetchone()
            version = row["checkpoint"].get("v") if row and isinstance(row["checkpoint"], dict) else None
            if isinstance(version, int) and version >= _OWN_SENDS:
                return row
        return None

    async def _load_checkpoint_tuple(self, value: DictRow) -> CheckpointTuple:
        return await off_loop(size_of(value), self._tuple, value)

    def _tuple(self, row: Mapping[str, Any]) -> CheckpointTuple:
        """Decode a row of the library's SELECT, all of it in the calling thread, unlike the library."""
        thread_id, namespace, parent = row["thread_id"], row["checkpoint_ns"], row["parent_checkpoint_id"]
        inline = row["checkpoint"].get("channel_values") or {}
        values = {**inline, **self._load_blobs(row["channel_values"])}
        return CheckpointTuple(
            config=config_of(thread_id, namespace, row["checkpoint_id"]),
            checkpoint=cast(Checkpoint, {**row["checkpoint"], "channel_values": values}),
            metadata=row["metadata"],
            parent_config=config_of(thread_id, namespace, parent) if parent else None,
            pending_writes=self._load_writes(row["pending_writes"]),
        )


@contextmanager
def _told_if_unkept(inline: Mapping[str, Any]) -> Iterator[None]:
    """Say which channel PostgreSQL cannot keep in the JSON of a checkpoint: its own error names a parameter."""
    try:
        yield
    except DataError:
        found = [f"the channel {name} holds {why}" for name, value in inline.items() if (why := _not_kept(value))]
        told = "; ".join(found) or "the metadata of the run holds such a value"
        raise NotKept(f"{_NOT_KEPT} Here {told}.") from None


def _not_kept(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return "a text with such a character" if isinstance(value, str) and storable(value) != value else ""


def _written(query: str, rows: list[tuple[Any, ...]]) -> tuple[str, Sequence[Any]]:
    """Return the library's statement that inserts a write for all these rows, and its parameters."""
    assert f"VALUES {_ONE_WRITE}" in query, "langgraph-checkpoint-postgres inserts writes in another way"
    if len(rows) > _MOST_ROWS:
        return query.replace(f"VALUES {_ONE_WRITE}", _MANY_WRITES), _columns(rows, same=5)
    values = ", ".join([_ONE_WRITE] * len(rows))
    return query.replace(_ONE_WRITE, values), [field for row in rows for field in row]


def _columns(rows: Sequence[tuple[Any, ...]], *, same: int) -> list[Any]:
    """Return the first `same` fields, which are those of every row, and a list for each further column."""
    columns = list(zip(*rows, strict=True))
    return [*rows[0][:same], *map(list, columns[same:])]


def place_of(config: RunnableConfig) -> tuple[str, str]:
    """Return thread id and namespace."""
    configurable = config["configurable"]
    return str(configurable["thread_id"]), configurable.get("checkpoint_ns", "")


def config_of(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    """Return the config that names a checkpoint."""
    return {
        "configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id},
    }


def divided(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split channels as the library does: bare values stay in the checkpoint's JSON, all others become blobs."""
    inline: dict[str, Any] = {}
    apart: dict[str, Any] = {}
    for channel, value in values.items():
        if value is None or isinstance(value, str | int | float | bool):
            inline[channel] = value
            continue
        apart[channel] = value
        if isinstance(value, _DeltaSnapshot):
            inline[channel] = True  # the library's mark for "there is a snapshot"
    return inline, apart


def size_of(row: Mapping[str, Any]) -> int:
    blobs = sum(len(blob[2] or b"") for blob in row["channel_values"] or ())
    return blobs + sum(len(write[3]) for write in row["pending_writes"] or ())
