"""One-time sign-in links and API tokens. Only digests are stored; what is printed is the only copy."""

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import AbstractUser, User
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from approvals import audit
from approvals.audit import rows
from approvals.compiled import compiled
from approvals.domain import permissions
from approvals.errors import LinkUsed
from approvals.models import ApiToken, SignInLink
from approvals.programs import typed

LINK_LIVES = timedelta(hours=12)


def make_link(user: AbstractUser) -> str:
    """Return the token of a new one-time link."""
    token = secrets.token_urlsafe(24)
    SignInLink.objects.filter(expires_at__lt=Now()).delete()
    SignInLink.objects.create(token_digest=_digest(token), user_id=user.pk, expires_at=Now() + LINK_LIVES)
    return token


def use_link(token: str) -> AbstractUser:
    """Return the person of a link and delete the link. Raises Gone when it was used or has expired."""
    with transaction.atomic():
        link = SignInLink.objects.select_for_update().filter(token_digest=_digest(token), expires_at__gt=Now()).first()
        if link is None or not link.user.is_active:
            new = typed("signin_link NAME")
            raise LinkUsed(f"This link was used before or has expired. Make a new one: {new}.")
        user = link.user
        link.delete()
    assert isinstance(user, AbstractUser)
    return user


def make_token(user: AbstractUser) -> str:
    """Return a new API token of this person."""
    token = "cs_" + secrets.token_urlsafe(32)
    with audit.transaction():
        ApiToken.objects.create(token_digest=_digest(token), user_id=user.pk)
        audit.append(
            "token.created",
            actor=user.get_username(),
            actor_kind="operator at the command line",
            rows=rows.read("token", [_digest(token)]),
            about=f"token:{_digest(token)}",
        )
    return token


def user_of_token(token: str) -> AbstractUser | None:
    """Return the person of a token, if they are active; else None."""
    digest = _digest(token)
    found = permissions.person_of(_having(token_digest=digest))
    if found is not None:
        permissions.note_token(found, digest)
    return found


@compiled
def _having(token_digest: str) -> "QuerySet[User]":
    of_token = ApiToken.objects.filter(token_digest=token_digest).values("user")
    return permissions.with_roles(User.objects.filter(pk__in=of_token, is_active=True))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
