"""Lists of the queue in every order: pages neither skip nor repeat, groups and fields agree with their counts."""

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from html import unescape
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.test import Client

ORDERS = [("urgent", "due"), ("oldest", "none"), ("newest", "none"), ("amount", "none")] + [
    ("urgent", group) for group in ("graph", "action", "customer")
]


def client_of(name: str) -> "Client":
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username=name))
    return client


@pytest.fixture
def alice(database: str) -> "Client":
    return client_of("alice")


@pytest.fixture
def asked(database: str) -> Iterator[list[Any]]:
    """Twelve questions of two graphs: some equal in all that a list is sorted by, but for the id."""
    from django.utils import timezone

    from approvals.models import Approval, Thread

    mark, now = f"m{uuid.uuid4().hex[:11]}", timezone.now()
    threads = [Thread.objects.create(id=f"{name}-{mark}", graph_id=f"{name}-{mark}") for name in ("Zeta", "alpha")]
    due = [None, now - timedelta(hours=1), now + timedelta(hours=1), now + timedelta(days=3)]
    made = [
        Approval.objects.create(
            thread=threads[number % 2], graph_id=threads[number % 2].id, checkpoint_id=str(number), kind="breakpoint",
            next=["act"], title=f"Pay {mark}", headline=f"Pay {number} {mark}", request={}, actions=[], state={},
            digest="0" * 64, allowed_verdicts=["approve"], due_at=due[number % 4],
            created_at=now - timedelta(number // 2),
            amount=[None, Decimal("5.5"), Decimal("640")][number % 3], currency=["", "EUR", "GBP"][number % 3],
            action=["Pay", "Mail"][number % 2], customer=["", "Ana", "ben", "Ana"][number % 4],
        )
        for number in range(12)
    ]  # fmt: skip
    yield made
    Approval.objects.filter(thread__in=threads).delete()  # nobody could decide these
    for thread in threads:
        thread.delete()


def mark_of(asked: list[Any]) -> str:
    return str(asked[0].graph_id).partition("-")[2]


def ids_on(page: str) -> list[str]:
    return re.findall(r'id="row-([0-9a-f-]{36})"', page)


def list_of(asked: list[Any], tab: str, sort: str, group: str, text: str = "") -> Any:
    from django.contrib.auth.models import User

    from approvals.views.lists import ListAsked

    filters = {"graph": "", "kind": "", "q": f"thread:Zeta-{mark_of(asked)} {text}".strip()}
    return ListAsked(User.objects.get(username="alice"), tab, filters, sort=sort, group=group)


@pytest.mark.parametrize(("sort", "group"), ORDERS, ids=lambda value: value)
@pytest.mark.parametrize(("tab", "text"), list(product(("open", "needs"), ("", "pay"))))
def test_each_order_goes_on_after_every_row_and_back_before_it(
    asked: list[Any], tab: str, text: str, sort: str, group: str
) -> None:
    from dataclasses import replace

    listed = list_of(asked, tab, sort, group, text)
    rows, _ = listed.page()
    assert len(rows) == 6
    for place, row in enumerate(rows):
        after, _ = replace(listed, cursor=listed._key_after(row)).page()
        assert after == rows[place + 1 :]
        assert listed.rows_before(row, 9) == rows[:place][::-1]
        assert [listed.next_to(row), listed.next_to(row, rows)] == [(rows[place + 1 :] + rows)[0]] * 2


def test_amounts_come_largest_first_and_unknown_ones_last(asked: list[Any]) -> None:
    rows, _ = list_of(asked, "open", "amount", "none").page()
    assert [row.amount for row in rows] == [640, 640, Decimal("5.5"), Decimal("5.5"), None, None]


FOUND = {
    "amount>500": 4,
    "amount<=5.5": 4,
    "amount:640 currency:gbp": 4,
    "due<2h": 6,
    "due:none": 3,
    "due:overdue": 3,
    "due>1d": 3,
    "age>3d": 6,
    "for:an": 6,
    "action:mail": 6,
    'customer:"ben"': 3,
    "kind:gate": 12,
    "kind:question": 0,
    "by:olga": 0,
    "holder:bob": 0,
    "amount>500 due<2h pay": 2,
}


@pytest.mark.parametrize(("typed", "number"), FOUND.items(), ids=FOUND)
def test_fields_narrow_a_list_and_its_counts(alice: "Client", asked: list[Any], typed: str, number: int) -> None:
    page = unescape(alice.get("/", {"tab": "open", "q": f"{typed} {mark_of(asked)}"}).content.decode())
    assert (len(ids_on(page)), f'id="count-open">{number}<' in page) == (number, True)


FAULTS = {
    "amount>much": "an amount is a number",
    "due<soon": "a time is a number with m, h, d or w",
    "due:2h": "compare a time with < or >",
    "kind:gates": "a kind is one of",
    "amout>5": "There is no field “amout”. Fields are graph, action,",
    "graph>refund": "write a colon",
}


@pytest.mark.parametrize(("typed", "told"), FAULTS.items(), ids=FAULTS)
def test_a_field_that_cannot_be_read_says_how_to_write_it(
    alice: "Client", asked: list[Any], typed: str, told: str
) -> None:
    page = unescape(alice.get("/", {"tab": "open", "q": typed}).content.decode())
    assert told in page and 'id="search-problem" role="status" >' in page


def test_what_only_looks_like_a_field_is_a_word(alice: "Client", asked: list[Any]) -> None:
    page = unescape(alice.get("/", {"tab": "open", "q": f"pay:{mark_of(asked)}"}).content.decode())
    assert len(ids_on(page)) == 12, "parted into two words"


def test_groups_have_headings_with_counts_of_all_pages(alice: "Client", asked: list[Any], monkeypatch: Any) -> None:
    from approvals.views import lists

    monkeypatch.setattr(lists, "PAGE_SIZE", 4)
    lists._kept_rows.cache_clear()
    page = unescape(alice.get("/", {"tab": "open", "q": mark_of(asked), "group": "action"}).content.decode())
    assert re.findall(r'colspan="\d">(\w+) <span class="group-count">(\d+)<', page) == [("Mail", "6")]
    more = unescape(page[page.index('id="more" href="') :].split('"')[3])
    assert "before=4" in more
    page = unescape(alice.get("/" + more).content.decode())
    assert re.findall(r'colspan="\d">(\w+) <', page) == ["Mail", "Pay"]
    lists._kept_rows.cache_clear()


def test_the_usual_groups_say_what_is_late(alice: "Client", asked: list[Any]) -> None:
    page = unescape(alice.get("/", {"tab": "open", "q": mark_of(asked)}).content.decode())
    found = re.findall(r'colspan="\d">([\w ]+) <span class="group-count">(\d+)<', page)
    assert found == [("Overdue", "3"), ("Due within 24 hours", "3"), ("Due later", "3"), ("No deadline", "3")]


def test_votes_are_shown_only_where_more_than_one_must_agree(alice: "Client", asked: list[Any]) -> None:
    asked[0].required_votes = 2
    asked[0].save()
    page = alice.get("/", {"tab": "open", "q": mark_of(asked)}).content.decode()
    assert re.findall(r"(\d of \d)</span>", page) == ["0 of 2"]


def test_a_view_is_kept_shared_found_by_others_and_removed_by_its_owner(alice: "Client", asked: list[Any]) -> None:
    from approvals.models import SavedView

    name, bob = f"Large {mark_of(asked)}", client_of("bob")
    query = f"?tab=open&q=amount>500 {mark_of(asked)}&sort=amount&cursor=x&before=3&evil=1"
    kept = alice.post("/views/", {"name": f"  {name} ", "query": query})
    assert kept.status_code == 303 and "evil" not in kept["Location"] and "cursor" not in kept["Location"]
    view = SavedView.objects.get(name=name)
    page = alice.get(kept["Location"]).content.decode()
    assert len(ids_on(page)) == 4 and f'id="view-{view.pk}" aria-current="true"' in page
    assert name not in bob.get("/").content.decode(), "it is not shared"
    alice.post("/views/", {"name": name, "query": query, "is_shared": "on"})
    assert name in bob.get("/").content.decode()
    assert bob.post(f"/views/{view.pk}/remove/").status_code == 404
    assert alice.post(f"/views/{view.pk}/remove/").status_code == 303
    assert name not in bob.get("/").content.decode()
    assert alice.post("/views/", {"name": " ", "query": query}).status_code == 422


def test_the_look_of_the_list_is_kept_in_the_browser(alice: "Client", asked: list[Any]) -> None:
    address = f"/?tab=open&q={mark_of(asked)}"
    chosen = {"density": "compact", "column": ["thread", "due"], "back": address, "opens_next": "on"}
    assert alice.post("/preferences/", chosen)["Location"] == address
    page = alice.get(address).content.decode()
    assert "density-compact" in page and 'class="thread mono"' in page and 'class="graph"' not in page
    assert alice.post("/preferences/", chosen | {"back": "https://example.org/"})["Location"] == "/"
    alice.cookies["countersign_desk"] = "density=huge&column=evil"
    page = alice.get(address).content.decode()
    assert "density-comfortable" in page and 'class="graph"' not in page


def test_the_sums_of_several_are_told_for_each_currency_and_action(alice: "Client", asked: list[Any]) -> None:
    from approvals.presenters.queue import sums_of

    assert sums_of(asked) == ["22.00 EUR", "2,560.00 GBP", "6 × Pay", "6 × Mail"]
