"""Store the rows of a thread that was read: its state, and an approval for each of its pauses. Needs no graph."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agentcore.plain import masks
from agentcore.plain.bound_bytes import BEHIND, MOST_TOLD, Bound, why
from agentcore.plain.excerpts import cut, cut_channels, has_excerpt
from agentcore.plain.json import digest
from agentcore.plain.tables import Head
from agentcore.plain.types import NOTHING_RAN, Pause, Shown, Snapshot
from agentcore.testing.failpoints import is_off
from approvals import audit, checkpoints, last_writes
from approvals.actions.people import notices
from approvals.actions.runs import interference
from approvals.audit.rows import BINDING
from approvals.compiled import compiled
from approvals.domain import answers, bindings, folds, policies
from approvals.domain.bindings import Uncertain
from approvals.domain.rulebook import Rulebook
from approvals.domain.run_metadata import RUN_KEY
from approvals.domain.run_traits import traits_of
from approvals.domain.spoofing import findings
from approvals.enums import ACTIVE_RUNS, STUCK_RUNS, ApprovalStatus, Binding, RunStatus, ThreadStatus, VoteEnd
from approvals.live import events
from approvals.models import Approval, ApprovalQuerySet, Reading, Run, Thread, Vote

LONGEST_ID = Thread._meta.get_field("id").max_length or 0
LONGEST_PART = 300
_AT_ONCE = 200
"""Questions of one statement: each may come with a large state."""


@dataclass(frozen=True)
class FoundBinding:
    """The graph of a thread. `shown` and `how` are set if the binding is not stored yet."""

    graph_id: str
    how: str = ""
    shown: Shown | None = None
    uncertain: Uncertain | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the thread's runs: they may have gates of their own."""


@dataclass(frozen=True)
class Seen:
    """Where a thread stands, as a worker read it, with its pauses and the bytes that its tasks can read."""

    snapshot: Snapshot
    pauses: list[Pause]
    head: Head
    bound: Bound | None


@dataclass(frozen=True)
class Unread:
    """A thread as it was read without its graph: which node runs next is not known, only whether one may."""

    head: Head
    problem: str
    state: dict[str, Any]
    has_ended: bool


@audit.transaction()
def store_if_free(
    bond: FoundBinding, snapshot: Snapshot, pauses: list[Pause], head: Head | None, bound: Bound | None
) -> bool:
    """Store the snapshot; return False if the thread moved since. A thread that a run holds is left to that run.

    Without `head` the snapshot is stored although the thread keeps moving; it will be indexed again.
    """
    thread = _locked(snapshot.thread_id)
    if thread.cleaned_at or Run.objects.hold(thread):
        return True
    if head is None:
        head = Head(snapshot.checkpoint_id, "")
    elif checkpoints.read_head(thread.pk) != head or bound and not checkpoints.is_still(thread.pk, bound):
        return False
    if not _tie(thread, bond, head):
        return False
    interference.note_late(thread.pk, snapshot.metadata.get(RUN_KEY))
    _supersede_stopped_runs(thread, head)
    stopped = _stopped_runs(thread.pk)
    pauses = [pause for pause in pauses if not _is_left_by(stopped, snapshot, pause)]
    store(thread, Seen(snapshot, pauses, head, bound))
    return True


def _tie(thread: Thread, bond: FoundBinding, head: Head) -> bool:
    """Bind the thread, whose row is locked, unless it is bound. Return False if it is bound to another graph by now."""
    if thread.bound_by:
        return thread.graph_id == bond.graph_id
    if bond.shown:
        thread.checkpoint_id = head.checkpoint_id
        _bind_found(thread, bond.graph_id, bond.how, bond.shown)
    else:
        thread.graph_id = ""
    return True


def _bind_found(thread: Thread, graph_id: str, how: str, shown: Shown) -> None:
    """Bind a thread to the graph that its checkpoints name. The caller holds the thread's lock and saves it."""
    thread.graph_id, thread.bound_by, thread.claims = graph_id, Binding(how), shown.claims
    record_binding(thread, actor=audit.WORKER, actor_kind="system")


