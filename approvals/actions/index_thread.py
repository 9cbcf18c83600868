"""Read a thread's head and store what people will see: the thread as it stands, and an approval for each pause."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from agentcore import interrupts, masks, resume, state_edit, threads
from agentcore.dsn import Memory
from agentcore.errors import UnreadableThread
from agentcore.serde import digest
from agentcore.skimming import cut, cut_channels, has_excerpt
from agentcore.tables import Head
from agentcore.types import Look, Pause, Snapshot
from approvals import answers, audit, events, folds, jobs, marks, notices, rules, runtime
from approvals.actions import inquire
from approvals.enums import ACTIVE_RUNS, STUCK_RUNS, ApprovalStatus, RunKind, RunStatus, ThreadStatus, VoteEnd
from approvals.errors import Stale, Superseded
from approvals.models import Approval, Graph, Run, Thread, Vote

R = TypeVar("R", bound=Stale | Superseded)
logger = logging.getLogger(__name__)

_TRIES = 5
SWEEP_SIZE = 200
SETTLED_SECONDS = 3.0
"""A thread that moves again and again is read once it stands still; who votes meanwhile is told that it moved."""
MOVING_SECONDS = 15.0
"""One that never stands still is read this often, and one that nobody knows at once: it can be seen, and cleaned."""
LONGEST_ID = Thread._meta.get_field("id").max_length or 0
LONGEST_PART = 300
RUN_KEY = "countersign_run"
"""In the metadata of every checkpoint of our runs, so that recovery can tell ours from others'."""
UNKNOWN_GRAPH = "No graph of langgraph.json fits this thread. Run it with graph_id in the config's metadata."


async def index_thread(thread_id: str) -> None:
    """Bring our rows up to the thread's head, unless a run of ours holds it and will do so itself."""
    worker = await runtime.worker()
    for tried in range(1, _TRIES + 1):
        head = await runtime.in_database(runtime.read_head)(thread_id)
        if head is None:
            return await runtime.in_database(_store_gone)(thread_id)
        graph_id = await _graph_of(worker, thread_id)
        if graph_id is None:
            return await _list_unread(worker, thread_id, "", head, UNKNOWN_GRAPH)
        graph = worker.graphs.get(graph_id)
        if graph is None:
            return await runtime.in_database(_hand_on)(thread_id, graph_id)
        try:
            snapshot = await threads.snapshot(graph, worker.saver(graph_id), thread_id)
            pauses = interrupts.read(graph, snapshot) if snapshot else []
        except UnreadableThread as error:
            return await _list_unread(worker, thread_id, graph_id, head, str(error))
        if snapshot is None:
            continue
        if tried == _TRIES:  # it never stands still: seen as it was a moment ago, and asking nobody
            await runtime.in_database(_store_if_free)(graph_id, snapshot, [], None)
        elif snapshot.checkpoint_id != head.checkpoint_id:
            continue  # it moved between the two reads
        elif await runtime.in_database(_store_if_free)(graph_id, snapshot, pauses, head):
            return None
    return None


async def _graph_of(worker: runtime.Worker, thread_id: str) -> str | None:
    """Say which graph a thread belongs to: as we know, as its run said, or the only one that has all its nodes."""
    known, nodes_of = await runtime.in_database(_known)(thread_id)
    if known in nodes_of:
        return known
    found = await _looked(worker, thread_id)
    if found is None:
        return None
    named = found.metadata.get("graph_id")
    if isinstance(named, str) and named in nodes_of:
        return named
    fitting = [graph_id for graph_id, nodes in nodes_of.items() if found.ran and nodes.issuperset(found.ran)]
    return fitting[0] if len(fitting) == 1 else None


async def _list_unread(worker: runtime.Worker, thread_id: str, graph_id: str, head: Head, problem: str) -> None:
    found = await _looked(worker, thread_id, head.checkpoint_id)
    values = found.values if found else {}
    here = [worker.graphs[graph_id]] if graph_id in worker.graphs else worker.graphs.values()
    secrets = [
        path for graph in here for path in masks.secret_paths(graph)
    ]  # of any graph, if nobody knows which it is
    seen = masks.Mask(secrets, values).state(values)
    await runtime.in_database(_store_unreadable)(thread_id, graph_id, head, problem, seen)


async def _looked(worker: runtime.Worker, thread_id: str, checkpoint_id: str | None = None) -> Look | None:
    """Read the thread without a graph; None for what is no checkpoint at all."""
    try:
        return await threads.look(worker.saver(None), thread_id, checkpoint_id)
    except UnreadableThread:
        return None


