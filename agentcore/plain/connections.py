"""Connections of a pool: whether one may be gone, found out without a round trip; and prepared statements."""

import select
import time
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import BaseConnection

ANSWERING_PID = "SELECT pg_backend_pid() AS pid"
_FRESH_SECONDS = 1.0
_PREPARED_AFTER = 2  # times that a statement was sent on a connection
_MOST_PREPARED = 200
"""On one connection. The server keeps some 20 KB for each."""
_used_at: WeakKeyDictionary[BaseConnection[Any], float] = WeakKeyDictionary()


def note_use(connection: BaseConnection[Any]) -> None:
    """Record that a connection was well a moment ago, for `may_be_gone`."""
    _used_at[connection] = time.monotonic()


def may_be_gone(connection: BaseConnection[Any]) -> bool:
    """Return whether the server must be asked: the connection rested for a while, or there is something to read.

    A server that ends a connection sends a message first.
    """
    silent = select.poll()
    silent.register(connection.fileno(), select.POLLIN)
    return time.monotonic() - _used_at.get(connection, 0) > _FRESH_SECONDS or bool(silent.poll(0))


def prepare_if_direct(connection: BaseConnection[Any], answered: Any) -> None:
    """Let a new connection keep prepared statements: planning them each time doubles their cost.

    Not behind a transaction pooler, which loses them. A pooler shows itself: the server process that it names is not
    the one that answers. `answered` is the row that ANSWERING_PID gave, as a tuple or a dict.
    """
    pid = answered["pid"] if isinstance(answered, dict) else answered[0]
    if pid == connection.info.backend_pid:
        connection.prepare_threshold, connection.prepared_max = _PREPARED_AFTER, _MOST_PREPARED
