"""Change who may sign in and who is in which group. Each change is an entry, and an admin always remains."""

from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Person
from django.db.models import Q
from django.db.models.functions import Now

from agentcore.plain.json import digest
from approvals import audit
from approvals.audit import subjects
from approvals.domain import context, permissions
from approvals.domain.permissions import User
from approvals.enums import Role
from approvals.errors import Conflict
from approvals.models import Membership, Policy, Safeguard

LOCKED_OUT = "You would lock yourself out. Another admin can do this."


def rights_of(person: Person) -> dict[str, Any]:
    """Return what an entry records of a person: whether they may sign in, and their groups."""
    groups = person.groups.order_by("name").values_list("name", flat=True)
    return {"active": person.is_active, "groups": list(groups)}


@audit.transaction()
def put_person(person_id: int, username: str, rights: dict[str, Any], *, by: User, **told: str) -> None:
    """Set a person to what `rights_of` returned; with id 0 create one. Raises Conflict if that is impossible."""
    person = Person.objects.get(pk=person_id) if person_id else Person(username=username)
    before = rights_of(person) if person_id else None
    groups = list(Group.objects.filter(name__in=rights["groups"]))
    if len(groups) != len(rights["groups"]):
        raise Conflict("A group that it names is gone.")
    if before is None:
        person.set_unusable_password()
    person.is_active = rights["active"]
    with context.telling():
        person.save()
        person.groups.set(groups)
    note_change(person, before=before, by=by, **told)


@audit.transaction()
def note_change(person: Person, *, before: dict[str, Any] | None, by: User, **told: str) -> None:
    """Write the entry of a change that was just saved. `before` is the earlier `rights_of`, None for a new person.

    Raises Conflict when no admin would remain: the caller's transaction must then be rolled back.
    """
    permissions.check_set_policy(by)
    after = rights_of(person)
    if before == after and subjects.is_told("person", person.pk):
        return
    Group.objects.select_for_update().get(name=Role.ADMIN)  # serializes two admins who remove each other
    if why_not := why_not_change(person, is_active=after["active"], groups=after["groups"], by=by):
        raise Conflict(why_not)
    if not (admins := count_admins()):
        raise Conflict("Nobody would be an admin any more. Make somebody else one first.")
    if admins < 2 and is_guarded():
        raise Conflict("Two admins must be left while the two-admin rule is on. Make somebody else one first.")
    # After those checks, so that people who remove their own rights read why not.
    permissions.check_again(by, "set_policy")
    # A person who is reactivated votes only on questions asked from then on.
    if before and after["active"] and not before["active"]:
        Membership.objects.filter(user=person).update(granted_at=Now())
    digests = {"standing": digest(after)}
    subjects.tell_person(person, actor=by.get_username(), kind="person", before=before, digests=digests, **told)


def why_not_change(person: Person, *, is_active: bool, groups: list[str], by: User) -> str:
    """Return why a person cannot take their own admin role away, or an empty string."""
    stays_admin = is_active and (person.is_superuser or Role.ADMIN in groups)
    return LOCKED_OUT if person.pk is not None and person.pk == by.pk and not stays_admin else ""


def count_admins() -> int:
    is_admin = Q(groups__name=Role.ADMIN) | Q(is_superuser=True)
    return Person.objects.filter(is_admin, is_active=True).distinct().count()


def is_guarded() -> bool:
    """Return whether the two-admin rule is on."""
    return Safeguard.objects.filter(two_admins=True).exists()


def note_group(group: Group, *, by: User) -> None:
    """Write the entry of a new group."""
    permissions.check_set_policy(by)
    subjects.tell_group(group, "made", actor=by.get_username(), kind="person")


@audit.transaction()
def remove_group(group: Group, *, by: User, **told: str) -> None:
    """Remove a group that is no role and that no policy names. Raises Conflict for others."""
    permissions.check_set_policy(by)
    if why_not := why_not_remove(group):
        raise Conflict(why_not)
    permissions.check_again(by, "set_policy")
    members = list(Person.objects.filter(groups=group).order_by("username").values_list("username", flat=True))
    left, was = subjects.leaves(group), Group(pk=group.pk, name=group.name)
    with context.telling():
        group.delete()
    subjects.tell_removal(was, left, actor=by.get_username(), kind="person", members=members, **told)


def why_not_remove(group: Group) -> str:
    """Return why a group must stay: a policy that loses its only group would let every reviewer vote."""
    if group.name in Role.values:
        return f"{group.name} is a role of Countersign."
    named = Policy.objects.filter(Q(groups=group) | Q(escalate_to=group)).distinct()
    return f"These policies name it: {', '.join(map(str, named))}." if named else ""
