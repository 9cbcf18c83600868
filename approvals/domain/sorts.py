"""Orders of lists, with cursors: what follows a row, and what stands before it.

Each order ends with the id, so that no two rows have the same place; an index has each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from django.db.models import F, Q
from django.db.models.expressions import OrderBy

from approvals.models import Approval, ApprovalQuerySet


@dataclass(frozen=True)
class SortKey:
    """One column of an order. Rows without a value come last."""

    column: str
    read: Any = str
    """Makes the value of its text in a cursor."""
    is_descending: bool = False
    is_optional: bool = False

    def beyond(self, value: Any, *, is_back: bool) -> Q:
        """Select what stands after this value, or before it."""
        if value is None:
            return Q(**{f"{self.column}__isnull": False}) if is_back else Q(pk__in=[])
        step = "gt" if self.is_descending == is_back else "lt"
        later = Q(**{f"{self.column}__{step}": value})
        return later | Q(**{f"{self.column}__isnull": True}) if self.is_optional and not is_back else later

    def same(self, value: Any) -> Q:
        return Q(**{f"{self.column}__isnull": True}) if value is None else Q(**{self.column: value})

    def ordered(self, *, is_back: bool) -> str | OrderBy:
        """Return what `order_by` takes. PostgreSQL has rows without a value last where it ascends."""
        if self.is_optional and self.is_descending:
            column = F(self.column)
            return column.asc(nulls_first=True) if is_back else column.desc(nulls_last=True)
        return f"{'-' if self.is_descending != is_back else ''}{self.column}"


_TIME = datetime.fromisoformat
_ID, _ASKED, _DUE = SortKey("id", UUID), SortKey("created_at", _TIME), SortKey("due_at", _TIME, is_optional=True)
SortKeys = tuple[SortKey, ...]
DAY = timedelta(days=1)
TIME_GROUPS = {"over": "Overdue", "day": "Due within 24 hours", "later": "Due later", "none": "No deadline"}
URGENT: SortKeys = (_DUE, _ASKED, _ID)
CLOSED: SortKeys = (SortKey("closed_at", _TIME, is_descending=True), SortKey("id", UUID, is_descending=True))
SORTS: dict[str, SortKeys] = {
    "urgent": URGENT,
    "oldest": (_ASKED, _ID),
    "newest": (SortKey("created_at", _TIME, is_descending=True), SortKey("id", UUID, is_descending=True)),
    "amount": (SortKey("amount", Decimal, is_descending=True, is_optional=True), _ASKED, _ID),
}
GROUPS: dict[str, SortKeys] = {
    "due": URGENT,
    "graph": (SortKey("graph_id"), *URGENT),
    "action": (SortKey("action"), *URGENT),
    "customer": (SortKey("customer"), *URGENT),
}
"""In a group the most urgent comes first: an index has no other order."""


def time_group_of(due_at: datetime | None, now: datetime) -> str:
    """Return how near a deadline is, as `queries.with_time_group` does."""
    if due_at is None:
        return "none"
    return "over" if due_at <= now else "day" if due_at <= now + DAY else "later"


def ordered(found: ApprovalQuerySet, order: SortKeys, *, is_back: bool = False) -> ApprovalQuerySet:
    return found.order_by(*(key.ordered(is_back=is_back) for key in order))


def cursor_of(row: Approval, order: SortKeys) -> str:
    return "|".join(quote(_written(getattr(row, key.column)), safe=":+-. ") for key in order)


def after(found: ApprovalQuerySet, order: SortKeys, cursor: str, *, is_back: bool = False) -> ApprovalQuerySet:
    """Select what follows the row that `cursor` names, or what stands before it; an invalid cursor is ignored."""
    values = _values_of(cursor, order)
    if values is None:
        return found
    met = order[-1].beyond(values[-1], is_back=is_back)
    for key, value in list(zip(order, values, strict=True))[-2::-1]:
        met = key.beyond(value, is_back=is_back) | key.same(value) & met
    first, value = order[0], values[0]
    if not first.is_optional:  # where an index may begin
        step = "gte" if first.is_descending == is_back else "lte"
        met &= Q(**{f"{first.column}__{step}": value})
    return found.filter(met)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _values_of(cursor: str, order: Sequence[SortKey]) -> list[Any] | None:
    texts = cursor.split("|")
    if len(texts) != len(order):
        return None
    try:
        return [
            None if key.is_optional and not text else key.read(unquote(text))
            for key, text in zip(order, texts, strict=True)
        ]
    except (ValueError, ArithmeticError):
        return None
