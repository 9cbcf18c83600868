"""May this person? `check_...` raises Denied, `can_...` and `why_not` ask. Buttons show why not, actions check."""

from typing import Any

from django.contrib.auth.models import AbstractUser, AnonymousUser

from approvals.enums import Role
from approvals.errors import Denied
from approvals.roles import ROLES_FOR as ROLES_FOR
from approvals.roles import SENTENCES as SENTENCES

User = AbstractUser | AnonymousUser

_CACHE = "_countersign_roles"


def roles_of(user: User) -> frozenset[str]:
    """Return the person's roles. Read once for each request: the user object lives as long."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    cached: frozenset[str] | None = getattr(user, _CACHE, None)
    if cached is None:
        cached = frozenset(user.groups.values_list("name", flat=True))
        if user.is_superuser:
            cached |= {Role.ADMIN.value}
        setattr(user, _CACHE, cached)  # noqa: B010 - an attribute of ours on a model of Django's
    return cached


def why_not(user: User, permission: str) -> str:
    """Return the sentence that refuses, or an empty string."""
    return "" if roles_of(user).intersection(ROLES_FOR[permission]) else SENTENCES[permission]


def _check(user: User, permission: str) -> None:
    if sentence := why_not(user, permission):
        raise Denied(sentence, permission=permission)


def check_view(user: User) -> None:
    _check(user, "view")


def can_view(user: User) -> bool:
    return not why_not(user, "view")


def check_vote(user: User, verdict: str) -> None:
    _check(user, "skip" if verdict == "skip" else "vote")


def can_vote(user: User, verdict: str) -> bool:
    return not why_not(user, "skip" if verdict == "skip" else "vote")


def check_preview(user: User) -> None:
    _check(user, "preview")


def check_start_run(user: User) -> None:
    _check(user, "start_run")


def check_fork(user: User) -> None:
    _check(user, "fork")


def check_replay(user: User) -> None:
    _check(user, "replay")


def check_retry_run(user: User) -> None:
    _check(user, "retry_run")


def check_read_audit(user: User) -> None:
    _check(user, "read_audit")


def check_erase_text(user: User) -> None:
    _check(user, "erase_text")


def check_force_clean(user: User) -> None:
    _check(user, "force_clean")


def check_set_policy(user: User) -> None:
    _check(user, "set_policy")


def can_set_policy(user: User) -> bool:
    return not why_not(user, "set_policy")


def context(request: Any) -> dict[str, Any]:
    """Template context: what the menu may show. One query for a person, whatever the page asks."""
    return {"may": {name: not why_not(request.user, name) for name in ROLES_FOR}} if hasattr(request, "user") else {}
