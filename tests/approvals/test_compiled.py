"""A query that is built once gives the rows that Django gives, in any thread, whatever it was asked for first."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from approvals.compiled import Compiled, compiled
from tests.console import Console

PEOPLE = ("alice", "bob", "carol", "olga", "erin", "root")


class Queries:
    """Made when Django is set up."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User

        from approvals.models import Approval, Decision, Membership, Thread

        def person(pk: int, username: str) -> Any:
            roles = Membership.objects.filter(user_id=pk, group__name="reviewer")
            found = User.objects.annotate(groups_of=Count("groups"), is_reviewer=Exists(roles)).defer("password")
            return found.filter(pk=pk, username=username)

        def approval(pk: UUID) -> Any:
            decided = Decision.objects.filter(approval=OuterRef("pk"))
            asked = Approval.objects.select_related("thread__started_by").annotate(is_decided=Exists(decided))
            return asked.filter(pk=pk)

        def locked(pk: str) -> Any:
            return Thread.objects.select_for_update().filter(pk=pk)

        def names(pk: int) -> Any:
            return User.objects.filter(pk=pk).values_list("username", "groups__name").order_by("groups__name")

        def anybody(pk: int, username: str) -> Any:
            return User.objects.filter(pk=pk)

        self.users = User.objects
        self.person: Compiled[Any] = compiled(person)
        self.approval: Compiled[Any] = compiled(approval)
        self.locked: Compiled[Any] = compiled(locked)
        self.names: Compiled[Any] = compiled(names)
        self.anybody: Compiled[Any] = compiled(anybody)


@pytest.fixture(scope="module")
def queries(database: str) -> Queries:
    return Queries()


def test_threads_that_share_a_query_get_the_rows_of_their_own_parameters(queries: Queries) -> None:
    people = {user.username: user for user in queries.users.filter(username__in=PEOPLE)}
    gate = threading.Barrier(len(PEOPLE))

    def ask(username: str) -> None:
        gate.wait()
        try:
            for _ in range(20):
                [found] = queries.person(pk=people[username].pk, username=username)
                assert (found, found.email) == (people[username], people[username].email)
                assert vars(found)["groups_of"] == people[username].groups.count()
                assert vars(found)["is_reviewer"] == people[username].groups.filter(name="reviewer").exists()
                assert found.get_deferred_fields() == {"password"}
        finally:
            connection.close()

    with ThreadPoolExecutor(len(PEOPLE)) as threads:
        list(threads.map(ask, PEOPLE))
    assert queries.person(pk=people["alice"].pk, username="bob") == []


def test_related_rows_and_annotations_are_those_of_django(console: Console, queries: Queries) -> None:
    for text in ("first", "second"):
        asked = UUID(console.pause("gated", {"text": text})["id"])
        with CaptureQueriesContext(connection) as asked_of:
            [found] = queries.approval(pk=asked)
            assert (found.pk, found.state["text"], vars(found)["is_decided"]) == (asked, text, False)
            assert found.thread.started_by is not None and found.thread.started_by.username == "olga"
        assert len(asked_of) == 1
    assert queries.approval(pk=uuid4()) == []


def test_rows_may_be_tuples(queries: Queries) -> None:
    root = queries.users.get(username="root")
    wanted = list(queries.users.filter(pk=root.pk).values_list("username", "groups__name").order_by("groups__name"))
    assert queries.names(pk=root.pk) == wanted and len(wanted) > 0


def test_a_lock_needs_a_transaction(queries: Queries) -> None:
    with pytest.raises(TransactionManagementError):
        queries.locked(pk="nobody's")
    with transaction.atomic():
        assert queries.locked(pk="nobody's") == []
    with pytest.raises(TransactionManagementError):
        queries.locked(pk="nobody's")


def test_a_parameter_that_the_query_lacks_or_that_nobody_named_is_an_error(queries: Queries) -> None:
    with pytest.raises(AssertionError, match="does not have username"):
        queries.anybody(pk=1, username="alice")
    with pytest.raises(AssertionError, match="its parameters are pk, username"):
        queries.person(pk=1)
