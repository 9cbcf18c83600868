"""Open pages are told when people, their roles or groups change: lists and buttons depend on who may vote."""

from typing import Any

from django.contrib.auth.models import User as Person
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver

from approvals.live import events

_UNSHOWN = {"last_login", "password"}


@receiver(post_save, sender=Person)
def tell_of_person(update_fields: Any, **_: Any) -> None:
    if not (update_fields and set(update_fields) <= _UNSHOWN):
        events.publish_to_all()


@receiver(post_delete, sender=Person)
def tell_of_removal(**_: Any) -> None:
    events.publish_to_all()


@receiver(m2m_changed, sender=Person.groups.through)
def tell_of_groups(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        events.publish_to_all()
