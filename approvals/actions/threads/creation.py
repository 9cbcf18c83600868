"""Create an empty thread."""

import re
from typing import Any
from uuid import uuid4

from django.db import IntegrityError

from approvals import audit
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import AlreadyExists, Invalid
from approvals.live import events
from approvals.models import Thread

_IN_ADDRESSES = ("search", "count", "prune")
"""Clients read `/threads/search` as another call, so they could not reach a thread of this name."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}")


def create_thread(
    *, thread_id: str | None = None, metadata: dict[str, Any] | None = None, if_exists: str = "raise", by: User
) -> Thread:
    """Return the new thread; with `if_exists="do_nothing"` the existing one."""
    permissions.check_start_run(by)
    thread_id = thread_id or str(uuid4())
    check_thread_id(thread_id)
    try:
        with audit.transaction():
            thread = Thread.objects.create(id=thread_id, metadata=metadata or {}, started_by_id=by.pk)
            events.publish(thread_id=thread_id, is_queue_changed=False)
            audit.append("thread.created", actor=by.get_username(), thread_id=thread_id, rows=audit.told(thread))
    except IntegrityError:
        if if_exists == "do_nothing":
            return Thread.objects.get(pk=thread_id)
        raise AlreadyExists(f"There is a thread {thread_id} already. Use it, or leave thread_id out.") from None
    return thread


def check_thread_id(thread_id: str) -> None:
    if not _ID.fullmatch(thread_id):
        raise Invalid("A thread id is 1 to 200 letters, digits or . _ : @ - and begins with a letter or digit.")
    if thread_id in _IN_ADDRESSES:
        raise Invalid(
            f"{thread_id} is no id for a thread: /threads/{thread_id} is a call of the API. Take another one."
        )
