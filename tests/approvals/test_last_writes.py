"""What a transaction leaves to its end: sent as one statement, stored as Django would store it, or not at all."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

HARD: list[Any] = [None, "", "a\x00b", "\ud800", {"b": [1, None], "a": 2**60}, [], 0.1, "'; --", "%s"]


@pytest.fixture
def thread(database: str) -> Iterator[Any]:
    """A thread of which no entry tells: whoever verifies the log after this test must not find it or its runs."""
    from approvals.models import Run, Thread

    made = Thread.objects.create(pk=f"t-{uuid4()}", graph_id="gated")
    yield made
    Run.objects.filter(thread=made).delete()
    Thread.objects.filter(pk=made.pk).delete()


def run_of(thread: Any, given: Any) -> Any:
    from approvals.models import Run

    return Run(thread=thread, graph_id="gated", kind="start", started_by="alice", input=given)


def told(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.mark.parametrize("given", HARD, ids=repr)
def test_a_row_is_stored_as_django_stores_it(thread: Any, given: Any) -> None:
    from approvals import last_writes
    from approvals.models import Run

    run = run_of(thread, given)
    with last_writes.gathering():
        last_writes.insert(run)
        assert not Run.objects.filter(pk=run.pk).exists(), "it is sent at the end"
    assert told(Run.objects.get(pk=run.pk)) == told(run)
    run.bound, run.interfered, run.status = {"a": None}, ["é"], "failed"
    with last_writes.gathering():
        last_writes.update(run, ["bound", "interfered", "status"])
    assert told(Run.objects.get(pk=run.pk)) == told(run)
    run.bound = None
    last_writes.update(run)
    assert told(Run.objects.get(pk=run.pk)) == told(run), "at once, outside of gathering; all columns"


def test_all_writes_of_a_transaction_are_one_statement(thread: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from approvals import audit, last_writes
    from approvals.jobs import job_queue
    from approvals.live import events
    from approvals.models import AuditEntry, Run

    run = run_of(thread, None)
    with CaptureQueriesContext(connection) as captured, audit.transaction():
        last_writes.insert(run)
        thread.title = "changed"
        last_writes.update(thread, ["title"])
        job_queue.enqueue("execute_run", queue="nobody's", run_id=str(run.pk))
        events.publish(thread_id=thread.pk)
        for _ in range(3):
            audit.append("run.started", actor="alice", thread_id=thread.pk, object={"run": str(run.pk)})
    assert [each["sql"].split()[0] for each in captured.captured_queries] == ["BEGIN", "WITH", "COMMIT"]
    thread.refresh_from_db()
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'run_id' = %s"
    with connection.cursor() as cursor:
        cursor.execute(jobs, [str(run.pk)])
        assert cursor.fetchone() == (1,)
        cursor.execute("DELETE FROM procrastinate_jobs WHERE args ->> 'run_id' = %s", [str(run.pk)])
    assert (thread.title, Run.objects.filter(pk=run.pk).count()) == ("changed", 1)
    assert AuditEntry.objects.filter(thread_id=thread.pk, action="run.started").count() == 3


def test_a_block_that_raises_sends_nothing_and_the_one_around_it_goes_on(thread: Any) -> None:
    from approvals import last_writes
    from approvals.models import Run

    lost, kept = run_of(thread, 1), run_of(thread, 2)
    with last_writes.gathering():
        with pytest.raises(ZeroDivisionError), last_writes.gathering():
            last_writes.insert(lost)
            _ = 1 / 0
        with last_writes.gathering():
            last_writes.insert(kept)
    assert [*Run.objects.filter(thread=thread).values_list("pk", flat=True)] == [kept.pk]


def test_a_row_that_is_gone_is_an_error_and_nothing_of_the_transaction_is_stored(thread: Any) -> None:
    from approvals import audit, last_writes
    from approvals.models import AuditEntry, Run

    gone, run = run_of(thread, None), run_of(thread, None)
    with pytest.raises(last_writes.NotWritten), audit.transaction():
        last_writes.insert(run)
        last_writes.update(gone, ["status"])
        audit.append("run.started", actor="alice", thread_id=thread.pk)
    assert not Run.objects.filter(thread=thread).exists()
    assert not AuditEntry.objects.filter(thread_id=thread.pk).exists()


def test_a_column_that_is_none_or_is_left_to_the_database_is_refused(thread: Any) -> None:
    from django.db.models.functions import Now

    from approvals import last_writes

    with pytest.raises(AssertionError, match="not all columns"):
        last_writes.update(thread, ["no_column"])
    thread.updated_at = Now()
    with pytest.raises(AssertionError, match="left to the database"):
        last_writes.update(thread, ["updated_at"])
