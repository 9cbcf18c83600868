"""The two-admin rule: one admin proposes a change of a policy, person or group, another confirms it.

The rule is off until somebody turns it on. Database triggers refuse a change without a confirmed proposal, whoever
makes it (migration 0013).
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Person
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from agentcore.plain.json import digest
from approvals import audit
from approvals.actions.people import people
from approvals.actions.people.policies import plain_of, put_policy, remove_policy
from approvals.domain import permissions, policies
from approvals.domain.permissions import User
from approvals.enums import ChangeKind, ChangeStatus
from approvals.errors import AlreadyDecided, Conflict, Denied, Expired, Invalid, NotFound, Stale
from approvals.models import ApiToken, Change, Policy, Safeguard

NO_SECOND = "There {are} to confirm anything. Make somebody else an admin first."
RULE = "the two-admin rule"
is_guarded = people.is_guarded


def open_changes() -> QuerySet[Change]:
    """Select the changes that another admin can still confirm."""
    return Change.objects.filter(status=ChangeStatus.OPEN, proposed_at__gt=Now() - timedelta(days=Change.OPEN_DAYS))


@audit.transaction()
def propose(kind: ChangeKind, target_id: int | None, name: str, after: Any, *, by: User) -> Change:
    """Store a change until another admin confirms it. Raises Denied, or Invalid if it changes nothing."""
    permissions.check_again(by, "set_policy")
    before = _present(kind, target_id, name)
    if before == after:
        raise Invalid("Nothing would change.")
    assert isinstance(by, Person)
    change = Change.objects.create(
        kind=kind, target_id=target_id, name=name, before=before, after=after, proposed_by=by
    )
    _record("change.proposed", change, by)
    return change


@audit.transaction()
def confirm(*, change_id: UUID, by: User) -> Change:
    """Make a change take effect. Raises Denied for its proposer, AlreadyDecided, Expired, Stale or Conflict."""
    change = _locked(change_id, by)
    if sentence := why_not_confirm(change, by):
        raise Denied(sentence, permission="set_policy")
    if _present(ChangeKind(change.kind), change.target_id, change.name) != change.before:
        raise Stale(f"{change.name} changed since this was proposed. Refuse it, and have it proposed anew.")
    _close(change, ChangeStatus.CONFIRMED, by)
    with connection.cursor() as cursor:  # the triggers look for this row; it exists in this transaction only
        cursor.execute("SELECT set_config('countersign.change', %s, true)", [str(change.pk)])
    _apply(change, by)
    _record("change.confirmed", change, by)
    return change


@audit.transaction()
def refuse(*, change_id: UUID, reason: str = "", by: User) -> Change:
    """Refuse a change, or take back one's own. Raises Denied, AlreadyDecided or Expired."""
    change = _locked(change_id, by)
    is_own = change.proposed_by_id == by.pk
    if not is_own and not reason.strip():
        raise Invalid("Say why: the reason goes into the record.")
    if len(reason) > policies.LONGEST_COMMENT or "\x00" in reason:
        raise Invalid(f"A reason is at most {policies.LONGEST_COMMENT} characters that can be stored.")
    _close(change, ChangeStatus.WITHDRAWN if is_own else ChangeStatus.REFUSED, by, reason=reason)
    _record("change.refused", change, by, texts={"reason": reason})
    return change


@audit.transaction()
def turn_on(*, by: User) -> None:
    """Turn the two-admin rule on. Raises Conflict while there is only one admin."""
    Group.objects.select_for_update().get(
        name="admin"
    )  # whoever removes an admin meanwhile waits for this lock, and is then refused
    permissions.check_again(by, "set_policy")
    if is_guarded():
        raise Conflict("The two-admin rule is on already.")
    if (admins := people.count_admins()) < 2:
        raise Conflict(NO_SECOND.format(are="is only 1 admin" if admins else "is no admin"))
    guard, _ = Safeguard.objects.update_or_create(pk=1, defaults={"two_admins": True})
    about = {"admins": admins}
    audit.append("two_admins.turned_on", actor=by.get_username(), object=about, rows=audit.told(guard))


