"""Create and repair the checkpoint tables, once for each deploy, safe if several processes do it at once.

LangGraph's set-up makes its own tables; `triggers` holds what we add. If everything is in place, `setup` only reads the
catalogue: it takes no lock that blocks a writer, and needs no right to create anything.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, AsyncCursor, errors
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from agentcore.plain.canary import check_serializer
from agentcore.plain.errors import SetupFailed
from agentcore.savers import triggers
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.setup_blockers import Connection, Patience, rows, watch

Pool = AsyncConnectionPool[Connection]

APPLICATION = "countersign set-up"
"""Application name of a running set-up in pg_stat_activity."""
_SETUP_LOCK = 0x434F554E54  # any number, the same for everyone who sets up
_TRY_SECONDS = 0.2  # a lock that we wait for also blocks everybody behind us
_REST_SECONDS = 0.4  # pause between two tries, so that blocked writers can go on
_MOST_RACES = 20

_MIGRATIONS = " ".join(AsyncPostgresSaver.MIGRATIONS)
_LAST_MIGRATION = len(AsyncPostgresSaver.MIGRATIONS) - 1
_TABLES = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", _MIGRATIONS)
_INDEXES = {
    name: statement
    for statement, name in re.findall(r"(CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+)[^;]*)", _MIGRATIONS)
}
# What REINDEX CONCURRENTLY leaves when it is killed.
_LEFTOVER = rf"^({'|'.join([*_INDEXES, *(f'{table}_pkey' for table in _TABLES)])})_cc(new|old)\d*$"

# Locks, as pg_stat_progress_create_index does not tell everybody which table somebody else's build is of.
_BUILDERS_SQL = """
SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_stat_progress_create_index USING (pid)
WHERE l.relation IN (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) name) AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_BROKEN_SQL = f"""
SELECT name FROM unnest(%(tables)s::text[]) name WHERE to_regclass(name) IS NULL
UNION ALL SELECT name FROM unnest(%(indexes)s::text[]) name
    WHERE NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(name) AND indisvalid)
UNION ALL SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid IN (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) name)
    AND NOT i.indisvalid AND c.relname ~ %(leftover)s AND NOT EXISTS ({_BUILDERS_SQL})
"""
_VERSIONS_SQL = """
SELECT coalesce((SELECT max(v) FROM checkpoint_migrations), -1) AS migrated,
    coalesce((SELECT version FROM countersign_meta), 0) AS installed
"""
_LOCK_HOLDERS_SQL = """
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32) + objid::bigint = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_UNCHOSEN_SQL = """
SELECT attrelid::regclass::text AS "table", attname AS "column" FROM pg_attribute
WHERE attrelid IN ('checkpoints'::regclass, 'checkpoint_blobs'::regclass, 'checkpoint_writes'::regclass)
    AND attname = ANY(%s) AND attstorage = 'x' AND attcompression = ''
"""
_HAS_LZ4_SQL = "SELECT 'lz4' = ANY(enumvals) AS yes FROM pg_settings WHERE name = 'default_toast_compression'"


async def setup(pool: Pool, *, timeout_seconds: float = 30) -> None:
    """Create and repair the checkpoint tables. Changes nothing if everything is in place.

    Raises SetupTimeout, which names the blocking sessions, after `timeout_seconds` of waiting for others in total; work
    that nobody blocks takes as long as it takes. Raises SetupFailed if PostgreSQL refuses.
    """
    check_serializer(strict_serializer())
    async with pool.connection() as looker:
        with _refusal_explained(looker):
            if not await _is_ready(looker):
                await _set_up(pool, looker, Patience(timeout_seconds))


async def cache_secret(pool: Pool) -> bytes:
    """Return 32 random bytes, made once at set-up, which everybody who may read this database shares."""
    async with pool.connection() as connection:
        try:
            with _refusal_explained(connection):
                [row] = await rows(connection, "SELECT secret FROM countersign_meta")
        except (errors.UndefinedTable, ValueError):
            raise SetupFailed("The checkpoint tables are not set up. Type: manage.py setup_checkpointer") from None
    return bytes(row["secret"])


async def _set_up(pool: Pool, looker: Connection, patience: Patience) -> None:
    async with _connect(pool) as worker:
        await watch(asyncio.create_task(_work(worker, patience)), worker, looker, patience)


async def _work(worker: Connection, patience: Patience) -> None:
    await _take_lock(worker, patience)
    if await _is_ready(worker):  # another process was faster
        return
    await _let_others_build(worker, patience)
    # LangGraph's own set-up, run by somebody else at the same time, takes no lock of ours.
    await _despite_races(AsyncPostgresSaver(worker, serde=strict_serializer()).setup)
    await _despite_races(lambda: _repair(worker, patience))
    await _install(worker, patience)


@asynccontextmanager
async def _connect(pool: Pool) -> AsyncIterator[Connection]:
    """Open a connection of our own: when it closes, nothing of ours is left in the server."""
    where = make_conninfo(str(pool.conninfo), application_name=APPLICATION, connect_timeout=10)
    async with await AsyncConnection.connect(where, autocommit=True, row_factory=dict_row) as connection:
        await connection.execute("SET statement_timeout = 0")
        # Not on every platform. Without it, a set-up that was killed goes on waiting in the server.
        with suppress(errors.Error):
            await connection.execute("SET client_connection_check_interval = '1s'")
        yield connection


async def _is_ready(connection: Connection) -> bool:
    """Return whether everything exists, is valid, and has this version or a later one."""
    if await _broken(connection, [*_TABLES, *triggers.TABLES]):
        return False
    [found] = await rows(connection, _VERSIONS_SQL)
    return bool(found["migrated"] >= _LAST_MIGRATION and found["installed"] >= triggers.VERSION)


async def _broken(connection: Connection, tables: Sequence[str] = _TABLES) -> list[str]:
    """Return the names of missing tables and indexes, and of invalid indexes."""
    params = {"tables": [*tables], "indexes": [*_INDEXES], "leftover": _LEFTOVER}
    return [row["name"] for row in await rows(connection, _BROKEN_SQL, params)]


async def _take_lock(worker: Connection, patience: Patience) -> None:
    """Poll for the lock.

    Waiting in pg_advisory_lock holds a snapshot that CREATE INDEX CONCURRENTLY waits for: a deadlock.
    """
    while not (await rows(worker, "SELECT pg_try_advisory_lock(%s) AS ok", [_SETUP_LOCK]))[0]["ok"]:
        holders = await rows(worker, _LOCK_HOLDERS_SQL, [_SETUP_LOCK])
        await patience.pause(worker, [row["pid"] for row in holders], seconds=0.1)


async def _let_others_build(worker: Connection, patience: Patience) -> None:
    """Wait until nobody builds an index on LangGraph's tables. Two builds at once deadlock."""
    while builders := await rows(worker, _BUILDERS_SQL, {"tables": _TABLES}):
        await patience.pause(worker, [row["pid"] for row in builders], seconds=0.1)


