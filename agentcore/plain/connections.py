"""Whether a connection of a pool may be gone, found out without a round trip."""

import select
import time
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import BaseConnection

_FRESH_SECONDS = 1.0
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