def _known(thread_id: str) -> tuple[str, dict[str, set[str]]]:
    """Return what we know of the thread's graph, and the nodes of every graph that some worker has."""
    cards = Graph.objects.values_list("pk", "card__nodes")
    nodes_of = {graph_id: {node["id"] for node in nodes} for graph_id, nodes in cards}
    return Thread.objects.filter(pk=thread_id).values_list("graph_id", flat=True).first() or "", nodes_of


def _hand_on(thread_id: str, graph_id: str) -> None:
    """Leave it to a worker that has the graph."""
    jobs.enqueue("index_thread", queue=jobs.graph_queue(graph_id), once=f"index {thread_id}", thread_id=thread_id)


@transaction.atomic
def _store_if_free(graph_id: str, snapshot: Snapshot, pauses: list[Pause], head: Head | None) -> bool:
    """Store what was read; False if the thread has moved since. A thread that a run holds is left to that run.

    Without `head` it is stored although it moves; it is read again later.
    """
    thread = _locked(snapshot.thread_id)
    if thread.cleaned_at or Run.objects.filter(thread=thread, status__in=ACTIVE_RUNS).exists():
        return True
    if head is None:
        head = Head(snapshot.checkpoint_id, "")
    elif runtime.read_head(thread.pk) != head:
        return False
    _supersede_stopped_runs(thread, head)
    stopped = _stopped_runs(thread.pk)
    pauses = [pause for pause in pauses if not _is_left_by(stopped, snapshot, pause)]
    store(thread, graph_id, snapshot, pauses, head)
    return True


def _supersede_stopped_runs(thread: Thread, head: Head) -> None:
    """A run that failed or was held cannot go on from where the agent has moved the thread since."""
    for run in Run.objects.filter(thread=thread, status__in=STUCK_RUNS).exclude(resume_from=head.checkpoint_id):
        run.status, run.ended_at, run.updated_at = RunStatus.SUPERSEDED, timezone.now(), timezone.now()
        run.problem = "The agent moved the thread after this run had stopped."
        run.save()
        about = {"run": str(run.pk), "checkpoint": head.checkpoint_id}
        audit.append("run.superseded", actor="worker", actor_kind="system", thread_id=thread.pk, object=about)


def _stopped_runs(thread_id: str) -> set[str]:
    stopped = Run.objects.filter(thread_id=thread_id, status__in=[*STUCK_RUNS, RunStatus.CANCELLED])
    stopped = stopped.exclude(error=resume.NOTHING_RAN)
    return {str(pk) for pk in stopped.values_list("pk", flat=True)}


def _is_left_by(stopped: set[str], snapshot: Snapshot, pause: Pause) -> bool:
    """A run that failed, was held or given up left the thread at this gate: decided once, it is not asked again."""
    here = _asking(snapshot, pause)
    return here.source == "update" and str(here.metadata.get(RUN_KEY)) in stopped


def _asking(snapshot: Snapshot, pause: Pause) -> Snapshot:
    """Return the snapshot of the graph that asks: the thread's own, or a subgraph's that stands at a breakpoint."""
    return snapshot.at(pause.checkpoint_ns) or snapshot


def _locked(thread_id: str) -> Thread:
    Thread.objects.bulk_create([Thread(id=thread_id)], ignore_conflicts=True)
    return Thread.objects.select_for_update().get(pk=thread_id)


def store(
    thread: Thread,
    graph_id: str,
    snapshot: Snapshot,
    pauses: list[Pause],
    head: Head,
    *,
    is_asked_again: bool = False,
) -> list[Approval]:
    """Write the thread, close what is no longer asked, open what is; inside a transaction that locked the thread.

    `is_asked_again`: somebody wants what was decided already to be asked anew.
    """
    thread.graph_id = graph_id
    thread.checkpoint_id, thread.step = snapshot.checkpoint_id, snapshot.step
    seen = masks.hidden(snapshot)
    thread.next, thread.state, thread.blocked = list(snapshot.next), seen.values, list(snapshot.blocked)
    thread.is_poisoned = any(pending.is_poisoned for pending in snapshot.interrupts)
    thread.problem = "; ".join(seen.errors)[:500]
    thread.updated_at = timezone.now()
    opened = _open_all(thread, snapshot, pauses, head, is_asked_again=is_asked_again)
    _close_others(thread, keep=[approval.pk for approval in opened])
    thread.status = _status(thread, opened, snapshot)
    waiting = [approval for approval in opened if approval.is_pending]
    if waiting:
        thread.title = f"{waiting[0].title}: {waiting[0].summary}".strip(": ")[:300]
    thread.save()
    runtime.mark_indexed(thread.pk, head)
    events.publish(thread_id=thread.pk)
    return opened


