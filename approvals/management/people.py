"""Look up a person by name, for commands."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management.base import CommandError
from django.urls import reverse

from approvals.actions.people.sign_in import make_link


def person(username: str) -> AbstractUser:
    """Return the active person of this name. Raises CommandError, which says what to type."""
    found = get_user_model().objects.filter(username=username, is_active=True).first()
    if found is None:
        raise CommandError(
            f"There is no active person {username!r}. Make one with manage.py createsuperuser, or manage.py demo."
        )
    return found


def link_for(user: AbstractUser) -> str:
    return f"{settings.PUBLIC_URL}{reverse('sign_in_link', args=[make_link(user)])}"
