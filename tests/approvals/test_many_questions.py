"""One step that asks many questions: each is decided by itself, and all rest on the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.console import Console, wait_for
from tests.voting import code_of, vote

COUNT = 12


@pytest.fixture
def asked(console: Console) -> list[dict[str, Any]]:
    return ask(console)


@pytest.fixture(scope="module")
def waiting(console: Console) -> list[dict[str, Any]]:
    """The same, for tests that leave them as they are."""
    return ask(console)


def ask(console: Console) -> list[dict[str, Any]]:
    """Return the questions of a thread, of which the first is answered and carried out."""
    thread_id = console.start_run("fanning", {"count": COUNT})
    is_listed = "SELECT 1 FROM approvals_thread WHERE id = %s AND status = 'interrupted'"
    with console.rows(is_listed, thread_id) as read:
        wait_for(read, what="a step to ask its questions")
    with console.api("alice") as alice:
        found = alice.get("/approvals", params={"thread_id": thread_id, "limit": 50}).json()["items"]
    assert len(found) == COUNT
    answer(console, found[0])
    return list(found)


def answer(console: Console, approval: dict[str, Any]) -> None:
    answered = vote(console, "alice", approval, verdict="respond", answer="yes")
    assert answered.status_code == 201, answered.text
    console.run_of(approval["id"])


@contextmanager
def reading(database: str, thread_id: str, change: str) -> Iterator[None]:
    """Have whoever owns the database change the reading of a thread, for as long as the block runs."""
    with psycopg.connect(database, autocommit=True) as owner:
        before = owner.execute("SELECT * FROM approvals_reading WHERE thread_id = %s", [thread_id]).fetchone()
        assert before is not None
        row = [Jsonb(each) if isinstance(each, dict) else each for each in before]
        owner.execute(change, [thread_id])
        try:
            yield
        finally:
            owner.execute("DELETE FROM approvals_reading WHERE thread_id = %s", [thread_id])
            owner.execute("INSERT INTO approvals_reading VALUES (%s, %s, %s, %s)", row)


def test_an_answer_leaves_the_other_questions_as_they_are_and_writes_one_entry_for_all(
    console: Console, asked: list[dict[str, Any]]
) -> None:
    from approvals import audit

    thread_id = asked[0]["thread_id"]
    with console.api("alice") as alice:
        left = [alice.get(f"/approvals/{each['id']}").json() for each in asked[1:]]
    assert [(each["status"], each["digest"]) for each in left] == [("pending", each["digest"]) for each in asked[1:]]
    for each in asked[1:3]:
        answer(console, each)
    with console.api("erin") as erin:
        entries = erin.get("/audit", params={"thread_id": thread_id, "limit": 100}).json()["items"]
    actions = [entry["action"] for entry in entries]
    told = ("thread.paused", "approval.read_again", "approval.superseded", "thread.read_again", "decision.reached")
    assert [actions.count(each) for each in told] == [COUNT, 0, 0, 3, 3]
    assert audit.verify().ok


def test_all_are_answered_one_after_the_other(console: Console, asked: list[dict[str, Any]]) -> None:
    for each in asked[1:]:
        answer(console, each)
    with console.api("alice") as alice:
        notes = alice.get(f"/threads/{asked[0]['thread_id']}/state").json()["values"]["notes"]
    assert sorted(notes) == sorted(f"{number}: yes" for number in range(COUNT))


def test_bytes_that_were_changed_after_an_answer_are_found(
    console: Console, database: str, asked: list[dict[str, Any]]
) -> None:
    """Also the answer of another task, which this question does not read: what comes after the step does."""
    answered = "WHERE thread_id = %s AND channel = 'notes'"
    with psycopg.connect(database, autocommit=True) as owner:
        changed = owner.execute(f"UPDATE checkpoint_writes SET blob = blob || 'x' {answered}", [asked[1]["thread_id"]])
        assert changed.rowcount == 1
    assert code_of(vote(console, "alice", asked[1], verdict="respond", answer="yes")) == (409, "stale")


CHANGES = {
    "what is read": "UPDATE approvals_reading SET bound = jsonb_set(bound, '{parts}', '[]') WHERE thread_id = %s",
    "its checkpoint": "UPDATE approvals_reading SET checkpoint_id = 'another' WHERE thread_id = %s",
    "the row": "DELETE FROM approvals_reading WHERE thread_id = %s",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_reading_that_is_not_in_the_log_decides_nothing(
    console: Console, database: str, waiting: list[dict[str, Any]], change: str
) -> None:
    from approvals import audit

    with reading(database, waiting[1]["thread_id"], CHANGES[change]):
        assert code_of(vote(console, "alice", waiting[1], verdict="respond", answer="yes")) == (409, "altered")
        found = audit.verify()
    assert not found.ok and f"reading {waiting[1]['thread_id']}" in found.reason


def test_its_page_counts_them_and_lists_the_open_ones_first(console: Console, waiting: list[dict[str, Any]]) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    alice = Client(SERVER_NAME="127.0.0.1")
    alice.force_login(User.objects.get(username="alice"))
    page = alice.get(f"/approvals/{waiting[1]['id']}/").content.decode()
    together = page[page.index('id="together"') :]
    assert f"{COUNT} questions of one step" in together and 'id="all-together"' in together
    assert f"/approvals/{waiting[2]['id']}/" in together and f"/approvals/{waiting[0]['id']}/" not in together
