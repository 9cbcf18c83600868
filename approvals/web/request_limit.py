"""A limit on the requests that are handled at once.

The others wait in the event loop, which costs less than a thread and a wait for a database connection each.
"""

import asyncio
import contextlib
from typing import Any

AT_ONCE = 32
UNQUEUED = ("/healthz",)
"""Addresses without the limit: liveness is answered while all other requests wait for a database."""


class RequestLimit:
    """ASGI middleware: handle at most `at_once` requests at a time, in the order in which they came."""

    def __init__(self, application: Any, *, at_once: int = AT_ONCE) -> None:
        self._application = application
        self._slots = asyncio.Semaphore(at_once)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        slot = contextlib.nullcontext() if scope["path"] in UNQUEUED else self._slots
        async with slot:
            await self._application(scope, receive, send)
