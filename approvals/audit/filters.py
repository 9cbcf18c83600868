"""Filters of lists and exports of entries."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from approvals.models import Approval, AuditEntry


@dataclass(frozen=True)
class Filters:
    """Empty fields ask for anything. `since` is included, `until` is not."""

    actor: str = ""
    action: str = ""
    thread_id: str = ""
    approval: str = ""
    policy: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.told())

    def told(self) -> dict[str, str]:
        """Return the filters as the audit entry of an export records them."""
        return {name: str(value) for name, value in vars(self).items() if value}

    def entries(self) -> QuerySet[AuditEntry]:
        exact = {name: value for name in ("actor", "action", "thread_id") if (value := getattr(self, name))}
        found = AuditEntry.objects.filter(**exact)
        if self.since:
            found = found.filter(at__gte=self.since)
        if self.until:
            found = found.filter(at__lt=self.until)
        if self.approval:
            found = _on_thread_of(found, self.approval).filter(body__contains=_part("approval", self.approval))
        return found.filter(body__contains=_part("policy_version", self.policy)) if self.policy else found


def _part(name: str, value: str) -> str:
    """Return how the body of an entry writes this key and value."""
    return f'"{name}":{json.dumps(value, ensure_ascii=False)}'


def _on_thread_of(found: QuerySet[AuditEntry], approval_id: str) -> Any:
    """Narrow to the approval's thread, which has an index; an approval that is gone is looked for everywhere."""
    try:
        thread_id = Approval.objects.filter(pk=approval_id).values_list("thread_id", flat=True).first()
    except ValueError:
        return found.none()
    return found.filter(thread_id=thread_id) if thread_id else found
