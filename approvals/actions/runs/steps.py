"""The steps of an active run, stored on its row for pages, and what its code prints and logs beside it."""

import asyncio
import contextlib
from dataclasses import asdict
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout

from agentcore.graphs.tools import Watch
from agentcore.plain.errors import FenceLost
from agentcore.plain.json import canonical
from agentcore.plain.kept_lines import KeptLines
from agentcore.plain.masks import Mask
from agentcore.plain.types import Step
from agentcore.testing.failpoints import reach
from approvals.actions.runs import run_logs
from approvals.actions.runs.run_logs import KEEP_SQL
from approvals.actions.runs.taken import HELD_SQL, TakenRun
from approvals.database import in_database
from approvals.live import events, relay

_WRITE_SQL = """
WITH written AS (
    UPDATE approvals_run AS run SET {columns}, updated_at = clock_timestamp()
    FROM approvals_thread AS thread WHERE {held} RETURNING run.id
){logged}
SELECT pg_notify('{channel}', %(topic)s) FROM written
"""
_COLUMNS = "steps = %(steps)s, calls = %(calls)s"
_STEPS_SQL = _WRITE_SQL.format(columns=_COLUMNS, held=HELD_SQL, logged="", channel=relay.CHANNEL)
_LOG_SQL = _WRITE_SQL.format(
    columns=f"{_COLUMNS}, has_log = TRUE",
    held=HELD_SQL,
    logged=f", logged AS ({KEEP_SQL.format(id='written.id', of='FROM written')})",
    channel=relay.CHANNEL,
)


_PARTS = 8
"""A change is written at once while at most so many nodes run. Of more, an eighth may wait for the next writing."""
_REST_SECONDS = 0.2
_LOG_REST_SECONDS = 0.5
"""So often at most what is printed is written while no node begins."""


class Steps:
    """Records the beginning and end of nodes, the called tools, and what is printed and logged. Secrets are masked.

    The row has all steps, so a thousand nodes that run at once would write it a thousand times, longer each time. Their
    changes are written together, an eighth of the running nodes at a time. That a node has ended is written with what
    comes next: that another begins, that the run stops, or, after a moment, by itself. So is what its code prints.
    """

    def __init__(self, taken: TakenRun) -> None:
        self._taken = taken
        self.watch = Watch()
        self.log = KeptLines(self._hear)
        self._loop = asyncio.get_running_loop()
        self._is_heard = False
        self._steps: dict[str, dict[str, Any]] = {}
        self._running: set[str] = set()
        self._unwritten = 0
        self._rest: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def mask(self) -> Mask:
        return self.log.mask

    @mask.setter
    def mask(self, mask: Mask) -> None:
        self.log.mask = mask

    async def note(self, step: Step) -> None:
        """Write the step to the row, and tell pages: that a node begins before it does.

        Raises FenceLost if another worker has the thread. So a worker that was frozen and thaws runs no other step.
        """
        async with self._lock:
            self._add(step)
            if step.state == "running" and self._unwritten * _PARTS >= len(self._running):
                await in_database(self._write)()
            else:
                self._write_later(_REST_SECONDS)

    async def last(self) -> dict[str, Any]:
        """Return the columns of the row as they are now that the run has stopped, and its `log` if it has one.

        The caller writes them.
        """
        async with self._lock:
            if self._rest:
                self._rest.cancel()
            return self._columns() | ({"log": run_logs.columns_of(self.log)} if self.log else {})

    def _hear(self) -> None:
        """Take note, in any thread, that something was printed or logged."""
        if not self._is_heard:
            self._is_heard = True
            with contextlib.suppress(RuntimeError):  # the loop has ended: a thread of the author's goes on without it
                self._loop.call_soon_threadsafe(self._write_later, _LOG_REST_SECONDS)

    def _write_later(self, seconds: float) -> None:
        if self._rest is None or self._rest.done():
            self._rest = asyncio.create_task(self._write_rest(seconds))

    async def _write_rest(self, seconds: float) -> None:
        """Write, after a moment, what waits for a next change. That one raises what is raised here."""
        await asyncio.sleep(seconds)
        async with self._lock:
            if self._unwritten or self._is_heard:
                with contextlib.suppress(FenceLost, DatabaseError, PoolTimeout):
                    await in_database(self._write)()

    def _add(self, step: Step) -> None:
        now = timezone.now().isoformat()
        found = self._steps.setdefault(step.task_id, {"task_id": step.task_id, "node": step.node, "started_at": now})
        found["state"] = step.state
        if step.state == "running":
            self._running.add(step.task_id)
        else:
            found["ended_at"] = now
            self._running.discard(step.task_id)
        self._unwritten += 1

    def _write(self) -> None:
        columns, is_heard = self._columns(), self._is_heard
        topic = events.thread_topic if self._unwritten else events.log_topic
        values = {"steps": Jsonb(columns["steps"]), "calls": canonical(columns["calls"])}
        self._is_heard = False  # before the lines are read: what comes after is written later
        logged = run_logs.columns_of(self.log) if is_heard else {}
        sql = _LOG_SQL if is_heard else _STEPS_SQL
        self._taken.write(sql, **values, **logged, topic=topic(self._taken.thread_id))
        self._unwritten = 0
        reach("run.stepped")

    def _columns(self) -> dict[str, Any]:
        calls = self.mask.anywhere([asdict(call) for call in self.watch.calls])
        return {"steps": list(self._steps.values()), "calls": calls}
