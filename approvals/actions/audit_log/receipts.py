"""The receipt of a decision, for whoever may see the approval."""

from typing import Any
from uuid import UUID

from approvals.audit.filters import Filters
from approvals.audit.receipts import TOLD, make_receipt
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import NotFound, Undecided
from approvals.models import Approval, AuditEntry


def give_receipt(*, approval_id: UUID, by: User) -> dict[str, Any]:
    """Return the receipt as plain data. Raises Denied, NotFound or Undecided."""
    return make_receipt(str(approval_id), entries_of(approval_id=approval_id, by=by))


def entries_of(*, approval_id: UUID, by: User) -> list[AuditEntry]:
    """Return the entries of a decision, oldest first. Raises Denied, NotFound or Undecided."""
    permissions.check_view(by)
    if not Approval.objects.filter(pk=approval_id).exists():
        raise NotFound("There is no such approval.")
    found = list(Filters(approval=str(approval_id)).entries().filter(action__in=TOLD).order_by("seq"))
    if not any(entry.action == "decision.reached" for entry in found):
        raise Undecided("Nobody has decided this, so there is no receipt.")
    return found
