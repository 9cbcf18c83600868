"""Policies for a while, and votes under them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx

from tests.console import Console

LOWER = {"count": {"op": "set", "value": 80}}


@contextmanager
def policy(
    graph: str,
    *,
    people: Iterable[str] = (),
    groups: Iterable[str] = (),
    escalate_to: Iterable[str] = (),
    **fields: Any,
) -> Iterator[Any]:
    """Have a policy on the graph while the block runs: questions asked in it are decided by it."""
    from django.contrib.auth.models import Group, User

    from approvals.actions.people import policies
    from approvals.models import Policy

    root = User.objects.get(username="root")
    made = Policy.objects.create(graph_id=graph, **fields)
    made.people.set(User.objects.filter(username__in=people))
    made.groups.set(Group.objects.filter(name__in=groups))
    made.escalate_to.set(Group.objects.filter(name__in=escalate_to))
    policies.note_change(made, by=root)
    try:
        yield made
    finally:
        policies.remove_policy(made, by=root)


def vote(
    console: Console, name: str, approval: dict[str, Any], verdict: str = "approve", **more: Any
) -> httpx.Response:
    ballot = {"verdict": verdict, "seen_digest": approval["digest"], **more}
    with console.api(name) as person:
        return person.post(f"/approvals/{approval['id']}/votes", json=ballot)


def read(console: Console, approval: dict[str, Any]) -> dict[str, Any]:
    """Return the approval as it is now."""
    with console.api("erin") as erin:
        return dict(erin.get(f"/approvals/{approval['id']}").json())


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, str(response.json()["error"]["code"])


def make_overdue(approval: dict[str, Any]) -> None:
    """Set its deadline to a minute ago."""
    from django.utils import timezone

    change_question(approval, due_at=timezone.now() - timedelta(minutes=1))


def change_question(approval: dict[str, Any], **columns: Any) -> None:
    """Have a question stand otherwise in the database, and in the log as well: as if it had been asked so."""
    from approvals import audit
    from approvals.models import Approval

    Approval.objects.filter(pk=approval["id"]).update(**columns)
    changed = Approval.objects.get(pk=approval["id"])
    about = {"thread_id": changed.thread_id, "about": audit.key_of(changed), "actor": "worker", "actor_kind": "system"}
    audit.append("approval.read_again", **about, rows=audit.told(changed, *columns))
