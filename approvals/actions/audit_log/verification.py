"""Verify the audit log. The request is an entry too; the result is stored for the audit page."""

import logging
from collections.abc import Sequence
from contextlib import suppress

from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from approvals import audit
from approvals.audit.notes import PublicKey
from approvals.audit.walk import Known
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import Unavailable
from approvals.models import AuditCheck, AuditHead

logger = logging.getLogger(__name__)


def verify_audit(*, by: User) -> audit.Verification:
    """Verify the whole log; return the result. Raises Denied, or Unavailable if it could not be checked."""
    permissions.check_read_audit(by)
    try:
        return check(by=by.get_username(), kind="person")
    except audit.CannotCheck as why:
        raise Unavailable(str(why)) from why


def check_by_worker() -> None:
    """Verify the whole log; write a message to the process log if it is broken or could not be checked."""
    try:
        found = check(by="countersign", kind="system")
    except audit.CannotCheck as why:
        logger.warning("The audit log could not be checked: %s", why)
        return
    if not found.ok:
        logger.error("The audit log is broken at entry %s: %s", found.first_bad, found.reason)


def check(
    *, by: str, kind: str, keys: Sequence[PublicKey] | None = None, known: Known | None = None
) -> audit.Verification:
    """Verify the whole log for a worker or a command. Raises CannotCheck."""
    found = audit.verify(keys=keys, known=known)
    # The answer must arrive even if the log lost its head row, or the database is read-only.
    with suppress(AuditHead.DoesNotExist, DatabaseError), transaction.atomic():
        _keep(found, by=by)
    with suppress(AuditHead.DoesNotExist, DatabaseError):
        about = {"entries": found.entries, "first_bad": found.first_bad, "signed": found.signed}
        outcome = "ok" if found.ok else "broken"
        audit.append("audit.verified", actor=by, actor_kind=kind, object=about, outcome=outcome)
    return found


def _keep(found: audit.Verification, *, by: str) -> None:
    values = {
        "ok": found.ok,
        "entries": found.entries,
        "first_bad": found.first_bad,
        "reason": found.reason or " ".join(found.warnings),
        "checked_by": by,
        "checked_at": Now(),
    }
    AuditCheck.objects.update_or_create(pk=1, defaults=values)
