"""Who may vote on an approval. The same conditions are written three times, because they are asked in three directions.

`why_not` asks for one person and one approval, in Python. `open_to` selects the approvals of one person and `count`
counts the people of one approval, both in SQL: a list of 100,000 rows cannot call Python for each. A test compares the
three on random rules and people (tests/approvals/test_voters.py): change them together.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User as Person
from django.db import connection
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from approvals.domain import permissions
from approvals.domain.authors import Author, authors_of, starter_of
from approvals.domain.permissions import User
from approvals.domain.policies import Rule, Voters
from approvals.enums import Role
from approvals.models import Approval, ApprovalQuerySet, Membership, Thread


def why_not(approval: Approval, by: User, *, thread: Thread, rule: Rule, verdict: str = "approve") -> str:
    """Return why this person may not vote here, or an empty string. The caller selects `thread.started_by`."""
    authors = authors_of(thread.authors)
    return (
        why_not_author(authors=authors, started_by=starter_of(thread), voter=by.get_username(), rule=rule)
        or why_not_granted(granted_at=permissions.granted_at(by, verdict), asked_at=approval.asked_at)
        or why_not_named(
            rule,
            username=by.get_username(),
            groups=permissions.groups_at(by, approval.asked_at),
            is_escalated=approval.escalated_at is not None,
        )
    )


def open_to(found: ApprovalQuerySet, by: User) -> ApprovalQuerySet:
    """Select the approvals for which `why_not` is empty. The person is a reviewer."""
    return (
        found.filter(_is_not_of(by))
        .filter(asked_at__gte=permissions.granted_at(by, "approve"))
        .filter(_names(by.get_username(), permissions.memberships_of(by)))
    )


def count(rule: Rule, *, without: Collection[str] = (), asked_at: datetime | None = None, is_escalated: bool) -> int:
    """Count the people for whom `why_not` is empty. With `asked_at`, roles given later do not count."""
    return people(rule, without=without, asked_at=asked_at, is_escalated=is_escalated).count()


def people(
    rule: Rule, *, without: Collection[str] = (), asked_at: datetime | None = None, is_escalated: bool
) -> "QuerySet[Person]":
    """Select the people whom `count` counts."""
    named = Q()
    for voters in filter(Voters.is_limited, rule.voters):
        named &= Q(username__in=voters.people) | Q(pk__in=_members(voters.groups, asked_at))
    if is_escalated and rule.voters:
        named |= Q(pk__in=_members(rule.escalate_to, asked_at)) if rule.escalate_to else Q(pk__gt=0)
    reviewers = Person.objects.filter(is_active=True, pk__in=_members([Role.REVIEWER], asked_at))
    return reviewers.exclude(username__in=without).filter(named)


_GAVE = {
    "input": "You gave this thread its input",
    "fork": "You forked this thread",
    "replay": "You had this thread go back to an earlier checkpoint",
    "edit": "You proposed an edit or an answer that this thread went on with, and the policy asks for somebody else"
    " after an edit",
}


def why_not_author(*, authors: Iterable[Author], started_by: str, voter: str, rule: Rule) -> str:
    """Return why an author may not vote, or an empty string. Forks and replays do not change who is an author."""
    for author in authors:
        is_refused = rule.edit_needs_another if author.how == "edit" else not rule.may_decide_own
        if author.name == voter and is_refused:
            through = f", through {author.of}, of which it is a fork" if author.of else ""
            return f"{_GAVE[author.how]}{through}, so somebody else must decide."
    if started_by and started_by == voter and not rule.may_decide_own:
        return "You started this thread, so somebody else must decide."
    return ""


def own_names(*, authors: Iterable[Author], started_by: str, rule: Rule) -> set[str]:
    """Return the names of everybody whom `why_not_author` refuses."""
    names = {author.name for author in authors} | ({started_by} if started_by else set())
    listed = list(authors)
    return {name for name in names if why_not_author(authors=listed, started_by=started_by, voter=name, rule=rule)}


def owners(thread: Thread, rule: Rule) -> set[str]:
    """Return the names of authors, who may not vote. The caller selects `started_by` with the thread."""
    return own_names(authors=authors_of(thread.authors), started_by=starter_of(thread), rule=rule)


def _is_not_of(by: User) -> Q:
    """`why_not_author` in SQL."""
    is_own = _has_author(by, "input") | _has_author(by, "fork") | _has_author(by, "replay")
    is_anothers = (Q(thread__started_by=None) | ~Q(thread__started_by_id=by.pk)) & ~is_own
    # A rule from before edits could need another person does not say so.
    needs_no_other = Q(rule__edit_needs_another=False) | Q(rule__edit_needs_another__isnull=True)
    return (Q(rule__may_decide_own=True) | is_anothers) & (needs_no_other | ~_has_author(by, "edit"))


def _has_author(by: User, how: str) -> Q:
    return Q(thread__authors__contains=[{"name": by.get_username(), "how": how}])


def why_not_granted(*, granted_at: datetime | None, asked_at: datetime) -> str:
    """Return a refusal if the role was given after the question was asked, or an empty string."""
    if granted_at is None or granted_at <= asked_at:
        return ""
    return "You were given this role after this was asked: others must decide it."


def why_not_named(rule: Rule, *, username: str, groups: Collection[str], is_escalated: bool) -> str:
    """Return why the policy does not let this person vote, or an empty string."""
    if all(voters.include(username, groups) for voters in rule.voters):
        return ""
    others = Voters(groups=rule.escalate_to)
    if is_escalated and others.include(username, groups):
        return ""
    wanted = " and of ".join(str(voters) for voters in rule.voters)
    return f"The policy ({rule.source}) lets {wanted} decide here."


_NAMES_SQL = """
    COALESCE(approvals_approval.rule -> 'voters', '[]') = '[]'
    OR NOT EXISTS (
        SELECT FROM jsonb_array_elements(approvals_approval.rule -> 'voters') AS voters
        WHERE NOT (voters -> 'people' ? %s OR voters -> 'groups' ?| {groups})
          AND NOT (voters -> 'people' = '[]' AND voters -> 'groups' = '[]')
    )
    OR approvals_approval.escalated_at IS NOT NULL
       AND (approvals_approval.rule -> 'escalate_to' = '[]' OR approvals_approval.rule -> 'escalate_to' ?| {groups})
