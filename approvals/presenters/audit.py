"""Entries of the audit log, readable when everything else is gone."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.audit import ACTIONS
from approvals.models import AuditEntry
from approvals.text import json_text


@dataclass(frozen=True)
class EntryShown:
    seq: int
    at: datetime
    actor: str
    action: str
    sentence: str
    thread_id: str
    outcome: str
    about: list[tuple[str, str]]
    body: str
    hash: str
    prev_hash: str


@dataclass(frozen=True)
class CheckShown:
    """What the last verification found."""

    is_ok: bool
    entries: int
    first_bad: int | None
    by: str
    at: datetime


def check_of(entry: AuditEntry) -> CheckShown:
    found = _body(entry).get("object") or {}
    return CheckShown(
        found.get("first_bad") is None, found.get("entries", 0), found.get("first_bad"), entry.actor, entry.at
    )


def entries_of(entries: Iterable[AuditEntry]) -> list[EntryShown]:
    return [_entry(entry) for entry in entries]


def _entry(entry: AuditEntry) -> EntryShown:
    body = _body(entry)
    about = body.get("object")
    return EntryShown(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        sentence=ACTIONS.get(entry.action, ""),
        thread_id=entry.thread_id,
        outcome=str(body.get("outcome", "")),
        about=[(name, item if isinstance(item, str) else json.dumps(item)) for name, item in about.items()]
        if isinstance(about, dict)
        else [],
        body=json_text(body) if body else entry.body,
        hash=entry.hash,
        prev_hash=entry.prev_hash,
    )


def _body(entry: AuditEntry) -> dict[str, Any]:
    """A log that was tampered with is shown all the same."""
    try:
        found = json.loads(entry.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