def _status(thread: Thread, opened: list[Approval], snapshot: Snapshot) -> ThreadStatus:
    if any(approval.is_pending for approval in opened):
        return ThreadStatus.INTERRUPTED
    last = Run.objects.filter(thread=thread).order_by("-created_at").first()
    is_stuck = last is not None and last.status in STUCK_RUNS
    if is_stuck or snapshot.errors:
        return ThreadStatus.ERROR
    if snapshot.next and last is not None and (last.status == RunStatus.CANCELLED or last.kind == RunKind.FORK):
        return ThreadStatus.IDLE
    return ThreadStatus.BUSY if snapshot.next else ThreadStatus.IDLE


def _open_all(
    thread: Thread, snapshot: Snapshot, pauses: list[Pause], head: Head, *, is_asked_again: bool
) -> list[Approval]:
    """A step may ask hundreds of questions: what is known of them is read at once."""
    asked_here = Q(checkpoint_id=snapshot.checkpoint_id) | Q(head_id=snapshot.checkpoint_id)
    asked_before = Approval.objects.filter(asked_here, thread=thread).order_by("round") if pauses else ()
    latest = {(each.checkpoint_ns, each.checkpoint_id, each.interrupt_id): each for each in asked_before}
    rulebook = rules.Rulebook(thread.graph_id)
    opened: list[Approval] = []
    for pause in pauses:
        here = _asking(snapshot, pause)
        known = latest.get((here.checkpoint_ns, here.checkpoint_id, pause.interrupt_id))
        is_again = known is not None and _is_to_ask_again(known, pause, is_asked_again=is_asked_again)
        key = {
            "thread": thread,
            "checkpoint_ns": here.checkpoint_ns,
            "checkpoint_id": here.checkpoint_id,
            "interrupt_id": pause.interrupt_id,
            "round": known.round + 1 if known and is_again else 1,
        }
        asked = _asked(thread, snapshot, pause, head, rulebook)
        opened.append(_open(thread, None if is_again else known, key, asked))
    return opened


def _open(thread: Thread, approval: Approval | None, key: dict[str, Any], asked: dict[str, Any]) -> Approval:
    is_new = approval is None
    if approval is None:
        approval = Approval.objects.create(**key, **asked)
    is_other = not is_new and approval.is_pending and approval.shown_digest != asked["shown_digest"]
    is_moved = any(getattr(approval, name) != asked[name] for name in ("head_writes", "blocked", "why_not"))
    if approval.is_pending and (is_other or is_moved):
        # Written in place of the question that was there: same checkpoint, same id. Who saw that one votes in vain.
        # Or the worker has other graphs than the one that read it first, and other types are allowed.
        _replace(approval, asked, is_other=is_other)
    if is_new or is_other:
        audit.append(
            "thread.paused",
            actor="worker",
            actor_kind="system",
            thread_id=thread.pk,
            object={"approval": str(approval.pk), "checkpoint": approval.checkpoint_id, "kind": approval.kind},
            digests={"shown": approval.shown_digest, "rule": digest(approval.rule)},
            policy_version=approval.rule["source"],
        )
    return approval


def _is_to_ask_again(latest: Approval, pause: Pause, *, is_asked_again: bool) -> bool:
    """What nobody decided is asked again once it waits again; what was decided, only if a person wants that."""
    if latest.is_pending or not pause.allowed_verdicts:
        return False
    if is_asked_again or latest.status == ApprovalStatus.SUPERSEDED:
        return True
    # Its node has run again and raised it again, at the same checkpoint and with the same id.
    return pause.kind == answers.RAISED and not _is_being_carried_out(latest)


def _is_being_carried_out(approval: Approval) -> bool:
    return Run.objects.filter(decision__approval=approval, status__in=[*ACTIVE_RUNS, *STUCK_RUNS]).exists()