async def _despite_races(step: Callable[[], Awaitable[None]]) -> None:
    """Take a repeatable step, again and again while others create the same at the same time."""
    for left in reversed(range(_MOST_RACES)):
        try:
            return await step()
        except (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject, errors.DeadlockDetected):
            if not left:
                raise
            await asyncio.sleep(0.1)


async def _repair(worker: Connection, patience: Patience) -> None:
    """Rebuild invalid indexes: LangGraph takes an index that exists for one that works."""
    await _let_others_build(worker, patience)
    for name in await _broken(worker):
        if name in _TABLES:
            raise SetupFailed(
                f"The table {name} is gone, but checkpoint_migrations says that LangGraph made it. Restore it; or type"
                " DELETE FROM checkpoint_migrations, and set up again."
            )
        await worker.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        if name in _INDEXES:
            await worker.execute(_INDEXES[name])


async def _install(worker: Connection, patience: Patience) -> None:
    await worker.execute(f"SET lock_timeout = '{_TRY_SECONDS}s'")
    for statement in [*triggers.INSTALL, *await _storage(worker, has_lz4=await _has_lz4(worker))]:
        await _in_short_tries(worker, patience, statement)
    batch: DictRow | None = {"last": None}
    while batch:
        filled = await _in_short_tries(worker, patience, triggers.FILL_HEADS_SQL, batch)
        batch = await filled.fetchone()
    await worker.execute("UPDATE countersign_meta SET version = %s", [triggers.VERSION])


async def _has_lz4(connection: Connection) -> bool:
    return bool((await rows(connection, _HAS_LZ4_SQL))[0]["yes"])


async def _storage(connection: Connection, *, has_lz4: bool) -> list[str]:
    """Return statements that make large states cheap to write, for columns whose storage nobody has chosen.

    PostgreSQL's pglz takes longer over a state than everything else about a write. lz4 compresses as well in a third of
    the time; without lz4, blobs are stored uncompressed, at twice the size.
    """
    columns = ["blob", "checkpoint", "metadata"] if has_lz4 else ["blob"]
    choice = "COMPRESSION lz4" if has_lz4 else "STORAGE EXTERNAL"
    unchosen = await rows(connection, _UNCHOSEN_SQL, [columns])
    return [f"ALTER TABLE {row['table']} ALTER COLUMN {row['column']} SET {choice}" for row in unchosen]


async def _in_short_tries(
    worker: Connection, patience: Patience, statement: str, params: DictRow | None = None
) -> AsyncCursor[DictRow]:
    while True:
        try:
            return await worker.execute(statement, params)
        except errors.LockNotAvailable:
            await patience.pause(worker, (), seconds=_REST_SECONDS)


@contextmanager
def _refusal_explained(connection: Connection) -> Iterator[None]:
    try:
        yield
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
        raise SetupFailed(
            f"PostgreSQL does not let {connection.info.user} set up the checkpoint tables:"
            f" {error.diag.message_primary}. Let the role that owns them, or the database, type manage.py"
            " setup_checkpointer. Everybody else needs SELECT, INSERT, UPDATE and DELETE on them."
        ) from error
