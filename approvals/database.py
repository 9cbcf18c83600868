"""Where async code meets the database, and how one waits for what another process stores there."""

import functools
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")
_LOOK_EVERY_SECONDS = 0.02

# Not the event loop's default threads: blocking nodes would keep runs from being stored and pages from answers.
_threads = ThreadPoolExecutor(settings.DATABASE_POOL_SIZE - 4, thread_name_prefix="database")


def in_database(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Run a function that uses the ORM in a thread, and return its connection to the pool when it ends."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        finally:
            _give_back()

    return sync_to_async(call, thread_sensitive=False, executor=_threads)


def wait_for(look: Callable[[], T | None], *, seconds: float) -> T | None:
    """Return the first true value of `look`, or None after the time limit. Meanwhile no connection is held."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        _give_back()
        time.sleep(_LOOK_EVERY_SECONDS)
    return None


def _give_back() -> None:
    """Return this thread's connections to the pool."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
