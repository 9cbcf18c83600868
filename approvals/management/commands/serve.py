"""Serve the console: web, and unless told otherwise a worker, in one event loop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError
from psycopg_pool import PoolTimeout

from agentcore.plain.errors import AgentCoreError
from approvals import checkpoints
from approvals.database import in_database
from approvals.models import Graph

APPLICATION = "approvals.asgi:application"
Beside = Callable[[], AbstractAsyncContextManager[None]]
"""What runs beside the web, in its event loop."""


def _listen(host: str, port: int) -> socket.socket:
    """Take the port first. Otherwise people could get sign-in links to a server that is another."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # asyncio does this for sockets it makes itself. Without it each answer waits 40 ms for the client's ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Is another server there? Type: PORT={port + 1} make run"
        ) from error


class _Server(uvicorn.Server):
    """uvicorn's own handlers raise the signal again in the end, which would stop us before worker and database do."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class Command(BaseCommand):
    help = "Serve the console (web and worker in one process). Ctrl-C and SIGTERM stop everything it started."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--no-worker", action="store_true", help="web only; start workers on their own")
        parser.add_argument("--demo", action="store_true", help="migrate, load the demo and print sign-in links first")

    def handle(self, *, host: str, port: int, no_worker: bool, demo: bool, **options: Any) -> None:
        if no_worker and (why := checkpoints.why_one_process()):
            raise CommandError(f"{why} Web and worker cannot be two. Type: manage.py serve")
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
        listening = _listen(host, port)
        try:
            if no_worker:
                self._start(listening, beside=contextlib.nullcontext, demo=demo)
            else:
                self._start_with_worker(listening, demo=demo)
        except AgentCoreError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, PoolTimeout) as error:
            raise CommandError(f"The database does not answer; see DATABASE_URL. {error}") from error
        except ProgrammingError as error:
            raise CommandError(
                "The database lacks tables. Type: manage.py migrate, then setup_checkpointer."
            ) from error

    def _start_with_worker(self, listening: socket.socket, *, demo: bool) -> None:
        # Imported here: it loads LangGraph, which a process of web alone does without.
        from approvals.jobs import runtime, worker

        with runtime.keep_checkpoints():
            self._start(listening, beside=worker.running_until_exit, demo=demo)

    def _start(self, listening: socket.socket, *, beside: Beside, demo: bool) -> None:
        if demo:
            call_command("migrate", verbosity=0)
            call_command("setup_checkpointer", verbosity=0)
            call_command("demo", links=True)
        with contextlib.suppress(KeyboardInterrupt):
            with asyncio.Runner(loop_factory=uvicorn.Config(APPLICATION).get_loop_factory()) as runner:
                runner.run(self._serve(listening, beside))

    async def _serve(self, listening: socket.socket, beside: Beside) -> None:
        host, port = listening.getsockname()[:2]
        await in_database(Graph.objects.exists)()  # refuse to serve a database without our tables
        async with beside():
            config = uvicorn.Config(
                APPLICATION,
                lifespan="off",  # Channels' router knows no lifespan scope
                log_level="warning",
                ws_max_size=64 * 1024,
                timeout_graceful_shutdown=10,
                server_header=False,
            )
            self.stdout.write(f"Countersign serves on http://{host}:{port}  (Ctrl-C stops it)")
            self.stdout.flush()
            await _Server(config).serve([listening])
