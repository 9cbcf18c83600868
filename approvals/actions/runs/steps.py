"""The steps of an active run, stored on its row for pages."""

import asyncio
from dataclasses import asdict
from typing import Any

from django.db import Error
from django.utils import timezone
from psycopg.types.json import Jsonb

from agentcore.graphs.tools import Watch
from agentcore.plain.errors import FenceLost
from agentcore.plain.json import canonical
from agentcore.plain.masks import Mask
from agentcore.plain.types import Step
from agentcore.testing.failpoints import reach
from approvals.actions.runs.taken import HELD_SQL, TakenRun
from approvals.database import in_database
from approvals.live import events, relay

LONGEST_UNWRITTEN_SECONDS = 0.25
"""The end of a node is written this much later, or with the beginning of the next one."""


_WRITE_SQL = f"""
WITH written AS (
    UPDATE approvals_run AS run SET steps = %(steps)s, calls = %(calls)s, updated_at = clock_timestamp()
    FROM approvals_thread AS thread WHERE {HELD_SQL} RETURNING 1
)
SELECT pg_notify('{relay.CHANNEL}', %(topic)s) FROM written
"""


class Steps:
    """Records the beginning and end of nodes, and the called tools. Secrets are masked."""

    def __init__(self, taken: TakenRun, mask: Mask) -> None:
        self._taken, self._mask = taken, mask
        self.watch = Watch()
        self._steps: list[dict[str, Any]] = []
        self._is_written = True
        self._lock = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    async def note(self, step: Step) -> None:
        """Write that a node begins now, before it does; that one has ended is written soon.

        Raises FenceLost if another worker has the thread: a worker that was frozen and thaws runs no other node.
        """
        self._add(step)
        was_written, self._is_written = self._is_written, False
        if step.state == "running":
            await self.finish()
        elif was_written:
            self._writer = asyncio.create_task(self._write_soon())

    async def finish(self) -> None:
        """Write what is not written yet. Raises FenceLost if another worker has the thread."""
        async with self._lock:
            if self._is_written:
                return
            self._is_written = True
            await in_database(self._write)()

    def _add(self, step: Step) -> None:
        now = timezone.now().isoformat()
        found = next((item for item in self._steps if item["task_id"] == step.task_id), None)
        if found is None:
            found = {"task_id": step.task_id, "node": step.node, "started_at": now}
            self._steps.append(found)
        found["state"] = step.state
        if step.state != "running":
            found["ended_at"] = now

    async def _write_soon(self) -> None:
        await asyncio.sleep(LONGEST_UNWRITTEN_SECONDS)
        try:
            await self.finish()
        except (FenceLost, Error):
            self._is_written = False  # the next write is refused as well, or the end of the run writes it

    def _write(self) -> None:
        calls = self._mask.anywhere([asdict(call) for call in self.watch.calls])
        topic = events.thread_topic(self._taken.thread_id)
        self._taken.write(_WRITE_SQL, steps=Jsonb(self._steps), calls=canonical(calls), topic=topic)
        reach("run.stepped")
