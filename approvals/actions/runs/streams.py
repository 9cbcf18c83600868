"""The stream of a run, or of all runs of a thread, for one client: what is kept already, then what comes.

Parts are read from their table whenever one is announced. Between two looks nothing is held: no thread, no connection.
"""

import asyncio
import contextlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Max, Min
from psycopg_pool import PoolTimeout

from agentcore.plain.streams import VALUES
from approvals.actions.runs import controls, results
from approvals.actions.runs.subscriptions import RENEWED_SECONDS, StreamFilter, Subscriber
from approvals.database import in_database
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.enums import ACTIVE_RUNS, RunKind, RunStatus
from approvals.errors import Refusal, Unavailable
from approvals.live import events, outlets, relay
from approvals.models import Run, StreamPart

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 4.0
"""A client that hears nothing for much longer believes that its connection is lost."""
_LOOK_SECONDS = 5.0
"""What was not heard of is found so much later."""
CHECKED_SECONDS = min(30.0, settings.SOCKET_CHECK_SECONDS)
"""Whether the person may still see it is asked this often."""
LONGEST_SECONDS = 8 * 3600.0
_UNHEARD_SECONDS = 0.5
"""A process that is not told of parts looks for them this often."""
_REST_SECONDS = 0.02
"""And a process that is told of many looks this often."""
_MOST_READ = 100
_MOST_RUNS = 20
"""Of a thread: more do not begin and end between two looks."""
TOO_MANY = f"{outlets.MOST} streams are open in this process already. Try again, or poll GET /api/threads/ID."


class SentPart(NamedTuple):
    """A part as a client gets it. `data` is JSON; only what is kept has a number."""

    name: str
    data: str
    number: int | None = None


Heartbeat = None
"""Is yielded where there is nothing to tell for a while."""


@dataclass
class _Stream(ABC):
    """What one client follows."""

    thread_id: str
    asked: StreamFilter
    by: User
    after: int | None = None
    """The number of the last part that it has."""
    subscriber: Subscriber | None = None
    """None where the runs need not tell anything."""
    is_over: bool = field(default=False, init=False)

    @abstractmethod
    def look(self) -> list[SentPart]:
        """Read what is new, and note whether that was all. It is called in a thread."""

    def left(self) -> None:  # noqa: B027 - most do nothing
        """Do what is to be done when the client left early."""

    async def follow(self) -> AsyncGenerator[SentPart | None, None]:
        """Yield what there is to tell, until it is over or the process is to stop. `subscribed` goes around it."""
        async with self._subscribed() as noted:
            clock = _Duties()
            while not self.is_over:
                noted.clear()
                for told in await in_database(self.look)():
                    clock.did("tell")
                    yield told
                if self.is_over or outlets.is_closing() or clock.is_past(LONGEST_SECONDS):
                    return
                await _wait(noted)
                if clock.is_due("tell", HEARTBEAT_SECONDS):
                    yield Heartbeat
                await self._keep_up(clock)

    async def _keep_up(self, clock: "_Duties") -> None:
        with contextlib.suppress(DatabaseError, PoolTimeout):  # an outage: what was read so far stays true
            if self.subscriber and clock.is_due("renewed", RENEWED_SECONDS):
                await in_database(self.subscriber.renew)()
            if clock.is_due("checked", CHECKED_SECONDS):
                await in_database(permissions.check_again)(self.by, "view")

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[asyncio.Event]:
        """Be told of what comes; leave in the end, whatever ends it."""
        await relay.follow()
        noted = asyncio.Event()
        topics = [events.stream_topic(self.thread_id), events.thread_topic(self.thread_id)]
        try:
            with outlets.waking(noted), relay.told(topics, lambda _: noted.set()):
                yield noted
        finally:
            await asyncio.shield(in_database(self._leave)())

    def _leave(self) -> None:
        try:
            if not self.is_over and not outlets.is_closing():
                self.left()
            if self.subscriber:
                self.subscriber.leave(is_to_come_back=not self.is_over)
        except (DatabaseError, PoolTimeout):
            logger.warning("a subscription could not be ended; it ends by itself")


class _Duties:
    """Since when the stream is open, and when its duties were last done."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._done: dict[str, float] = {}

    def is_past(self, seconds: float) -> bool:
        return self._loop.time() - self._began > seconds

    def did(self, what: str) -> None:
        self._done[what] = self._loop.time()

    def is_due(self, what: str, seconds: float) -> bool:
        now = self._loop.time()
        if now - self._done.get(what, self._began) < seconds:
            return False
        self._done[what] = now
        return True


async def _wait(noted: asyncio.Event) -> None:
    """Wait until something is announced, or for a while."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_SECONDS if relay.is_up() else _UNHEARD_SECONDS):
            await noted.wait()
            await asyncio.sleep(_REST_SECONDS)  # what comes at the same time is read at once


