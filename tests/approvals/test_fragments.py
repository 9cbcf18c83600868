"""Pages and fragments: how many statements each needs at most, and that no presenter causes one."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.console import Console, refund

if TYPE_CHECKING:
    from django.test import Client

PRESENTERS = str(Path(__file__).parent.parent.parent / "approvals" / "presenters")
HTMX = {"HTTP_HX_REQUEST": "true"}


class Statements:
    """Counts the statements of a connection, and names the presenters that caused one."""

    def __init__(self) -> None:
        self.count = 0
        self.of_presenters: list[str] = []

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        frame: Any = sys._getframe()
        while frame is not None:
            if frame.f_code.co_filename.startswith(PRESENTERS):
                self.of_presenters.append(f"{frame.f_code.co_qualname}: {sql[:200]}")
            frame = frame.f_back
        return execute(sql, params, many, context)


@contextmanager
def counted() -> Iterator[Statements]:
    from django.db import connection

    statements = Statements()
    with connection.execute_wrapper(statements):
        yield statements


@pytest.fixture(scope="module")
def alice(console: Console) -> "Client":
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(User.objects.get(username="alice"))
    return client


@pytest.fixture(scope="module")
def addresses(console: Console, alice: "Client") -> dict[str, str]:
    """Return the addresses that a page with an open approval, and one with a decided one, ask for."""
    from django.urls import reverse

    waits, decided = console.pause("refund", refund()), console.pause("refund", refund())
    with console.api("alice") as api:
        ballot = {"verdict": "approve", "seen_digest": decided["digest"]}
        api.post(f"/approvals/{decided['id']}/votes", json=ballot).raise_for_status()
    console.run_of(decided["id"])
    page = alice.get(reverse("approval", args=[waits["id"]])).content.decode()
    found = re.search(r'id="standing" hx-get="([^"]+)"', page)
    assert found
    standing = unescape(found[1])
    return {
        "queue": reverse("queue"),
        "badge": reverse("open_count"),
        "side": reverse("side"),
        "approval": reverse("approval", args=[waits["id"]]),
        "standing": standing,
        "votes": standing.replace("tally=", "tally=x"),
        "proposed": standing.replace("seen=", "seen=x"),
        "closed": reverse("approval_standing", args=[decided["id"]]),
        "run": reverse("approval_run", args=[decided["id"]]),
        "decided": reverse("approval", args=[decided["id"]]),
        "edit": reverse("preview", args=[waits["id"]]),
    }


@pytest.mark.parametrize(
    ("name", "is_fragment", "most"),
    [
        # Four of each are the session, the person, their roles and the badge.
        ("queue", False, 14),
        ("queue", True, 12),
        ("badge", True, 4),
        ("side", True, 5),
        ("approval", False, 14),
        ("standing", True, 8),
        ("votes", True, 8),
        ("proposed", True, 8),
        ("closed", True, 4),
        ("run", True, 8),
        ("decided", False, 14),
    ],
)
def test_a_page_or_fragment_needs_few_statements(
    alice: "Client", addresses: dict[str, str], name: str, is_fragment: bool, most: int
) -> None:
    with counted() as statements:
        answer = alice.get(addresses[name], **(HTMX if is_fragment else {}))
    assert answer.status_code == (204 if name == "standing" else 200)
    assert statements.of_presenters == []
    assert statements.count <= most


def test_a_form_that_is_drawn_again_needs_no_list(alice: "Client", addresses: dict[str, str]) -> None:
    with counted() as statements:
        answer = alice.post(addresses["edit"], {"mode": "form", "do": "as_json"}, **HTMX)
    assert answer.status_code == 200
    assert b'id="edit"' in answer.content
    assert b'id="side"' not in answer.content
    assert statements.of_presenters == []
    assert statements.count <= 8


def test_a_preview_of_an_edit_asks_no_presenter_for_rows(alice: "Client", addresses: dict[str, str]) -> None:
    edit = {"mode": "json", "raw": '{"amount": {"op": "set", "value": 95.0}}'}
    with counted() as statements:
        answer = alice.post(addresses["edit"], edit, **HTMX)
    assert answer.status_code == 200
    assert b'id="drawing"' in answer.content
    assert statements.of_presenters == []
