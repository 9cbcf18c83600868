"""The lease of a thread: one worker holds it, the database's clock ends it, each holder gets a larger number."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from approvals import runtime
from approvals.models import Thread

logger = logging.getLogger(__name__)

_MISSES_BEFORE_GIVING_UP = 2
_LONGEST_HOST = 20


def worker_name() -> str:
    """Name this process, for people who look for it: host and process id."""
    return f"{socket.gethostname()[:_LONGEST_HOST]}:{os.getpid()}"


def new_owner() -> str:
    """Return an owner nobody had before, with the name of this worker in front."""
    return f"{worker_name()}/{uuid4().hex}"


def worker_of(owner: str) -> str:
    return owner.rpartition("/")[0]


def take(thread: Thread, owner: str) -> int | None:
    """Take the lease of a thread whose row is locked; return its number, or None while somebody holds it."""
    free = Thread.objects.filter(pk=thread.pk, cleaned_at=None).exclude(lease_until__gt=Now())
    taken = free.update(fence=F("fence") + 1, lease_owner=owner, lease_until=_until())
    if not taken:
        return None
    thread.refresh_from_db(fields=["fence", "lease_owner", "lease_until"])
    _raise_fence(thread)
    return thread.fence


def revoke(thread: Thread) -> None:
    """Take the thread, whose row is locked, from whoever holds it: nothing they write is accepted any more."""
    Thread.objects.filter(pk=thread.pk).update(fence=F("fence") + 1, lease_owner="", lease_until=None)
    thread.refresh_from_db(fields=["fence", "lease_owner", "lease_until"])
    _raise_fence(thread)


def _raise_fence(thread: Thread) -> None:
    """Where the checkpoints are, so that each write there can be checked in its own transaction."""
    with runtime.checkpoint_tables() as tables:
        tables.raise_fence(thread.pk, thread.fence)


def _until() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


def give_back(thread_id: str, owner: str) -> None:
    Thread.objects.filter(pk=thread_id, lease_owner=owner).update(lease_owner="", lease_until=None)


class Renewal:
    """Renews a lease from a thread of its own: a node that blocks the event loop must not lose it."""

    def __init__(self, thread_id: str, owner: str, on_lost: Callable[[], None]) -> None:
        self._thread_id, self._owner, self._on_lost = thread_id, owner, on_lost
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
            return bool(ours.update(lease_until=_until()))
        except DatabaseError:
            return False
        finally:
            connection.close()
