"""The steps of an active run, stored on its row for pages."""

import asyncio
from dataclasses import asdict
from typing import Any

from django.utils import timezone
from psycopg.types.json import Jsonb

from agentcore.graphs.tools import Watch
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


class Steps:
    """Records the beginning and end of nodes, and the called tools. Secrets are masked."""

    def __init__(self, taken: TakenRun, mask: Mask) -> None:
        self._taken, self._mask = taken, mask
        self.watch = Watch()
        self._steps: list[dict[str, Any]] = []
        self._lock = asyncio.Lock()

    async def note(self, step: Step) -> None:
        """Write the step to the row, and tell pages: that a node begins before it does.

        Raises FenceLost if another worker has the thread. So a worker that was frozen and thaws runs no other node.
        """
        async with self._lock:
            self._add(step)
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

    def _write(self) -> None:
        calls = self._mask.anywhere([asdict(call) for call in self.watch.calls])
        topic = events.thread_topic(self._taken.thread_id)
        self._taken.write(_WRITE_SQL, steps=Jsonb(self._steps), calls=canonical(calls), topic=topic)
        reach("run.stepped")