def _replace(approval: Approval, asked: dict[str, Any], *, is_other: bool) -> None:
    """Store a question anew. Who voted on what stood there before voted on something else."""
    if is_other:
        tell_voters([approval], "The agent asks something else now. What you voted or reserved no longer counts.")
    else:
        kept = {"proposal", "rule", "required_votes", "due_at", "digest", "code_digest", "asked_at"}
        asked = {name: value for name, value in asked.items() if name not in kept}
    Approval.objects.filter(pk=approval.pk).update(**asked)
    approval.refresh_from_db()


def tell_voters(approvals: list[Approval], text: str) -> None:
    """End the votes that counted, and tell those who cast them or had reserved the question."""
    counting = Vote.objects.counting().filter(approval__in=approvals)
    told = set(counting.values_list("voter_id", "approval_id"))
    told |= {(each.claimed_by_id, each.pk) for each in approvals if each.claimed_by_id}
    notices.tell(told, text)
    counting.update(ended_at=Now(), ended_as=VoteEnd.SUPERSEDED)


def _asked(thread: Thread, snapshot: Snapshot, pause: Pause, head: Head, rulebook: rules.Rulebook) -> dict[str, Any]:
    actions = cut([asdict(action) for action in pause.actions])
    # A question that is JSON in a text keeps it: it is read again when it is answered.
    is_text = isinstance(pause.request, dict) and isinstance(pause.request.get("value"), str)
    request = pause.request if is_text and pause.kind != "plain" else cut(pause.request)
    head_id = snapshot.checkpoint_id if pause.checkpoint_ns else ""
    snapshot = _asking(snapshot, pause)
    shown = {
        "checkpoint_ns": snapshot.checkpoint_ns,
        "checkpoint_id": snapshot.checkpoint_id,
        "interrupt_id": pause.interrupt_id,
        "thread_id": thread.pk,
        "kind": pause.kind,
        "next": list(pause.next),
        "request": request,
        "actions": actions,
        "state": snapshot.values,
    }
    if snapshot.gate and snapshot.sent:  # the actions are without secrets
        shown["sent"] = [task.sent for task in snapshot.gate.tasks]
    rule, shown_digest = rulebook.rule_for(pause), digest(shown)
    hidden = masks.hidden(snapshot).values
    return {
        "rule": rule.as_dict(),
        "required_votes": rule.approvals,
        "asked_at": Now(),
        "due_at": Now() + timedelta(minutes=rule.deadline_minutes) if rule.deadline_minutes else None,
        "proposal": None,
        "shown_digest": shown_digest,
        "digest": shown_digest,
        "graph_id": thread.graph_id,
        "code_digest": rulebook.code_digest,
        "head_id": head_id,
        "head_writes": head.writes,
        "kind": pause.kind,
        "next": list(pause.next),
        "title": pause.title[:300],
        "summary": pause.summary[:500],
        "request": request,
        "actions": actions,
        "cut": _cut_parts(pause.kind, snapshot.sent, [request, actions], snapshot.values),
        "folded": folds.parts_of(actions),
        "marks": marks.marks_of(actions, request, hidden),
        "state": hidden,  # the digest above is over the real ones
        "opaque": list(snapshot.opaque),
        "blocked": list(snapshot.blocked),
        "allowed_verdicts": list(pause.allowed_verdicts),
        "why_not": pause.why_not,
        "answer_schema": pause.answer_schema,
    }


def _cut_parts(kind: str, sent: Sequence[Any], asked: Any, state: dict[str, Any]) -> list[str]:
    """Name what must be opened before somebody says yes. What a breakpoint asks is of the state, or was sent."""
    parts = [f"state/{name}"[:LONGEST_PART] for name in cut_channels(state)]
    is_cut = has_excerpt(sent) if kind == answers.BREAKPOINT else has_excerpt(asked)
    return [*parts, "request"] if is_cut else parts


def _close_others(thread: Thread, *, keep: list[UUID]) -> None:
    closing = list(Approval.objects.pending().filter(thread=thread).exclude(pk__in=keep))
    tell_voters(closing, "The agent moved on before this was decided. What you voted or reserved no longer counts.")
    for approval in closing:
        approval.status, approval.closed_at = ApprovalStatus.SUPERSEDED, timezone.now()
        approval.save(update_fields=["status", "closed_at"])
        audit.append(
            "approval.superseded",
            actor="worker",
            actor_kind="system",
            thread_id=thread.pk,
            object={"approval": str(approval.pk), "checkpoint": approval.checkpoint_id},
        )