def turn_off(*, by: User) -> Change:
    """Propose to turn the rule off. Another admin has to confirm."""
    permissions.check_set_policy(by)
    if not is_guarded():
        raise Conflict("The two-admin rule is off already.")
    return propose(ChangeKind.TWO_ADMINS, None, RULE, {"on": False}, by=by)


def why_not_confirm(change: Change, by: User) -> str:
    """Return why this person cannot confirm this change, or an empty string."""
    if change.proposed_by_id == by.pk:
        return "You proposed this, so another admin must confirm it."
    since = permissions.memberships_of(by).get("admin")
    if since is not None and since > change.proposed_at:
        return "You became an admin after this was proposed, so another admin must confirm it."
    token = permissions.token_of(by)
    if token and ApiToken.objects.filter(token_digest=token, created_at__gt=change.proposed_at).exists():
        return "This token was made after the change was proposed: confirm it on the page, or with an older one."
    return ""


def why_closed(change: Change) -> str:
    """Return why nobody can confirm or refuse the change any more, or an empty string."""
    if change.status == ChangeStatus.OPEN:
        is_open = open_changes().filter(pk=change.pk).exists()
        return "" if is_open else f"Nobody confirmed it in {Change.OPEN_DAYS} days."
    who = change.closed_by.get_username() if change.closed_by else "somebody"
    return f"{who} closed this already: {change.status}."


def _locked(change_id: UUID, by: User) -> Change:
    permissions.check_set_policy(by)
    change = Change.objects.select_for_update(of=("self",)).select_related("proposed_by", "closed_by")
    found = change.filter(pk=change_id).first()
    if found is None:
        raise NotFound("There is no such change.")
    permissions.check_again(by, "set_policy")
    if sentence := why_closed(found):
        raise (Expired if found.status == ChangeStatus.OPEN else AlreadyDecided)(sentence)
    return found


def _present(kind: ChangeKind, target_id: int | None, name: str) -> Any:
    """Return the present content of what a change is about, as plain data; None for what does not exist."""
    pk = target_id or 0
    match kind:
        case ChangeKind.POLICY:
            policy = Policy.objects.filter(pk=pk).first()
            return plain_of(policy) if policy else None
        case ChangeKind.PERSON:
            is_it = {"pk": target_id} if target_id else {"username": name}
            person = Person.objects.filter(**is_it).first()
            return people.rights_of(person) if person else None
        case ChangeKind.GROUP:
            members = Person.objects.filter(groups__pk=pk).order_by("username")
            is_there = Group.objects.filter(pk=pk).exists()
            return {"members": list(members.values_list("username", flat=True))} if is_there else None
        case ChangeKind.TWO_ADMINS:
            return {"on": is_guarded()}


def _apply(change: Change, by: User) -> None:
    told = {"change": str(change.pk), "proposed_by": change.proposed_by.get_username()}
    pk, after = change.target_id or 0, change.after
    match ChangeKind(change.kind):
        case ChangeKind.POLICY if after is not None:
            put_policy(pk, after, by=by, **told)
        case ChangeKind.POLICY:
            remove_policy(Policy.objects.get(pk=pk), by=by, **told)
        case ChangeKind.PERSON:
            people.put_person(pk, change.name, dict(after or {}), by=by, **told)
        case ChangeKind.GROUP:
            people.remove_group(Group.objects.get(pk=pk), by=by, **told)
        case ChangeKind.TWO_ADMINS:
            Safeguard.objects.filter(pk=1).update(two_admins=False)
            rows: audit.Told = {"safeguard:1": {"two_admins": False}}
            audit.append("two_admins.turned_off", actor=by.get_username(), object=told, rows=rows)


def _close(change: Change, status: ChangeStatus, by: User, *, reason: str = "") -> None:
    Change.objects.filter(pk=change.pk).update(status=status, closed_by_id=by.pk, closed_at=Now(), reason=reason)
    change.refresh_from_db()


def _record(action: str, change: Change, by: User, *, texts: dict[str, str] | None = None) -> None:
    about = {"change": str(change.pk), "kind": str(change.kind), "name": change.name, "status": str(change.status)}
    audit.append(
        action,
        actor=by.get_username(),
        object={**about, "proposed_by": change.proposed_by.get_username()},
        digests={"before": digest(change.before), "after": digest(change.after)},
        texts=texts,
        rows=audit.told(change),
    )
