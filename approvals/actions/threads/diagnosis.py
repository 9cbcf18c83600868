"""Diagnose a thread from our own rows, the head of its checkpoints and, if one is alive, a worker."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber

from agentcore.plain.tables import Head
from approvals import checkpoints
from approvals.actions.runs import leases, starts
from approvals.actions.votes import repairs
from approvals.actions.workers import inquiries
from approvals.domain import bindings, diagnosis, permissions
from approvals.domain.diagnosis import Asked, Diagnosis, Facts, RunFacts
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.domain.voters import owners
from approvals.enums import ApprovalStatus, RunStatus
from approvals.errors import NotFound, Unavailable
from approvals.models import Approval, Graph, Run, Thread, Worker

_REMEMBERED = timedelta(hours=1)
_MOST_ASKED = 20
"""Open questions of one thread that are read. Of more, only their number is told."""
_UNSHOWN = ("state", "request", "actions", "answer_schema", "proposal")


@dataclass(frozen=True)
class Roster:
    """The live workers with their graphs. `now` is the database's clock, by which leases end."""

    now: datetime
    graphs: frozenset[str]
    has_worker: bool
    seen_at: Mapping[str, datetime]

    def has(self, graph_id: str) -> bool:
        return graph_id in self.graphs if graph_id else self.has_worker


@dataclass(frozen=True)
class Rows:
    """Our rows about some threads, by thread."""

    roster: Roster
    graphs: Mapping[str, Graph]
    runs: Mapping[str, Run]
    asked: Mapping[str, list[Approval]]
    newest: Mapping[str, Approval]


def diagnose(*, thread_id: str, by: User, may_wait: bool = True) -> Diagnosis:
    """Diagnose one thread. With `may_wait`, a worker first reads a thread that moved just now, within a short time
    limit.

    Raises Denied, or NotFound if neither our tables nor the checkpoints have the thread.
    """
    permissions.check_view(by)
    thread = Thread.objects.select_related("started_by").defer("state").filter(pk=thread_id).first()
    head = _head(thread_id)
    if thread is None:
        return diagnosis.judge(_unlisted(thread_id, head))
    rows = _read([thread])
    if may_wait and _is_moved(thread, rows, head) and rows.roster.has(thread.graph_id):
        inquiries.wait_for_index(thread_id)
        thread.refresh_from_db()
        head, rows = _head(thread_id), _read([thread])
    return diagnosis.judge(_facts(thread, rows, head=head, is_alone=True))


def graphs_of(threads: Iterable[Thread]) -> dict[str, Graph]:
    """Return the graphs of threads, by id."""
    return Graph.objects.in_bulk({thread.graph_id for thread in threads if thread.graph_id})


def diagnose_all(
    threads: Iterable[Thread], *, by: User, graphs: dict[str, Graph] | None = None
) -> dict[str, Diagnosis]:
    """Diagnose the threads of a list from our own rows alone, with a constant number of queries.

    `graphs` is `graphs_of` them, if the caller has read it.
    """
    permissions.check_view(by)
    listed = list(threads)
    rows = _read(listed, graphs)
    return {thread.pk: diagnosis.judge(_facts(thread, rows)) for thread in listed}


def _head(thread_id: str) -> Head | None:
    with suppress(Unavailable):  # checkpoints in another process: what the console last read is all there is
        return checkpoints.read_head(thread_id)
    return None


def _is_moved(thread: Thread, rows: Rows, head: Head | None) -> bool:
    run = rows.runs.get(thread.pk)
    if thread.cleaned_at or head is None or (run is not None and run.is_active):
        return False
    return head.checkpoint_id != thread.checkpoint_id


def _unlisted(thread_id: str, head: Head | None) -> Facts:
    """Diagnose a thread that an outside agent made and no worker has read yet."""
    if head is None:
        raise NotFound("There is no such thread.")
    roster = _roster()
    has_worker = roster.has_worker
    return Facts(roster.now, thread_id, is_moved=True, has_worker=has_worker, has_graph_worker=has_worker)


def _read(threads: list[Thread], graphs: dict[str, Graph] | None = None) -> Rows:
    """Read everything with six queries, however many threads there are."""
    ids = [thread.pk for thread in threads]
    runs = Run.objects.filter(thread__in=ids).order_by("thread_id", "-created_at").distinct("thread_id")
    approvals = Approval.objects.filter(thread__in=ids).select_related("claimed_by").defer(*_UNSHOWN)
    asked: dict[str, list[Approval]] = {thread_id: [] for thread_id in ids}
    place = Window(RowNumber(), partition_by="thread", order_by=["created_at", "id"])
    pending = approvals.pending().annotate(place=place, of_thread=Window(Count("pk"), partition_by="thread"))
    for approval in pending.filter(place__lte=_MOST_ASKED).order_by("created_at", "id"):
        asked[approval.thread_id].append(approval)
    newest = approvals.order_by("thread_id", "-created_at", "-id").distinct("thread_id")
    interrupt = F("decision__approval__interrupt_id")
    return Rows(
        roster=_roster(),
        graphs=graphs_of(threads) if graphs is None else graphs,
        runs={run.thread_id: run for run in runs.annotate(interrupt=interrupt).defer("input", "calls")},
        asked=asked,
        newest={approval.thread_id: approval for approval in newest},
    )


