"""Leases: one worker holds a thread until a time of the database's clock, with a number that only grows.

The hold is also stored beside the checkpoints, where it keeps other programs from writing to the thread.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.models import F
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from agentcore.testing.failpoints import is_off, reach
from approvals import checkpoints
from approvals.errors import Unavailable
from approvals.models import Thread

logger = logging.getLogger(__name__)

_MISSES_BEFORE_GIVING_UP = 2
_LONGEST_HOST = 20
_TAKE_SQL = """
UPDATE approvals_thread
SET fence = fence + 1, lease_owner = %s, lease_until = statement_timestamp() + make_interval(secs => %s)
WHERE id = %s AND cleaned_at IS NULL AND (lease_until IS NULL OR lease_until <= statement_timestamp())
RETURNING fence
"""


def worker_name() -> str:
    """Return the name of this process for people: host and process id."""
    return f"{socket.gethostname()[:_LONGEST_HOST]}:{os.getpid()}"


def new_owner() -> str:
    """Return a unique owner, beginning with the name of this worker."""
    return f"{worker_name()}/{uuid4().hex}"


def worker_of(owner: str) -> str:
    return owner.rpartition("/")[0]


def take(thread_id: str, owner: str) -> int | None:
    """Take the lease of a thread, and lock its row. Return its number, or None while somebody holds it."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_SQL, [owner, settings.LEASE_SECONDS, thread_id])
        row = cursor.fetchone()
    reach("thread.locked")
    return row[0] if row else None


def keep_others_out(thread_id: str, fence: int) -> None:
    """Refuse what others write to the thread, whose lease was taken with this number. Waits for writes in progress."""
    with checkpoints.open_tables() as tables:
        tables.raise_fence(thread_id, fence, held_seconds=_held_seconds(), lets_others=settings.LETS_OTHERS_WRITE)


def _held_seconds() -> float | None:
    return None if is_off("hold") or is_off("fence") else settings.LEASE_SECONDS


def revoke(thread: Thread) -> None:
    """Take the thread, whose row is locked, from its holder: the holder's writes are refused from now on."""
    Thread.objects.filter(pk=thread.pk).update(fence=F("fence") + 1, lease_owner="", lease_until=None)
    thread.refresh_from_db(fields=["fence", "lease_owner", "lease_until"])
    with checkpoints.open_tables() as tables:
        tables.raise_fence(thread.pk, thread.fence)


def let_go(thread_id: str, fence: int) -> bool:
    """Let others write again, and return whether somebody did. The caller ends the lease itself."""
    with checkpoints.open_tables() as tables:
        return tables.let_go(thread_id, fence)


def _until() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


def give_back(thread_id: str, owner: str, fence: int) -> None:
    """End the lease early. Whoever takes the run over reports what others wrote."""
    Thread.objects.filter(pk=thread_id, lease_owner=owner).update(lease_owner="", lease_until=None)
    hold_no_more(thread_id, fence)


def hold_no_more(thread_id: str, fence: int) -> None:
    """Let others write again while the run waits for its next attempt."""
    with checkpoints.open_tables() as tables:
        tables.hold_on(thread_id, fence, held_seconds=0)


class Renewal:
    """Renews a lease from a thread of its own, so that a node that blocks the event loop does not lose it."""

    def __init__(self, thread_id: str, owner: str, fence: int, on_lost: Callable[[], object]) -> None:
        self._thread_id, self._owner, self._fence, self._on_lost = thread_id, owner, fence, on_lost
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{owner[-8:]}", daemon=True)

    def __enter__(self) -> "Renewal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def _keep(self) -> None:
        misses = 0
        while not self._stopped.wait(settings.LEASE_SECONDS / 3):
            misses = 0 if self._renew() else misses + 1
            if misses >= _MISSES_BEFORE_GIVING_UP:
                logger.error("lost the lease of a thread; its run is stopped", extra={"thread_id": self._thread_id})
                self._on_lost()
                return

    def _renew(self) -> bool:
        ours = Thread.objects.filter(pk=self._thread_id, lease_owner=self._owner, lease_until__gt=Now())
        try:
            if not ours.update(lease_until=_until()):
                return False
            with checkpoints.open_tables() as tables:
                tables.hold_on(self._thread_id, self._fence, held_seconds=settings.LEASE_SECONDS)
            return True
        except (DatabaseError, Unavailable):
            return False
        finally:
            connections.close_all()