@transaction.atomic
def _store_gone(thread_id: str) -> None:
    """The agent deleted its checkpoints: nobody can decide about them any more."""
    runtime.mark_indexed(thread_id, None)
    thread = Thread.objects.select_for_update().filter(pk=thread_id).first()
    if thread is None or thread.cleaned_at or Run.objects.filter(thread=thread, status__in=ACTIVE_RUNS).exists():
        return
    thread.checkpoint_id, thread.next, thread.state, thread.status = "", [], {}, ThreadStatus.IDLE
    thread.blocked, thread.is_poisoned = [], False
    thread.problem = "The thread's checkpoints were deleted."
    thread.save()
    events.publish(thread_id=thread_id)
    _close_others(thread, keep=[])


@transaction.atomic
def _store_unreadable(thread_id: str, graph_id: str, head: Head, problem: str, state: dict[str, Any]) -> None:
    """List it all the same, with the reason and what it holds; nothing is hidden. What runs next is not known."""
    thread = _locked(thread_id)
    if thread.cleaned_at is None and not Run.objects.filter(thread=thread, status__in=ACTIVE_RUNS).exists():
        thread.graph_id, thread.checkpoint_id, thread.problem = graph_id, head.checkpoint_id, problem
        thread.state, thread.next, thread.step, thread.blocked = state, [], None, []
        thread.is_poisoned = False
        thread.status, thread.updated_at = ThreadStatus.ERROR, timezone.now()
        thread.save()
        events.publish(thread_id=thread_id)
        _close_others(thread, keep=[])
    runtime.mark_indexed(thread_id, head)


def store_lost_threads() -> None:
    """Close what threads asked whose checkpoints went with the memory of the last process: nobody can decide it."""
    if not isinstance(settings.CHECKPOINT_STORE, Memory):
        return
    for thread_id in Thread.objects.filter(cleaned_at=None).exclude(checkpoint_id="").values_list("pk", flat=True):
        if runtime.read_head(thread_id) is None:
            _store_gone(thread_id)


def sweep() -> None:
    """Queue a look at every thread that moved without us; those that an admin removed are emptied."""
    with runtime.checkpoint_tables() as tables:
        moved = tables.threads_to_index(limit=SWEEP_SIZE, settled_seconds=SETTLED_SECONDS)
        moving = tables.threads_to_index(limit=SWEEP_SIZE)
    lately = Thread.objects.filter(pk__in=moving, updated_at__gt=Now() - timedelta(seconds=MOVING_SECONDS))
    moved += set(moving).difference(moved, lately.values_list("pk", flat=True))
    held = set(Run.objects.filter(thread_id__in=moved, status__in=ACTIVE_RUNS).values_list("thread_id", flat=True))
    cleaned = set(Thread.objects.filter(pk__in=moved, cleaned_at__isnull=False).values_list("pk", flat=True))
    for thread_id in moved:
        if thread_id in cleaned:
            runtime.lay_tombstone(thread_id)  # removed before there were tombstones
        elif len(thread_id) > LONGEST_ID:
            logger.warning("a thread is not listed: its id has %d characters", len(thread_id))
            runtime.mark_indexed(thread_id, runtime.read_head(thread_id))
        elif thread_id not in held:
            jobs.enqueue("index_thread", once=f"index {thread_id}", thread_id=thread_id)


def explained(refused: R, *, approval_id: UUID) -> R:
    """Return the refusal with what changed, waiting a moment for a worker to read the thread again."""
    approval = Approval.objects.get(pk=approval_id)
    if approval.is_pending:
        inquire.wait_for_index(approval.thread_id)
    if approval.status == ApprovalStatus.CLEANED:
        return refused
    thread = Thread.objects.get(pk=approval.thread_id)
    changed = [
        {"channel": change.channel, "before": change.before, "after": change.after}
        for change in state_edit.changes(approval.state, thread.state)
    ]
    newer = Approval.objects.pending().filter(thread=thread).exclude(pk=approval.pk)
    newer_id = newer.values_list("pk", flat=True).first()
    detail: dict[str, Any] = {
        "checkpoint_id": thread.checkpoint_id,
        "seen_checkpoint_id": approval.checkpoint_id,
        "next": thread.next,
        "seen_next": approval.next,
        "changed": changed,
        "approval": str(newer_id) if newer_id else None,
    }
    names = ", ".join(change["channel"] for change in changed)
    told = f" Changed: {names}." if names else ""
    return type(refused)(refused.message + told + " Nothing was decided.", **detail)
