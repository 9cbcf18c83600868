"""For load balancers: alive, and ready. Open to everyone, so no address and no name of a server is told."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from approvals import jobs, runtime
from approvals.models import Graph

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 60
"""A worker writes every 10 s; one that has not for this long is gone."""
REDIS_SECONDS = 1
CHECKPOINT_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "countersign_heads")
_ALL_THERE = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS name"


@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    """Alive. Touches nothing."""
    return JsonResponse({"status": "ok"})


@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when people can work, also `degraded` without Redis; 503 when something they need is missing."""
    database = _ask(_database)
    is_up = database == "ok"
    state = {
        "database": database,
        "worker": _ask(_worker) if is_up else "unknown",
        "redis": _redis(),
        "checkpointer": _ask(_checkpointer) if is_up else "unknown",
    }
    graphs = _graphs() if is_up else []
    is_ready = bool(graphs) and all(state[name] == "ok" for name in ("database", "worker", "checkpointer"))
    status = "unavailable" if not is_ready else "degraded" if state["redis"] == "down" else "ok"
    return JsonResponse({"status": status, **state, "graphs": graphs}, status=200 if is_ready else 503)


def _ask(part: Callable[[], str]) -> str:
    try:
        return part()
    except DatabaseError as error:
        logger.warning("readyz: %s failed: %s", part.__name__.strip("_"), type(error).__name__)
        return "down"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _worker() -> str:
    return "ok" if jobs.has_live_worker(within_seconds=HEARTBEAT_SECONDS) else "missing"


def _checkpointer() -> str:
    with runtime.checkpoint_cursor() as cursor:
        cursor.execute(_ALL_THERE, [[*CHECKPOINT_TABLES]])
        return "ok" if cursor.fetchone()[0] else "missing"


def _graphs() -> list[str]:
    try:
        return list(Graph.objects.order_by("pk").values_list("pk", flat=True))
    except DatabaseError:
        return []


def _redis() -> str:
    if not settings.REDIS_URL:
        return "off"
    try:
        with Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=REDIS_SECONDS,
            socket_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            return "ok" if client.ping() else "down"
    except (RedisError, OSError, ValueError):
        return "down"
