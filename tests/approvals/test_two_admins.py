"""Two admins for a change of a policy, a person or a group: by every door, once, and never by one alone."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.approvals.test_admin import PEOPLE, POLICY, as_, newest, person_form, policy_form
from tests.approvals.test_second_person import person
from tests.console import Console
from tests.scale import tries
from tests.voting import code_of


@pytest.fixture(scope="module")
def admins(console: Console) -> Iterator[dict[str, httpx.Client]]:
    """Ada and Ben, admins beside root; with tokens that are older than any change."""
    with person("ada", "admin"), person("ben", "admin"):
        made = {name: console.api(name) for name in ("root", "ada", "ben", "alice")}
        yield made
        for client in made.values():
            client.close()


@pytest.fixture
def guarded(admins: dict[str, httpx.Client]) -> Iterator[dict[str, httpx.Client]]:
    """The rule is on while the test runs; then one proposes to turn it off, and another confirms that."""
    admins["root"].post("/two-admins", json={"on": True}).raise_for_status()
    yield admins
    if admins["root"].get("/two-admins").json()["on"]:
        off = admins["root"].post("/two-admins", json={"on": False}).raise_for_status().json()["change"]
        admins["ben"].post(f"/changes/{off['id']}/confirm").raise_for_status()


def waiting(client: httpx.Client) -> dict[str, Any]:
    """Return the change that was proposed last."""
    return dict(client.get("/changes").raise_for_status().json()[0])


def confirm(client: httpx.Client, change: dict[str, Any]) -> httpx.Response:
    return client.post(f"/changes/{change['id']}/confirm")


def refuse(client: httpx.Client, change: dict[str, Any], reason: str = "No.") -> httpx.Response:
    return client.post(f"/changes/{change['id']}/refuse", json={"reason": reason})


def test_with_one_admin_it_cannot_be_turned_on(database: str) -> None:
    from django.contrib.auth.models import User
    from django.db import transaction

    from approvals import audit
    from approvals.actions.people import changes
    from approvals.errors import Conflict

    root = User.objects.get(username="root")
    with audit.transaction():
        User.objects.exclude(pk=root.pk).update(is_active=False)
        with pytest.raises(Conflict, match="There is only 1 admin to confirm anything"):
            changes.turn_on(by=root)
        transaction.set_rollback(True)


def test_a_policy_counts_once_another_admin_has_confirmed_it(guarded: dict[str, httpx.Client]) -> None:
    from approvals.models import Policy

    ada, ben = as_("ada"), guarded["ben"]
    node = f"n-{uuid.uuid4()}"
    made = ada.post(f"{POLICY}add/", policy_form(node=node, approvals="2", edits="some", named="amount"))
    assert (made.status_code, made["Location"]) == (302, "/changes/")
    assert not Policy.objects.filter(node=node).exists()
    proposed = newest("change.proposed")
    assert (proposed.actor, proposed.record["object"]["kind"]) == ("ada", "policy")
    change = waiting(ben)
    assert (change["proposed_by"], change["after"]["approvals"], change["after"]["may_edit"]) == ("ada", 2, ["amount"])
    # Not by who proposed it, not by who is no admin, not by a token made since.
    assert code_of(confirm(guarded["ada"], change)) == (403, "denied")
    assert code_of(confirm(guarded["alice"], change)) == (403, "denied")
    assert not Policy.objects.filter(node=node).exists()
    assert confirm(ben, change).json()["status"] == "confirmed"
    policy = Policy.objects.get(node=node)
    assert (policy.approvals, policy.may_edit, policy.version) == (2, ["amount"], 1)
    told = newest("policy.changed").record
    assert (told["actor"], told["object"]["proposed_by"], told["object"]["change"]) == ("ben", "ada", change["id"])
    assert told["digests"]["rule"] and newest("change.confirmed").actor == "ben"
    assert code_of(confirm(guarded["root"], change)) == (409, "already_decided")
    # Changed, then removed.
    ada.post(f"{POLICY}{policy.pk}/change/", policy_form(node=node, approvals="1"))
    change = waiting(ben)
    policy.refresh_from_db()
    assert (policy.approvals, change["before"]["approvals"], change["after"]["may_edit"]) == (2, 2, None)
    confirm(ben, change).raise_for_status()
    policy.refresh_from_db()
    assert (policy.approvals, policy.version) == (1, 2)
    assert ada.post(f"{POLICY}{policy.pk}/delete/", {"post": "yes"}).status_code == 302
    assert Policy.objects.filter(pk=policy.pk).exists()
    confirm(ben, waiting(ben)).raise_for_status()
    assert not Policy.objects.filter(pk=policy.pk).exists()


def test_a_role_counts_from_when_it_is_confirmed(guarded: dict[str, httpx.Client]) -> None:
    from django.contrib.auth.models import Group, User

    from approvals.models import Membership

    reviewer = Group.objects.get(name="reviewer")
    name = f"new-{uuid.uuid4()}"[:30]
    as_("ada").post(f"{PEOPLE}add/", {"username": name, **person_form("reviewer")})
    assert not User.objects.filter(username=name).exists()
    change = waiting(guarded["ben"])
    confirm(guarded["ben"], change).raise_for_status()
    newcomer = User.objects.get(username=name)
    assert list(newcomer.groups.all()) == [reviewer]
    granted_at = Membership.objects.get(user=newcomer).granted_at
    assert granted_at.isoformat() > change["proposed_at"].replace("Z", "+00:00")
    # Nobody gives themselves a role; nor does what was proposed for another standing count later.
    ada = User.objects.get(username="ada")
    page = as_("ada")
    page.post(f"{PEOPLE}{ada.pk}/change/", person_form("admin", "reviewer"))
    own = waiting(guarded["ben"])
    page.post(f"{PEOPLE}{ada.pk}/change/", person_form("admin", "operator"))
    other = waiting(guarded["ben"])
    assert list(ada.groups.values_list("name", flat=True)) == ["admin"]
    confirm(guarded["ben"], other).raise_for_status()
    assert code_of(confirm(guarded["ben"], own)) == (409, "stale")
    refuse(guarded["ben"], own).raise_for_status()
    refused = newest("change.refused")
    assert (refused.actor, refused.record["object"]["status"]) == ("ben", "refused")
    as_("ben").post(f"{PEOPLE}{ada.pk}/change/", person_form("admin"))
    confirm(guarded["ada"], waiting(guarded["ada"])).raise_for_status()


def test_who_proposes_takes_it_back_and_who_refuses_says_why(guarded: dict[str, httpx.Client]) -> None:
    as_("ada").post(f"{POLICY}add/", policy_form())
    change = waiting(guarded["ben"])
    assert code_of(refuse(guarded["ben"], change, "  ")) == (422, "invalid")
    assert refuse(guarded["ada"], change, "").json()["status"] == "withdrawn"
    assert code_of(confirm(guarded["ben"], change)) == (409, "already_decided")


def test_nobody_confirms_what_is_too_old_or_with_a_newer_token(
    guarded: dict[str, httpx.Client], console: Console
) -> None:
    from datetime import timedelta

    from django.contrib.auth.models import User
    from django.db.models import F

    from approvals.actions.people.sign_in import make_token
    from approvals.models import Change

    as_("ada").post(f"{POLICY}add/", policy_form())
    change = waiting(guarded["ben"])
    token = make_token(User.objects.get(username="ben"))
    headers = {"Authorization": f"Bearer {token}"}
    newer = httpx.post(f"{console.url}/api/changes/{change['id']}/confirm", headers=headers)
    assert code_of(newer) == (403, "denied")
    Change.objects.filter(pk=change["id"]).update(proposed_at=F("proposed_at") - timedelta(days=7))
    assert code_of(confirm(guarded["ben"], change)) == (410, "expired")
    assert change["id"] not in [each["id"] for each in guarded["ben"].get("/changes").json()]


def test_an_admin_who_became_one_later_confirms_nothing_older(guarded: dict[str, httpx.Client]) -> None:
    from django.contrib.auth.models import User
    from django.utils import timezone

    from approvals.actions.people import changes
    from approvals.models import Change

    as_("ada").post(f"{POLICY}add/", policy_form())
    change = Change.objects.get(pk=waiting(guarded["ben"])["id"])
    ben = User.objects.get(username="ben")
    assert changes.why_not_confirm(change, ben) == ""
    ben._countersign_roles = {"admin": timezone.now()}  # type: ignore[attr-defined]
    assert "You became an admin after this was proposed" in changes.why_not_confirm(change, ben)
    refuse(guarded["ada"], waiting(guarded["ben"])).raise_for_status()


def test_two_who_confirm_at_once_have_one_effect(guarded: dict[str, httpx.Client]) -> None:
    from approvals.models import Policy, PolicyVersion

    for _ in range(tries(2, full=5)):
        node = f"n-{uuid.uuid4()}"
        as_("ada").post(f"{POLICY}add/", policy_form(node=node))
        change, barrier = waiting(guarded["ben"]), threading.Barrier(2)

        def at_once(name: str, change: dict[str, Any] = change, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            return confirm(guarded[name], change).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(at_once, ["root", "ben"])) == [200, 409]
        policy = Policy.objects.get(node=node)
        assert PolicyVersion.objects.filter(policy_id=policy.pk).count() == 1


DOORS = {
    "a role": lambda user, group, policy: user.groups.add(group),
    "a role taken away": lambda user, group, policy: user.groups.clear(),
    "a superuser": lambda user, group, policy: type(user).objects.filter(pk=user.pk).update(is_superuser=True),
    "a new superuser": lambda user, group, policy: type(user).objects.create_superuser(f"s-{uuid.uuid4()}"),
    "an account": lambda user, group, policy: type(user).objects.filter(pk=user.pk).update(is_active=False),
    "another name": lambda user, group, policy: type(user).objects.filter(pk=user.pk).update(username="x"),
    "a group's name": lambda user, group, policy: type(group).objects.filter(pk=group.pk).update(name="x"),
    "a group": lambda user, group, policy: group.delete(),
    "a new policy": lambda user, group, policy: type(policy).objects.create(graph_id="x"),
    "a policy": lambda user, group, policy: type(policy).objects.filter(pk=policy.pk).update(approvals=1),
    "who may vote": lambda user, group, policy: policy.people.add(user),
    "no policy": lambda user, group, policy: policy.delete(),
    "no rule": lambda user, group, policy: _turn_off(),
    "an older role": lambda user, group, policy: user.memberships.update(granted_at="2000-01-01T00:00Z"),
}


def _turn_off() -> None:
    from approvals.models import Safeguard

    Safeguard.objects.update(two_admins=False)


@pytest.mark.parametrize("door", DOORS)
def test_the_database_lets_nothing_else_through(admins: dict[str, httpx.Client], door: str) -> None:
    from django.contrib.auth.models import Group, User
    from django.db import DatabaseError, transaction

    from approvals.models import Policy, Safeguard

    with transaction.atomic():
        user = User.objects.get(username="carol")
        group = Group.objects.create(name=f"g-{uuid.uuid4()}")
        policy = Policy.objects.create(graph_id=f"g-{uuid.uuid4()}", approvals=2)
        with transaction.atomic():  # with the rule off each is possible, as it is for one admin
            DOORS[door](user, Group.objects.get(pk=group.pk), Policy.objects.get(pk=policy.pk))
            transaction.set_rollback(True)
        Safeguard.objects.update(two_admins=True)
        with pytest.raises(DatabaseError, match="a second admin must confirm this change"), transaction.atomic():
            DOORS[door](user, group, policy)
        transaction.set_rollback(True)


def test_commands_make_nobody_an_admin_while_it_is_on(guarded: dict[str, httpx.Client], console: Console) -> None:
    assert "The demo is loaded" in console.manage("demo", "--threads", "0").stdout, "all of them are there"
    made = console.manage("createsuperuser", "--noinput", "--username", "mallory", "--email", "m@x.org", check=False)
    assert made.returncode != 0 and "a second admin must confirm this change" in made.stderr


def test_the_rule_itself_is_turned_off_by_two(guarded: dict[str, httpx.Client]) -> None:
    off = guarded["root"].post("/two-admins", json={"on": False}).raise_for_status().json()
    assert off["on"] is True
    assert code_of(confirm(guarded["root"], off["change"])) == (403, "denied")
    assert guarded["root"].get("/two-admins").json()["on"] is True
    confirm(guarded["ada"], off["change"]).raise_for_status()
    assert guarded["root"].get("/two-admins").json()["on"] is False
    assert newest("two_admins.turned_off").actor == "ada"


def test_two_admins_are_left_while_it_is_on(guarded: dict[str, httpx.Client]) -> None:
    from django.contrib.auth.models import User

    ids = {name: User.objects.get(username=name).pk for name in ("ben", "root")}
    as_("ada").post(f"{PEOPLE}{ids['ben']}/change/", person_form("viewer"))
    change = waiting(guarded["root"])
    confirm(guarded["root"], change).raise_for_status()
    as_("ada").post(f"{PEOPLE}{ids['root']}/change/", person_form("admin", active=False))
    lock_out = waiting(guarded["root"])
    assert code_of(confirm(guarded["root"], lock_out)) == (409, "conflict")
    refuse(guarded["root"], lock_out).raise_for_status()
    as_("ada").post(f"{PEOPLE}{ids['ben']}/change/", person_form("admin"))
    confirm(guarded["root"], waiting(guarded["root"])).raise_for_status()


def test_the_page_shows_what_changes_and_takes_the_answer(guarded: dict[str, httpx.Client]) -> None:
    from approvals.models import Policy

    ada, ben = as_("ada"), as_("ben")
    node = f"n-{uuid.uuid4()}"
    ada.post(f"{POLICY}add/", policy_form(node=node, approvals="2", edits="none"))
    change = waiting(guarded["ben"])
    mine, theirs = ada.get("/changes/").content.decode(), ben.get("/changes/").content.decode()
    assert "You proposed this, so another admin must confirm it." in mine
    assert f"confirm-{change['id']}" not in mine and f"confirm-{change['id']}" in theirs
    assert f"Make the policy every graph / {node}" in theirs
    assert "may be edited" in theirs and "nothing" in theirs
    assert as_("alice").get("/changes/").status_code == 403
    assert ben.post(f"/changes/{change['id']}/confirm/").status_code == 303
    assert Policy.objects.get(node=node).may_edit == []


def test_with_that_check_out_the_database_still_refuses(
    guarded: dict[str, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control: it is not the sentence alone that stops one person from being two."""
    from django.contrib.auth.models import User
    from django.db import DatabaseError

    from approvals.actions.people import changes

    as_("ada").post(f"{POLICY}add/", policy_form())
    change = waiting(guarded["ben"])
    monkeypatch.setattr(changes, "why_not_confirm", lambda change, by: "")
    with pytest.raises(DatabaseError, match="a second admin must confirm this change"):
        changes.confirm(change_id=uuid.UUID(change["id"]), by=User.objects.get(username="ada"))
    refuse(guarded["ada"], change).raise_for_status()
