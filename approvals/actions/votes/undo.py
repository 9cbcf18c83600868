"""Take back a decision before its run begins. The log keeps it; the question is asked again, as it was."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from approvals import audit, last_writes
from approvals.actions.people import notices
from approvals.actions.votes import drafts, locks
from approvals.actions.votes.locks import Locked
from approvals.domain import permissions, policies
from approvals.domain.authors import Author
from approvals.domain.permissions import User
from approvals.enums import ApprovalStatus, RunStatus, ThreadStatus
from approvals.errors import Conflict, Denied
from approvals.live import events
from approvals.models import Approval, Decision, Opening, Run

ASKED_AGAIN = (
    "The last vote was taken back, so this is asked again: vote anew. Your vote on the one before no longer counts."
)


def undo(*, approval_id: UUID, by: User) -> Approval:
    """Take back one's own vote that decided, and return the question that is asked again.

    Raises Denied for somebody else's vote, Conflict once the run may have begun, NotFound.
    """
    permissions.check_view(by)
    # Large columns are read before anything is locked.
    asked = Approval.objects.get(pk=locks.find(approval_id).pk)
    with audit.transaction():
        here = locks.lock(locks.find(approval_id), by=by)
        decision, run = _decided(here)
        if decision.vote is None or decision.vote.voter_id != by.pk:
            raise Denied("Only whoever cast the last vote can take it back.")
        if sentence := why_not_undo(run, here.now):
            raise Conflict(sentence)
        again = _asked_again(asked)
        last_writes.insert(again)
        _cancel(run, by)
        told = audit.told(again) | audit.told(run, "status") | _without_author(here, decision)
        here.thread.status, here.thread.updated_at = ThreadStatus.INTERRUPTED, timezone.now()
        last_writes.update(here.thread, ["status", "updated_at", "authors"])
        _keep_openings(approval_id, again, by)
        voters = here.approval.votes.counting().exclude(voter_id=by.pk).values_list("voter_id", flat=True)
        notices.tell(((voter, again.pk) for voter in list(voters)), ASKED_AGAIN)
        events.publish(thread_id=here.thread.pk)
        _record(here, decision, run, again, by, rows=told)
    drafts.keep_draft(
        thread_id=again.thread_id, edits=decision.edits, answer=decision.answer, comment=decision.comment, by=by
    )
    return again


def why_not_undo(run: Run, now: datetime) -> str:
    """Return why the decision of this run can no longer be taken back, or an empty string."""
    is_waiting = run.status == RunStatus.QUEUED and run.entered_at is None and run.attempts == 0
    if is_waiting and run.retry_at is not None and run.retry_at > now:
        return ""
    if run.status == RunStatus.CANCELLED:
        return "This was taken back or cancelled already."
    return "It is too late to take this back: the run has begun."


def _decided(here: Locked) -> tuple[Decision, Run]:
    decision = Decision.objects.filter(approval=here.approval).select_related("vote").first()
    run = Run.objects.filter(decision=decision).without_content().first() if decision else None
    if decision is None or run is None:
        raise Conflict("Nothing was decided here, so there is nothing to take back.")
    return decision, run


def _asked_again(asked: Approval) -> Approval:
    """Return the same question anew, without the proposal and the claim. It keeps its place in lists."""
    kept = {each.attname: getattr(asked, each.attname) for each in asked._meta.concrete_fields if not each.primary_key}
    changed: dict[str, Any] = {
        "round": asked.round + 1,
        "status": ApprovalStatus.PENDING,
        "closed_at": None,
        "proposal": None,
        "digest": policies.digest_with(asked.shown_digest, None),
        "claimed_by_id": None,
        "claimed_until": None,
    }
    return Approval(**kept | changed)


def _cancel(run: Run, by: User) -> None:
    now = timezone.now()
    run.status, run.ended_at, run.updated_at = RunStatus.CANCELLED, now, now
    run.problem = f"Taken back by {by.get_username()} before it began."
    last_writes.update(run, ["status", "ended_at", "updated_at", "problem"])


def _without_author(here: Locked, decision: Decision) -> audit.Told:
    """Remove whoever became an author of the thread by this decision. Return the recorded column if it changed."""
    proposal = here.approval.proposal or {}
    author = Author(str(proposal.get("by", "")), "edit", after=here.approval.checkpoint_id).as_dict()
    if author not in here.thread.authors:
        return {}
    here.thread.authors = [each for each in here.thread.authors if each != author]
    return audit.told(here.thread, "authors")


def _keep_openings(approval_id: UUID, again: Approval, by: User) -> None:
    """What this person has opened whole need not be opened once more."""
    seen = Opening.objects.filter(approval_id=approval_id, user_id=by.pk or 0).values("user_id", "part", "shown_digest")
    Opening.objects.bulk_create(Opening(approval_id=again.pk, **each) for each in list(seen))


def _record(here: Locked, decision: Decision, run: Run, again: Approval, by: User, *, rows: audit.Told) -> None:
    audit.append(
        "decision.undone",
        actor=by.get_username(),
        thread_id=here.thread.pk,
        object={
            "approval": str(here.approval.pk),
            "decision": str(decision.pk),
            "run": str(run.pk),
            "asked_again": str(again.pk),
        },
        digests={"shown": again.shown_digest},
        rows=rows,
        about=audit.key_of(again),
    )
