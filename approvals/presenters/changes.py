"""Changes under the two-admin rule: what each would change, who proposed it, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals.domain.permissions import User
from approvals.domain.policies import POLICY_FIELDS
from approvals.enums import ChangeKind, ChangeStatus
from approvals.models import Change, Policy
from approvals.presenters.versions import short, words_of

_ORDER = [*POLICY_FIELDS, "people", "groups", "escalate_to", "active", "members", "on"]
"""As the form has them; a stored object has lost the order of its keys."""
_WORDS = {field.name: str(field.verbose_name) for field in Policy._meta.fields} | {
    "may_edit": "may be edited",
    "active": "may sign in",
}


@dataclass(frozen=True)
class ChangeLine:
    """One thing that would be otherwise."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ChangeShown:
    id: UUID
    title: str
    lines: list[ChangeLine]
    is_new: bool
    is_removed: bool
    by: str
    at: datetime
    until: datetime
    status: str
    word: str
    closed_by: str
    closed_at: datetime | None
    reason: str
    is_own: bool
    why_not_confirm: str


def change_of(change: Change, by: User, *, is_open: bool, why_not_confirm: str = "") -> ChangeShown:
    """The change comes with `proposed_by` and `closed_by`."""
    is_late = change.status == ChangeStatus.OPEN and not is_open
    return ChangeShown(
        id=change.pk,
        title=title_of(change),
        lines=lines_of(change),
        is_new=change.before is None,
        is_removed=change.after is None,
        by=change.proposed_by.get_username(),
        at=change.proposed_at,
        until=change.open_until,
        status="expired" if is_late else str(change.status),
        word="Nobody confirmed it in time" if is_late else str(ChangeStatus(change.status).label),
        closed_by=change.closed_by.get_username() if change.closed_by else "",
        closed_at=change.closed_at,
        reason=change.reason,
        is_own=change.proposed_by_id == by.pk,
        why_not_confirm=why_not_confirm,
    )


def title_of(change: Change) -> str:
    """Return a title as a sentence."""
    if change.kind == ChangeKind.TWO_ADMINS:
        return "Turn the two-admin rule off"
    verb = "Remove" if change.after is None else "Make" if change.before is None else "Change"
    return f"{verb} the {ChangeKind(change.kind).label.lower()} {change.name}"


def lines_of(change: Change) -> list[ChangeLine]:
    """Return what differs; for a new or removed row everything that is not empty."""
    before: Mapping[str, Any] = change.before or {}
    after: Mapping[str, Any] = change.after or {}
    names = sorted({*after, *before}, key=_ORDER.index)
    is_one = change.before is None or change.after is None
    return [
        ChangeLine(_WORDS.get(name, words_of(name)), _told(name, before), _told(name, after))
        for name in names
        if (name not in before or name not in after or before[name] != after[name])
        and not (is_one and _says_nothing(name, before.get(name, after.get(name))))
    ]


def _told(name: str, plain: Mapping[str, Any]) -> str:
    return short(name, plain[name]) if name in plain else ""


def _says_nothing(name: str, value: Any) -> bool:
    return value in ("", None) or value == [] and name != "may_edit"