"""
_NAMES = _NAMES_SQL.format(
    groups="ARRAY(SELECT name FROM unnest(%s::text[], %s::timestamptz[]) AS member (name, since)"
    " WHERE since <= approvals_approval.asked_at)"
)

_VOTERS = (
    "md5(COALESCE(approvals_approval.rule ->> 'voters', '') || COALESCE(approvals_approval.rule ->> 'escalate_to', '')"
    " || (approvals_approval.escalated_at IS NOT NULL)::text)"
)
"""What is the same where `_NAMES` is, but for groups joined after the question. As in the index of migration 0022."""
FEW = 500
"""So many approvals are put in order at once."""
_PENDING = "FROM approvals_approval WHERE approvals_approval.status = 'pending'"
_NEXT = f"SELECT {_VOTERS}, approvals_approval.rule, approvals_approval.escalated_at {_PENDING}"
_NAMING = f"""
    WITH RECURSIVE together (mark, rule, escalated_at) AS (
        ({_NEXT} ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT next.* FROM together
        CROSS JOIN LATERAL ({_NEXT} AND {_VOTERS} > together.mark ORDER BY 1 LIMIT 1) AS next
    )
    SELECT mark FROM together AS approvals_approval WHERE {_NAMES_SQL.format(groups="%s::text[]")}
"""
# With two comparisons and an order: the planner would take an equality for a reason to read every open approval.
_OF_NAMING = f"{_VOTERS} >= naming.mark AND {_VOTERS} <= naming.mark"


def any_open_to(found: ApprovalQuerySet, by: User, most: int) -> RawSQL:
    """Return a subquery for the ids of at most `most` of what `open_to` selected, whichever are found first.

    Open approvals with the same voters stand together in an index, so only those that may name the person are looked
    at. Raises EmptyResultSet where nobody could be found.
    """
    together = found.filter(RawSQL(_OF_NAMING, [], output_field=BooleanField())).order_by(RawSQL(_VOTERS, []))
    inner, params = _written(together, most)
    groups = [*permissions.memberships_of(by)]
    return RawSQL(
        f"SELECT pk FROM ({_NAMING}) AS naming CROSS JOIN LATERAL ({inner}) AS found (pk) LIMIT {most}",
        [by.get_username(), groups, groups, *params],
    )


def first_open_to(found: ApprovalQuerySet, by: User, most: int) -> RawSQL:
    """Return a subquery for ids among which are the first `most` of what `open_to` selected, in its order.

    Where the person may vote on few, these are all of them; else the list is gone through in its order. The planner of
    PostgreSQL alone does not know how often somebody is named, and would have a look at all for who is named seldom.
    """
    few = any_open_to(found, by, FEW + 1)
    often = found.filter(RawSQL(f"(SELECT count(*) FROM few) > {FEW}", [], output_field=BooleanField()))
    inner, params = _written(often, most)
    return RawSQL(
        f"WITH few (pk) AS MATERIALIZED ({few.sql})"
        f" SELECT pk FROM few WHERE (SELECT count(*) FROM few) <= {FEW} UNION ALL ({inner})",
        [*few.params, *params],
    )


def _written(found: ApprovalQuerySet, most: int) -> tuple[str, tuple[Any, ...]]:
    written: tuple[str, tuple[Any, ...]]
    written = found.values("pk")[:most].query.get_compiler(connection=connection).as_sql()
    return written


def _names(username: str, memberships: Mapping[str, datetime]) -> RawSQL:
    """`why_not_named` in SQL."""
    groups = [[*memberships], [*memberships.values()]]
    return RawSQL(_NAMES, [username, *groups, *groups], output_field=BooleanField())


def _members(groups: Collection[str], at: datetime | None) -> Any:
    found = Membership.objects.filter(group__name__in=groups)
    return (found if at is None else found.filter(granted_at__lte=at)).values("user_id")
