"""Change policies. Each change is a new version, and an entry."""

from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Person
from django.core.exceptions import ValidationError
from django.utils import timezone

from agentcore.plain.json import digest
from approvals import audit
from approvals.audit import rows, subjects, vouching
from approvals.domain import context, permissions, rulebook
from approvals.domain.permissions import User
from approvals.domain.policies import POLICY_FIELDS
from approvals.errors import Conflict
from approvals.models import Policy, PolicyVersion


def plain_of(policy: Policy) -> dict[str, Any]:
    """Return the content of a policy as plain data, people and groups by name."""
    return {
        **{name: getattr(policy, name) for name in POLICY_FIELDS},
        "people": sorted(person.get_username() for person in policy.people.all()),
        "groups": sorted(group.name for group in policy.groups.all()),
        "escalate_to": sorted(group.name for group in policy.escalate_to.all()),
    }


@audit.transaction()
def put_policy(policy_id: int, plain: dict[str, Any], *, by: User, **told: str) -> PolicyVersion:
    """Set a policy to what `plain_of` returned; with id 0 create one. Raises Conflict if that is impossible."""
    policy = Policy.objects.select_for_update().get(pk=policy_id) if policy_id else Policy()
    for name in POLICY_FIELDS:
        setattr(policy, name, plain[name])
    try:
        policy.full_clean()
    except ValidationError as error:
        raise Conflict(" ".join(error.messages)) from None
    people = list(Person.objects.filter(username__in=plain["people"]))
    groups, escalate_to = (list(Group.objects.filter(name__in=plain[name])) for name in ("groups", "escalate_to"))
    if [len(people), len(groups), len(escalate_to)] != [len(plain[n]) for n in ("people", "groups", "escalate_to")]:
        raise Conflict("Somebody or some group that it names is gone.")
    policy.save()
    policy.people.set(people)
    policy.groups.set(groups)
    policy.escalate_to.set(escalate_to)
    return note_change(policy, by=by, **told)


@audit.transaction()
def note_change(policy: Policy, *, by: User, **told: str) -> PolicyVersion:
    """Store the next version of a policy that was just saved. Open questions keep their rule."""
    permissions.check_set_policy(by)
    policy = Policy.objects.select_for_update().get(pk=policy.pk)
    permissions.check_again(by, "set_policy")
    policy.version, policy.changed_at = policy.version + 1, timezone.now()
    policy.save(update_fields=["version", "changed_at"])
    rule = rulebook.rule_of(policy).as_dict()
    return _record("policy.changed", policy, policy.version, rule, by, told)


@audit.transaction()
def remove_policy(policy: Policy, *, by: User, **told: str) -> PolicyVersion:
    """Remove a policy; its versions stay."""
    permissions.check_set_policy(by)
    policy = Policy.objects.select_for_update().get(pk=policy.pk)
    permissions.check_again(by, "set_policy")
    removed = _record("policy.removed", policy, policy.version + 1, None, by, told)
    with context.telling():
        policy.delete()
    return removed


def _record(
    action: str, policy: Policy, number: int, rule: dict[str, object] | None, by: User, told: dict[str, str]
) -> PolicyVersion:
    version = PolicyVersion.objects.create(
        policy_id=policy.pk, version=number, place=str(policy), rule=rule, changed_by=by.get_username()
    )
    about = {"policy": policy.pk, "place": str(policy), "version": number, **told}
    gone_or_here: audit.Told = {f"policy:{policy.pk}": None}
    if rule is not None:
        gone_or_here = rows.read("policy", [policy.pk])
    audit.append(
        action,
        actor=by.get_username(),
        object={**about, "rule": rule},
        digests={"rule": digest(rule)},
        rows=gone_or_here | rows.read("policyversion", [version.pk]),
        about=vouching.about_policy(f"{policy} v{number}"),
    )
    return version


def is_told(policy: Policy) -> bool:
    """Return whether the log agrees with the policy in the database. If not, saving it again mends that."""
    version = Policy.objects.values_list("version", flat=True).get(pk=policy.pk)
    return subjects.is_told("policy", policy.pk, about=vouching.about_policy(f"{policy} v{version}"))
