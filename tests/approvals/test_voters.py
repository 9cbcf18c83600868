"""Who may vote: in Python, in SQL for a list, and in SQL as a count. The three agree."""

import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approvals.domain.authors import Author
from approvals.domain.policies import Rule, Voters
from tests.scale import tries

NOW = datetime(2026, 1, 31, 14, 0, tzinfo=UTC)
PEOPLE = ("voter-ana", "voter-ben", "voter-cy")
GROUPS = ("voter-finance", "voter-board", "reviewer")
FINANCE, BOARD = Voters(groups=("voter-finance",)), Voters(people=("voter-ana",), groups=("voter-board",))
ABSENT = "voter-nobody"


@pytest.fixture(scope="module")
def people(database: str) -> Iterator[dict[str, Any]]:
    """Three people who are in no group yet."""
    from django.contrib.auth.models import Group, User

    groups = [Group.objects.get_or_create(name=name)[0] for name in GROUPS]
    found = {name: User.objects.get_or_create(username=name)[0] for name in PEOPLE}
    yield found
    for person in found.values():
        person.delete()
    for group in groups[:2]:
        group.delete()


def ask(thread: Any, rule: Rule, **fields: Any) -> Any:
    from approvals.models import Approval

    return Approval.objects.create(
        thread=thread, checkpoint_id=str(uuid.uuid4()), kind="breakpoint", next=["act"], title="Rule", request={},
        actions=[], state={}, digest="0" * 64, allowed_verdicts=["approve"], rule=rule.as_dict(), **fields,
    )  # fmt: skip


names = st.lists(st.sampled_from([*PEOPLE, ABSENT]), max_size=2, unique=True).map(tuple)
groups = st.lists(st.sampled_from(GROUPS), max_size=2, unique=True).map(tuple)
rules = st.builds(
    Rule,
    voters=st.lists(st.builds(Voters, people=names, groups=groups), max_size=3).map(tuple),
    escalate_to=groups,
    may_decide_own=st.booleans(),
    edit_needs_another=st.booleans(),
)
authors = st.lists(
    st.builds(
        Author,
        name=st.sampled_from(PEOPLE),
        how=st.sampled_from(["input", "fork", "replay", "edit"]),
        of=st.sampled_from(["", "t-other"]),
        after=st.sampled_from(["", "1"]),
    ),
    max_size=3,
)
memberships = st.dictionaries(
    st.tuples(st.sampled_from(PEOPLE), st.sampled_from(GROUPS)), st.integers(-1, 1), max_size=9
)
"""Hours from the question to the moment at which somebody was put into a group."""


@settings(max_examples=tries(40, full=150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rule=rules,
    authors=authors,
    memberships=memberships,
    starter=st.sampled_from([None, *PEOPLE]),
    is_escalated=st.booleans(),
)
def test_one_person_a_list_and_a_count_agree(
    people: dict[str, Any],
    rule: Rule,
    authors: list[Author],
    memberships: dict[tuple[str, str], int],
    starter: str | None,
    is_escalated: bool,
) -> None:
    from django.contrib.auth.models import Group, User
    from django.db import transaction

    from approvals.domain import permissions, queries, voters
    from approvals.models import Approval, Membership, Thread

    with transaction.atomic():
        for (name, group), hours in memberships.items():
            row = {"user_id": people[name].pk, "group_id": Group.objects.get(name=group).pk}
            Membership.objects.create(**row)
            Membership.objects.filter(**row).update(granted_at=NOW + timedelta(hours=hours))
        by = people[starter] if starter else None
        kept = [author.as_dict() for author in authors]
        thread = Thread.objects.create(id=f"t-{uuid.uuid4()}", started_by=by, authors=kept)
        approval = ask(thread, rule, escalated_at=NOW if is_escalated else None)
        Approval.objects.filter(pk=approval.pk).update(asked_at=NOW)
        approval.refresh_from_db()
        may = set()
        for name in PEOPLE:
            person = User.objects.get(username=name)
            if permissions.can_vote(person, "approve") and not voters.why_not(
                approval, person, thread=thread, rule=Rule.of(approval.rule)
            ):
                may.add(name)
            listed = queries.needing(Approval.objects.filter(pk=approval.pk), person)
            assert listed.exists() is (name in may)
            for selected in (queries.first_needing(listed, person, 1), queries.counted_needing(listed, person)):
                assert list(selected.values_list("pk", flat=True)) == [approval.pk] * (name in may)
        others = set(User.objects.values_list("username", flat=True)) - set(PEOPLE)
        owners = voters.owners(thread, rule)
        counted = voters.count(rule, without=owners | others, asked_at=NOW, is_escalated=is_escalated)
        assert counted == len(may)
        transaction.set_rollback(True)


def test_a_list_and_one_person_agree_on_every_rule_of_some(database: str) -> None:
    """Every rule, person and moment of a list; each person may vote on some and not on others."""
    from django.contrib.auth.models import Group, User

    from approvals.domain import permissions, queries, voters
    from approvals.models import Approval, Thread

    group, _ = Group.objects.get_or_create(name="voter-finance")
    ana, _ = User.objects.get_or_create(username="voter-ana")
    ana.groups.set([group, Group.objects.get(name="reviewer")])
    thread = Thread.objects.create(id=f"t-{uuid.uuid4()}")
    named = [(), (FINANCE,), (BOARD,), (FINANCE, BOARD), (Voters(("bob",)),), (Voters(("bob",)), BOARD), (Voters(),)]
    cases = [
        (Rule(voters=each, escalate_to=to), at)
        for each, to, at in itertools.product(named, [(), ("voter-board",), ("reviewer",)], [None, NOW])
    ]
    made = [ask(thread, rule, escalated_at=at) for rule, at in cases]
    for person in (ana, User.objects.get(username="bob"), User.objects.get(username="carol")):
        roles = permissions.roles_of(person)
        may = {
            approval.pk
            for approval, (rule, at) in zip(made, cases, strict=True)
            if not voters.why_not_named(rule, username=person.username, groups=roles, is_escalated=bool(at))
        }
        listed = set(queries.needing(Approval.objects.filter(thread=thread), person).values_list("pk", flat=True))
        assert listed == may
        assert 0 < len(may) < len(made)
    Approval.objects.filter(thread=thread).delete()  # nobody could decide these
    thread.delete()
    ana.delete()
    group.delete()
