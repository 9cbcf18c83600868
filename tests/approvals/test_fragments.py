"""Pages and fragments: how many statements each needs at most, and that no presenter causes one."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.console import Console, refund
from tests.statements import StatementOfPresenter, counted

if TYPE_CHECKING:
    from django.test import Client

HTMX = {"HTTP_HX_REQUEST": "true"}


SEEN = (200, 204, 302)
POST_ONLY = 405
DRAW_NOTHING = {"thread_whole", "approval_whole", "export_audit", "export_thread", "sign_in_link"}
"""Files, and the link that works once."""


def as_(username: str) -> "Client":
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(User.objects.get(username=username))
    return client


@pytest.fixture(scope="module")
def alice(console: Console) -> "Client":
    return as_("alice")


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
        "thread": reverse("thread", args=[decided["thread_id"]]),
        "state": reverse("thread", args=[decided["thread_id"]]) + "?part=state",
    }


@pytest.mark.parametrize(
    ("name", "is_fragment", "most"),
    [
        # Two of each are the session, and the person with their roles.
        ("queue", False, 5),
        ("queue", True, 5),
        ("badge", True, 3),
        ("side", True, 4),
        ("approval", False, 6),
        ("standing", True, 5),
        ("votes", True, 5),
        ("proposed", True, 5),
        ("closed", True, 3),
        ("run", True, 7),
        ("decided", False, 14),
        ("thread", False, 20),
        ("thread", True, 19),
        ("state", True, 4),
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


def test_the_part_of_a_thread_that_polls_reads_no_state(alice: "Client", addresses: dict[str, str]) -> None:
    with counted() as statements:
        alice.get(addresses["thread"], **HTMX)
    assert [sql for sql in statements.sql if re.search(r'"(state|request|actions)"', sql)] == []


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


@pytest.fixture(scope="module")
def known(console: Console) -> dict[str, list[Any]]:
    """Return what can stand in an address, by the name of the argument: of open, decided and forked threads."""
    from django.contrib.auth.models import User

    from approvals.actions.people import policies
    from approvals.domain.policies import POLICY_FIELDS
    from approvals.models import AuditText, Policy, Run, Thread

    waits, decided = console.pause("refund", refund()), console.pause("refund", refund())
    asked, gated = console.pause("asking", {"text": "Ada"}), console.pause("two_gates", {"text": "x"})
    failing = console.pause("failing", {"text": "x"})
    ballot = {"verdict": "approve", "seen_digest": decided["digest"], "comment": "Looks right."}
    ballot["edits"] = {"amount": {"op": "set", "value": 95.0}}
    with console.api("alice") as api:
        api.post(f"/approvals/{decided['id']}/votes", json=ballot).raise_for_status()
        for each in (gated, failing):
            plain = {"verdict": "approve", "seen_digest": each["digest"]}
            api.post(f"/approvals/{each['id']}/votes", json=plain).raise_for_status()
    console.run_of(decided["id"])
    console.run_of(gated["id"])
    console.run_of(failing["id"], until=("failed",))
    origin = Thread.objects.get(pk=decided["thread_id"])
    with console.api("olga") as api:
        place = {"checkpoint_id": origin.checkpoint_id}
        forked = api.post(f"/threads/{origin.pk}/fork", json=place)
        forked.raise_for_status()
    empty: dict[str, Any] = {"people": [], "groups": [], "escalate_to": []}
    plain = {name: getattr(Policy(node=f"n-{uuid4()}"), name) for name in POLICY_FIELDS}
    policy = policies.put_policy(0, plain | empty, by=User.objects.get(username="root"))
    text = AuditText.objects.order_by("-seq")[0]
    paused = [waits, decided, asked, gated, failing]
    return {
        "approval_id": [each["id"] for each in paused],
        "thread_id": [*(each["thread_id"] for each in paused), forked.json()["thread_id"]],
        "checkpoint_id": [origin.checkpoint_id],
        "run_id": [Run.objects.filter(thread=origin)[0].pk],
        "seq": [text.seq],
        "name": [text.name],
        "graph_id": ["refund"],
        "change_id": [waits["id"]],
        "notice_id": [1],
        "admin": [
            "approvals/policy/",
            f"approvals/policy/{policy.policy_id}/change/",
            "auth/user/1/change/",
            "auth/group/1/change/",
        ],
    }


def addresses_of(known: dict[str, list[Any]]) -> Iterator[tuple[str, str]]:
    """Yield each address of each page and fragment, with its name."""
    from django.urls import reverse

    from approvals.urls import urlpatterns

    queries = {
        "queue": ["?tab=done", "?tab=failed", "?tab=open&q=a"],
        "approval": ["?edit=form", "?edit=json", "?answer"],
        "bulk": [f"?id={known['approval_id'][0]}"],
        "checkpoint": [f"?with={known['checkpoint_id'][0]}"],
        "compare": [f"?one={known['checkpoint_id'][0]}&other={known['checkpoint_id'][0]}"],
        "thread": ["?part=state"],
    }
    for pattern in urlpatterns:
        name = getattr(pattern, "name", None)
        if name and name not in DRAW_NOTHING:
            wanted = pattern.pattern.converters
            for values in itertools.product(*(known[each] for each in wanted)):
                address = reverse(name, kwargs=dict(zip(wanted, values, strict=True)))
                yield from ((name, address + query) for query in ["", *queries.get(name, [])])
    yield from (("admin", f"/admin/{path}") for path in known["admin"])


@pytest.mark.full
def test_no_presenter_and_no_template_reads_rows(console: Console, known: dict[str, list[Any]]) -> None:
    people = [as_(name) for name in ("alice", "olga", "erin", "root")]
    seen: dict[str, set[int]] = defaultdict(set)
    for name, address in addresses_of(known):
        for person, headers in itertools.product(people, ({}, HTMX)):
            with counted() as statements:
                answer = person.get(address, **headers)
            assert statements.of_presenters == [], address
            seen[name].add(answer.status_code)
            if answer.status_code == POST_ONLY or (answer.status_code in SEEN and headers):
                break
    assert {name: found for name, found in seen.items() if not found & {*SEEN, POST_ONLY}} == {}


def test_a_change_that_waits_and_a_closed_one_are_shown_without_a_statement_of_a_presenter(console: Console) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.people import changes
    from approvals.enums import ChangeKind

    root = User.objects.get(username="root")
    change = changes.propose(ChangeKind.GROUP, 0, "nobody", {"members": []}, by=root)
    try:
        assert_changes_are_shown("nobody")
    finally:
        changes.refuse(change_id=change.pk, by=root)
    assert_changes_are_shown("nobody")


def assert_changes_are_shown(name: str) -> None:
    with counted() as statements:
        page = as_("root").get("/changes/")
    assert name in page.content.decode()
    assert statements.of_presenters == []


def test_a_statement_of_a_presenter_or_a_template_is_noticed(database: str) -> None:
    """What is planted: a related row that the view did not select, and a QuerySet that a template evaluates."""
    from django.template import engines

    from approvals.models import Approval, Policy
    from approvals.presenters.queue import rows_of

    with pytest.raises(StatementOfPresenter, match="queue.rows_of"):
        rows_of(Approval.objects.all())
    with pytest.raises(StatementOfPresenter, match="queue.html"):
        engines["django"].get_template("queue.html").render({"notices": Policy.objects.all()})


def test_what_a_page_shows_already_is_not_sent_again(alice: "Client", console: Console) -> None:
    waits = console.pause("refund", refund())
    path = f"/?q={waits['thread_id']}"
    shown = alice.get(path, **HTMX)
    assert shown.status_code == 200
    assert waits["thread_id"].encode() in shown.content
    mark = {"HTTP_IF_NONE_MATCH": shown["ETag"]}
    again = alice.get(path, **HTMX, **mark)
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", shown["ETag"])
    assert alice.get(path, **mark).status_code == 200, "a whole page is sent whole"
    with console.api("alice") as api:
        ballot = {"verdict": "approve", "seen_digest": waits["digest"]}
        api.post(f"/approvals/{waits['id']}/votes", json=ballot).raise_for_status()
    assert alice.get(path, **HTMX, **mark).status_code == 200


def test_times_that_pass_do_not_make_an_answer_another_one() -> None:
    """The page's script moves them on, and their colours. A token is another one each time."""
    from approvals.web.middleware import digest_of_answer

    row = '<li>{name}<time datetime="2026" title="x" class="due due-{urgency}" data-due>{left}</time>{token}</li>'
    token = '<input type="hidden" name="csrfmiddlewaretoken" value="{}">'

    def mark(name: str, urgency: str, left: str, token_value: str) -> str:
        drawn = row.format(name=name, urgency=urgency, left=left, token=token.format(token_value))
        return digest_of_answer(drawn.encode())

    shown = mark("Refund", "later", "due in 2 h", "abc")
    assert shown == mark("Refund", "over", "5 min overdue", "xyz")
    assert shown != mark("Another", "later", "due in 2 h", "abc")
