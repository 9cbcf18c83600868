"""Lists: filters, pages that neither skip nor repeat, counts, and the audit log."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.console import Console, refund

PAUSES = 5


@pytest.fixture(scope="module")
def customer(console: Console) -> str:
    """Somebody with five refunds that wait; the name finds them again."""
    name = f"Customer {uuid.uuid4().hex[:12]}"
    threads = [console.start_run("refund", {**refund(640), "customer": name}) for _ in range(PAUSES)]
    for thread_id in threads:
        console.pending(thread_id)
    return name


def pages(client: httpx.Client, address: str, **asked: Any) -> list[list[dict[str, Any]]]:
    found, cursor = [], None
    while True:
        page = client.get(address, params={**asked, **({"cursor": cursor} if cursor else {})}).json()
        found.append(page["items"])
        if (cursor := page["next"]) is None:
            return found


def test_pages_of_the_queue_neither_skip_nor_repeat(console: Console, customer: str) -> None:
    with console.api("alice") as alice:
        whole = alice.get("/approvals", params={"q": customer, "status": "pending"}).json()
        paged = pages(alice, "/approvals", q=customer, status="pending", limit=2)
        newest_first = pages(alice, "/approvals", q=customer, limit=2)
    assert (whole["count"], len(whole["items"]), whole["next"]) == (PAUSES, PAUSES, None)
    assert [len(page) for page in paged] == [2, 2, 1]
    assert [item["id"] for page in paged for item in page] == [item["id"] for item in whole["items"]]
    times = [item["created_at"] for item in whole["items"]]
    assert times == sorted(times)
    assert [item["id"] for page in newest_first for item in page] == [item["id"] for item in reversed(whole["items"])]


@pytest.mark.parametrize("status", ["pending", ""])
def test_pauses_of_one_moment_are_paged_too(console: Console, status: str) -> None:
    """A worker that reads many threads at once stores them at one time; a page may end among them."""
    from django.utils import timezone

    from approvals.models import Approval, Thread

    thread = Thread.objects.create(id=f"t-{uuid.uuid4()}")
    at = timezone.now()
    made = [
        Approval.objects.create(
            thread=thread, checkpoint_id=str(number), kind="breakpoint", next=["act"], title="Tie", request={},
            actions=[], state={}, digest="0" * 64, allowed_verdicts=[], created_at=at,
        )
        for number in range(4)
    ]  # fmt: skip
    with console.api("alice") as alice:
        paged = pages(alice, "/approvals", thread_id=thread.pk, status=status, limit=1)
    assert sorted(item["id"] for page in paged for item in page) == sorted(str(approval.pk) for approval in made)
    Approval.objects.filter(thread=thread).delete()  # nobody could decide these
    thread.delete()


def test_the_count_is_of_all_pages(console: Console, customer: str) -> None:
    with console.api("alice") as alice:
        page = alice.get("/approvals", params={"q": customer, "limit": 1}).json()
    assert (page["count"], len(page["items"])) == (PAUSES, 1)


def test_the_queue_is_filtered_by_graph_thread_and_status(console: Console, customer: str) -> None:
    with console.api("alice") as alice:

        def found(**asked: str) -> int:
            return int(alice.get("/approvals", params={"q": customer, **asked}).json()["count"])

        [first, *_] = alice.get("/approvals", params={"q": customer}).json()["items"]
        assert (found(graph="refund"), found(graph="gated")) == (PAUSES, 0)
        assert (found(thread_id=first["thread_id"]), found(thread_id="none")) == (1, 0)
        assert (found(status="pending"), found(status="rejected")) == (PAUSES, 0)
        assert alice.get("/approvals", params={"q": first["thread_id"]}).json()["count"] == 1
        assert alice.get("/approvals", params={"q": "%"}).json()["count"] == 0


def test_what_is_decided_leaves_the_pending_and_says_by_whom(console: Console) -> None:
    approval = console.pause("gated", {"text": "leaves"})
    of_thread = {"thread_id": approval["thread_id"]}
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        assert alice.post(f"/approvals/{approval['id']}/votes", json=ballot).status_code == 201
        assert alice.get("/approvals", params={**of_thread, "status": "pending"}).json()["items"] == []
        [decided] = alice.get("/approvals", params={**of_thread, "status": "approved"}).json()["items"]
    assert decided["decision"]["decided_by"] == "alice" and decided["closed_at"]


def test_a_list_holds_no_states(console: Console, customer: str) -> None:
    with console.api("alice") as alice:
        [item, *_] = alice.get("/approvals", params={"q": customer}).json()["items"]
        whole = alice.get(f"/approvals/{item['id']}").json()
    assert item.items() <= whole.items()
    assert whole.keys() - item.keys() == {
        "request", "actions", "state", "opaque", "answer_schema", "policy", "proposal", "votes", "given",
        "run", "cut", "folded",
    }  # fmt: skip


@pytest.mark.parametrize("address", ["/api/approvals", "/api/audit"])
def test_a_longer_page_asks_the_database_no_more_often(console: Console, customer: str, address: str) -> None:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(SERVER_NAME="127.0.0.1", headers={"Authorization": f"Bearer {console.token('root')}"})

    def queries(limit: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            page = client.get(address, {"limit": str(limit)})
        assert len(page.json()["items"]) == limit, page.content
        return len(captured)

    assert queries(1) == queries(PAUSES) > 0


def test_a_thread_search_pages_by_offset(console: Console) -> None:
    mark = str(uuid.uuid4())
    with console.api("olga") as olga:
        made = [olga.post("/threads", json={"metadata": {"mark": mark}}).json()["thread_id"] for _ in range(3)]
        asked = {"metadata": {"mark": mark}, "limit": 2, "sort_by": "created_at", "sort_order": "asc"}
        found = [
            thread["thread_id"]
            for offset in (0, 2)
            for thread in olga.post("/threads/search", json={**asked, "offset": offset}).json()
        ]
    assert found == made


def test_the_log_tells_a_thread_from_its_making_to_its_end(console: Console) -> None:
    approval = console.pause("gated", {"text": "log"})
    with console.api("bob") as bob:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "comment": "not for the log"}
        assert bob.post(f"/approvals/{approval['id']}/votes", json=ballot).status_code == 201
    console.run_of(approval["id"])
    with console.api("erin") as erin:
        asked = {"thread_id": approval["thread_id"]}
        entries = erin.get("/audit", params=asked).json()["items"]
        paged = [entry for page in pages(erin, "/audit", **asked, limit=3) for entry in page]
        [cast] = erin.get("/audit", params={**asked, "action": "vote.cast", "actor": "bob"}).json()["items"]
    assert paged == entries
    assert [entry["action"] for entry in reversed(entries)] == [
        "thread.created",
        "run.queued",
        "run.started",
        "run.paused",
        "thread.paused",
        "vote.cast",
        "decision.reached",
        "run.started",
        "run.finished",
    ]
    assert (cast["object"]["approval"], cast["digests"]["seen"]) == (approval["id"], approval["digest"])
    assert "not for the log" not in str(entries)


def test_the_log_is_cut_by_time(console: Console) -> None:
    thread_id = console.pause("gated", {"text": "time"})["thread_id"]
    with console.api("erin") as erin:

        def seqs(**asked: str) -> list[int]:
            found = erin.get("/audit", params={"thread_id": thread_id, **asked}).json()["items"]
            return [entry["seq"] for entry in found]

        whole = erin.get("/audit", params={"thread_id": thread_id}).json()["items"]
        middle = whole[1]["at"]
        assert seqs(since=middle) == [entry["seq"] for entry in whole[:2]]
        assert seqs(until=middle) == [entry["seq"] for entry in whole[2:]]
        later = datetime.fromisoformat(middle) + timedelta(hours=2)
        assert seqs(since=later.replace(tzinfo=None).isoformat()) == []


def test_the_log_verifies_and_says_that_it_was_asked(console: Console) -> None:
    with console.api("erin") as erin:
        [newest] = erin.get("/audit", params={"limit": 1}).json()["items"]
        told = erin.get("/audit/verify").json()
        [asked, *_] = erin.get("/audit", params={"action": "audit.verified"}).json()["items"]
    assert told["ok"] is True and told["first_bad"] is None
    assert told["entries"] >= newest["seq"] and len(told["head"]) == 64
    assert (asked["actor"], asked["outcome"], asked["object"]["first_bad"]) == ("erin", "ok", None)
    assert asked["prev_hash"] == told["head"] or asked["seq"] > told["entries"] + 1
