"""Filters of lists and exports of entries."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BooleanField, QuerySet, Subquery
from django.db.models.expressions import RawSQL

from approvals.models import Approval, AuditEntry

MOST_SET_BACK = timedelta(hours=1)
"""A clock that was set back by more than this may hide entries from a filter by time."""
POLICY = r"""substring(body FROM '"policy_version":"((?:[^"\\]|\\.)*)"')"""
"""The version of a policy that an entry names, as its body writes it. The index is on the same expression."""


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
            found = found.filter(at__gte=self.since, seq__gte=_first_after(_moved(self.since, -MOST_SET_BACK)))
        if self.until:
            found = found.filter(at__lt=self.until, seq__lte=_last_before(_moved(self.until, MOST_SET_BACK)))
        if self.approval:
            found = _on_thread_of(found, self.approval).filter(body__contains=_part("approval", self.approval))
        return _under(found, self.policy) if self.policy else found


def _moved(at: datetime, by: timedelta) -> datetime:
    """Return a later or earlier time; at the ends of the calendar the same."""
    with suppress(OverflowError):
        return at + by
    return at


def _first_after(at: datetime) -> Any:
    """Return a subquery for the number of the first entry from a time on."""
    return Subquery(AuditEntry.objects.filter(at__gte=at).order_by("at").values("seq")[:1])


def _last_before(at: datetime) -> Any:
    """Return a subquery for the number of the last entry before a time."""
    return Subquery(AuditEntry.objects.filter(at__lt=at).order_by("-at").values("seq")[:1])


def _under(found: QuerySet[AuditEntry], policy: str) -> QuerySet[AuditEntry]:
    """Narrow to the entries under a version of a policy, by an index (migration 0019)."""
    written = json.dumps(policy, ensure_ascii=False)[1:-1]
    return found.filter(RawSQL(f"{POLICY} = %s AND {POLICY} <> ''", [written], output_field=BooleanField()))


def _part(name: str, value: str) -> str:
    """Return how the body of an entry writes this key and value."""
    return f'"{name}":{json.dumps(value, ensure_ascii=False)}'


def _on_thread_of(found: QuerySet[AuditEntry], approval_id: str) -> Any:
    """Narrow to the approval's thread, which has an index: as its row names it, or where that is gone the log itself.

    An approval that neither knows is looked for everywhere.
    """
    try:
        of_row = Approval.objects.filter(pk=approval_id).values_list("thread_id", flat=True)
        of_log = AuditEntry.objects.filter(about=f"approval:{approval_id}").values_list("thread_id", flat=True)
        threads = set(of_row.union(of_log, all=True))
    except ValueError:
        return found.none()
    return found.filter(thread_id__in=threads) if threads else found
