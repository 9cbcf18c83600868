"""What changed from one version of a policy, or of a person, to the next."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.domain.policies import Voters
from approvals.models import AuditEntry, PolicyVersion


@dataclass(frozen=True)
class Version:
    """One change, with a line for each thing that it changed."""

    title: str
    by: str
    at: datetime
    changes: list[str]


def versions_of(found: Iterable[PolicyVersion]) -> list[Version]:
    """Return them newest first. They come oldest first."""
    told: list[Version] = []
    before: Mapping[str, Any] = {}
    for version in found:
        changes = ["Removed."] if version.rule is None else _changes(before, version.rule)
        told.append(Version(f"v{version.version}", version.changed_by, version.changed_at, changes))
        before = version.rule or {}
    return told[::-1]


def entries_of(entries: Iterable[AuditEntry]) -> list[Version]:
    """Return what the log says of a person or a group, newest first. They come oldest first."""
    return [_entry(entry) for entry in entries][::-1]


def _entry(entry: AuditEntry) -> Version:
    about = entry.record["object"]
    changes = _changes(about.get("before") or {}, about["after"]) if "after" in about else [f"{about['change']}."]
    return Version(f"entry {entry.seq}", entry.actor, entry.at, changes)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    changed = {name: value for name, value in after.items() if name != "source" and before.get(name) != value}
    return [_line(name, before, value) for name, value in changed.items()]


def _line(name: str, before: Mapping[str, Any], value: Any) -> str:
    told = f"{words_of(name)}: "
    return told + (f"{short(name, before[name])} → " if name in before else "") + short(name, value)


def words_of(name: str) -> str:
    return name.replace("_", " ")


def short(name: str, value: Any) -> str:
    """Say a value in a line."""
    if name == "may_edit" and not value:
        return "everything" if value is None else "nothing"
    match value:
        case None | [] | {}:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case list() if all(isinstance(item, dict) and item.keys() == {"people", "groups"} for item in value):
            return "; ".join(str(Voters(tuple(item["people"]), tuple(item["groups"]))) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
