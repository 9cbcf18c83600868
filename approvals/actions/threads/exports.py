"""Export a thread as JSON Lines before it is removed: one record a line, plain data, state included."""

import json
from collections.abc import Iterator
from typing import IO, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet

from approvals import audit
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import NotFound
from approvals.models import Approval, AuditEntry, Decision, Reading, Run, RunLog, Thread, Vote

VERSION = 1
_AT_ONCE = 20
"""Rows that are read at once: each may hold a whole state."""


def export_thread(out: IO[str], *, thread_id: str, by: User) -> int:
    """Write everything the console has of a thread to `out`; return the number of lines. Raises Denied or NotFound.

    Each line has a `kind`: `export` first; then `thread`, its `reading`, each `approval`, `vote`, `decision`, `run`,
    `run_log` and `entry` of the audit log with its `row`; `end` with the number of lines. A file without `end` was cut
    off.
    """
    permissions.check_force_clean(by)
    if not Thread.objects.filter(pk=thread_id).exists():
        raise NotFound("There is no such thread.")
    count = 0
    _write(out, "export", v=VERSION, thread_id=thread_id)
    for kind, row in _rows(thread_id):
        _write(out, kind, row=row)
        count += 1
    _write(out, "end", lines=count)
    audit.append("thread.exported", actor=by.get_username(), thread_id=thread_id, object={"lines": count})
    return count


def _rows(thread_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, QuerySet[Any]]] = [
        ("thread", Thread.objects.filter(pk=thread_id)),
        ("reading", Reading.objects.filter(thread_id=thread_id)),
        ("approval", Approval.objects.filter(thread_id=thread_id).order_by("created_at", "id")),
        ("vote", Vote.objects.filter(approval__thread_id=thread_id).select_related("voter").order_by("created_at")),
        ("decision", Decision.objects.filter(approval__thread_id=thread_id).order_by("decided_at")),
        ("run", Run.objects.filter(thread_id=thread_id).order_by("created_at")),
        ("run_log", RunLog.objects.filter(run__thread_id=thread_id).order_by("run__created_at")),
        ("entry", AuditEntry.objects.filter(thread_id=thread_id).order_by("seq")),
    ]
    for kind, rows in found:
        for row in rows.iterator(chunk_size=_AT_ONCE):
            yield kind, _plain(row)


def _plain(row: Model) -> dict[str, Any]:
    told = {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
    return told | ({"voter": row.voter.get_username()} if isinstance(row, Vote) else {})


def _write(out: IO[str], kind: str, **fields: Any) -> None:
    # ASCII: a state may hold lone surrogates, which UTF-8 cannot encode.
    out.write(json.dumps({"kind": kind, **fields}, cls=DjangoJSONEncoder, separators=(",", ":")) + "\n")
