"""Authentication by token, in `Authorization` or `X-Api-Key`.

Sessions do not count, so no page can make a browser call the API.
"""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from ninja.security import APIKeyHeader, HttpBearer

from approvals.actions.people.sign_in import user_of_token
from approvals.domain import permissions


class Token(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> AbstractUser | None:
        return user_of_token(token)


class HeaderToken(APIKeyHeader):
    """The same token in the header in which clients of a LangGraph server send their key."""

    param_name = "X-Api-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> AbstractUser | None:
        return user_of_token(key) if key else None


def person(request: HttpRequest) -> AbstractUser:
    """Return the person of the request."""
    found: Any = getattr(request, "auth")  # noqa: B009 - ninja puts it there, Django's type does not know
    assert isinstance(found, AbstractUser)
    return found


def viewer(request: HttpRequest) -> AbstractUser:
    """Return the person of the request. Raises Denied unless they have a role."""
    permissions.check_view(person(request))
    return person(request)
