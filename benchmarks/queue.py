"""Pages over more and more rows: the queue, an approval, threads and audit, beside a bare Django view of fifty rows.

`open` approvals wait; there are ten times as many decided ones, and an entry about each. `bare` is the page's p50 over
that of the bare view at the same size, `times` is `bare` over that of the same page at the first size.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from benchmarks import generated

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "40"))
OPEN = tuple(int(size) for size in os.environ.get("BENCH_OPEN", "1000,10000,100000").split(","))
WARM_UP = 5
BARE = "bare django"
HTMX = {"HX-Request": "true"}
MIDDLE = 500
"""The number of the open approval whose page is opened; it is there at every size."""


class Page(NamedTuple):
    """A page, and who opens it."""

    address: str
    by: str = "alice"
    headers: Mapping[str, str] = {}


def table() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    first: dict[str, float] = {}
    there = 0
    for count in OPEN:
        generated.fill(there, count - 1)
        there = count
        pages = _pages()
        statements = {name: _statements(get) for name, get in pages.items()}
        taken = _timed(pages)
        bare = statistics.median(taken[BARE])
        for name, each in taken.items():
            p50 = statistics.median(each)
            rows.append(
                {
                    "page": name,
                    "open": count,
                    "entries": f"{_entries():,}",
                    "p50 ms": round(p50 * 1e3, 1),
                    "p95 ms": round(statistics.quantiles(each, n=20)[-1] * 1e3, 1),
                    "statements": statements[name],
                    "bare": round(p50 / bare, 2),
                    "times": round(p50 / bare / first.setdefault(name, p50 / bare), 2),
                }
            )
    return rows


def _statements(get: Callable[[], None]) -> int:
    """Return how many statements a page needs, after it was opened some times."""
    from django.db import connection

    asked: list[str] = []

    def noted(execute: Any, sql: str, *others: Any) -> Any:
        asked.append(sql)
        return execute(sql, *others)

    for _ in range(WARM_UP):
        get()
    with connection.execute_wrapper(noted):
        get()
    return len(asked)


def _timed(pages: Mapping[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Return the seconds of each round. All pages take turns, so that a machine that slows down slows them all."""
    taken: dict[str, list[float]] = {name: [] for name in pages}
    for _ in range(ROUNDS):
        for name, get in pages.items():
            began = time.perf_counter()
            get()
            taken[name].append(time.perf_counter() - began)
    return taken


def _pages() -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {BARE: _bare()}
    for name, page in _addresses().items():
        found[name] = _getter(page)
    return found


def _addresses() -> dict[str, Page]:
    from django.urls import reverse

    approval_id = _one(f"SELECT {generated.id_of(MIDDLE)}")
    queue, threads, audit = reverse("queue"), reverse("threads"), reverse("audit")
    found = {
        "queue": Page(queue),
        **{f"queue, {tab}": Page(f"{queue}?tab={tab}") for tab in ("unclaimed", "mine", "open", "failed", "done")},
        "queue, one graph": Page(f"{queue}?graph=refund"),
        "queue, no such kind": Page(f"{queue}?tab=done&kind=raised"),
        "queue, a common word": Page(f"{queue}?q=refund"),
        "queue, a rare word": Page(f"{queue}?q=queue-777"),
        "queue, no such word": Page(f"{queue}?q=nowhere"),
        "queue, by amount": Page(f"{queue}?tab=open&sort=amount"),
        "queue, newest": Page(f"{queue}?tab=needs&sort=newest"),
        **{f"queue, grouped by {each}": Page(f"{queue}?group={each}") for each in ("graph", "action", "customer")},
        "queue, an amount of few": Page(f"{queue}?tab=open&q=amount>899"),
        "queue, an amount of many": Page(f"{queue}?tab=open&q=amount>100"),
        "queue, named seldom": Page(queue, by=generated.SELDOM),
        "queue, asked again": Page(queue, headers=HTMX),
        "badge": Page(reverse("open_count"), headers=HTMX),
        "side list": Page(reverse("side"), headers=HTMX),
        "approval": Page(reverse("approval", args=[approval_id])),
        "thread": Page(reverse("thread", args=[f"queue-{MIDDLE}"])),
        "threads": Page(threads),
        "threads, a common word": Page(f"{threads}?q=refund"),
        "threads, a rare word": Page(f"{threads}?q=queue-777"),
        "threads, one graph": Page(f"{threads}?graph=refund&status=interrupted"),
        "audit": Page(audit, by="erin"),
    }
    since = _one("SELECT min(at) + (max(at) - min(at)) / 2 FROM approvals_auditentry")
    filters = {
        "who": {"actor": "bob"},
        "nobody": {"actor": "nobody"},
        "who and what": {"actor": "bob", "action": "thread.cleaned"},
        "thread": {"thread_id": f"queue-{MIDDLE}"},
        "approval": {"approval": approval_id},
        "policy": {"policy": "v-none"},
        "since": {"since": f"{since:%Y-%m-%dT%H:%M}", "actor": "alice"},
    }
    found |= {f"audit, {name}": Page(f"{audit}?{urlencode(asked)}", by="erin") for name, asked in filters.items()}
    api = {
        "pending": "/api/approvals?status=pending",
        "all": "/api/approvals",
        "graph": "/api/approvals?status=pending&graph=refund",
        "search": "/api/approvals?q=queue-777",
        "log": "/api/audit",
    }
    token = {"Authorization": f"Bearer {_token('root')}"}
    return found | {f"api, {name}": Page(address, headers=token) for name, address in api.items()}


def _getter(page: Page) -> Callable[[], None]:
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1", headers=page.headers)
    client.force_login(_person(page.by))

    def get() -> None:
        answer = client.get(page.address)
        assert answer.status_code == 200, (page, answer.status_code)

    return get


def _bare() -> Callable[[], None]:
    from django.test import Client, override_settings

    from benchmarks import bare_view

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(_person("alice"))
    theirs = override_settings(ROOT_URLCONF="benchmarks.bare_view", MIDDLEWARE=bare_view.MIDDLEWARE)

    def get() -> None:
        assert client.get("/").status_code == 200

    def within() -> None:
        with theirs:
            get()

    return within


def _person(name: str) -> Any:
    from django.contrib.auth.models import User

    return User.objects.get(username=name)


def _token(name: str) -> str:
    from approvals.actions.people.sign_in import make_token

    return make_token(_person(name))


def _one(query: str) -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def _entries() -> int:
    return int(_one("SELECT seq FROM approvals_audithead"))
