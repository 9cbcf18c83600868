"""The checkpoint tables at CHECKPOINT_URL, read and changed without LangGraph. For web processes and workers."""

import functools
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction

from agentcore.plain import bound_bytes, sqlite_tables
from agentcore.plain.bound_bytes import Bound
from agentcore.plain.errors import AgentCoreError, CheckpointsElsewhere
from agentcore.plain.limits import MOST_IDLE_SECONDS
from agentcore.plain.memory_tables import CheckpointMemory, MemoryTables
from agentcore.plain.tables import Head, PostgresTables, Tables
from agentcore.plain.urls import Memory, Postgres, Sqlite
from agentcore.testing.failpoints import is_off
from approvals.errors import Unavailable

_memory: CheckpointMemory | None = None
_LIMIT_SQL = f"SELECT set_config('statement_timeout', '{MOST_IDLE_SECONDS / 2}s', false)"
_NO_LIMIT_SQL = "RESET statement_timeout"


def keep_in_memory(saver: CheckpointMemory) -> None:
    """Make this process the holder of the checkpoints of `memory://`."""
    global _memory
    _memory = saver


def memory_here() -> CheckpointMemory:
    """Return the checkpoints of `memory://`. Raises CheckpointsElsewhere in any process but the server's own."""
    if _memory is None:
        raise CheckpointsElsewhere(
            "CHECKPOINT_URL=memory:// keeps the checkpoints in the server's own process, which no other can reach."
            " Use its pages or its API."
        )
    return _memory


def why_one_process() -> str:
    """Return why web and worker must be one process, or an empty string."""
    match settings.CHECKPOINT_STORE:
        case Sqlite():
            return "CHECKPOINT_URL keeps the checkpoints in a SQLite file, which one process at a time may open."
        case Memory():
            return "CHECKPOINT_URL=memory:// keeps the checkpoints in the memory of one process."
    return ""


def libpq_params(alias: str) -> dict[str, str]:
    """Return the parameters with which Django connects to one of DATABASES."""
    found = connections[alias].get_connection_params()
    return {key: str(value) for key, value in found.items() if isinstance(value, str | int)}


def params() -> dict[str, str]:
    """Return the libpq parameters of the checkpoints' database, without the limits of the console's own statements."""
    found = libpq_params(settings.CHECKPOINT_DATABASE)
    return {key: value for key, value in found.items() if key != "options"}


def database() -> str:
    """Return the alias of Django's database with the checkpoints; the console's own if no such database has them."""
    return settings.CHECKPOINT_DATABASE or DEFAULT_DB_ALIAS


@contextmanager
def open_tables() -> Iterator[Tables]:
    """Open the checkpoint tables; in the console's own transaction if they share a database.

    Raises Unavailable if another process has them, or their file is damaged.
    """
    try:
        match settings.CHECKPOINT_STORE:
            case Postgres():
                with connections[settings.CHECKPOINT_DATABASE].cursor() as cursor, _within_limit(cursor):
                    yield PostgresTables(cursor)
            case Sqlite(path):
                with sqlite_tables.open_tables(path) as tables:
                    yield tables
            case Memory():
                yield MemoryTables(memory_here())
    except AgentCoreError as error:
        raise Unavailable(str(error)) from error


@contextmanager
def _within_limit(cursor: Any) -> Iterator[None]:
    """Limit each statement in a database of its own while the console's transaction waits for it, and is silent.

    So the statement fails, which is told as an outage, before the console's database ends the transaction.
    """
    if settings.CHECKPOINT_DATABASE == DEFAULT_DB_ALIAS or not connections[DEFAULT_DB_ALIAS].in_atomic_block:
        yield
        return
    cursor.execute(_LIMIT_SQL)
    try:
        yield
    finally:
        with suppress(DatabaseError):  # a connection that is lost has no limits
            cursor.execute(_NO_LIMIT_SQL)


def is_elsewhere() -> bool:
    """Return whether a rollback in the console's database leaves the checkpoints as they are."""
    return settings.CHECKPOINT_DATABASE != DEFAULT_DB_ALIAS


def read_head(thread_id: str) -> Head | None:
    with open_tables() as tables:
        return tables.read_head(thread_id)


def read_head_and_metadata(thread_id: str) -> tuple[Head | None, dict[str, Any]]:
    """Return the thread's newest checkpoint, and its metadata."""
    with open_tables() as tables:
        return tables.read_head_and_metadata(thread_id)


def read_bound(thread_id: str) -> Bound | None:
    """Return the stored bytes that the thread's tasks can read, by stamps; None if it has no checkpoint."""
    with open_tables() as tables:
        return tables.read_bound(thread_id)


def bind(thread_id: str, before: Bound, tasks: Collection[str]) -> Bound | None:
    """Return the stored bytes that these tasks can read, with digests; None if they changed since `before`."""
    wanted = before.read_by(tasks)
    with open_tables() as tables:
        found = tables.read_bound(thread_id, unread=wanted.unread, is_hashed=True)
    return found if found and wanted.has_same_rows(found) else None


def is_still(thread_id: str, was: Bound) -> bool:
    """Return whether the row versions are those of `was`."""
    with open_tables() as tables:
        now = tables.read_bound(thread_id, unread=was.unread)
    return now is not None and was.has_same_rows(now)


def changed(thread_id: str, was: Bound, *, edited: tuple[str, str] | None = None) -> list[str]:
    """Name what is stored differently than it was."""
    with open_tables() as tables:
        return bound_bytes.changed(tables, thread_id, was, edited=edited)


def lay_tombstone(thread_id: str) -> None:
    """Refuse all writes to the thread from now on."""
    if not is_off("tombstone"):
        with open_tables() as tables:
            tables.lay_tombstone(thread_id)


def mark_indexed(thread_id: str, head: Head | None) -> None:
    """Record after commit that the thread was read at `head`. Before commit, a rollback would lose the reading."""
    transaction.on_commit(functools.partial(_mark_indexed, thread_id, head), robust=True)


def _mark_indexed(thread_id: str, head: Head | None) -> None:
    with open_tables() as tables:
        tables.mark_indexed(thread_id, head)
