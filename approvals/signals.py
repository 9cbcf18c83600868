"""Sign-ins are audit entries, also those that fail."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.dispatch import receiver

from approvals import audit


@receiver(user_logged_in)
def note_sign_in(user: Any, **_: Any) -> None:
    audit.append("session.started", actor=user.get_username())


@receiver(user_login_failed)
def note_failed_sign_in(credentials: dict[str, Any], **_: Any) -> None:
    audit.append("session.refused", actor=str(credentials.get("username", ""))[:150], outcome="refused")