def record_binding(
    thread: Thread, *, actor: str, actor_kind: str = "person", reason: str = "", fits: bool = True
) -> None:
    """Append the audit entry that says which graph the thread was bound to, and how that was known."""
    audit.append(
        "thread.bound",
        actor=actor,
        actor_kind=actor_kind,
        thread_id=thread.pk,
        object={
            "graph": thread.graph_id,
            "how": thread.bound_by,
            "claims": thread.claims,
            "checkpoint": thread.checkpoint_id,
            "fits": fits,
        },
        texts={"reason": reason} if reason else None,
        rows=audit.told(thread, *BINDING),
    )


def _supersede_stopped_runs(thread: Thread, head: Head) -> None:
    """Supersede failed and held runs: they cannot go on after the agent moved the thread."""
    stuck = Run.objects.filter(thread=thread, status__in=STUCK_RUNS).exclude(resume_from=head.checkpoint_id)
    for run in stuck.without_content():
        run.status, run.ended_at, run.updated_at = RunStatus.SUPERSEDED, timezone.now(), timezone.now()
        run.problem = "The agent moved the thread after this run had stopped."
        run.save()
        about = {"run": str(run.pk), "checkpoint": head.checkpoint_id}
        audit.append_by_worker(
            "run.superseded",
            thread_id=thread.pk,
            object=about,
            rows=audit.told(run, "status"),
        )


def _stopped_runs(thread_id: str) -> set[str]:
    stopped = Run.objects.filter(thread_id=thread_id, status__in=[*STUCK_RUNS, RunStatus.CANCELLED])
    stopped = stopped.exclude(error=NOTHING_RAN)
    return {str(pk) for pk in stopped.values_list("pk", flat=True)}


def _is_left_by(stopped: set[str], snapshot: Snapshot, pause: Pause) -> bool:
    """Return whether a failed, held or given-up run left the thread at this gate. A decided gate is not asked again."""
    here = _asking(snapshot, pause)
    return here.source == "update" and str(here.metadata.get(RUN_KEY)) in stopped


def _asking(snapshot: Snapshot, pause: Pause) -> Snapshot:
    """Return the snapshot of the graph that asks: the thread's own, or that of a subgraph at a breakpoint."""
    return snapshot.at(pause.checkpoint_ns) or snapshot


def _locked(thread_id: str) -> Thread:
    Thread.objects.bulk_create([Thread(id=thread_id)], ignore_conflicts=True)
    return Thread.objects.locked(thread_id)


def store(thread: Thread, seen: Seen, *, is_asked_again: bool = False, after: Run | None = None) -> list[Approval]:
    """Store the thread, close old questions and open new ones. The caller's transaction has locked the thread.

    `is_asked_again`: somebody wants decided questions to be asked anew. `after`: the run of ours that made the changes
    beside a question, and stops now.
    """
    snapshot = seen.snapshot
    uncertain = bindings.contested(
        thread, snapshot.metadata, agent=vars(after)["agent"] if after else bindings.NOT_SELECTED
    )
    thread.unbound = uncertain.as_dict() if uncertain else None
    if uncertain or not seen.pauses:
        seen = replace(seen, pauses=[], bound=None)
    thread.checkpoint_id, thread.step = snapshot.checkpoint_id, snapshot.step
    hidden = masks.hidden(snapshot)
    thread.next, thread.state, thread.blocked = list(snapshot.next), hidden.values, list(snapshot.blocked)
    thread.is_poisoned = any(pending.is_poisoned for pending in snapshot.interrupts)
    thread.problem = uncertain.why if uncertain else "; ".join(hidden.errors)[:500]
    thread.updated_at = timezone.now()
    found = _found(thread, snapshot.checkpoint_id, is_asking=bool(seen.pauses))
    opened = _open_all(thread, seen, found, is_asked_again=is_asked_again, after=after)
    _close_others(found, keep=[approval.pk for approval in opened])
    thread.status = _status(thread, opened, snapshot, after)
    waiting = [approval for approval in opened if approval.is_pending]
    if waiting:
        thread.title = f"{waiting[0].title}: {waiting[0].summary}".strip(": ")[:300]
    last_writes.update(thread)
    checkpoints.mark_indexed(thread.pk, seen.head)
    events.publish(thread_id=thread.pk)
    return opened


