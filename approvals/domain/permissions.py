"""What a person may do. `check_...` raises Denied; `can_...` and `why_not` ask. Buttons ask, actions check."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.auth.models import User as Person
from django.db.models import CharField, Exists, F, Q, QuerySet, Value
from django.db.models.functions import JSONObject

from agentcore.testing.failpoints import is_off
from approvals.compiled import compiled
from approvals.domain.roles import ROLES_FOR as ROLES_FOR
from approvals.domain.roles import SENTENCES as SENTENCES
from approvals.enums import Role
from approvals.errors import Denied
from approvals.models import ApiToken, Membership

User = AbstractUser | AnonymousUser

_CACHE = "_countersign_roles"
_TOKEN = "_countersign_token"


def roles_of(user: User) -> frozenset[str]:
    """Return the person's roles. They are read once for each request, as the user object lives that long."""
    return frozenset(memberships_of(user))


def memberships_of(user: User) -> dict[str, datetime]:
    """Return the person's groups, each with the time since when."""
    if not user.is_authenticated or not user.is_active:
        return {}
    cached: dict[str, datetime] | None = getattr(user, _CACHE, None)
    return _keep(user, dict(_memberships(user_id=user.pk))) if cached is None else cached


def identity_of(user: User) -> tuple[Any, ...]:
    """Return all that queries about what a person may see or do depend on."""
    return user.pk, user.get_username(), tuple(memberships_of(user).items())


def _keep(user: AbstractUser, found: dict[str, datetime]) -> dict[str, datetime]:
    """Keep the memberships that were read, on the user object."""
    if user.is_superuser:
        found.setdefault(Role.ADMIN.value, user.date_joined)
    setattr(user, _CACHE, found)  # noqa: B010 - an attribute of ours on a model of Django's
    return found


def with_roles(found: "QuerySet[Person]") -> "QuerySet[Person]":
    """Add a person's roles: a row for each. Give the rows to `person_of`."""
    return found.annotate(role=F("memberships__group__name"), role_since=F("memberships__granted_at"))


def person_of(rows: Sequence[Person]) -> Person | None:
    """Return the person whose rows `with_roles` gave, with their roles already read; None without a row."""
    if not rows:
        return None
    person, told = rows[0], [vars(row) for row in rows]
    _keep(person, {each["role"]: each["role_since"] for each in told if each["role"]})
    return person


def person_of_session(pk: int) -> Person | None:
    """Return a person with their roles, in one statement."""
    return person_of(_person(pk=pk))


@compiled
def _person(pk: int) -> "QuerySet[Person]":
    return with_roles(Person.objects.filter(pk=pk))


def note_token(user: User, token_digest: str) -> None:
    """Remember the API token of this request: a vote checks that the token still exists."""
    setattr(user, _TOKEN, token_digest)


def token_of(user: User) -> str:
    return str(getattr(user, _TOKEN, ""))


def rights(pk: int, token_digest: str) -> "QuerySet[Person, dict[str, Any]]":
    """Select the rights of a person as `take_rights` takes them: a row for each role, or one without a role.

    None for somebody who may not sign in, or whose token is gone; without a token, pass "".
    """
    token = ApiToken.objects.filter(token_digest=token_digest, user_id=pk)
    found = Person.objects.annotate(token=Value(token_digest, CharField())).filter(pk=pk, is_active=True)
    columns = {
        "role": "memberships__group__name",
        "since": "memberships__granted_at",
        "is_superuser": "is_superuser",
        "joined": "date_joined",
    }
    return found.filter(Q(token="") | Exists(token)).values_list(JSONObject(**columns), flat=True)


_rights = compiled(rights)


def take_rights(user: User, rows: Sequence[Mapping[str, Any]]) -> None:
    """Have the person the rights that `rights` selected."""
    if user.pk is None or is_off("rights_again"):
        return
    found = {row["role"]: datetime.fromisoformat(row["since"]) for row in rows if row["role"]}
    if rows and rows[0]["is_superuser"]:
        found.setdefault(Role.ADMIN.value, datetime.fromisoformat(rows[0]["joined"]))
    setattr(user, _CACHE, found)


@compiled
def _memberships(user_id: int) -> "QuerySet[Membership, tuple[str, datetime]]":
    return Membership.objects.filter(user_id=user_id).values_list("group__name", "granted_at")


def check_again(user: User, permission: str) -> None:
    """Read the person's rights anew and raise Denied if they may not. For callers that just waited for a lock.

    Rights may have been taken away meanwhile.
    """
    take_rights(user, _rights(pk=user.pk, token_digest=token_of(user)) if user.pk else [])
    check(user, permission)


def groups_at(user: User, at: datetime) -> frozenset[str]:
    """Return the groups that the person is in now and was in at the given time."""
    return frozenset(name for name, since in memberships_of(user).items() if since <= at)


def granted_at(user: User, verdict: str) -> datetime | None:
    """Return since when the person may vote or skip; None if they may not."""
    wanted = ROLES_FOR["skip" if verdict == "skip" else "vote"]
    return min((since for name, since in memberships_of(user).items() if name in wanted), default=None)


def why_not(user: User, permission: str) -> str:
    """Return the sentence that refuses the person, or an empty string."""
    return "" if roles_of(user).intersection(ROLES_FOR[permission]) else SENTENCES[permission]


def for_verdict(verdict: str) -> str:
    """Return the permission that a verdict needs."""
    return "skip" if verdict == "skip" else "vote"


def check(user: User, permission: str) -> None:
    """Raise Denied if the person may not, as far as their rights are known."""
    if sentence := why_not(user, permission):
        raise Denied(sentence, permission=permission)


def check_view(user: User) -> None:
    check(user, "view")


def can_view(user: User) -> bool:
    return not why_not(user, "view")


def check_vote(user: User, verdict: str) -> None:
    check(user, for_verdict(verdict))


def can_vote(user: User, verdict: str) -> bool:
    return not why_not(user, for_verdict(verdict))


def check_preview(user: User) -> None:
    check(user, "preview")


def check_start_run(user: User) -> None:
    check(user, "start_run")


def check_fork(user: User) -> None:
    check(user, "fork")


def check_replay(user: User) -> None:
    check(user, "replay")


def check_retry_run(user: User) -> None:
    check(user, "retry_run")


def check_read_audit(user: User) -> None:
    check(user, "read_audit")


def check_erase_text(user: User) -> None:
    check(user, "erase_text")


def check_bind(user: User) -> None:
    check(user, "bind")


def check_force_clean(user: User) -> None:
    check(user, "force_clean")


def check_set_policy(user: User) -> None:
    check(user, "set_policy")


def can_set_policy(user: User) -> bool:
    return not why_not(user, "set_policy")


def context(request: Any) -> dict[str, Any]:
    """Template context processor: what the menu may show. One query a person, whatever the page asks."""
    return {"may": {name: not why_not(request.user, name) for name in ROLES_FOR}} if hasattr(request, "user") else {}
