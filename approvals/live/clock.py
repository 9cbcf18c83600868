"""What changes by the clock alone, and nobody announces: claims, leases and snoozes that end, silent workers.

Each web process looks for it while it has open pages, so that pages need not ask again and again.
"""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error, connection
from django.utils import timezone
from psycopg_pool import PoolTimeout

from approvals.database import in_database
from approvals.live import events, relay

_SQL = """
WITH span AS (SELECT %(since)s AS since, clock_timestamp() AS now,
    %(alive)s * interval '1 second' AS alive)
SELECT span.now,
    ARRAY(SELECT DISTINCT graphs::text FROM approvals_worker WHERE seen_at > span.now - span.alive ORDER BY 1),
    ARRAY(SELECT DISTINCT thread_id FROM approvals_approval WHERE status = 'pending' AND claimed_by_id IS NOT NULL
        AND claimed_until > span.since AND claimed_until <= span.now),
    ARRAY(SELECT id FROM approvals_thread WHERE status = 'busy'
        AND lease_until > span.since AND lease_until <= span.now),
    ARRAY(SELECT DISTINCT user_id FROM approvals_snooze WHERE until > span.since AND until <= span.now)
FROM span
"""
_FIRST_LOOK_BACK = timedelta(minutes=1)


def begin() -> None:
    """Look from now on, in this event loop, if it does not look yet."""
    _clock.begin()


class _Clock:
    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._since = datetime.min
        self._rosters: list[str] | None = None

    def begin(self) -> None:
        if self._task is None or self._task.done():
            self._since = timezone.now() - _FIRST_LOOK_BACK
            self._task = asyncio.create_task(self._look_again_and_again())

    async def _look_again_and_again(self) -> None:
        while True:
            if relay.has_waiting():
                with suppress(Error, PoolTimeout):  # an outage: what changed meanwhile is found afterwards
                    relay.tell_here(await in_database(self._look)())
            await asyncio.sleep(settings.CLOCK_SECONDS)

    def _look(self) -> list[str]:
        """Return the topics of what changed by itself since the last look."""
        with connection.cursor() as cursor:
            cursor.execute(_SQL, {"alive": settings.ALIVE_SECONDS, "since": self._since})
            self._since, rosters, claimed, leased, woken = cursor.fetchone()
        before, self._rosters = self._rosters, rosters
        if before is not None and before != rosters:
            return [relay.EVERYTHING]  # which workers there are is part of what is said of each thread
        lists = [events.QUEUE] * bool(claimed) + [events.THREADS] * bool(leased)
        people = map(events.person_topic, woken)
        return [*map(events.thread_topic, {*claimed, *leased}), *people, *lists]


_clock = _Clock()