def _status(thread: Thread, opened: list[Approval], snapshot: Snapshot, after: Run | None) -> ThreadStatus:
    if any(approval.is_pending for approval in opened):
        return ThreadStatus.INTERRUPTED
    if thread.unbound:
        return ThreadStatus.ERROR
    last = after or next(iter(_last_run(thread_id=thread.pk)), None)
    is_stuck = last is not None and last.status in STUCK_RUNS
    if is_stuck or snapshot.errors:
        return ThreadStatus.ERROR
    is_left = last is not None and (last.status == RunStatus.CANCELLED or traits_of(last.kind).leaves_waiting)
    if snapshot.next and is_left:
        return ThreadStatus.IDLE
    return ThreadStatus.BUSY if snapshot.next else ThreadStatus.IDLE


@compiled
def _last_run(thread_id: str) -> "QuerySet[Run]":
    return Run.objects.filter(thread_id=thread_id).only("status", "kind").order_by("-created_at")[:1]


def _open_all(
    thread: Thread, seen: Seen, found: Sequence[Approval], *, is_asked_again: bool, after: Run | None
) -> list[Approval]:
    """Open all questions of a step. There may be a thousand, so they are read and written together."""
    if not seen.pauses:
        return []
    known = _known(found, seen.snapshot.checkpoint_id)
    changes = {} if after else _changes(thread, known.values(), seen.bound)
    if changes:
        _supersede([each for each in known.values() if each.pk in changes], changes)
    questions = Questions(thread, seen, Rulebook(thread.graph_id))
    opened: list[Approval] = []
    new: list[Approval] = []
    for pause in seen.pauses:
        approval = known.get(questions.place_of(pause))
        if (
            approval is None
            or approval.pk in changes
            or _is_to_ask_again(approval, pause, is_asked_again=is_asked_again, after=after)
        ):
            approval = questions.new(pause, round=approval.round + 1 if approval else 1)
            new.append(approval)
        else:
            _replace_if_other(approval, pause, questions)
        opened.append(approval)
    for number in range(0, len(new), _AT_ONCE):
        last_writes.insert(*new[number : number + _AT_ONCE])
    for approval in new:
        _record_asked("thread.paused", approval, audit.told(approval))
    _read_again(thread, seen, [each for each in opened if each.is_pending])
    return opened


def _found(thread: Thread, newest: str, *, is_asking: bool) -> list[Approval]:
    """Return the open questions of the thread; if it is asking, with those that were asked at its newest checkpoint."""
    if not is_asking:
        return _open(thread_id=thread.pk)
    return _open_or_asked(thread_id=thread.pk, newest=newest)


@compiled
def _open(thread_id: str) -> ApprovalQuerySet:
    return Approval.objects.pending().filter(thread_id=thread_id).without_content()


@compiled
def _open_or_asked(thread_id: str, newest: str) -> ApprovalQuerySet:
    wanted = Q(checkpoint_id=newest) | Q(head_id=newest) | Q(status=ApprovalStatus.PENDING)
    return Approval.objects.filter(wanted, thread_id=thread_id).without_content().order_by("round")


def _known(found: Iterable[Approval], newest: str) -> dict[tuple[str, str, str], Approval]:
    """Return the latest round of each question that was asked here, by its place."""
    here = [each for each in found if newest in (each.checkpoint_id, each.head_id)]
    return {(each.checkpoint_ns, each.checkpoint_id, each.interrupt_id): each for each in here}


def _replace_if_other(approval: Approval, pause: Pause, questions: "Questions") -> None:
    """Store an open question anew if something else was written in its place: same checkpoint, same id.

    Who saw that one votes in vain. Or the worker has other graphs than the one that read it first, and other types are
    allowed.
    """
    is_other = approval.shown_digest != questions.shown(pause)[1]
    read = {"blocked": list(questions.here(pause).blocked), "why_not": pause.why_not}
    if not approval.is_pending or not is_other and all(getattr(approval, name) == read[name] for name in read):
        return
    written, ended = _replace(approval, questions.columns(pause), is_other=is_other)
    action = "thread.paused" if is_other else "approval.read_again"
    _record_asked(action, approval, {**ended, **audit.told(approval, *written)})


def _record_asked(action: str, approval: Approval, rows: audit.Told) -> None:
    audit.append_by_worker(
        action,
        thread_id=approval.thread_id,
        object={"approval": str(approval.pk), "checkpoint": approval.checkpoint_id, "kind": approval.kind},
        digests={
            "shown": approval.shown_digest,
            "rule": digest(approval.rule),
            "bytes": policies.bytes_digest(approval.bound),
        },
        policy_version=approval.rule["source"],
        rows=rows,
        about=audit.key_of(approval),
    )


