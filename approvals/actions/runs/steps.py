"""The steps of an active run, stored on its row for pages."""

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
from agentcore.plain.masks import Mask
from agentcore.plain.types import Step
from agentcore.testing.failpoints import reach
from approvals.actions.runs.taken import HELD_SQL, TakenRun
from approvals.database import in_database
from approvals.live import events, relay

_WRITE_SQL = f"""
WITH written AS (
    UPDATE approvals_run AS run SET steps = %(steps)s, calls = %(calls)s, updated_at = clock_timestamp()
    FROM approvals_thread AS thread WHERE {HELD_SQL} RETURNING 1
)
SELECT pg_notify('{relay.CHANNEL}', %(topic)s) FROM written
"""


_PARTS = 8
"""A change is written at once while at most so many nodes run. Of more, an eighth may wait for the next writing."""
_REST_SECONDS = 0.2


class Steps:
    """Records the beginning and end of nodes, and the called tools. Secrets are masked.

    The row has all steps, so a thousand nodes that run at once would write it a thousand times, longer each time. Their
    changes are written together, an eighth of the running nodes at a time. That a node has ended is written with what
    comes next: that another begins, that the run stops, or, after a moment, by itself.
    """

    def __init__(self, taken: TakenRun) -> None:
        self._taken = taken
        self.mask = Mask(())
        self.watch = Watch()
        self._steps: dict[str, dict[str, Any]] = {}
        self._running: set[str] = set()
        self._unwritten = 0
        self._rest: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def note(self, step: Step) -> None:
        """Write the step to the row, and tell pages: that a node begins before it does.

        Raises FenceLost if another worker has the thread. So a worker that was frozen and thaws runs no other step.
        """
        async with self._lock:
            self._add(step)
            if step.state == "running" and self._unwritten * _PARTS >= len(self._running):
                await in_database(self._write)()
            elif self._rest is None or self._rest.done():
                self._rest = asyncio.create_task(self._write_rest())

    async def last(self) -> dict[str, Any]:
        """Return the columns of the row as they are now that the run has stopped. The caller writes them."""
        async with self._lock:
            if self._rest:
                self._rest.cancel()
            return self._columns()

    async def _write_rest(self) -> None:
        """Write, after a moment, what waits for a next change. That one raises what is raised here."""
        await asyncio.sleep(_REST_SECONDS)
        async with self._lock:
            if self._unwritten:
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
        topic, columns = events.thread_topic(self._taken.thread_id), self._columns()
        self._taken.write(_WRITE_SQL, steps=Jsonb(columns["steps"]), calls=canonical(columns["calls"]), topic=topic)
        self._unwritten = 0
        reach("run.stepped")

    def _columns(self) -> dict[str, Any]:
        calls = self.mask.anywhere([asdict(call) for call in self.watch.calls])
        return {"steps": list(self._steps.values()), "calls": calls}
