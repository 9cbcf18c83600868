"""Entries for sign-ins, failed ones too, and for each change of people, groups and tokens.

Whatever makes the change, a command, a shell or another program, there is an entry: rights without one do not count.
Actions that know who asked write the entry themselves.
"""

from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Person
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save, pre_delete
from django.dispatch import receiver

from approvals import audit
from approvals.audit import subjects
from approvals.audit.log import within_django
from approvals.domain.context import is_telling
from approvals.models import ApiToken, Policy

UNTOLD = {"last_login", "password", "first_name", "last_name", "email", "is_staff", "date_joined"}
"""Fields of a person that decide nothing here."""


@receiver(user_logged_in)
@within_django()
def note_sign_in(user: Any, **_: Any) -> None:
    audit.append("session.started", actor=user.get_username())


@receiver(user_login_failed)
@within_django()
def note_failed_sign_in(credentials: dict[str, Any], **_: Any) -> None:
    audit.append("session.refused", actor=str(credentials.get("username", ""))[:150], outcome="refused")


@receiver(post_migrate)
def adopt_rows(sender: Any, **_: Any) -> None:
    """After our last migration, record the rows that existed before entries recorded rows."""
    if sender.name == "approvals":
        subjects.adopt()


@receiver(post_save, sender=Person)
@within_django()
def note_person(instance: Person, raw: bool, update_fields: Any, **_: Any) -> None:
    if not raw and not is_telling() and not (update_fields and set(update_fields) <= UNTOLD):
        subjects.tell_person(instance)


@receiver(m2m_changed, sender=Person.groups.through)
@within_django()
def note_groups(action: str, instance: Any, reverse: bool, pk_set: Any, **_: Any) -> None:
    if action == "pre_clear" and reverse:
        instance.was_of = set(instance.user_set.values_list("pk", flat=True))
    if not action.startswith("post_") or is_telling():
        return
    people = [instance] if not reverse else Person.objects.filter(pk__in=pk_set or getattr(instance, "was_of", ()))
    for person in people:
        subjects.tell_person(person)


@receiver(pre_delete, sender=Person)
@receiver(pre_delete, sender=Group)
def remember(instance: Any, **_: Any) -> None:
    instance.leaves = subjects.leaves(instance)


@receiver(post_delete, sender=Person)
@receiver(post_delete, sender=Group)
@within_django()
def note_removal(instance: Any, **_: Any) -> None:
    if not is_telling():
        subjects.tell_removal(instance, instance.leaves)


@receiver(post_save, sender=Group)
@within_django()
def note_group(instance: Group, created: bool, **_: Any) -> None:
    if not is_telling():
        subjects.tell_group(instance, "made" if created else "renamed")


@receiver(post_delete, sender=Policy)
@within_django()
def note_policy_removal(instance: Policy, **_: Any) -> None:
    if not is_telling():
        key, about = f"policy:{instance.pk}", {"policy": instance.pk, "place": str(instance)}
        audit.append_by_console("policy.removed", object=about, rows={key: None}, about=key)


@receiver(post_delete, sender=ApiToken)
@within_django()
def note_token_removal(instance: ApiToken, **_: Any) -> None:
    key, about = audit.key_of(instance), {"person": instance.user_id}
    audit.append_by_console("token.removed", object=about, rows={key: None}, about=key)
