"""Where async code meets the database."""

import functools
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")
_NAME = "database"

# Not the event loop's default threads: blocking nodes would keep runs from being stored and pages from answers.
_threads = ThreadPoolExecutor(settings.DATABASE_POOL_SIZE - 4, thread_name_prefix=_NAME)


def in_database(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Run a function that uses the ORM in a thread, and return its connection to the pool when it ends."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        finally:
            give_back()

    return sync_to_async(call, thread_sensitive=False, executor=_threads)


def is_for_a_moment() -> bool:
    """Return whether this is one of the threads that run what `in_database` wraps: nobody may wait long in it."""
    return threading.current_thread().name.startswith(_NAME)


def give_back() -> None:
    """Return this thread's connections to the pool."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
