"""People, for commands: one who is looked up by name, and those of the demo."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Group
from django.core.management.base import CommandError
from django.urls import reverse

from approvals.actions.people import changes
from approvals.actions.people.sign_in import make_link
from approvals.enums import Role
from approvals.programs import typed

OF_THE_DEMO = {
    "alice": Role.REVIEWER,
    "bob": Role.REVIEWER,
    "carol": Role.REVIEWER,
    "olga": Role.OPERATOR,
    "erin": Role.AUDITOR,
    "root": Role.ADMIN,
}


def person(username: str) -> AbstractUser:
    """Return the active person of this name. Raises CommandError, which says what to type."""
    found = get_user_model().objects.filter(username=username, is_active=True).first()
    if found is None:
        raise CommandError(
            f"There is no active person {username!r}. Make one with {typed('createsuperuser')}, or {typed('demo')}."
        )
    return found


def link_for(user: AbstractUser) -> str:
    return f"{settings.PUBLIC_URL}{reverse('sign_in_link', args=[make_link(user)])}"


def make_people() -> dict[str, AbstractUser]:
    """Make those of the demo, without passwords, and return them; those that are there stay as they are."""
    return {name: _make(name, role) for name, role in OF_THE_DEMO.items()}


def links_of(people: dict[str, AbstractUser]) -> str:
    """Return a text with a new sign-in link for each of the demo's people."""
    lines = [f"  {name:6} {OF_THE_DEMO[name].value:9} {link_for(user)}" for name, user in people.items()]
    return "\n".join(["", "Sign in with a link (each works once, on this machine only):", "", *lines, ""])


def _make(name: str, role: Role) -> AbstractUser:
    if changes.is_guarded():
        return _found(name, role)
    user, is_new = get_user_model().objects.get_or_create(username=name, defaults={"first_name": name.capitalize()})
    if is_new:
        user.set_unusable_password()
        user.is_superuser = user.is_staff = role == Role.ADMIN
        user.save()
    user.groups.add(Group.objects.get(name=role))
    return user


def _found(name: str, role: Role) -> AbstractUser:
    """Return the existing person: under the two-admin rule no command creates people."""
    user = get_user_model().objects.filter(username=name, groups__name=role).first()
    if user is None:
        raise CommandError(f"The two-admin rule is on: {name} must be made {role} on the pages of admins.")
    return user
