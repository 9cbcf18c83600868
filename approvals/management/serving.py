"""What a process of `manage.py serve` does: answer pages, work on jobs, or both in one event loop."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn
from django.core.management.base import CommandError
from django.db import OperationalError, ProgrammingError
from django.urls import get_resolver
from psycopg_pool import PoolTimeout

from agentcore.plain.errors import AgentCoreError
from approvals.database import in_database
from approvals.live import outlets, relay
from approvals.management.supervisor import LONGEST_REQUEST_SECONDS, SIGNALS, Duty
from approvals.models import Graph

APPLICATION = "approvals.asgi:application"


def serve(
    duty: Duty,
    listening: socket.socket,
    on_ready: Callable[[], object],
    *,
    stops_on: Sequence[signal.Signals] = SIGNALS,
) -> None:
    """Do this duty until one of the signals. Raises CommandError when it cannot begin."""
    with _told():
        _serve_until_stopped(duty, listening, on_ready, stops_on)


def check_database() -> None:
    """Refuse to serve a database without our tables. Raises CommandError."""
    with _told():
        Graph.objects.exists()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Raise CommandError, which says what to do, for what keeps a process from beginning."""
    try:
        yield
    except AgentCoreError as error:
        raise CommandError(str(error)) from error
    except (OperationalError, PoolTimeout) as error:
        raise CommandError(f"The database does not answer; see DATABASE_URL. {error}") from error
    except ProgrammingError as error:
        raise CommandError("The database lacks tables. Type: manage.py migrate, then setup_checkpointer.") from error


def _serve_until_stopped(
    duty: Duty, listening: socket.socket, on_ready: Callable[[], object], stops_on: Sequence[signal.Signals]
) -> None:
    new_loop = uvicorn.Config(APPLICATION).get_loop_factory()
    with _checkpoints_kept(duty), contextlib.suppress(KeyboardInterrupt):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_serve(duty, listening, on_ready, stops_on))


@contextlib.contextmanager
def _checkpoints_kept(duty: Duty) -> Iterator[None]:
    if duty is Duty.WEB:  # it loads no LangGraph
        yield
        return
    from approvals.jobs import runtime

    with runtime.keep_checkpoints():
        yield


async def _serve(
    duty: Duty, listening: socket.socket, on_ready: Callable[[], object], stops_on: Sequence[signal.Signals]
) -> None:
    await in_database(Graph.objects.exists)()  # refuse to serve a database without our tables
    async with _working(duty):
        if duty is Duty.WORKER:
            await _until_stopped(on_ready, stops_on)
        else:
            _load_pages()
            await relay.follow()
            await _answer(listening, on_ready, stops_on)


def _load_pages() -> None:
    """Load what answers requests, so that the first one does not wait for it. It is never garbage."""
    _ = get_resolver().url_patterns
    gc.freeze()


@asynccontextmanager
async def _working(duty: Duty) -> AsyncIterator[None]:
    if duty is Duty.WEB:
        yield
        return
    from approvals.jobs import worker

    async with worker.running_until_exit():
        yield


async def _until_stopped(on_ready: Callable[[], object], stops_on: Sequence[signal.Signals]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with _signals(stops_on, lambda *_: loop.call_soon_threadsafe(stop.set)):
        on_ready()
        await stop.wait()


async def _answer(listening: socket.socket, on_ready: Callable[[], object], stops_on: Sequence[signal.Signals]) -> None:
    config = uvicorn.Config(
        APPLICATION,
        lifespan="off",  # Channels' router knows no lifespan scope
        log_level="warning",
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,  # messages are of a few bytes, and it would keep memory for each page
        timeout_graceful_shutdown=LONGEST_REQUEST_SECONDS,
        server_header=False,
    )
    on_ready()
    server = _Server(config)
    server.stops_on = stops_on
    await server.serve([listening])


class _Server(uvicorn.Server):
    """uvicorn's own handlers raise the signal again in the end, which would stop us before worker and database do."""

    stops_on: Sequence[signal.Signals] = SIGNALS

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and end what would be open for hours."""
        outlets.close()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with _signals(self.stops_on, self.handle_exit):
            yield


@contextlib.contextmanager
def _signals(numbers: Sequence[signal.Signals], handler: Callable[..., object]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
