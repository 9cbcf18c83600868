"""Take a run: the lease of its thread, and everything the run needs, in one transaction."""

from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agentcore.graphs.resume import Answer
from agentcore.plain.bound_bytes import Bound
from approvals import audit, checkpoints, last_writes
from approvals.actions.runs import audit_entries, leases, subscriptions
from approvals.actions.runs.taken import Decided, TakenRun
from approvals.compiled import compiled
from approvals.domain import answers, bindings, policies
from approvals.domain.policies import Rule
from approvals.enums import RunStatus
from approvals.live import events
from approvals.models import Decision, Reading, Run, Thread

_CHANGING = ("status", "resume_from", "is_edited", "bound", "entered_at", "attempts", "interfered")
"""Columns of a run that others may have changed until the thread is locked."""
_LARGE = {"state", "metadata"}
_OF_READING = [f"thread__reading__{field.name}" for field in Reading._meta.concrete_fields]
_OF_THREAD = [f"thread__{field.name}" for field in Thread._meta.concrete_fields if field.name not in _LARGE]


class _NotToTake(Exception):
    """There is nothing for this worker to do: what was begun is undone."""


def take_queued(run_id: str) -> TakenRun | None:
    """Take a queued run and record that it runs; None if there is nothing for this worker to do."""
    with suppress(_NotToTake), audit.transaction():
        run, taken = _take(run_id, when=RunStatus.QUEUED)
        run.status, run.attempts, run.updated_at = RunStatus.RUNNING, run.attempts + 1, timezone.now()
        last_writes.update(run, ["status", "attempts", "updated_at"])
        events.publish(thread_id=run.thread_id, is_queue_changed=False)
        audit_entries.append("run.started", run, attempt=run.attempts, fence=taken.fence)
        return replace(taken, attempts=run.attempts)
    return None


def take_over(run_id: str) -> tuple[TakenRun, bool] | None:
    """Take a run whose worker died. The result says whether a node may have been running."""
    with suppress(_NotToTake), audit.transaction():
        run, taken = _take(run_id, when=RunStatus.RUNNING)
        return taken, run.entered_at is not None
    return None


def _take(run_id: str, *, when: RunStatus) -> tuple[Run, TakenRun]:
    """Take the lease of the run's thread, which locks the thread.

    Raises _NotToTake if the run is not in a `when` status, or somebody has the lease.
    """
    # What is large and stays as it is while the run is active is read before the lock.
    found = _run(pk=UUID(run_id))
    if not found:
        raise _NotToTake
    [run] = found
    owner = leases.new_owner()
    fence = leases.take(run.thread_id, owner)
    if fence is None:
        raise _NotToTake
    is_early = read_again(run)
    if is_early or run.status != when:
        raise _NotToTake
    leases.keep_others_out(run.thread_id, fence)
    return run, _taken(run, owner, fence)


def read_again(run: Run) -> bool:
    """Read the thread, which is locked, and what others may have changed until it was.

    Return whether it is too early for a retry.
    """
    [now] = _again(pk=run.pk)
    run.thread = now.thread
    for name in _CHANGING:
        setattr(run, name, getattr(now, name))
    if run.decision:
        run.decision.deviations = vars(now)["told"]
    return bool(vars(now)["is_early"])  # None without a time


@compiled
def _run(pk: UUID) -> "QuerySet[Run]":
    runs = Run.objects.select_related("decision__approval").defer("steps", "calls", "decision__approval__state")
    asked = ArraySubquery(subscriptions.of_thread(OuterRef("thread_id")))
    return runs.annotate(agent=bindings.agent_of(OuterRef("graph_id")), asked=asked).filter(pk=pk)


@compiled
def _again(pk: UUID) -> "QuerySet[Run]":
    runs = Run.objects.select_related("thread__reading", "thread__started_by")
    runs = runs.only("thread", "thread__started_by__username", *_CHANGING, *_OF_THREAD, *_OF_READING)
    return runs.annotate(told=F("decision__deviations"), is_early=Q(retry_at__gt=Now())).filter(pk=pk)


def _taken(run: Run, owner: str, fence: int) -> TakenRun:
    head, metadata = checkpoints.read_head_and_metadata(run.thread_id)
    return TakenRun(
        run_id=str(run.pk),
        thread_id=run.thread_id,
        graph_id=run.graph_id,
        kind=run.kind,
        owner=owner,
        fence=fence,
        input=run.input,
        resume_from=run.resume_from,
        attempts=run.attempts,
        stood_at=head.checkpoint_id if head else "",
        decided=_decided(run, run.decision) if run.decision else None,
        options=run.thread.options,
        given_metadata=run.metadata,
        user=run.thread.started_by.get_username() if run.thread.started_by else "",
        wanted=subscriptions.wanted_in(vars(run)["asked"]),
        unbound=bindings.why_not_run(run.thread, run.graph_id, metadata, agent=vars(run)["agent"]),
    )


def _decided(run: Run, decision: Decision) -> Decided:
    asked = decision.approval
    is_to_answer = run.is_edited or run.resume_from == asked.head
    is_inside = is_to_answer and bool(asked.checkpoint_ns)
    return Decided(
        decision_id=str(decision.pk),
        answer=_answer(decision) if is_to_answer else None,
        namespace=asked.checkpoint_ns if is_inside else "",
        namespace_at=asked.checkpoint_id if is_inside else "",
        answer_digest=policies.answer_digest(
            verdict=decision.verdict,
            edits=decision.edits,
            answer=decision.answer,
            as_node=decision.as_node,
            comment=decision.comment,
        ),
        bytes_digest=policies.bytes_digest(asked.bound),
        bound=Bound.of(run.bound or asked.bound),
        rule=Rule.of(asked.rule),
        next=tuple(asked.next),
    )


def _answer(decision: Decision) -> Answer:
    return Answer(
        verdict=decision.verdict,
        edits=decision.edits,
        as_node=decision.as_node or None,
        reason=decision.comment,
        result_digest=decision.seen_preview or None,
        interrupt_id=decision.approval.interrupt_id,
        answer=answers.given(decision.approval, decision),
    )