def _roster() -> Roster:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    known = list(Worker.objects.filter(seen_at__gt=now - _REMEMBERED).order_by("seen_at"))
    alive = [worker for worker in known if worker.seen_at > now - timedelta(seconds=settings.ALIVE_SECONDS)]
    graphs = frozenset(graph_id for worker in alive for graph_id in worker.graphs)
    return Roster(now, graphs, bool(alive), {worker.name: worker.seen_at for worker in known})


def _facts(thread: Thread, rows: Rows, *, head: Head | None = None, is_alone: bool = False) -> Facts:
    graph, roster, asked = rows.graphs.get(thread.graph_id), rows.roster, rows.asked[thread.pk]
    worker = leases.worker_of(thread.lease_owner)
    return Facts(
        now=roster.now,
        thread_id=thread.pk,
        status=thread.status,
        graph_id=thread.graph_id,
        checkpoint_id=thread.checkpoint_id,
        next=tuple(graph.node_title(node) if graph else node for node in thread.next),
        updated_at=thread.updated_at,
        problem=thread.problem,
        is_unread=bool(thread.checkpoint_id) and thread.step is None,
        unbound=str(thread.unbound["why"]) if thread.unbound else "",
        fitting=tuple(bindings.fitting(thread)),
        is_moved=_is_moved(thread, rows, head),
        is_cleaned=thread.cleaned_at is not None,
        is_poisoned=thread.is_poisoned,
        blocked=tuple(thread.blocked),
        too_large=_too_large(asked),
        lease_worker=worker,
        lease_until=thread.lease_until,
        worker_seen_at=roster.seen_at.get(worker),
        is_worker_silent=_is_silent(worker, roster),
        run=_run(rows.runs.get(thread.pk), graph),
        asked=tuple(_asked(each, thread, roster.now) for each in asked),
        not_listed=getattr(asked[0], "of_thread") - len(asked) if asked else 0,  # noqa: B009
        dropped=_dropped(rows.newest.get(thread.pk), rows.runs.get(thread.pk)),
        can_ask_again=is_alone and not repairs.why_not(thread),
        can_go_on=is_alone and not starts.why_not_go_on(thread),
        has_worker=roster.has_worker,
        has_graph_worker=roster.has(thread.graph_id),
        has_card=graph is not None,
        nodes=frozenset(node["id"] for node in graph.card["nodes"]) if graph else frozenset(),
        code_digest=graph.card["code_digest"] if graph else "",
        published_at=graph.published_at if graph else None,
    )


def _too_large(asked: list[Approval]) -> str:
    cut = sorted({part.removeprefix("state/") for approval in asked for part in approval.cut})
    told = f"It is too large to be shown whole: {', '.join(cut)}. Whoever approves must have opened that first."
    return told if cut else ""


def _is_silent(worker: str, roster: Roster) -> bool:
    seen_at = roster.seen_at.get(worker)
    return seen_at is not None and seen_at <= roster.now - timedelta(seconds=settings.ALIVE_SECONDS)


def _run(run: Any, graph: Graph | None) -> RunFacts | None:
    """Return the facts of a run, which comes with `interrupt`, the id of the question that it answers."""
    if run is None:
        return None
    wanted = "failed" if run.status == RunStatus.FAILED else "running"
    step = next((step for step in reversed(run.steps) if step["state"] == wanted), None)
    node = step["node"] if step else ""
    return RunFacts(
        id=str(run.pk),
        status=run.status,
        created_at=run.created_at,
        ended_at=run.ended_at or run.updated_at,
        started_by=run.started_by,
        attempts=run.attempts,
        retry_at=run.retry_at,
        node=graph.node_title(node) if graph else node,
        node_since=datetime.fromisoformat(step["started_at"]) if step else None,
        error=run.error,
        problem=run.problem,
        is_answer=bool(run.interrupt),
    )


def _asked(approval: Approval, thread: Thread, now: datetime) -> Asked:
    rule = Rule.of(approval.rule)
    is_claimed = approval.claimed_until is not None and approval.claimed_until > now
    return Asked(
        id=str(approval.pk),
        title=approval.title,
        is_breakpoint=approval.kind == "breakpoint",
        next=tuple(approval.next),
        inside=approval.path,
        created_at=approval.created_at,
        due_at=approval.due_at,
        voters=" and ".join(str(voters) for voters in rule.voters),
        not_by=" or ".join(sorted(owners(thread, rule))),
        claimed_by=approval.claimed_by.get_username() if is_claimed and approval.claimed_by else "",
        is_votable=bool(approval.allowed_verdicts),
        why_not=approval.why_not,
        code_digest=approval.code_digest,
    )


def _dropped(newest: Approval | None, run: Run | None) -> str:
    """Return the title of the newest question if the agent dropped it and no run of ours followed."""
    if newest is None or newest.status != ApprovalStatus.SUPERSEDED or newest.closed_at is None:
        return ""
    return newest.title if run is None or run.created_at < newest.closed_at else ""
