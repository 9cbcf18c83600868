"""Verify the audit log. The request is an entry too; the result is stored for the audit page."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from approvals import audit
from approvals.audit.notes import PublicKey
from approvals.audit.walk import Known
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import Unavailable
from approvals.models import AuditCheck, AuditHead

logger = logging.getLogger(__name__)


NEW = timedelta(days=1)
"""What is newer than this is verified again each hour, and by Verify now; the whole log once a day."""


def verify_audit(*, by: User, is_whole: bool = True) -> audit.Verification:
    """Verify the whole log, or what is new; return the result.

    Raises Denied, or Unavailable if it could not be checked.
    """
    permissions.check_read_audit(by)
    try:
        since = None if is_whole or _is_broken() else new_since()
        return check(by=by.get_username(), kind="person", since=since)
    except audit.CannotCheck as why:
        raise Unavailable(str(why)) from why


def new_since() -> datetime:
    return timezone.now() - NEW


def _is_broken() -> bool:
    """Return whether the last check found a fault. Then all is verified: what is new may begin behind it."""
    return AuditCheck.objects.filter(ok=False).exists()


def check_by_worker() -> None:
    """Verify what is new, and the whole log if that was a day ago or was broken.

    Write a message to the process log if it is broken or could not be checked.
    """
    whole = AuditCheck.objects.filter(pk=AuditCheck.WHOLE).first()
    is_due = whole is None or whole.checked_at < new_since() or _is_broken()
    try:
        found = check(by="countersign", kind="system", since=None if is_due else new_since())
    except audit.CannotCheck as why:
        logger.warning("The audit log could not be checked: %s", why)
        return
    if not found.ok:
        logger.error("The audit log is broken at entry %s: %s", found.first_bad, found.reason)


def check(
    *,
    by: str,
    kind: str,
    keys: Sequence[PublicKey] | None = None,
    known: Known | None = None,
    since: datetime | None = None,
) -> audit.Verification:
    """Verify the log for a worker or a command, as `audit.verify` does. Raises CannotCheck."""
    found = audit.verify(keys=keys, known=known, since=since)
    # The answer must arrive even if the log lost its head row, or the database is read-only.
    with suppress(AuditHead.DoesNotExist, DatabaseError), transaction.atomic():
        _keep(found, by=by)
    with suppress(AuditHead.DoesNotExist, DatabaseError):
        about = {"entries": found.entries, "first_bad": found.first_bad, "signed": found.signed, "after": found.after}
        outcome = "ok" if found.ok else "broken"
        audit.append("audit.verified", actor=by, actor_kind=kind, object=about, outcome=outcome)
    return found


def _keep(found: audit.Verification, *, by: str) -> None:
    values = {
        "ok": found.ok,
        "entries": found.entries,
        "after": found.after,
        "first_bad": found.first_bad,
        "reason": found.reason or " ".join(found.warnings),
        "checked_by": by,
        "checked_at": Now(),
    }
    if found.after and found.ok and _is_broken():
        return
    AuditCheck.objects.update_or_create(pk=AuditCheck.NEWEST if found.after else AuditCheck.WHOLE, defaults=values)
    if not found.after:  # that of the whole log is the newer one of what is new, too
        AuditCheck.objects.filter(pk=AuditCheck.NEWEST).delete()
