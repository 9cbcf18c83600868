"""Change who decides on a gate, and how. Each change is a version of its own, and an entry."""

from django.db import transaction
from django.utils import timezone

from agentcore.serde import digest
from approvals import audit, permissions, rules
from approvals.models import Policy, PolicyVersion
from approvals.permissions import User


@transaction.atomic
def note_change(policy: Policy, *, by: User) -> PolicyVersion:
    """Make what was just saved the policy's next version. Open questions keep the rule they were asked under."""
    permissions.check_set_policy(by)
    policy = Policy.objects.select_for_update().get(pk=policy.pk)
    permissions.check_again(by, "set_policy")
    policy.version, policy.changed_at = policy.version + 1, timezone.now()
    policy.save(update_fields=["version", "changed_at"])
    rule = rules.rule_of(policy).as_dict()
    return _record("policy.changed", policy, policy.version, rule, by)


@transaction.atomic
def remove_policy(policy: Policy, *, by: User) -> PolicyVersion:
    """Remove it; its versions stay."""
    permissions.check_set_policy(by)
    policy = Policy.objects.select_for_update().get(pk=policy.pk)
    permissions.check_again(by, "set_policy")
    removed = _record("policy.removed", policy, policy.version + 1, None, by)
    policy.delete()
    return removed


def _record(action: str, policy: Policy, number: int, rule: dict[str, object] | None, by: User) -> PolicyVersion:
    version = PolicyVersion.objects.create(
        policy_id=policy.pk, version=number, place=str(policy), rule=rule, changed_by=by.get_username()
    )
    about = {"policy": policy.pk, "place": str(policy), "version": number}
    audit.append(action, actor=by.get_username(), object={**about, "rule": rule}, digests={"rule": digest(rule)})
    return version
