"""The queue: what each person's tabs list, in which order, and where a page goes on."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from tests.console import Console
from tests.voting import make_overdue, policy, read


def page_of(username: str, address: str) -> str:
    from django.contrib.auth.models import User

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username=username))
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def waiting(database: str) -> Iterator[list[Any]]:
    """Eight that wait: with deadlines, without, and several of one moment."""
    from django.utils import timezone

    from approvals.models import Approval, Thread

    thread, now = Thread.objects.create(id=f"t-{uuid.uuid4()}"), timezone.now()
    due = [None, now, None, now + timedelta(hours=1), now, None, now, None]
    asked = [now, now, now - timedelta(hours=1), now, now, now, now - timedelta(hours=2), now]
    yield [
        Approval.objects.create(
            thread=thread, checkpoint_id=str(number), kind="breakpoint", next=["act"], title="Order", request={},
            actions=[], state={}, digest="0" * 64, allowed_verdicts=[], due_at=due_at, created_at=created_at,
        )
        for number, (due_at, created_at) in enumerate(zip(due, asked, strict=True))
    ]  # fmt: skip
    Approval.objects.filter(thread=thread).delete()  # nobody could decide these
    thread.delete()


def test_the_most_urgent_come_first_and_pages_go_on_where_they_ended(waiting: list[Any]) -> None:
    from approvals.domain import sorts
    from approvals.models import Approval
    from approvals.views.pages import key_of

    found = Approval.objects.filter(thread=waiting[0].thread).most_urgent_first()
    order = list(found)
    assert [each.due_at is not None for each in order] == [True] * 4 + [False] * 4
    assert order[0] == waiting[6] and order[3] == waiting[3] and order[4] == waiting[2]
    for place, last in enumerate(order):
        cursor = f"{last.due_at.isoformat() if last.due_at else ''}|{key_of(last, 'created_at')}"
        assert cursor == sorts.cursor_of(last, sorts.URGENT)
        assert list(sorts.after(found, sorts.URGENT, cursor)) == order[place + 1 :]


@pytest.mark.parametrize("cursor", ["", "nonsense", "||", "a|b|c", "2026-01-01|2026-01-01|x"])
def test_a_cursor_that_makes_no_sense_is_the_first_page(waiting: list[Any], cursor: str) -> None:
    from approvals.domain import sorts
    from approvals.models import Approval

    found = Approval.objects.filter(thread=waiting[0].thread)
    assert sorts.after(found, sorts.URGENT, cursor).count() == len(waiting)


def test_who_does_not_vote_sees_all_that_is_open(console: Console) -> None:
    approval = console.pause("voting", {"text": "tabs"})
    row = f'id="row-{approval["id"]}"'
    for_olga = page_of("olga", "/?graph=voting")
    assert row in for_olga and "data-pick" not in for_olga
    assert "Only reviewers vote." in page_of("olga", "/?tab=needs")
    assert row in page_of("alice", "/?graph=voting")


def test_what_timed_out_says_so(console: Console) -> None:
    with policy("voting", deadline_minutes=60, on_deadline="deny"):
        approval = console.pause("voting", {"text": "too late"})
    make_overdue(approval)
    console.run_of(approval["id"])
    assert read(console, approval)["status"] == "expired"
    page = page_of("alice", f"/approvals/{approval['id']}/")
    assert "Timed out" in page and "the deadline" in page and "Nobody decided in time." in page
    assert "Timed out" in page_of("alice", "/?tab=done&graph=voting")


def test_a_policy_that_can_never_be_met_says_so_on_the_page(console: Console) -> None:
    with policy("voting", approvals=2, people=["alice"]):
        approval = console.pause("voting", {"text": "too few"})
    page = page_of("alice", f"/approvals/{approval['id']}/")
    assert "2 approvals are needed, but only 1 person may vote: ask an admin." in page