@dataclass
class RunStream(_Stream):
    """One run, until it stops."""

    run_id: UUID = field(kw_only=True)
    is_to_cancel: bool = False
    """Cancel it if the client leaves early."""
    _has_begun: bool = field(default=False, init=False)
    _has_values: bool = field(default=False, init=False)

    def look(self) -> list[SentPart]:
        rows = _read(_OF_RUN, self.run_id, self.after, self.asked)
        status, attempts = rows[0][:2]
        parts = [SentPart(name, data, number) for *_, number, name, data in rows if number]
        told = [*self._begin(attempts), *parts]
        self._has_values |= any(part.name == VALUES for part in parts)
        self.after = parts[-1].number if parts else self.after
        if status not in ACTIVE_RUNS and len(parts) < _MOST_READ:
            self.is_over = True
            told += self._end()
        return told

    def _begin(self, attempts: int) -> list[SentPart]:
        """Say which run it is, unless the client has heard of it already."""
        is_known = self._has_begun or bool(self.after)
        self._has_begun = True
        return [] if is_known else [_metadata(self.run_id, attempts)]

    def _end(self) -> list[SentPart]:
        """Say how it stopped: with its values, if the run did not tell them to this client while it was at work."""
        run = _stopped_run(self.run_id)
        if wrong := results.error_of(run):
            return [SentPart("error", _json(wrong))]
        is_wanted = VALUES in self.asked.modes and not self._has_values
        values = [SentPart(VALUES, _json(results.result_of(run)))] if is_wanted else []
        return [*values, SentPart("end", run.status)]

    def left(self) -> None:
        """Cancel a run of new input. What was decided is carried out, whoever closes a page.

        `useStream` asks for this by itself.
        """
        if self.is_to_cancel and Run.objects.filter(pk=self.run_id, kind=RunKind.START).exists():
            with contextlib.suppress(Refusal):  # it has stopped meanwhile, or is not theirs to cancel
                controls.cancel_run(run_id=self.run_id, by=self.by)


@dataclass
class ThreadStream(_Stream):
    """All runs of a thread, one after the other, for as long as the client is there."""

    _told: "_Lifecycles" = field(init=False)

    def __post_init__(self) -> None:
        self._told = self._known()

    def look(self) -> list[SentPart]:
        newest = Run.objects.filter(thread_id=self.thread_id).order_by("-created_at")[:_MOST_RUNS]
        runs = {run.pk: run for run in newest.only("status", "attempts")}  # before the parts: then none is missed
        parts = _read(_OF_THREAD, self.thread_id, self.after, self.asked)
        told: list[SentPart] = []
        for run_id, number, name, data in parts:
            told += self._told.begin(runs.get(run_id))
            told.append(SentPart(name, data, number))
            self.after = number
        for run in reversed(runs.values()) if len(parts) < _MOST_READ else ():
            told += self._told.begin(run) + self._told.end(run)
        return told

    def _known(self) -> "_Lifecycles":
        """Return what the client has been told of the runs so far. What comes from now on it is told."""
        stopped = Run.objects.filter(thread_id=self.thread_id).exclude(status__in=ACTIVE_RUNS)
        ended = set(stopped.values_list("pk", flat=True))
        kept = StreamPart.objects.filter(thread_id=self.thread_id).order_by("run_id").values("run_id")
        spans = {each["run_id"]: each for each in kept.annotate(first=Min("id"), last=Max("id"))}
        if self.after is None:
            self.after = max((each["last"] for each in spans.values()), default=0)
            return _Lifecycles(begun=set(ended), ended=ended)
        after = self.after
        begun = {run_id for run_id, each in spans.items() if each["first"] <= after}
        going = {run_id for run_id, each in spans.items() if each["last"] >= after}
        return _Lifecycles(begun=begun | (ended - spans.keys()), ended=ended - going)


@dataclass
class _Lifecycles:
    """Of which runs a client knows that they began, and that they ended."""

    begun: set[UUID]
    ended: set[UUID]

    def begin(self, run: Run | None) -> list[SentPart]:
        if run is None or run.pk in self.begun or run.status == RunStatus.QUEUED:
            return []
        self.begun.add(run.pk)
        return [_metadata(run.pk, run.attempts)]

    def end(self, run: Run) -> list[SentPart]:
        if run.pk in self.ended or run.status in ACTIVE_RUNS:
            return []
        self.ended.add(run.pk)
        wrong = results.error_of(Run.objects.only("status", "error", "problem").get(pk=run.pk))
        done = SentPart("metadata", _json({"status": "run_done", "run_id": str(run.pk)}))
        return [*([SentPart("error", _json(wrong))] if wrong else []), done]


def result(stream: RunStream) -> Any:
    """Return what the run came to. Raises Unfinished if it has not stopped, but this process is to stop."""
    if not stream.is_over:
        raise outlets.Unfinished
    return results.result_of(_stopped_run(stream.run_id))


def _stopped_run(run_id: UUID) -> Run:
    """Read a run with all that its result is made of."""
    return Run.objects.select_related("thread").defer("input", "calls", "steps").get(pk=run_id)


def _metadata(run_id: UUID, attempts: int) -> SentPart:
    return SentPart("metadata", _json({"run_id": str(run_id), "attempt": max(attempts, 1)}))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


_OF_THREAD = """
SELECT run_id, id, name, data FROM approvals_streampart AS part
WHERE part.thread_id = %(owner)s AND part.id > %(after)s
    AND part.mode = ANY(%(modes)s) AND (%(inner)s OR NOT part.is_inner)
ORDER BY id LIMIT %(most)s
"""
_OF_RUN = """
SELECT run.status, run.attempts, told.id, told.name, told.data
FROM approvals_run AS run LEFT JOIN LATERAL (
    SELECT id, name, data FROM approvals_streampart AS part
    WHERE part.run_id = run.id AND part.id > %(after)s
        AND part.mode = ANY(%(modes)s) AND (%(inner)s OR NOT part.is_inner)
    ORDER BY id LIMIT %(most)s
) AS told ON true
WHERE run.id = %(owner)s ORDER BY told.id
"""
"""Its status and its parts as of one moment: of a run that has stopped, no part comes later."""


def _read(sql: str, owner: UUID | str, after: int | None, asked: StreamFilter) -> list[Any]:
    with connection.cursor() as cursor:
        given = {"owner": owner, "after": after or 0, "modes": list(asked.modes), "inner": asked.has_subgraphs}
        cursor.execute(sql, {**given, "most": _MOST_READ})
        return list(cursor.fetchall())


def check_room() -> None:
    """Raise Unavailable if this process has too many streams open."""
    if outlets.is_full():
        raise Unavailable(TOO_MANY)