def _changes(thread: Thread, known: Iterable[Approval], bound: Bound | None) -> dict[UUID, list[str]]:
    """Name what is stored differently than when open questions were asked, by their ids."""
    if bound is None or is_off("bytes_check"):
        return {}
    found: dict[UUID, list[str]] = {}
    for approval in known:
        was = Bound.of(thread.reading_for(approval).bound) if approval.is_pending else None
        if was and (changes := was.changes(bound.without(was.unread))):
            found[approval.pk] = changes
    return found


def _read_again(thread: Thread, seen: Seen, opened: Sequence[Approval]) -> None:
    """Have open questions rest on the bytes as they are now, after another answer of their step was stored."""
    if not any(_is_rebound(thread.reading_for(approval), seen) for approval in opened):
        return
    bound = seen.bound.plain() if seen.bound else None
    now = {"checkpoint_id": seen.snapshot.checkpoint_id, "head_writes": seen.head.writes, "bound": bound}
    thread.reading = Reading(thread=thread, **now)
    Reading.objects.bulk_create(
        [thread.reading], update_conflicts=True, update_fields=list(now), unique_fields=["thread"]
    )
    audit.append_by_worker(
        "thread.read_again",
        thread_id=thread.pk,
        object={"checkpoint": seen.snapshot.checkpoint_id, "open": len(opened)},
        digests={"bytes": policies.bytes_digest(bound)},
        rows=audit.told(thread.reading),
        about=audit.key_of(thread.reading),
    )


def _is_rebound(known: Reading | Approval, seen: Seen) -> bool:
    """Return whether other bytes are stored now than an open question rests on."""
    was = Bound.of(known.bound)
    if was is None or seen.bound is None:
        return seen.bound is not None or known.head_writes != seen.head.writes
    return bool(was.changes(seen.bound.without(was.unread)))


def _supersede(known: list[Approval], changes: Mapping[UUID, Sequence[str]]) -> None:
    """Supersede questions whose stored bytes somebody changed outside a run of ours. They are asked anew."""
    _close(known, "What is stored was changed behind this. What you voted or reserved no longer counts.")
    for approval in known:
        if why(changes[approval.pk]) == BEHIND:
            record_tampering(approval, changes[approval.pk])


def record_tampering(approval: Approval, changes: Sequence[str]) -> None:
    """Record that stored bytes were changed in place behind a question or a decision; nothing was run."""
    about = {"approval": str(approval.pk), "checkpoint": approval.checkpoint_id, "what": list(changes)[:MOST_TOLD]}
    audit.append_by_worker(
        "thread.tampered",
        thread_id=approval.thread_id,
        object=about,
        outcome="refused",
    )


def _is_to_ask_again(latest: Approval, pause: Pause, *, is_asked_again: bool, after: Run | None) -> bool:
    """Return whether to ask again: undecided questions that wait again, and decided ones only if a person wants it."""
    if latest.is_pending or not pause.allowed_verdicts:
        return False
    if is_asked_again or latest.status == ApprovalStatus.SUPERSEDED:
        return True
    # Its node has run again and raised it again, at the same checkpoint and with the same id.
    return pause.kind == answers.RAISED and not _is_being_carried_out(latest, after)


def _is_being_carried_out(approval: Approval, after: Run | None) -> bool:
    """Return whether a run is at its decision, or stopped on the way. How `after` stopped is not written yet."""
    going_on = [*ACTIVE_RUNS, *STUCK_RUNS]
    if after and after.decision and after.decision.approval_id == approval.pk:
        return after.status in going_on
    return Run.objects.filter(decision__approval=approval, status__in=going_on).exists()


def _replace(approval: Approval, asked: dict[str, Any], *, is_other: bool) -> tuple[list[str], audit.Told]:
    """Store a question anew. Return the columns written, and the votes that ended: they were on something else.

    Columns that stay are not recorded again: the first entry about them still holds.
    """
    ended: audit.Told = {}
    if is_other:
        told = "The agent asks something else now. What you voted or reserved no longer counts."
        ended = tell_voters([approval], told)
    else:
        kept = {"proposal", "rule", "required_votes", "due_at", "digest", "code_digest", "asked_at"}
        asked = {name: value for name, value in asked.items() if name not in kept}
    Approval.objects.filter(pk=approval.pk).update(**asked)
    for name, value in asked.items():
        setattr(approval, name, value)
    return list(asked), ended


