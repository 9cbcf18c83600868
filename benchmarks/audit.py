"""The audit log: appending entries, and verifying a long log, beside a bare loop of hashlib over the same rows.

`times` is ours divided by bare, over the same PostgreSQL, in the same process and run.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "100000"))
APPENDS = 1_000
EACH = 4
"""Entries about each run."""


def table() -> list[dict[str, object]]:
    from django.utils import timezone

    from approvals import audit

    rows = _appends()
    _fill(ENTRIES)
    bare, _ = _timed(_bare)
    ours, found = _timed(audit.verify)
    assert found.ok and found.signed >= ENTRIES, found
    signed = timezone.now()
    for _ in range(2 * APPENDS):  # a day, behind the signed head
        audit.append("run.started", actor="alice", thread_id="bench", object={"run": "new"})
    newest, found = _timed(lambda: audit.verify(since=signed))
    assert found.ok and found.after >= ENTRIES, found
    measured = [("bare hashlib", ENTRIES, bare), ("verify", ENTRIES, ours), ("verify what is new", 2 * APPENDS, newest)]
    return [*rows, *(_row(who, count, seconds, bare) for who, count, seconds in measured)]


def _row(who: str, count: int, seconds: float, bare: float) -> dict[str, object]:
    return {
        "who": who,
        "n": count,
        "seconds": round(seconds, 2),
        "each µs": round(seconds / count * 1e6, 1),
        "times": round(seconds / bare, 2),
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def _appends() -> list[dict[str, object]]:
    """A bare row for each, then entries: each in a transaction of its own, and many in one."""
    from django.db import connection

    from approvals import audit

    def bare() -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE bare (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)")
            for _ in range(APPENDS):
                cursor.execute("INSERT INTO bare (body) VALUES (%s)", ["x" * 300])

    def ours() -> None:
        for index in range(APPENDS):
            audit.append("run.started", actor="alice", thread_id="bench", object={"run": str(index)})

    def in_one() -> None:
        with audit.transaction():
            ours()

    taken = [_timed(work)[0] for work in (bare, ours, in_one)]
    names = ("bare insert", "append", "append, in one transaction")
    return [_row(name, APPENDS, seconds, taken[0]) for name, seconds in zip(names, taken, strict=True)]


def _fill(count: int) -> None:
    """Copy entries in, as append makes them, and sign them."""
    from django.db import connection

    from approvals.actions.audit_log import signing
    from approvals.models import AuditEntry, AuditHead

    _fill_runs(count)
    rows = _rows(AuditHead.objects.get(pk=1), count)
    with connection.cursor() as cursor:
        columns = "seq, at, actor, action, thread_id, body, prev_hash, hash"
        while part := list(islice(rows, 50_000)):
            with cursor.copy(f"COPY approvals_auditentry ({columns}) FROM STDIN") as copy:
                for row in part:
                    copy.write_row(row)
        cursor.execute("ANALYZE approvals_auditentry")
    last = AuditEntry.objects.order_by("-seq")[0]
    AuditHead.objects.filter(pk=1).update(seq=last.seq, hash=last.hash)
    signing.sign()


def _fill_runs(count: int) -> None:
    """Copy in the runs that the entries are about: each has four."""
    from django.db import connection

    from approvals.models import Run, Thread

    Thread.objects.create(pk="bench")
    fields = Run._meta.concrete_fields
    with connection.cursor() as cursor:
        columns = ", ".join(f'"{field.column}"' for field in fields)
        numbers = iter(range(-(-count // EACH)))
        while part := list(islice(numbers, 10_000)):
            with cursor.copy(f"COPY approvals_run ({columns}) FROM STDIN") as copy:
                for run in map(_run, part):
                    copy.write_row([_stored(field, getattr(run, field.attname)) for field in fields])
        cursor.execute("ANALYZE approvals_run")


def _run(number: int) -> Any:
    from approvals.models import Run

    about = {"graph_id": "refund", "kind": "start", "status": "finished", "started_by": "alice"}
    return Run(pk=UUID(int=number), thread_id="bench", **about)


def _stored(field: Any, value: Any) -> Any:
    prepared = field.get_prep_value(value)
    return json.dumps(value) if isinstance(prepared, dict | list) else prepared


def _told(seq: int) -> dict[str, Any]:
    """The first entry about a run tells all of it, the others how it stands."""
    from approvals import audit

    run = _run(seq // EACH)
    return audit.told(run, *(() if seq % EACH == 0 else ("status",)))


def _rows(head: Any, count: int) -> Iterator[tuple[Any, ...]]:
    from approvals.audit.chain import entry_hash
    from approvals.audit.log import body_of

    at, prev_hash = datetime(2026, 1, 1, tzinfo=UTC), head.hash
    for number, seq in enumerate(range(head.seq + 1, head.seq + 1 + count)):
        at += timedelta(microseconds=1_234_567)
        told = {
            "seq": seq,
            "at": at.isoformat(),
            "actor": "alice",
            "action": "run.started",
            "thread_id": f"t-{seq % 999}",
        }
        about = {"run": f"{seq:032x}", "graph": "refund", "checkpoint": f"{seq * 7:032x}"}
        body = body_of(v=1, **told, actor_kind="person", object=about, digests={"input": "0" * 64}, texts=[],
                       policy_version="", outcome="ok", request_id=f"{seq:032x}", rows=_told(number))  # fmt: skip
        digest = entry_hash(seq, prev_hash, body)
        yield seq, at, "alice", "run.started", told["thread_id"], body, prev_hash, digest
        prev_hash = digest


def _bare() -> None:
    from django.db import transaction

    from approvals.audit.verifier import ENTRIES as QUERY
    from approvals.audit.verifier import iter_rows

    with transaction.atomic():
        for _, prev_hash, _, body, *_ in iter_rows(QUERY, 0):
            hashlib.sha256(f"{prev_hash}{body}".encode()).hexdigest()
