"""Who is asking: the person a bearer token belongs to. Sessions do not count, so no page can make a browser ask."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from ninja.security import HttpBearer

from approvals.actions.people.sign_in import user_of_token
from approvals.domain import permissions


class Token(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> AbstractUser | None:
        return user_of_token(token)


def person(request: HttpRequest) -> AbstractUser:
    """Return who asks."""
    found: Any = getattr(request, "auth")  # noqa: B009 - ninja puts it there, Django's type does not know
    assert isinstance(found, AbstractUser)
    return found


def viewer(request: HttpRequest) -> AbstractUser:
    """Return who asks; raise Denied unless they may see things."""
    permissions.check_view(person(request))
    return person(request)
