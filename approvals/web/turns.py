"""Requests wait their turn in the event loop: it costs less than a thread and a wait for a connection each."""

import asyncio
import contextlib
from typing import Any

AT_ONCE = 32
UNQUEUED = ("/healthz",)
"""Whether this process is alive is answered while everything else waits for a database."""


class InTurn:
    """ASGI: let so many requests in at a time, first come, first served."""

    def __init__(self, application: Any, *, at_once: int = AT_ONCE) -> None:
        self._application = application
        self._turns = asyncio.Semaphore(at_once)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        turn = contextlib.nullcontext() if scope["path"] in UNQUEUED else self._turns
        async with turn:
            await self._application(scope, receive, send)