def tell_voters(approvals: list[Approval], text: str) -> audit.Told:
    """End the votes that counted, and notify their voters and the holder of a claim. Return the votes that ended."""
    counting = Vote.objects.counting().filter(approval__in=approvals)
    votes = list(counting.values_list("pk", "voter_id", "approval_id"))
    told = {(voter_id, approval_id) for _, voter_id, approval_id in votes}
    told |= {(each.claimed_by_id, each.pk) for each in approvals if each.claimed_by_id}
    notices.tell(told, text)
    Vote.objects.filter(pk__in=[pk for pk, _, _ in votes]).update(ended_at=Now(), ended_as=VoteEnd.SUPERSEDED)
    return {f"vote:{pk}": {"ended_at": True, "ended_as": VoteEnd.SUPERSEDED.value} for pk, _, _ in votes}


class Questions:
    """The questions of a step as rows. What they share, such as the state, is worked out once."""

    def __init__(self, thread: Thread, seen: Seen, rulebook: Rulebook) -> None:
        self._thread, self._seen, self._rulebook = thread, seen, rulebook
        self._bound = seen.bound.plain() if seen.bound else None
        self._hidden: dict[str, dict[str, Any]] = {}
        asking = [(task["id"], task["interrupts"]) for task in seen.snapshot.tasks]
        self._tasks = {each["id"]: task_id for task_id, asked in asking for each in asked}

    def here(self, pause: Pause) -> Snapshot:
        return _asking(self._seen.snapshot, pause)

    def place_of(self, pause: Pause) -> tuple[str, str, str]:
        """Return what a question is known by: namespace, checkpoint, interrupt."""
        here = self.here(pause)
        return here.checkpoint_ns, here.checkpoint_id, pause.interrupt_id

    def new(self, pause: Pause, *, round: int) -> Approval:
        namespace, checkpoint_id, interrupt_id = self.place_of(pause)
        return Approval(
            thread=self._thread,
            checkpoint_ns=namespace,
            checkpoint_id=checkpoint_id,
            interrupt_id=interrupt_id,
            task_id=self._tasks.get(interrupt_id, ""),
            round=round,
            **self.columns(pause),
        )

    def shown(self, pause: Pause) -> tuple[dict[str, Any], str]:
        """Return what people are shown of a question, and its digest."""
        shown = _shown(self._thread, self.here(pause), pause)
        return shown, digest(shown)

    def columns(self, pause: Pause) -> dict[str, Any]:
        """Return the columns of an approval that a question fills."""
        seen, snapshot = self._seen, self.here(pause)
        shown, shown_digest = self.shown(pause)
        hidden = self._hidden_state(snapshot)
        return {
            **self._ruled(pause),
            "proposal": None,
            "shown_digest": shown_digest,
            "digest": shown_digest,
            "graph_id": self._thread.graph_id,
            "code_digest": self._rulebook.code_digest,
            "head_id": seen.snapshot.checkpoint_id if pause.checkpoint_ns else "",
            "head_writes": seen.head.writes,
            "bound": self._bound,
            "kind": pause.kind,
            "next": list(pause.next),
            "title": pause.title[:300],
            "summary": pause.summary[:500],
            "request": shown["request"],
            "actions": shown["actions"],
            "cut": _cut_parts(pause.kind, snapshot.sent, [shown["request"], shown["actions"]], snapshot.values),
            "folded": folds.parts_of(shown["actions"]),
            "marks": findings.marks_of(shown["actions"], shown["request"], hidden),
            "state": hidden,  # the digest above is over the real ones
            "opaque": list(snapshot.opaque),
            "blocked": list(snapshot.blocked),
            "allowed_verdicts": list(pause.allowed_verdicts),
            "why_not": pause.why_not,
            "answer_schema": pause.answer_schema,
        }

    def _hidden_state(self, snapshot: Snapshot) -> dict[str, Any]:
        if snapshot.checkpoint_ns not in self._hidden:
            self._hidden[snapshot.checkpoint_ns] = masks.hidden(snapshot).values
        return self._hidden[snapshot.checkpoint_ns]

    def _ruled(self, pause: Pause) -> dict[str, Any]:
        """Return the columns that the policies fill."""
        rule = self._rulebook.rule_for(pause)
        minutes, asked_at = rule.deadline_minutes, self._rulebook.read_at
        return {
            "rule": rule.as_dict(),
            "required_votes": rule.approvals,
            "asked_at": asked_at,
            "due_at": asked_at + timedelta(minutes=minutes) if minutes else None,
        }


