"""Servers that tests may break: a Redis of their own, and a proxy that can take a console's PostgreSQL away.

And what a console answers then.
"""

import contextlib
import json
import selectors
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil
import psycopg
from redis import Redis
from redis.exceptions import ConnectionError
from websockets.sync.client import ClientConnection

from approvals.live.relay import CHANNEL
from tests import programs
from tests.console import free_port, wait_for

Address = str | tuple[str, int]
Cut = Literal["before", "after"]
IMPATIENT = {"TEST_POOL_SECONDS": "2", "TEST_SOCKET_CHECK_SECONDS": "1"}
"""A request that finds no database is answered sooner, and the rights of who is at a socket are checked more often."""


def ballot(approval: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": "approve", "seen_digest": approval["digest"], "idempotency_key": str(uuid.uuid4())}


def check_unavailable(answer: httpx.Response, sentence: str = "The database does not answer.") -> None:
    """One sentence in the shape of whoever asked, and when to try again."""
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert sentence in answer.text
    assert "postgres" not in answer.text
    if answer.headers["content-type"] == "application/json":
        assert answer.json()["error"]["code"] == "unavailable"


class RedisServer:
    """A real Redis that can hang, be full, be killed and come back empty."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url, socket_timeout=5)
        self._folder = folder
        self.start()

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        self.client.close()
        self.kill()

    def start(self) -> None:
        command = [programs.redis_server(), "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"]
        self._process = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL)
        wait_for(self._is_up, what="Redis to start")

    def _is_up(self) -> bool:
        try:
            return bool(self.client.ping())
        except ConnectionError:
            return False

    def hang(self) -> None:
        """From now on it accepts connections and never answers."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def be_full(self, *, is_full: bool = True) -> None:
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", 1 if is_full else 0)

    def connections(self) -> int:
        """Count them from outside: a server that hangs cannot be asked."""
        ends = [each.laddr for each in psutil.net_connections("tcp4") if each.status == psutil.CONN_ESTABLISHED]
        return len([end for end in ends if end.port == self.port])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)


class Proxy:
    """Stands before a server. It can be slow, refuse everyone or listeners, or cut a connection at a vote's COMMIT."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._open: set[socket.socket] = set()
        self.delay_seconds = 0.0
        self.cut: Cut | None = None
        self.lets_listen = True
        self.port = free_port()
        self.allow()

    def allow(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def refuse(self) -> None:
        """Go away, as a server that was stopped: every connection ends, and no new one is taken."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, self._connected() as server:
            self._open |= {client, server}
            try:
                self._pass_on(client, server)
            finally:
                self._open -= {client, server}

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        is_vote = False
        both = selectors.PollSelector()  # select() takes no descriptor above 1023
        for each in (client, server):
            both.register(each, selectors.EVENT_READ)
        while True:
            for source in [key.fileobj for key, _ in both.select()]:
                chunk = source.recv(65536)
                is_vote = is_vote or b'INSERT INTO "approvals_vote"' in chunk
                cut = self.cut if is_vote and source is client and b"COMMIT" in chunk else None
                is_refused = not self.lets_listen and b"LISTEN " in chunk
                if not chunk or cut == "before" or is_refused:
                    return
                time.sleep(self.delay_seconds)
                (server if source is client else client).sendall(chunk)
                if cut == "after":
                    server.recv(65536)  # it is committed, and the console will never hear of it
                    return

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
        with socket.socket(family) as server:
            server.connect(self._target)
            yield server


SOON = 10.0
"""Seconds; a process notices by itself only after 20 s that its connection brings no messages."""


def listeners(database: psycopg.Connection[Any], name: str) -> list[int]:
    """Return the server's processes that hold the listening connections of consoles with that application_name."""
    listening = "query = %s AND application_name = %s AND datname = current_database()"
    found = database.execute(f"SELECT pid FROM pg_stat_activity WHERE {listening}", [f"LISTEN {CHANNEL}", name])
    return [pid for (pid,) in found.fetchall()]


def end_listeners(database: psycopg.Connection[Any], name: str) -> None:
    for pid in listeners(database, name):
        database.execute("SELECT pg_terminate_backend(%s)", [pid])


def is_told(page: ClientConnection, *, seconds: float = SOON) -> bool:
    """Return whether this socket of a page is told of a change."""
    until = time.monotonic() + seconds
    with contextlib.suppress(TimeoutError):
        while not json.loads(page.recv(timeout=max(0, until - time.monotonic())))["changed"]:
            pass  # it only says that it lives
        return True
    return False
