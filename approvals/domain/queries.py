"""Which approvals a person has to look at: conditions over many rows, each part of one query."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import BooleanField, Count, Exists, F, OuterRef, Q, Subquery, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.enums import STUCK_RUNS, Verdict
from approvals.models import Approval, ApprovalQuerySet, Vote

_RULE_LETS_VOTE = """
    COALESCE(approvals_approval.rule -> 'voters', '[]') = '[]'
    OR NOT EXISTS (
        SELECT FROM jsonb_array_elements(approvals_approval.rule -> 'voters') AS voters
        WHERE NOT (voters -> 'people' ? %s OR voters -> 'groups' ?| {groups})
          AND NOT (voters -> 'people' = '[]' AND voters -> 'groups' = '[]')
    )
    OR approvals_approval.escalated_at IS NOT NULL
       AND (approvals_approval.rule -> 'escalate_to' = '[]' OR approvals_approval.rule -> 'escalate_to' ?| {groups})
""".format(
    groups="ARRAY(SELECT name FROM unnest(%s::text[], %s::timestamptz[]) AS member (name, since)"
    " WHERE since <= approvals_approval.asked_at)"
)
"""`policies.why_not_voter` in SQL: a list of a hundred thousand cannot ask it for each row."""


def needing(found: ApprovalQuerySet, by: User) -> ApprovalQuerySet:
    """Select the open approvals on which this person may vote and has not voted."""
    if by.pk is None or permissions.why_not(by, "vote"):
        return found.none()
    voted = Vote.objects.counting().filter(approval=OuterRef("pk"), voter_id=by.pk)
    return (
        found.pending()
        .exclude(allowed_verdicts=[])
        .filter(asked_at__gte=permissions.granted_at(by, "approve"))
        .filter(Q(rule__may_decide_own=True) | _is_not_of(by))
        .filter(_needs_no_other() | ~_has_author(by, "edit"))
        .filter(_rule_lets_vote(by.get_username(), permissions.memberships_of(by)))
        .exclude(Exists(voted))
    )


def _is_not_of(by: User) -> Q:
    """`policies.why_not_author` as an SQL condition."""
    is_author = _has_author(by, "input") | _has_author(by, "fork") | _has_author(by, "replay")
    return (Q(thread__started_by=None) | ~Q(thread__started_by_id=by.pk)) & ~is_author


def _has_author(by: User, how: str) -> Q:
    return Q(thread__authors__contains=[{"name": by.get_username(), "how": how}])


def _needs_no_other() -> Q:
    """A rule from before edits could need another person does not say so."""
    return Q(rule__edit_needs_another=False) | Q(rule__edit_needs_another__isnull=True)


def _rule_lets_vote(username: str, memberships: Mapping[str, datetime]) -> RawSQL:
    names = [[*memberships], [*memberships.values()]]
    return RawSQL(_RULE_LETS_VOTE, [username, *names, *names], output_field=BooleanField())


def held_by(found: ApprovalQuerySet, username: str) -> ApprovalQuerySet:
    """Select the approvals that this person has claimed."""
    return found.pending().claimed().filter(claimed_by__username=username)


def stuck(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Select decided approvals whose run failed or waits for a person."""
    return found.filter(decision__run__status__in=STUCK_RUNS)


def with_tally(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate each approval with `approvals_so_far`: votes that count and are no rejection."""
    votes = Vote.objects.counting().filter(approval=OuterRef("pk"), is_own=False).exclude(verdict=Verdict.REJECT)
    counted = votes.order_by().values("approval").annotate(number=Count("pk")).values("number")
    return found.annotate(approvals_so_far=Coalesce(Subquery(counted), Value(0)))


def with_others(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate each approval with `asked_together`: how many questions its step asks at once; 0 at a breakpoint."""
    here = Approval.objects.filter(thread=OuterRef("thread"), checkpoint_id=OuterRef("checkpoint_id"))
    asked = here.exclude(interrupt_id="").order_by().values("thread")
    counted = asked.annotate(number=Count("interrupt_id", distinct=True)).values("number")
    return found.annotate(asked_together=Coalesce(Subquery(counted), Value(0)))


def missing(approval_id: UUID) -> int:
    """Return how many more approving votes are needed."""
    left: int = (
        with_tally(Approval.objects.filter(pk=approval_id))
        .annotate(left=F("required_votes") - F("approvals_so_far"))
        .values_list("left", flat=True)
        .get()
    )
    return max(0, left)