def _shown(thread: Thread, snapshot: Snapshot, pause: Pause) -> dict[str, Any]:
    """Return what people are shown of a question: a vote names its digest."""
    # A question that is JSON in a text keeps it: it is read again when it is answered.
    is_text = isinstance(pause.request, dict) and isinstance(pause.request.get("value"), str)
    shown = {
        "checkpoint_ns": snapshot.checkpoint_ns,
        "checkpoint_id": snapshot.checkpoint_id,
        "interrupt_id": pause.interrupt_id,
        "thread_id": thread.pk,
        "kind": pause.kind,
        "next": list(pause.next),
        "request": pause.request if is_text and pause.kind != "plain" else cut(pause.request),
        "actions": cut([asdict(action) for action in pause.actions]),
        "state": snapshot.values,
    }
    if snapshot.gate and snapshot.sent:  # the actions are without secrets
        shown["sent"] = [task.sent for task in snapshot.gate.tasks]
    return shown


def _cut_parts(kind: str, sent: Sequence[Any], asked: Any, state: dict[str, Any]) -> list[str]:
    """Name what must be opened whole before a yes: for a breakpoint parts of the state, or of what was sent."""
    parts = [f"state/{name}"[:LONGEST_PART] for name in cut_channels(state)]
    is_cut = has_excerpt(sent) if kind == answers.BREAKPOINT else has_excerpt(asked)
    return [*parts, "request"] if is_cut else parts


def _close_others(found: Iterable[Approval], *, keep: Collection[UUID]) -> None:
    if closing := [each for each in found if each.is_pending and each.pk not in keep]:
        _close(closing, "The agent moved on before this was decided. What you voted or reserved no longer counts.")


def _close(closing: list[Approval], told: str) -> None:
    """Close open questions, end the votes on them and tell their voters."""
    ended, now = tell_voters(closing, told), timezone.now()
    status = ApprovalStatus.SUPERSEDED
    Approval.objects.filter(pk__in=[each.pk for each in closing]).update(status=status, closed_at=now)
    for approval in closing:
        approval.status, approval.closed_at = status, now
        audit.append_by_worker(
            "approval.superseded",
            thread_id=approval.thread_id,
            object={"approval": str(approval.pk), "checkpoint": approval.checkpoint_id},
            rows={**ended, **audit.told(approval, "status")},
            about=audit.key_of(approval),
        )
        ended = {}


@audit.transaction()
def store_gone(thread_id: str) -> None:
    """Store that the agent deleted its checkpoints: the open questions are superseded."""
    checkpoints.mark_indexed(thread_id, None)
    thread = Thread.objects.find_locked(thread_id)
    if thread is None or thread.cleaned_at or Run.objects.hold(thread):
        return
    thread.checkpoint_id, thread.next, thread.state, thread.status = "", [], {}, ThreadStatus.IDLE
    thread.blocked, thread.is_poisoned = [], False
    thread.problem = "The thread's checkpoints were deleted."
    thread.save()
    events.publish(thread_id=thread_id)
    _close_others(_open(thread_id=thread_id), keep=[])


@audit.transaction()
def store_unread(thread_id: str, bond: FoundBinding, unread: Unread) -> None:
    """List a thread that nobody can read with its graph, with the reason and its content."""
    thread, head = _locked(thread_id), unread.head
    is_free = thread.cleaned_at is None and not Run.objects.hold(thread)
    if is_free and _tie(thread, bond, head):
        thread.unbound = bond.uncertain.as_dict() if bond.uncertain else None
        thread.checkpoint_id, thread.problem = head.checkpoint_id, unread.problem
        thread.state, thread.next, thread.step, thread.blocked = unread.state, [], None, []
        thread.is_poisoned = False
        thread.status = ThreadStatus.IDLE if unread.has_ended else ThreadStatus.ERROR
        thread.updated_at = timezone.now()
        thread.save()
        events.publish(thread_id=thread_id)
        _close_others(_open(thread_id=thread_id), keep=[])
    checkpoints.mark_indexed(thread_id, head)
