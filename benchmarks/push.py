"""One change, and 2,000 open pages: when the first, the median and the last is told, beside a bare server of sockets.

The clock starts just before the change is committed; the bare server is told over HTTP. Both have one process, and no
page asks for anything: what is measured is the way of the message. `ratio` is the time of the last over that of the
bare server.
"""

import asyncio
import base64
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx

from benchmarks.running import manage, signed_in, started, up
from tests.console import free_port

SOCKETS = int(os.environ.get("BENCH_SOCKETS", "2000"))
CHANGES = max(3, int(os.environ.get("BENCH_ROUNDS", "200")) // 10)
AT_ONCE = 50
"""So many sockets are opened at a time."""
LONGEST_SECONDS = 30
PING, PONG, NO_MASK = 0x89, 0x8A, bytes(4)


class Socket(asyncio.Protocol):
    """The least of a client: it opens a WebSocket, and notes when it is told that the queue changed."""

    def __init__(self, request: bytes, told: Callable[[float], object]) -> None:
        self.is_open = asyncio.get_running_loop().create_future()
        self._request, self._told = request, told

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._received = transport, b""
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._received += data
        if not self.is_open.done():
            head, end, self._received = self._received.partition(b"\r\n\r\n")
            if not end:
                self._received = head
                return
            self.is_open.set_result(b" 101 " in head.split(b"\r\n", 1)[0])
        # The server's frames are short: two bytes, the second is the length of the rest.
        while len(self._received) > 1 and len(self._received) >= (end_at := 2 + self._received[1]):
            kind, content, self._received = self._received[0], self._received[2:end_at], self._received[end_at:]
            if kind == PING:
                self._transport.write(bytes([PONG, 0x80 | len(content)]) + NO_MASK + content)
            elif b'"queue"' in content:
                self._told(now)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_open.done():
            self.is_open.set_result(False)


class Told:
    """When each socket was told of the present change."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.are_all = asyncio.Event()

    def note(self, now: float) -> None:
        self.at.append(now)
        if len(self.at) == SOCKETS:
            self.are_all.set()


def table() -> list[dict[str, object]]:
    return asyncio.run(_table())


async def _table() -> list[dict[str, object]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.peers.sockets:app", "--port", str(port)]
    with started([*command, "--log-level", "error", "--ws-per-message-deflate", "false"], {}):
        await up(port, "/")
        async with httpx.AsyncClient() as client:
            bare = await _measured(port, "", lambda: client.post(f"http://127.0.0.1:{port}/tell", timeout=60))
    port = free_port()
    env = {"PORT": str(port), "WEB_PROCESSES": "1"}
    with started(manage("serve", "--no-worker", "--port", str(port)), env):
        await up(port, "/healthz")
        ours = await _measured(port, await signed_in("alice"), lambda: asyncio.to_thread(_change))
    return [_row("bare sockets", bare, bare), _row("countersign", ours, bare)]


def _change() -> None:
    """Commit a change of the queue, as a vote or a question does."""
    from django.db import transaction

    from approvals.database import give_back
    from approvals.live import events

    with transaction.atomic():
        events.publish(thread_id="any")
    give_back()


async def _measured(port: int, cookie: str, change: Callable[[], Awaitable[object]]) -> list[list[float]]:
    """Return the seconds after which each socket was told, sorted, for each change."""
    told = Told()
    await _open_all(port, cookie, told)
    await asyncio.sleep(5)  # what they have missed is told
    found = []
    for _ in range(CHANGES):
        told.at, told.are_all = [], asyncio.Event()
        began = time.perf_counter()
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_SECONDS):
                await asyncio.gather(change(), told.are_all.wait())
        if not told.are_all.is_set():
            raise RuntimeError(f"Only {len(told.at)} of {SOCKETS} sockets were told within {LONGEST_SECONDS} s.")
        found.append(sorted(at - began for at in told.at))
        await asyncio.sleep(0.5)
    return found


async def _open_all(port: int, cookie: str, told: Told) -> None:
    gate, loop = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop()
    request = _request(port, cookie)

    async def opened() -> None:
        async with gate:
            _, socket = await loop.create_connection(lambda: Socket(request, told.note), "127.0.0.1", port)
            if not await socket.is_open:
                raise RuntimeError("The server refused a socket.")

    await asyncio.gather(*(opened() for _ in range(SOCKETS)))


def _request(port: int, cookie: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET /ws/live/?age=0 HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Origin: http://127.0.0.1:{port}",
        f"Cookie: sessionid={cookie}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _row(who: str, found: list[list[float]], bare: list[list[float]]) -> dict[str, object]:
    def last(times: list[list[float]]) -> float:
        return statistics.median(each[-1] for each in times)

    return {
        "who": who,
        "sockets": SOCKETS,
        "changes": len(found),
        "first ms": round(statistics.median(each[0] for each in found) * 1e3, 1),
        "median ms": round(statistics.median(each[SOCKETS // 2] for each in found) * 1e3, 1),
        "last ms": round(last(found) * 1e3, 1),
        "worst last ms": round(max(each[-1] for each in found) * 1e3, 1),
        "ratio": round(last(found) / last(bare), 2),
    }
