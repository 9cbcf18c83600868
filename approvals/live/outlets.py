"""Where answers that take long are left, and which of them are open in this process.

They end when it is asked to stop, and clients go on with another.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

MOST = 500
"""Streams that are open at once in one process. A stream costs a little memory, and a look at each change."""


class Unfinished(Exception):
    """An answer cannot be finished here. Its connection is closed, and its client asks another process."""


_OUTLET = "countersign.outlet"


class Outlet:
    """Where a view leaves the body of its answer if it takes long: it is sent once Django is done with the request."""

    def __init__(self) -> None:
        self.body: AsyncGenerator[bytes, None] | None = None

    def add_to(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return the scope of a request with this outlet."""
        return {**scope, _OUTLET: self}


def outlet_of(scope: Mapping[str, Any]) -> Outlet:
    found = scope[_OUTLET]
    assert isinstance(found, Outlet)
    return found


class _OpenStreams:
    def __init__(self) -> None:
        self.is_closing = False
        self._open: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        return len(self._open) >= MOST

    @contextmanager
    def waking(self, event: asyncio.Event) -> Iterator[None]:
        """Have the event set when the process is asked to stop."""
        with self._lock:
            self._open[event] = asyncio.get_running_loop()
        try:
            yield
        finally:
            with self._lock:
                del self._open[event]

    def close(self) -> None:
        self.is_closing = True
        for event, loop in list(self._open.items()):
            loop.call_soon_threadsafe(event.set)


_streams = _OpenStreams()
waking = _streams.waking


def is_full() -> bool:
    """Return whether no other stream may be opened here."""
    return _streams.is_full


def is_closing() -> bool:
    """Return whether the process was asked to stop."""
    return _streams.is_closing


def close() -> None:
    """Have all streams end. It may be called by the handler of a signal."""
    _streams.close()
