"""The steps of an active run, stored on its row for pages."""

import asyncio
from dataclasses import asdict
from typing import Any

from django.utils import timezone

from agentcore.graphs.tools import Watch
from agentcore.plain.errors import FenceLost
from agentcore.plain.masks import Mask
from agentcore.plain.types import Step
from agentcore.testing.failpoints import reach
from approvals.actions.runs.taken import FENCED, TakenRun
from approvals.database import in_database
from approvals.live import events


class Steps:
    """Records the beginning and end of nodes, and the called tools. Secrets are masked."""

    def __init__(self, taken: TakenRun, mask: Mask) -> None:
        self._taken, self._mask = taken, mask
        self.watch = Watch()
        self._steps: list[dict[str, Any]] = []
        self._lock = asyncio.Lock()

    async def note(self, step: Step) -> None:
        """Write the step to the row. Raises FenceLost if another worker has the thread."""
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
        # Outside a transaction: the row is locked for this statement alone, so no thread needs to be locked before it.
        if not self._taken.row.update(steps=self._steps, calls=calls, updated_at=timezone.now()):
            raise FenceLost(FENCED)
        reach("run.stepped")
        events.publish(thread_id=self._taken.thread_id, is_queue_changed=False)
