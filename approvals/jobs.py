"""Putting work on the queue, in the transaction of whoever asks: if that rolls back, so does the job."""

from functools import cache
from typing import Any

from procrastinate import App
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector

URGENT = 10
"""Somebody waits in front of a page."""


@cache
def _outbox() -> App:
    # An app of its own: a worker process gives the global one a connector outside Django's transactions.
    return app.with_connector(DjangoConnector())


def graph_queue(graph_id: str) -> str:
    return f"graph:{graph_id}"


def enqueue(task: str, *, queue: str = "console", priority: int = 0, **arguments: Any) -> None:
    """Defer the task named `task` of approvals.tasks."""
    job = _outbox().configure_task(f"approvals.tasks.{task}", queue=queue, priority=priority, allow_unknown=True)
    job.defer(**arguments)
