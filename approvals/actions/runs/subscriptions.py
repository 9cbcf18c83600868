"""Subscriptions: who has the stream of a thread open, and what they want. Workers send that, and nothing else."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import JSONObject, Now

from agentcore.plain.streams import Wanted
from approvals.compiled import compiled
from approvals.live import events, relay
from approvals.models import StreamPart, Subscription

RENEWED_SECONDS = 10.0
"""Who is there says so this often."""
LIVES_SECONDS = 30.0
"""A subscription ends so long after it was last renewed."""
RESUMABLE_SECONDS = 600.0
"""One that was asked to be resumable outlives its client by so much."""
_KEPT_FOR = timedelta(minutes=15)
_RENEW_SQL = f"""
WITH renewed AS (
    UPDATE approvals_subscription SET until = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE id = %(id)s RETURNING 1
)
SELECT pg_notify('{relay.CHANNEL}', %(topic)s) FROM renewed
"""
_SUBSCRIBE_SQL = """
INSERT INTO approvals_subscription (id, thread_id, modes, has_subgraphs, until)
VALUES (gen_random_uuid(), %s, to_jsonb(%s::text[]), %s, clock_timestamp() + make_interval(secs => %s)) RETURNING id
"""


@dataclass(frozen=True)
class StreamFilter:
    """What a client wants of a stream."""

    modes: tuple[str, ...]
    has_subgraphs: bool = False
    """With what subgraphs tell."""
    is_resumable: bool = False
    """It may come back for what it has missed."""


class Subscriber:
    """A client that has subscribed to a thread."""

    def __init__(self, thread_id: str, wanted: StreamFilter) -> None:
        """Have the runs of the thread tell what is wanted, from now on."""
        self._thread_id, self._wanted = thread_id, wanted
        self._topic = events.subscription_topic(thread_id)
        self._id = self._subscribe()

    def _subscribe(self) -> UUID:
        with connection.cursor() as cursor:
            wanted = self._wanted
            cursor.execute(_SUBSCRIBE_SQL, [self._thread_id, list(wanted.modes), wanted.has_subgraphs, LIVES_SECONDS])
            (subscription_id,) = cursor.fetchone()
        relay.announce([self._topic])
        return UUID(str(subscription_id))

    def renew(self) -> None:
        """Stay, and tell the worker of a run, which may not have heard of it. One that has ended begins anew."""
        if not self._prolong(LIVES_SECONDS):
            self._id = self._subscribe()

    def leave(self, *, is_to_come_back: bool = False) -> None:
        """End it: now or, if the client may come back for what it misses, after a while."""
        if is_to_come_back and self._wanted.is_resumable:
            self._prolong(RESUMABLE_SECONDS)
        elif Subscription.objects.filter(pk=self._id).delete()[0]:
            relay.announce([self._topic])

    def _prolong(self, seconds: float) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_RENEW_SQL, {"id": self._id, "seconds": seconds, "topic": self._topic})
            return cursor.fetchone() is not None


def of_thread(thread_id: Any) -> "QuerySet[Subscription, dict[str, Any]]":
    """Select what the subscriptions of a thread want, as `wanted_in` takes it."""
    found = Subscription.objects.filter(thread_id=thread_id, until__gt=Now())
    return found.values_list(JSONObject(modes="modes", inner="has_subgraphs"), flat=True)


@compiled
def _of_thread(thread_id: str) -> "QuerySet[Subscription, dict[str, Any]]":
    return of_thread(thread_id)


def wanted_in(rows: Collection[dict[str, Any]]) -> Wanted:
    return Wanted.of((row["modes"], row["inner"]) for row in rows)


def wanted_of(thread_id: str) -> Wanted:
    """Return what is asked for of the runs of a thread now."""
    return wanted_in(_of_thread(thread_id=thread_id))


def forget_old() -> None:
    """Delete subscriptions that have ended, and parts that nobody comes back for."""
    Subscription.objects.filter(until__lt=Now()).delete()
    StreamPart.objects.filter(created_at__lt=Now() - _KEPT_FOR).delete()


def remove(thread_id: str) -> None:
    """Delete what is kept of a thread that is removed."""
    Subscription.objects.filter(thread_id=thread_id).delete()
    StreamPart.objects.filter(thread_id=thread_id).delete()
