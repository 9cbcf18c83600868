"""Health checks for load balancers: `/healthz` and `/readyz`.

Open to everyone, so they name no address and no server.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection, connections
from django.http import HttpRequest, JsonResponse

from agentcore.plain.breaker import Breaker
from approvals import checkpoints
from approvals.errors import Unavailable
from approvals.jobs import job_queue
from approvals.models import Graph

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 60
"""A worker writes a heartbeat every 10 s; one without it for this long counts as gone."""
LONGEST_SECONDS = 1.0
"""What has not answered by then counts as down: load balancers have short time limits."""
NOBODY_KNOWS = {"database": "down", "worker": "unknown", "graphs": []}


@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 while the process runs. Reads nothing."""
    return JsonResponse({"status": "ok"})


@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when people can work, also `degraded` without Redis; 503 when something they need is missing."""
    until = time.monotonic() + LONGEST_SECONDS
    _console.ask()
    _checkpoints.ask()
    redis = _redis.state(wait_seconds=LONGEST_SECONDS)
    console = _console.answer(until=until)
    is_up = console["database"] != "down"
    state = {
        "database": console["database"],
        "worker": console["worker"],
        "redis": redis,
        "checkpointer": _checkpoints.answer(until=until) if is_up else "unknown",
    }
    is_ready = bool(console["graphs"]) and all(state[name] == "ok" for name in ("database", "worker", "checkpointer"))
    status = "unavailable" if not is_ready else "ok" if redis in ("ok", "off") else "degraded"
    return JsonResponse({"status": status, **state, "graphs": console["graphs"]}, status=200 if is_ready else 503)


class _Question:
    """A check that runs in a thread of its own, one at a time. A hanging database blocks only that thread."""

    def __init__(self, part: Callable[[], Any], *, unknown: Any) -> None:
        self._part = part
        self._unknown = unknown
        self._asking = threading.Lock()
        self._asked: Future[Any] | None = None

    def ask(self) -> None:
        with self._asking:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._find, args=[self._asked], name="readyz", daemon=True).start()

    def answer(self, *, until: float) -> Any:
        """Return the answer to the latest `ask`, or `unknown` when it takes longer."""
        assert self._asked is not None
        try:
            return self._asked.result(max(0, until - time.monotonic()))
        except TimeoutError:
            return self._unknown

    def _find(self, asked: Future[Any]) -> None:
        try:
            asked.set_result(self._part())
        except BaseException as error:
            asked.set_exception(error)
            raise
        finally:
            connections.close_all()


def _ask(part: Callable[[], str]) -> str:
    try:
        return part()
    except (Error, Unavailable) as error:
        logger.warning("readyz: %s failed: %s", part.__name__.strip("_"), type(error).__name__)
        return "down"


def _about_console() -> dict[str, Any]:
    database = _ask(_database)
    return NOBODY_KNOWS if database == "down" else {"database": database, "worker": _ask(_worker), "graphs": _graphs()}


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only')")
        return "ok" if cursor.fetchone() == ("off",) else "read-only"


def _worker() -> str:
    return "ok" if job_queue.has_live_worker(within_seconds=HEARTBEAT_SECONDS) else "missing"


def _checkpointer() -> str:
    with checkpoints.open_tables() as tables:
        return "ok" if tables.is_set_up() else "missing"


def _graphs() -> list[str]:
    try:
        return list(Graph.objects.order_by("pk").values_list("pk", flat=True))
    except Error:
        return []


_redis = Breaker(settings.REDIS_URL, meanwhile="workers read checkpoints from PostgreSQL alone")
_console = _Question(_about_console, unknown=NOBODY_KNOWS)
_checkpoints = _Question(lambda: _ask(_checkpointer), unknown="down")
