"""What the socket of an open page tells: what changed and what the page has missed, and to whom."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.console import Console

Open = Callable[..., Any]
LONGEST_SECONDS = 20.0
QUIET_SECONDS = 0.7


@pytest.fixture
def socket_of(console: Console) -> Open:
    """Return a way to open the socket of a person's page. The page is new, unless it is given an `age`."""

    @contextmanager
    def opened(username: str, **query: object) -> Iterator[ClientConnection]:
        with httpx.Client(follow_redirects=True) as browser:
            browser.get(console.link(username))
            headers = {"Cookie": f"sessionid={browser.cookies['sessionid']}", "Origin": console.url}
        address = httpx.URL(f"{console.url.replace('http', 'ws')}/ws/live/", params={"age": 0, **query})
        with connect(str(address), additional_headers=headers) as socket:
            yield socket

    return opened


def told(socket: ClientConnection) -> set[str]:
    """Return what the page is told from now on until it is told nothing more for a moment."""
    names: set[str] = set()
    with suppress(TimeoutError):
        while True:
            message = json.loads(socket.recv(timeout=QUIET_SECONDS))
            assert message["live"]
            names |= message["changed"].keys()
    return names


def is_told(socket: ClientConnection, name: str) -> bool:
    until = time.monotonic() + LONGEST_SECONDS
    with suppress(TimeoutError):
        while name not in json.loads(socket.recv(timeout=max(0, until - time.monotonic())))["changed"]:
            pass
        return True
    return False


def test_a_page_is_told_only_of_what_it_shows(console: Console, socket_of: Open) -> None:
    mine = console.pause("gated", {"text": "mine"})
    with (
        socket_of("alice", thread=mine["thread_id"]) as of_thread,
        socket_of("alice", list="threads") as of_list,
        socket_of("bob") as of_queue,
        console.api("olga") as olga,
    ):
        for each in (of_thread, of_list, of_queue):
            told(each)
        olga.post("/threads", json={}).raise_for_status()
        assert (told(of_thread), told(of_list), told(of_queue)) == (set(), {"threads"}, set())
        console.pause("gated", {"text": "other"})
        assert (told(of_thread), told(of_list), told(of_queue)) == ({"queue"}, {"queue", "threads"}, {"queue"})
        with console.api("alice") as alice:
            ballot = {"verdict": "approve", "seen_digest": mine["digest"]}
            alice.post(f"/approvals/{mine['id']}/votes", json=ballot).raise_for_status()
        assert told(of_thread) == {"queue", "thread"}


def test_a_page_is_told_what_changed_before_its_socket_was_open(console: Console, socket_of: Open) -> None:
    thread_id = console.pause("gated", {"text": "before"})["thread_id"]
    time.sleep(2.5)  # a message may be so late
    for age, expected in ((0, set()), (20_000, {"queue", "thread"}), ("x", {"queue", "thread"})):
        with socket_of("alice", thread=thread_id, age=age) as socket:
            # Whether it has missed lines of a log is not known if the console has just started.
            assert told(socket) - {"log"} == expected, age


def test_pages_are_told_when_a_claim_ends(console: Console, socket_of: Open) -> None:
    from django.utils import timezone

    from approvals.models import Approval

    approval = console.pause("gated", {"text": "claimed"})
    with console.api("alice") as alice:
        alice.post(f"/approvals/{approval['id']}/claim", json={}).raise_for_status()
    with socket_of("bob", thread=approval["thread_id"]) as socket:
        told(socket)
        Approval.objects.filter(pk=approval["id"]).update(claimed_until=timezone.now() + timedelta(seconds=1))
        assert is_told(socket, "thread")


def test_pages_are_told_when_a_worker_comes_or_is_not_heard_of_any_more(socket_of: Open) -> None:
    from approvals.models import Worker

    with socket_of("bob", thread="any") as socket:
        told(socket)
        worker = Worker.objects.create(name="other", graphs=[str(uuid.uuid4())])
        assert is_told(socket, "thread")
        Worker.objects.filter(pk=worker.pk).update(seen_at="2020-01-01T00:00Z")
        assert is_told(socket, "thread")
        worker.delete()


def test_pages_are_told_when_people_change(socket_of: Open) -> None:
    from django.contrib.auth.models import User

    with socket_of("bob", thread="any") as socket:
        told(socket)
        erin = User.objects.get(username="erin")
        erin.save(update_fields=["last_login"])
        assert told(socket) == set()
        erin.save()
        assert is_told(socket, "thread")


def test_only_who_has_a_notice_is_told_of_it(console: Console, socket_of: Open) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.people import notices

    approval = console.pause("gated", {"text": "notice"})
    with socket_of("alice") as theirs, socket_of("bob") as others:
        told(theirs), told(others)
        notices.tell([(User.objects.get(username="alice").pk, uuid.UUID(approval["id"]))], "Look at it again.")
        assert (told(theirs), told(others)) == ({"queue"}, set())
