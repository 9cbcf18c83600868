"""The job queue. A job is added in the caller's transaction: if that rolls back, so does the job."""

from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any

import psycopg
from django.db import transaction
from django.db.models.functions import Now
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateWorker
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.manager import JobManager
from procrastinate.tasks import configure_task

from approvals import last_writes

CONSOLE_QUEUE = "console"
"""Jobs that need no graph."""
URGENT = 10
"""Jobs that a person at a page waits for."""


_NOT_KNOWN = -1
"""The id of a job that is not added yet."""


class _Connector(DjangoConnector):
    """Adds jobs with the last statement of the caller's transaction."""

    def execute_query_all(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        if not last_writes.is_gathering():
            return self._send(query, arguments)
        last_writes.write(query, self._wrap_json(arguments))
        return [{"id": _NOT_KNOWN} for _ in arguments["jobs"]]

    def _send(self, query: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Send it now. Raises the error of the database, which says whether it is gone."""
        try:
            return list(super().execute_query_all(query, **arguments))
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.Error) and not isinstance(error, UniqueViolation):
                raise error.__cause__ from None
            raise


@cache
def _outbox() -> JobManager:
    """Return what adds jobs here, whatever the process is: a worker's own tasks add theirs outside of transactions."""
    return JobManager(_Connector())


def graph_queue(graph_id: str) -> str:
    return f"graph:{graph_id}"


def enqueue(
    task: str,
    *,
    queue: str = CONSOLE_QUEUE,
    priority: int = 0,
    once: str | None = None,
    in_seconds: int | None = None,
    **arguments: Any,
) -> None:
    """Add a job for the task `task` of approvals.jobs.tasks. With `once`, do nothing while a job of that name waits."""
    name = f"approvals.jobs.tasks.{task}"
    job = configure_task(
        name=name,
        job_manager=_outbox(),
        queue=queue,
        priority=priority,
        queueing_lock=once,
        schedule_in={"seconds": in_seconds} if in_seconds else None,
    )
    if once is None:
        job.defer(**arguments)
        return
    with suppress(AlreadyEnqueued), last_writes.at_once(), transaction.atomic():
        job.defer(**arguments)


def has_live_worker(*, within_seconds: int) -> bool:
    """Return whether some worker wrote its heartbeat within the limit; workers write it every 10 s."""
    since = Now() - timedelta(seconds=within_seconds)
    return bool(ProcrastinateWorker.objects.filter(last_heartbeat__gt=since).exists())
