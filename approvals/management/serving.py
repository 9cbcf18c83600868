"""What a process of `manage.py serve` does: answer pages, work on jobs, or both in one event loop."""

import asyncio
import contextlib
import gc
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from approvals.programs import told, typed

APPLICATION = "approvals.asgi:application"
Retire = Callable[[Callable[[], object]], Awaitable[None]]


def _never() -> bool:
    return False


def _nobody() -> None:
    return None


@dataclass(frozen=True)
class Orders:
    """What a process is to do, until which signals, and whom it tells."""

    duty: Duty
    on_ready: Callable[[], object]
    stops_on: Sequence[signal.Signals] = SIGNALS
    is_reload: bool = False
    """It takes the place of a worker that is at work, and must not begin if it lacks one of its graphs."""
    until_retired: Callable[[], bool] = _never
    """Blocks until the worker is to take no more runs; False: it never is."""
    on_retired: Callable[[], object] = _nobody


def serve(orders: Orders, listening: socket.socket) -> None:
    """Do this duty until one of the signals. Raises CommandError when it cannot begin."""
    with _told():
        _serve_until_stopped(orders, listening)


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
        raise CommandError(told(str(error))) from error
    except (OperationalError, PoolTimeout) as error:
        raise CommandError(f"The database does not answer; see DATABASE_URL. {error}") from error
    except ProgrammingError as error:
        raise CommandError(f"The database lacks tables. Type: {typed('migrate')}, then setup_checkpointer.") from error


def _serve_until_stopped(orders: Orders, listening: socket.socket) -> None:
    new_loop = uvicorn.Config(APPLICATION).get_loop_factory()
    with _checkpoints_kept(orders.duty), contextlib.suppress(KeyboardInterrupt):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_serve(orders, listening))


@contextlib.contextmanager
def _checkpoints_kept(duty: Duty) -> Iterator[None]:
    if duty is Duty.WEB:  # it loads no LangGraph
        yield
        return
    from approvals.jobs import runtime

    with runtime.keep_checkpoints():
        yield


async def _serve(orders: Orders, listening: socket.socket) -> None:
    await in_database(Graph.objects.exists)()  # refuse to serve a database without our tables
    async with _working(orders) as retire:
        if orders.duty is Duty.WORKER:
            await _until_stopped(orders, retire)
        else:
            _load_pages()
            await relay.follow()
            await _answer(orders, listening)


def _load_pages() -> None:
    """Load what answers requests, so that the first one does not wait for it. It is never garbage."""
    _ = get_resolver().url_patterns
    gc.freeze()


async def _no_work(on_retired: Callable[[], object]) -> None:
    on_retired()


@asynccontextmanager
async def _working(orders: Orders) -> AsyncIterator[Retire]:
    if orders.duty is Duty.WEB:
        yield _no_work
        return
    from approvals.jobs import worker

    async with worker.running_until_exit(is_reload=orders.is_reload) as running:
        yield running.retire


async def _until_stopped(orders: Orders, retire: Retire) -> None:
    """Wait for a signal, or for the last run of a worker that was told to retire."""
    stop, rest = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    with _signals(orders.stops_on, lambda *_: loop.call_soon_threadsafe(stop.set)):
        _listen_for_retirement(orders, lambda: loop.call_soon_threadsafe(rest.set))
        orders.on_ready()
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(_retired(rest, retire, orders.on_retired))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def _listen_for_retirement(orders: Orders, tell: Callable[[], object]) -> None:
    def listen() -> None:
        if orders.until_retired():
            tell()

    if orders.until_retired is not _never:
        threading.Thread(target=listen, name="retirement", daemon=True).start()


async def _retired(rest: asyncio.Event, retire: Retire, on_retired: Callable[[], object]) -> None:
    await rest.wait()
    await retire(on_retired)


async def _answer(orders: Orders, listening: socket.socket) -> None:
    config = uvicorn.Config(
        APPLICATION,
        lifespan="off",  # Channels' router knows no lifespan scope
        log_level="warning",
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,  # messages are of a few bytes, and it would keep memory for each page
        timeout_graceful_shutdown=LONGEST_REQUEST_SECONDS,
        server_header=False,
    )
    orders.on_ready()
    server = _Server(config)
    server.stops_on = orders.stops_on
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
