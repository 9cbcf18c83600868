"""Verification that goes on from a signed head: what it finds of what came after, and what it leaves to that head."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from tests import audit_logs


@dataclass(frozen=True)
class Log:
    """`size` is what the head covers that a verification goes on from; `at` is a time between it and the next."""

    size: int
    at: datetime
    last: int
    open_vote: Any
    """A vote from before, on what is decided after."""


@pytest.fixture(scope="module")
def log(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    from django.utils import timezone

    from approvals.actions.audit_log import signing
    from approvals.models import AuditEntry, SignedHead

    with audit_logs.own_database(database), audit_logs.own_folder(tmp_path_factory.mktemp("audit")):
        audit_logs.decided(comment="before")
        vote = audit_logs.voted()
        signing.sign()
        size, at = SignedHead.objects.latest("id").size, timezone.now()
        audit_logs.decided(comment="after")
        audit_logs.decide(vote)
        signing.sign()
        audit_logs.decided(comment="not signed yet")
        yield Log(size, at, AuditEntry.objects.latest("seq").seq, vote)


def verified(log: Log) -> Any:
    from approvals import audit

    return audit.verify(since=log.at)


@contextmanager
def changed(*statements: str) -> Iterator[None]:
    """Change the database as its owner could; all of it is taken back."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for table in ("auditentry", "signedhead", "decision"):
            cursor.execute(f"ALTER TABLE approvals_{table} DISABLE TRIGGER ALL")
        for statement in statements:
            cursor.execute(statement)
            assert cursor.rowcount > 0, statement
        yield
        transaction.set_rollback(True)


def test_it_goes_on_from_the_last_head_before_a_time(log: Log) -> None:
    from approvals import audit

    whole, part = audit.verify(), verified(log)
    assert (part.ok, part.after, part.entries, part.head) == (True, log.size, log.last, whole.head), part.reason
    assert (whole.ok, whole.after, part.signed) == (True, 0, whole.signed)


def test_where_no_head_is_that_old_all_is_verified(log: Log) -> None:
    from datetime import timedelta

    from approvals import audit

    with changed(f"UPDATE approvals_auditentry SET actor = 'mallory' WHERE seq = {log.size - 2}"):
        found = audit.verify(since=log.at - timedelta(days=1))
    assert (found.after, found.first_bad) == (0, log.size - 2)


@pytest.mark.parametrize("further", [1, 4])
def test_an_entry_after_the_head_that_was_changed_is_named(log: Log, further: int) -> None:
    at = log.size + further
    with changed(f"UPDATE approvals_auditentry SET body = replace(body, '\"v\":1', '\"v\":2') WHERE seq = {at}"):
        found = verified(log)
    assert (found.ok, found.first_bad) == (False, at)


def test_the_entry_that_the_head_names_must_be_there(log: Log) -> None:
    with changed(f"UPDATE approvals_auditentry SET hash = repeat('0', 64) WHERE seq = {log.size}"):
        found = verified(log)
    assert (found.first_bad, found.reason) == (log.size, "It is not the entry that was signed.")


def test_an_older_entry_is_left_to_the_head(log: Log) -> None:
    from approvals import audit

    with changed(f"UPDATE approvals_auditentry SET actor = 'mallory' WHERE seq = {log.size - 2}"):
        assert verified(log).ok
        assert audit.verify().first_bad == log.size - 2


def test_a_row_that_a_new_entry_tells_of_is_compared(log: Log) -> None:
    with changed("UPDATE approvals_decision SET decided_by = 'mallory' WHERE comment = 'not signed yet'"):
        found = verified(log)
    assert found.first_bad and found.first_bad > log.size and "changed" in found.reason


def test_a_vote_from_before_counts_for_a_decision_after(log: Log) -> None:
    """And only if the log has it: its entry is looked up, and must be whole."""
    with changed(f"UPDATE approvals_auditentry SET body = body || ' ' WHERE body LIKE '%{log.open_vote.pk}%'"):
        found = verified(log)
    assert not found.ok


def test_where_a_copy_says_another_time_than_its_head_all_is_verified(log: Log) -> None:
    with changed("UPDATE approvals_signedhead SET signed_at = signed_at - interval '1 day'"):
        assert verified(log).after == 0
