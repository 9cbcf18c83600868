"""The pages of admins: our roles decide, each change is a version or an entry, and nobody is locked out."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import Client

from tests.console import Console

pytestmark = pytest.mark.slow
POLICY = "/admin/approvals/policy/"
PEOPLE = "/admin/auth/user/"
GROUPS = "/admin/auth/group/"
PAGES = ["/admin/", POLICY, f"{POLICY}add/", PEOPLE, f"{PEOPLE}add/", GROUPS, f"{GROUPS}add/"]


def as_(username: str) -> Client:
    from django.contrib.auth.models import User

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username=username))
    return client


@pytest.fixture
def root(database: str) -> Client:
    return as_("root")


@pytest.fixture
def ada(database: str) -> Iterator[Any]:
    """An admin who is no superuser, and who goes when the test ends."""
    from django.contrib.auth.models import Group, User

    made = User.objects.create(username=f"ada-{uuid.uuid4().hex[:8]}")
    made.groups.set([Group.objects.get(name="admin")])
    yield made
    made.delete()


def policy_form(**changed: Any) -> dict[str, Any]:
    return {"graph_id": "", "node": f"n-{uuid.uuid4()}", "tool": "", "approvals": "1", "one_reject_ends": "on",
            "edits": "all", "deadline_minutes": "", "on_deadline": "escalate", "on_crash": "ask",
            **changed}  # fmt: skip


def faults_of(response: Any) -> dict[str, list[str]]:
    return dict(response.context_data["adminform"].form.errors)


def newest(action: str) -> Any:
    from approvals.models import AuditEntry

    return AuditEntry.objects.filter(action=action).order_by("-seq")[0]


@pytest.mark.parametrize("username", ["alice", pytest.param("olga", marks=pytest.mark.full), "erin"])
def test_only_admins_get_in(database: str, username: str) -> None:
    from django.contrib.auth.models import User

    User.objects.filter(username=username).update(is_staff=True)  # Django's own flag opens nothing here
    client = as_(username)
    answers = [client.get(path, follow=True) for path in PAGES]
    User.objects.filter(username=username).update(is_staff=False)
    assert [answer.status_code for answer in answers] == [403] * len(PAGES)
    assert "Only admins change policies" in answers[0].content.decode()


def test_who_is_not_signed_in_is_sent_to_our_own_sign_in(database: str) -> None:
    sent = Client(SERVER_NAME="127.0.0.1").get(POLICY, follow=True)
    assert sent.redirect_chain[-1][0] == "/sign-in/?next=/admin/approvals/policy/"


def test_an_admin_who_is_no_superuser_opens_every_page(ada: Any) -> None:
    client = as_(ada.username)
    assert [client.get(path).status_code for path in PAGES] == [200] * len(PAGES)


def test_there_are_pages_for_policies_people_and_groups_alone(root: Client) -> None:
    page = root.get("/admin/").content.decode()
    assert all(address in page for address in (POLICY, PEOPLE, GROUPS))
    for other in ("admin/logentry", "approvals/vote", "approvals/auditentry", "approvals/approval", "auth/permission"):
        assert root.get(f"/admin/{other}/").status_code == 404


def test_a_policy_is_made_changed_and_removed_each_a_version_and_an_entry(root: Client) -> None:
    from django.contrib.auth.models import Group, User

    from approvals.models import Policy, PolicyVersion

    people = [str(User.objects.get(username="alice").pk)]
    groups = [str(Group.objects.get(name="reviewer").pk)]
    form = policy_form(approvals="2", people=people, groups=groups)
    assert root.post(f"{POLICY}add/", form).status_code == 302
    made = Policy.objects.get(node=form["node"])
    assert (made.version, newest("policy.changed").record["object"]["version"]) == (1, 1)
    address = f"{POLICY}{made.pk}/change/"
    changed = {**form, "approvals": "1", "deadline_minutes": "90", "on_deadline": "deny"}
    assert root.post(address, changed).status_code == 302
    assert root.post(address, changed).status_code == 302  # saved as it was: no version
    entry = newest("policy.changed")
    assert (entry.actor, entry.record["object"]["rule"]["deadline_minutes"]) == ("root", 90)
    history = root.get(f"{POLICY}{made.pk}/history/").content.decode()
    assert all(told in history for told in ("v2", "approvals: 2 → 1", "deadline minutes: none → 90", "on deadline"))
    listed = root.get(POLICY).content.decode()
    assert "Of the reviewers, alice or members of reviewer may vote." in listed
    assert root.post(f"{POLICY}{made.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Policy.objects.filter(pk=made.pk).exists()
    assert newest("policy.removed").record["object"]["policy"] == made.pk
    versions = PolicyVersion.objects.filter(policy_id=made.pk).order_by("version").values_list("version", flat=True)
    assert list(versions) == [1, 2, 3]


@pytest.mark.parametrize(
    ("changed", "field", "told"),
    [
        ({"approvals": "0"}, "approvals", "1 to 50"),
        ({"approvals": "51"}, "approvals", "1 to 50"),
        ({"approvals": "40"}, "approvals", "can never be reached"),
        ({"people": "alice", "approvals": "2"}, "approvals", "2 approvals can never be reached: 1 reviewer may vote"),
        ({"people": "erin"}, "approvals", "0 reviewers may vote"),
        ({"deadline_minutes": "0"}, "deadline_minutes", "1 to"),
        ({"deadline_minutes": "999999999"}, "deadline_minutes", "1 to"),
        ({"escalate_to": "admin"}, "escalate_to", "Only with a deadline"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_at_its_field(
    root: Client, changed: dict[str, Any], field: str, told: str
) -> None:
    from django.contrib.auth.models import Group, User

    given = dict(changed)
    if "people" in given:
        given["people"] = str(User.objects.get(username=given["people"]).pk)
    if "escalate_to" in given:
        given["escalate_to"] = str(Group.objects.get(name=given["escalate_to"]).pk)
    refused = root.post(f"{POLICY}add/", policy_form(**given))
    assert told in " ".join(faults_of(refused)[field])


def test_a_policy_names_a_node_that_its_graph_has(root: Client) -> None:
    from approvals.models import Graph

    Graph.objects.get_or_create(pk="with-nodes", defaults={"card": {"nodes": [{"id": "pay"}, {"id": "tell"}]}})
    refused = root.post(f"{POLICY}add/", policy_form(graph_id="with-nodes", node="pey"))
    assert faults_of(refused)["node"] == ["with-nodes has no such node. It has: pay, tell."]
    Graph.objects.filter(pk="with-nodes").delete()


def test_there_is_one_policy_for_a_place(root: Client) -> None:
    from approvals.models import Policy

    form = policy_form()
    assert root.post(f"{POLICY}add/", form).status_code == 302
    assert "already exists" in str(faults_of(root.post(f"{POLICY}add/", form)))
    Policy.objects.get(node=form["node"]).delete()


def person_form(*groups: str, active: bool = True) -> dict[str, Any]:
    from django.contrib.auth.models import Group

    chosen = [str(Group.objects.get(name=name).pk) for name in groups]
    return {"groups": chosen, **({"is_active": "on"} if active else {})}


def test_a_change_of_a_persons_groups_is_an_entry_and_counts_at_once(root: Client) -> None:
    from django.contrib.auth.models import User

    name = f"new-{uuid.uuid4().hex[:8]}"
    assert root.post(f"{PEOPLE}add/", {"username": name, **person_form("viewer")}).status_code == 302
    made = User.objects.get(username=name)
    assert not made.has_usable_password()
    address = f"{PEOPLE}{made.pk}/change/"
    assert root.post(address, person_form("reviewer", "viewer")).status_code == 302
    told = newest("person.changed").record
    assert (told["actor"], told["object"]) == ("root", {
        "person": name,
        "id": made.pk,
        "before": {"active": True, "groups": ["viewer"]},
        "after": {"active": True, "groups": ["reviewer", "viewer"]},
    })  # fmt: skip
    seq = newest("person.changed").seq
    root.post(address, person_form("reviewer", "viewer"))
    assert newest("person.changed").seq == seq, "nothing was changed, so nothing is written down"
    assert as_(name).get("/").status_code == 200
    assert root.post(address, person_form("reviewer", "viewer", active=False)).status_code == 302
    history = root.get(f"{PEOPLE}{made.pk}/history/").content.decode()
    assert "groups: viewer → reviewer, viewer" in history and "active: yes → no" in history
    assert root.post(f"{PEOPLE}{made.pk}/delete/", {"post": "yes"}).status_code == 403
    made.delete()


@pytest.mark.parametrize("active", [True, False])
def test_an_admin_cannot_lock_themselves_out(ada: Any, active: bool) -> None:
    groups = ["viewer"] if active else ["admin"]
    refused = as_(ada.username).post(f"{PEOPLE}{ada.pk}/change/", person_form(*groups, active=active))
    assert refused.status_code == 200
    assert "lock yourself out" in refused.content.decode()
    ada.refresh_from_db()
    assert ada.is_active and ada.groups.filter(name="admin").exists()


def test_when_two_admins_remove_each_other_one_stays(ada: Any) -> None:
    """The second saw a form that was right when it was made; the action asks again, under a lock."""
    from django.contrib.auth.models import Group, User

    from approvals import audit
    from approvals.actions.people import people as change_person
    from approvals.domain import permissions
    from approvals.errors import Conflict

    root, before = User.objects.get(username="root"), change_person.rights_of(ada)
    assert permissions.can_set_policy(root)  # read once for a request: this one began while root was an admin
    with pytest.raises(Conflict, match="Nobody would be an admin"), audit.transaction():
        User.objects.filter(is_superuser=True).update(is_superuser=False)
        Group.objects.get(name="admin").user_set.clear()
        change_person.note_change(ada, before=before, by=root)
    assert ada.groups.filter(name="admin").exists()


def test_groups_are_made_and_removed_but_roles_and_those_of_policies_stay(root: Client) -> None:
    from django.contrib.auth.models import Group, User

    from approvals.models import Policy

    name = f"g-{uuid.uuid4().hex[:8]}"
    assert root.post(f"{GROUPS}add/", {"name": name}).status_code == 302
    group = Group.objects.get(name=name)
    assert newest("person.changed").record["object"] == {"group": name, "id": group.pk, "change": "made"}
    User.objects.get(username="bob").groups.add(group)
    policy = Policy.objects.create(node=f"n-{uuid.uuid4()}")
    policy.groups.add(group)
    address = f"{GROUPS}{group.pk}/delete/"
    assert root.post(address, {"post": "yes"}).status_code == 403, "the policy would let everybody vote"
    policy.delete()
    assert root.post(address, {"post": "yes"}).status_code == 302
    gone = newest("person.changed").record["object"]
    assert gone == {"group": name, "id": group.pk, "change": "removed", "members": ["bob"]}
    role = Group.objects.get(name="reviewer")
    assert root.post(f"{GROUPS}{role.pk}/delete/", {"post": "yes"}).status_code == 403
    root.post(f"{GROUPS}{role.pk}/change/", {"name": "renamed"})
    assert Group.objects.filter(name="reviewer").exists()


def test_the_pages_keep_the_content_policy(root: Client) -> None:
    for path in (POLICY, f"{POLICY}add/", PEOPLE):
        page = root.get(path)
        assert "script-src 'self'" in page["Content-Security-Policy"].split("; "), "in whatever order they come"
        assert page["Cache-Control"]
        text = page.content.decode()
        assert "<style" not in text and " style=" not in text and "onclick=" not in text


@pytest.mark.parametrize("address", ["/start/%00/", "/admin/approvals/policy/?on_deadline__exact=%00"])
def test_a_nul_character_in_an_address_is_refused(console: Console, address: str) -> None:
    with httpx.Client(base_url=console.url, follow_redirects=True) as root:
        root.get(console.link("root")).raise_for_status()
        answer = root.get(address)
    assert answer.status_code == 422
    assert "A NUL character is in the address." in answer.text
