"""Approvals past their deadline: rejected, or opened to others, as their policy says. Never approved."""

import logging
from uuid import UUID

from django.db.models.functions import Now

from approvals import audit
from approvals.actions.votes import alterations, checks, decisions, locks
from approvals.actions.votes.decisions import ReachedDecision
from approvals.actions.votes.locks import Locked
from approvals.audit import vouching
from approvals.domain import outages, policies
from approvals.domain.policies import Proposal
from approvals.enums import Verdict
from approvals.errors import Altered, Refusal
from approvals.live import events
from approvals.models import Approval

logger = logging.getLogger(__name__)

AT_ONCE = 200
COMMENT = "Nobody decided in time."


def close_overdue() -> None:
    """Reject or escalate every approval whose deadline has passed."""
    overdue = Approval.objects.pending().filter(due_at__lte=Now(), escalated_at=None).order_by("due_at")
    for approval_id in overdue.values_list("pk", flat=True)[:AT_ONCE]:
        try:
            with outages.skip_locked("an overdue approval", approval=str(approval_id)):
                _close(approval_id)
        except Altered as altered:
            alterations.note(Approval.objects.get(pk=approval_id), altered.detail["columns"], by=None)
        except Refusal as refusal:  # the thread moved or is busy: a sweep reads it anew and closes the question
            logger.info("an overdue approval waits: %s", refusal.code, extra={"approval": str(approval_id)})


@audit.transaction()
def _close(approval_id: UUID) -> None:
    here = locks.lock(locks.find(approval_id))
    approval = here.approval
    if not approval.is_pending or approval.escalated_at or approval.due_at is None or approval.due_at > here.now:
        return
    log = vouching.read([approval])
    checks.check_question(log, here)
    if policies.is_expired(here.rule, due_at=approval.due_at, now=here.now, allowed=approval.allowed_verdicts):
        checks.check_head(here)
        decisions.settle(here, ReachedDecision(Verdict.REJECT, "the deadline", Proposal(), COMMENT))
    else:
        _escalate(here)


def _escalate(here: Locked) -> None:
    """Let the people vote whom the policy names for this case, beside those who may already."""
    approval = here.approval
    approval.escalated_at = here.now
    approval.save(update_fields=["escalated_at"])
    events.publish(thread_id=here.thread.pk)
    audit.append_by_console(
        "approval.escalated",
        thread_id=here.thread.pk,
        object={"approval": str(approval.pk), "to": list(here.rule.escalate_to)},
        policy_version=here.rule.source,
        rows=audit.told(approval, "escalated_at"),
        about=audit.key_of(approval),
    )
