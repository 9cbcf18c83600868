"""The history of a thread: its checkpoints, and who caused them. Builds no object and asks no worker."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from agentcore.plain import timeline
from agentcore.plain.errors import NO_SUCH_CHECKPOINT
from agentcore.plain.timeline import KeptState, Moment
from approvals import checkpoints
from approvals.actions.workers import inquiries
from approvals.domain.run_metadata import RUN_KEY
from approvals.errors import NotFound
from approvals.models import AuditEntry, Run, Thread

PAGE_SIZE = 20
MOST_FORKS = 20
_ACTS = ("decision.reached", "thread.forked", "thread.replayed")
_MOST_ENTRIES = 200
_AROUND = timedelta(seconds=5)
_RUN_FIELDS = (
    "pk", "kind", "thread_id", "started_by", "created_at", "decision_id", "decision__verdict", "decision__decided_by",
    "decision__decided_at", "decision__comment", "decision__approval_id",
)  # fmt: skip


@dataclass(frozen=True)
class HistoryPage:
    """Checkpoints, newest first, with what the console knows of each."""

    moments: list[Moment]
    more: str
    """The checkpoint after which the next page begins; empty on the last."""
    runs: dict[str, dict[str, Any]]
    entries: dict[str, int]
    """Numbers of the audit entries, by the id of a decision or a run."""
    forks: dict[str, list[Thread]]


def page(thread: Thread, *, before: str = "", size: int = PAGE_SIZE) -> HistoryPage:
    """Read one page with one query each for checkpoints, runs, entries and forks."""
    with checkpoints.open_tables() as tables:
        found = timeline.read_page(tables, thread.pk, limit=size + 1, before=before)
    moments = found[:size]
    return _joined(thread, moments, moments[-1].checkpoint_id if len(found) > size else "")


def states(places: list[tuple[Thread, str]]) -> list[KeptState]:
    """Read the states at some checkpoints in one query. Raises NotFound for a checkpoint that does not exist."""
    with checkpoints.open_tables() as tables:
        found = timeline.read_states(tables, [(thread.pk, checkpoint_id) for thread, checkpoint_id in places])
    if any((thread.pk, checkpoint_id) not in found for thread, checkpoint_id in places):
        raise NotFound(NO_SUCH_CHECKPOINT)
    return [_whole(thread, found[thread.pk, checkpoint_id]) for thread, checkpoint_id in places]


def around(thread: Thread, moment: Moment) -> HistoryPage:
    """Return what the console knows of one checkpoint."""
    return _joined(thread, [moment], "")


def lineage(thread: Thread) -> dict[str, Any]:
    """Return the thread that this one was forked from, as `origin`, and its own forks, newest first, as `forks`."""
    forks = Thread.objects.filter(forked_from=thread.pk).only("id", "title", "created_at", "forked_at")
    origin = Thread.objects.filter(pk=thread.forked_from).defer("state").first() if thread.forked_from else None
    return {"origin": origin, "forks": list(forks.order_by("-created_at")[:MOST_FORKS])}


def _whole(thread: Thread, kept: KeptState) -> KeptState:
    """Have a worker assemble the value of a delta channel, which is stored in pieces."""
    if not kept.is_partial:
        return kept
    at = kept.moment.checkpoint_id
    found = inquiries.snapshot(thread_id=thread.pk, graph_id=thread.graph_id, checkpoint_id=at)
    return KeptState(kept.moment, found["values"], False)


def _joined(thread: Thread, moments: list[Moment], more: str) -> HistoryPage:
    runs = _runs(moment.metadata.get(RUN_KEY) for moment in moments)
    ids = [moment.checkpoint_id for moment in moments]
    forks: dict[str, list[Thread]] = {}
    for fork in Thread.objects.filter(forked_from=thread.pk, forked_at__in=ids).only("id", "title", "forked_at")[:100]:
        forks.setdefault(fork.forked_at, []).append(fork)
    return HistoryPage(moments, more, runs, _entries(list(runs.values())), forks)


def _runs(named: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Read the runs whose ids checkpoints name. An agent may have written anything there."""
    ids = {found for each in named if (found := _uuid(each))}
    rows = Run.objects.filter(pk__in=ids).values(*_RUN_FIELDS) if ids else []
    return {str(row["pk"]): row for row in rows}


def _uuid(named: Any) -> UUID | None:
    try:
        return UUID(named)
    except (ValueError, TypeError, AttributeError):
        return None


def _entries(runs: list[dict[str, Any]]) -> dict[str, int]:
    """Find the log entries of these runs by the subject they were written about."""
    acts = [run for run in runs if run["decision_id"] or run["kind"] in ("fork", "replay")]
    if not acts:
        return {}
    times = [run["decision__decided_at"] or run["created_at"] for run in acts]
    found = AuditEntry.objects.filter(
        thread_id__in={run["thread_id"] for run in acts},
        action__in=_ACTS,
        at__range=(min(times) - _AROUND, max(times) + _AROUND),
    )
    told = {}
    for seq, body in found.order_by("-seq").values_list("seq", "body")[:_MOST_ENTRIES]:
        about = json.loads(body)["object"]
        told[str(about.get("decision") or about.get("run"))] = seq
    return told
