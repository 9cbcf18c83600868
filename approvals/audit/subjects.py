"""Entries for each change of people, groups, tokens and policies, whatever makes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Person
from django.db import transaction
from django.db.models import Q

from approvals.audit import rows, vouching
from approvals.audit.log import CONSOLE, append, append_by_console, within_django
from approvals.models import Approval, AuditEntry, Graph, Policy, PolicyVersion, Thread

AT_ONCE = 200


def told_of(key: str, about: str = "") -> dict[str, Any] | None:
    """Return what the log says of a row that others rely on; None if nothing."""
    newest = AuditEntry.objects.filter(about=about or key).order_by("-seq").first()
    told = (newest.record.get("rows") or {}).get(key) if newest else None
    return told if isinstance(told, dict) else None


def is_told(kind: str, pk: Any, about: str = "") -> bool:
    """Return whether the log agrees with the row in the database."""
    key = f"{kind}:{pk}"
    return told_of(key, about) == rows.read(kind, [pk])[key]


def tell_person(
    person: Person,
    *,
    actor: str = CONSOLE,
    kind: str = "system",
    before: dict[str, Any] | None = None,
    digests: dict[str, str] | None = None,
    **more: str,
) -> None:
    """Record a person as they are now, unless the log says so already."""
    key = rows.key_of(person)
    told = rows.read("person", [person.pk])
    known = told_of(key)
    if told[key] == known:
        return
    now = told[key]
    if known and now and known.get("username") != now["username"]:  # rules name people by name
        told |= rows.read("policy", Policy.objects.filter(people=person.pk).values_list("pk", flat=True))
    about = {"person": person.get_username(), "id": person.pk}
    about |= {"before": before or _rights(known), "after": _rights(told[key]), **more}
    append("person.changed", actor=actor, actor_kind=kind, object=about, digests=digests, rows=told, about=key)


def tell_group(group: Group, change: str, *, actor: str = CONSOLE, kind: str = "system", **more: Any) -> None:
    """Record that a group was made or removed, unless the log says so already."""
    told = rows.read("group", [group.pk])
    key = f"group:{group.pk}"
    if told[key] == told_of(key) and told[key] is not None:
        return
    about = {"group": group.name, "id": group.pk, "change": change, **more}
    append("person.changed", actor=actor, actor_kind=kind, object=about, rows=told, about=key)


@dataclass(frozen=True)
class Leaves:
    """Rows that change when a person or group is removed: its members, policies that named it, threads they started."""

    people: list[int]
    policies: list[int]
    threads: list[str]


def leaves(subject: Person | Group) -> Leaves:
    """Return the rows whose change must be recorded when a person or a group is removed."""
    if isinstance(subject, Person):
        policies = Policy.objects.filter(people=subject.pk)
        threads = Thread.objects.filter(started_by=subject.pk).values_list("pk", flat=True)
        return Leaves([], list(policies.values_list("pk", flat=True)), list(threads))
    members = Person.objects.filter(groups=subject.pk).order_by("username").values_list("pk", flat=True)
    policies = Policy.objects.filter(Q(groups=subject.pk) | Q(escalate_to=subject.pk)).distinct()
    return Leaves(list(members), list(policies.values_list("pk", flat=True)), [])


def tell_removal(
    subject: Person | Group, left: Leaves, *, actor: str = CONSOLE, kind: str = "system", **more: Any
) -> None:
    """Record that a person or group is gone, and what changed in other rows."""
    for person in Person.objects.filter(pk__in=left.people):
        tell_person(person, actor=actor, kind=kind)
    key = rows.key_of(subject)
    name = subject.name if isinstance(subject, Group) else subject.get_username()
    about = {"group" if isinstance(subject, Group) else "person": name, "id": subject.pk, "change": "removed", **more}
    told = rows.read("policy", left.policies)
    told[key] = None
    told |= {f"thread:{pk}": {"started_by_id": None} for pk in left.threads}
    append("person.changed", actor=actor, actor_kind=kind, object=about, rows=told, about=key)


def adopt() -> None:
    """Record every row from before entries recorded rows. Runs once: later rows must have entries of their own."""
    if AuditEntry.objects.filter(action="record.adopted").exists():
        return
    with transaction.atomic():
        for kind in rows.MODELS:
            found = rows.iter_rows(kind)
            _adopt(kind, (each for each in found if not rows.is_untold_by_nature(kind, each[2])))
        _append("all", {})


def _adopt(kind: str, found: Iterable[tuple[str, str, dict[str, Any]]]) -> None:
    """Write one entry for each person, and for each row that people rely on: it is looked up by its subject."""
    part: rows.Told = {}
    asked = Approval.objects.pending() if kind == "approval" else Approval.objects.none()
    pending = {f"approval:{pk}" for pk in asked.values_list("pk", flat=True)}
    policies = {f"policyversion:{version.pk}": version for version in _versions(kind)}
    graphs = {f"graph:{graph.pk}": graph for graph in Graph.objects.all()} if kind == "graph" else {}
    for key, _, columns in found:
        if kind in ("person", "token", "group") or key in pending:
            _append(kind, {key: columns}, about=key)
        elif key in policies:
            version = policies[key]
            source = vouching.about_policy(f"{version.place} v{version.version}")
            _append(kind, {key: columns}, about=source, rule=version.rule)
        elif key in graphs:
            _append(kind, {key: columns}, about=key, policies=written_in(graphs[key].card))
        else:
            part[key] = columns
            if len(part) >= AT_ONCE:
                _append(kind, part)
                part = {}
    if part:
        _append(kind, part)


def _versions(kind: str) -> Iterable[PolicyVersion]:
    return PolicyVersion.objects.all() if kind == "policyversion" else ()


def written_in(card: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return the policies in the metadata of a graph's nodes; those of subgraphs by their path."""
    nodes = [node for node in card["nodes"] if "policy" in node["approval"]]
    found = {f"{path}{node['id']}": node["approval"]["policy"] for node in nodes}
    for name, inner in card.get("subgraphs", {}).items():
        found |= written_in({**inner, "subgraphs": {}}, f"{name}|")
    return found


def _append(kind: str, told: rows.Told, *, about: str = "", **more: Any) -> None:
    object = {"kind": kind, "rows": len(told), **more}
    with within_django():  # of a migration: nobody decides meanwhile, and the entries would not fit into memory
        append_by_console("record.adopted", object=object, rows=told, about=about)


def _rights(told: dict[str, Any] | None) -> dict[str, Any] | None:
    if told is None:
        return None
    rights = {"active": told["is_active"], "groups": told["groups"]}
    return rights | ({"superuser": True} if told["is_superuser"] else {})
