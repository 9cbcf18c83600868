"""Take a run: the lease of its thread, and everything the run needs, in one transaction."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agentcore.graphs.resume import Answer
from agentcore.plain.bound_bytes import Bound
from approvals import audit, checkpoints
from approvals.actions.runs import audit_entries, leases
from approvals.actions.runs.taken import Decided, TakenRun
from approvals.compiled import compiled
from approvals.domain import answers, bindings, policies
from approvals.domain.policies import Rule
from approvals.enums import RunStatus
from approvals.live import events
from approvals.models import Decision, Run, Thread

_CHANGING = ("status", "resume_from", "is_edited", "bound", "entered_at", "attempts", "interfered")
"""Columns of a run that others may have changed until the thread is locked."""


@audit.transaction()
def take_queued(run_id: str) -> TakenRun | None:
    """Take a queued run and record that it runs; None if there is nothing for this worker to do."""
    found = take(run_id, when=RunStatus.QUEUED)
    if found is None:
        return None
    run, taken = found
    run.status, run.attempts, run.updated_at = RunStatus.RUNNING, run.attempts + 1, timezone.now()
    run.save(update_fields=["status", "attempts", "updated_at"])
    events.publish(thread_id=run.thread_id, is_queue_changed=False)
    audit_entries.append("run.started", run, attempt=run.attempts, fence=taken.fence)
    return replace(taken, attempts=run.attempts)


@audit.transaction()
def take_over(run_id: str) -> tuple[TakenRun, bool] | None:
    """Take a run whose worker died. The result says whether a node may have been running."""
    found = take(run_id, when=RunStatus.RUNNING)
    if found is None:
        return None
    run, taken = found
    return taken, run.entered_at is not None


def take(run_id: str, *, when: RunStatus) -> tuple[Run, TakenRun] | None:
    """Lock the thread and take its lease for this run; None if the run is not in a `when` status, or somebody has
    the lease.
    """
    # What is large and stays as it is while the run is active is read before the lock.
    found = _run(pk=UUID(run_id))
    if not found:
        return None
    [run] = found
    run.thread = thread = Thread.objects.locked(run.thread_id)
    is_early = read_again(run)
    if is_early or run.status != when:
        return None
    owner = leases.new_owner()
    fence = leases.take(thread, owner)
    return None if fence is None else (run, _taken(run, owner, fence))


def read_again(run: Run) -> bool:
    """Read what others may have changed until the thread was locked. Return whether it is too early for a retry."""
    [now] = _changing(pk=run.pk)
    for name in _CHANGING:
        setattr(run, name, now[name])
    if run.decision:
        run.decision.deviations = now["told"]
    return bool(now["is_early"])  # None without a time


@compiled
def _run(pk: UUID) -> "QuerySet[Run]":
    runs = Run.objects.select_related("decision__approval").defer("steps", "calls", "decision__approval__state")
    return runs.filter(pk=pk)


@compiled
def _changing(pk: UUID) -> "QuerySet[Run, Any]":
    found: QuerySet[Run, Any] = Run.objects.filter(pk=pk).values(
        *_CHANGING, told=F("decision__deviations"), is_early=Q(retry_at__gt=Now())
    )
    return found


def _taken(run: Run, owner: str, fence: int) -> TakenRun:
    head = checkpoints.read_head(run.thread_id)
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
        user=run.thread.started_by.get_username() if run.thread.started_by else "",
        unbound=bindings.why_not_run(run.thread, run.graph_id, checkpoints.read_metadata(run.thread_id)),
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
