"""Answers that take as long as a run does: they are sent when Django is done with their request."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

from approvals.live.outlets import Outlet, Unfinished

_LENGTH = b"content-length"


class Streamed:
    """ASGI middleware: send the body that a view left in the outlet of its request.

    Django would keep a thread and a database connection for each request until its answer has ended.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        outlet = Outlet()

        async def send_beginning(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] != HTTPStatus.OK:
                outlet.body = None  # something failed after the view
            if outlet.body is None:
                await send(message)
            elif message["type"] == "http.response.start":
                headers = [each for each in message["headers"] if bytes(each[0]).lower() != _LENGTH]
                await send({**message, "headers": headers})

        await self._application(outlet.add_to(scope), receive, send_beginning)
        if outlet.body is not None:
            with suppress(Unfinished):
                await _send_all(outlet.body, receive, send)


async def _send_all(body: AsyncGenerator[bytes, None], receive: Any, send: Any) -> None:
    """Send the body until it ends or the client leaves. It is closed then, and ends what it has begun."""
    async with aclosing(body):
        first = await anext(body, b"")  # before anything can stop it: one that has not begun would end nothing
        tasks = [asyncio.create_task(_send(first, body, send)), asyncio.create_task(_until_gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            sent, _ = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(sent, Exception):
        raise sent


async def _send(first: bytes, rest: AsyncGenerator[bytes, None], send: Any) -> None:
    await send({"type": "http.response.body", "body": first, "more_body": True})
    async for piece in rest:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
