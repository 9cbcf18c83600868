"""A run that this worker has taken, with the lease of its thread, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.resume import Answer
from agentcore.plain.bound_bytes import Bound
from agentcore.plain.errors import FenceLost
from agentcore.plain.streams import Wanted
from agentcore.savers.base import Saver
from agentcore.savers.fence import fenced
from agentcore.testing.failpoints import is_off
from approvals.domain.policies import Rule
from approvals.domain.run_metadata import DECISION_KEY, FENCE_KEY, RUN_KEY

HELD_SQL = """
run.id = %(run)s AND thread.id = run.thread_id
AND (run.status = 'running' AND thread.fence = %(fence)s AND thread.lease_owner = %(owner)s OR %(is_free)s)
"""
FENCED = "Another worker has this thread, or its run was cancelled."


@dataclass(frozen=True)
class Decided:
    """The decision that a run carries out."""

    decision_id: str
    answer: Answer | None
    """None once it was given: the run goes on after a stop, and gives no answer a second time."""
    namespace: str
    """Of the subgraph at whose breakpoint the answer is given; empty for the thread's own graph."""
    namespace_at: str
    """The checkpoint there."""
    answer_digest: str
    bytes_digest: str
    bound: Bound | None
    """What the tasks could read when it was decided, or where the run stopped after that."""
    rule: Rule
    """The policy as it stood when it was asked."""
    next: tuple[str, ...]
    """The nodes that it was asked for."""


@dataclass(frozen=True)
class TakenRun:
    """A run whose thread this worker has the lease of, with all that it needs from the database to carry it out."""

    run_id: str
    thread_id: str
    graph_id: str
    kind: str
    owner: str
    fence: int
    input: Any
    resume_from: str
    attempts: int
    stood_at: str
    """The newest checkpoint when this worker took the thread."""
    decided: Decided | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Context and config of the thread's runs."""
    given_metadata: Mapping[str, Any] = field(default_factory=dict)
    """What a client gave with the run."""
    user: str = ""
    """Who gave the thread its last input."""
    wanted: Wanted = Wanted()
    """What those who subscribed to the thread want to hear."""
    unbound: str = ""
    """Why this graph must not be run on the thread."""

    @property
    def answer(self) -> Answer | None:
        return self.decided.answer if self.decided else None

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of every checkpoint of the run."""
        told = {RUN_KEY: self.run_id, FENCE_KEY: self.fence, "graph_id": self.graph_id}
        told = {**self.given_metadata, **told}
        return told | ({DECISION_KEY: self.decided.decision_id} if self.decided else {})

    def write(self, sql: str, **values: Any) -> None:
        """Write to the run's row: `sql` sets its columns and returns a row for it, where HELD_SQL holds.

        Raises FenceLost unless this worker still has the thread. Outside a transaction the row is locked for this
        statement alone, so no thread needs to be locked before it.
        """
        values.update(run=self.run_id, fence=self.fence, owner=self.owner, is_free=is_off("fence"))
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            if cursor.fetchone() is None:
                raise FenceLost(FENCED)

    def fenced(self, saver: Saver) -> Saver:
        """Return the saver of this run. Its writes are refused once another worker has the thread."""
        return fenced(saver, self.thread_id, self.fence)


@dataclass(frozen=True)
class Work:
    """A taken run with its graph, and the checkpoints as its worker reads them."""

    taken: TakenRun
    graph: CompiledGraph
    saver: Saver
