"""Which approvals a person has to look at: conditions over many rows, each part of one query."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User as Person
from django.core.exceptions import EmptyResultSet
from django.db.models import Case, Count, Exists, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now

from approvals.counts import MOST_COUNTED, field_value
from approvals.domain import permissions, voters
from approvals.domain.permissions import User
from approvals.domain.sorts import DAY
from approvals.enums import STUCK_RUNS, Verdict
from approvals.models import APPROVAL_CONTENT, Approval, ApprovalQuerySet, Snooze, Vote

OF_APPROVAL = tuple(f"approval__{name}" for name in APPROVAL_CONTENT if name != "proposal")


def needing(found: ApprovalQuerySet, by: User) -> ApprovalQuerySet:
    """Select the open approvals on which this person may vote and has not voted."""
    if by.pk is None or permissions.why_not(by, "vote"):
        return found.none()
    voted = Vote.objects.counting().filter(approval=OuterRef("pk"), voter_id=by.pk)
    open_to = voters.open_to(found.pending().exclude(allowed_verdicts=[]), by)
    return open_to.exclude(Exists(voted)).exclude(Exists(_snoozed(by)))


def snoozed_by(found: ApprovalQuerySet, by: User) -> ApprovalQuerySet:
    """Select the open approvals that this person has snoozed."""
    return found.pending().filter(Exists(_snoozed(by)))


def _snoozed(by: User) -> "QuerySet[Snooze]":
    return Snooze.objects.filter(approval=OuterRef("pk"), user_id=by.pk or 0, until__gt=Now())


def decided_by(by: User, *, since: datetime) -> "QuerySet[Vote]":
    """Select the votes of this person that decided since a time, the newest first, with what became of them."""
    found = Vote.objects.filter(voter_id=by.pk or 0, created_at__gt=since, decision__isnull=False)
    found = found.select_related("decision__run", "approval").defer(*OF_APPROVAL, "edits", "answer")
    return found.order_by("-created_at")


def first_needing(found: ApprovalQuerySet, by: User, most: int) -> ApprovalQuerySet:
    """Select, in no order, approvals among which are the first `most` of what `needing` selected, in its order."""
    return _among(found, voters.first_open_to, by, most)


def counted_needing(found: ApprovalQuerySet, by: User) -> ApprovalQuerySet:
    """Select so many of what `needing` selected as are counted."""
    return _among(found, voters.any_open_to, by, MOST_COUNTED + 1)


def _among(
    found: ApprovalQuerySet, subquery: Callable[[ApprovalQuerySet, User, int], RawSQL], by: User, most: int
) -> ApprovalQuerySet:
    try:
        return Approval.objects.filter(pk__in=subquery(found, by, most))
    except EmptyResultSet:
        return Approval.objects.none()


def for_menu(by: User) -> ApprovalQuerySet:
    """Select what the badge in the menu counts."""
    return counted_needing(needing(Approval.objects.all(), by), by)


def held_by(found: ApprovalQuerySet, username: str) -> ApprovalQuerySet:
    """Select the approvals that this person has claimed."""
    return found.pending().claimed().filter(claimed_by__username=username)


def stuck(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Select decided approvals whose run failed or waits for a person."""
    return found.filter(decision__run__status__in=STUCK_RUNS)


def with_time_group(found: "QuerySet[Approval]") -> "QuerySet[Approval]":
    """Annotate each approval with `time_group`: how near its deadline is, a key of `sorts.TIME_GROUPS`."""
    return found.annotate(
        time_group=Case(
            When(due_at=None, then=Value("none")),
            When(due_at__lte=Now(), then=Value("over")),
            When(due_at__lte=Now() + DAY, then=Value("day")),
            default=Value("later"),
        )
    )


def with_tally(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate each approval with `approvals_so_far`: votes that count and are no rejection."""
    votes = Vote.objects.counting().filter(approval=OuterRef("pk"), is_own=False).exclude(verdict=Verdict.REJECT)
    counted = votes.order_by().values("approval").annotate(number=Count("pk")).values("number")
    return found.annotate(approvals_so_far=Coalesce(Subquery(counted), Value(0)))


def with_others(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate each approval with `asked_together`: how many questions its step asks at once; 0 at a breakpoint."""
    # All in one index: of a step with a thousand questions every row of a page counts a thousand.
    place = {name: OuterRef(name) for name in ("thread", "checkpoint_ns", "checkpoint_id")}
    asked = Approval.objects.filter(**place, round=1).exclude(interrupt_id="").order_by().values("thread")
    counted = asked.annotate(number=Count("interrupt_id")).values("number")
    return found.annotate(asked_together=Coalesce(Subquery(counted), Value(0)))


_SHOWN = ("pk", "voter_id", "verdict", "edits", "answer", "comment", "is_own", "created_at", "ended_at", "ended_as")


def votes_on(approval_id: UUID) -> Any:
    """Return the QuerySet of what pages show of the votes, oldest first. `votes_of` makes rows of it."""
    found = Vote.objects.filter(approval_id=approval_id).order_by("created_at", "id")
    return found.values(*_SHOWN, "voter__username")


def votes_of(told: Iterable[dict[str, Any]]) -> list[Vote]:
    """Return votes with their voters' names, from what `counts.Listed(votes_on(...))` gives."""
    return [_vote(**each) for each in told]


def _vote(voter__username: str, **told: Any) -> Vote:
    fields = {"pk": Vote._meta.pk, **{field.attname: field for field in Vote._meta.concrete_fields}}
    vote = Vote(**{name: field_value(fields[name], value) for name, value in told.items()})
    vote.voter = Person(pk=vote.voter_id, username=voter__username)
    return vote


def approvals_so_far(approval_id: UUID) -> int:
    """Return how many approving votes count."""
    found = with_tally(Approval.objects.filter(pk=approval_id)).only("pk").get()
    return int(vars(found)["approvals_so_far"])
