"""Many approvals, their threads, runs and log entries, made by PostgreSQL itself: a million take some minutes.

Nobody can decide them, as there are no checkpoints behind them. Lists and pages show them as any others.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

DECIDED = 10
"""So many decided approvals to an open one."""
GRAPHS = "(ARRAY['refund', 'payouts', 'newsletter', 'support', 'ledger'])[1 + mod(n, 5)]"
KINDS = "(ARRAY['breakpoint', 'hitl_batched', 'legacy', 'schema'])[1 + mod(n, 4)]"
TITLE = "'Refund ' || mod(n, 900) || ' EUR to ' || (ARRAY['Mei-Ling Chen', 'Ada Byron', 'Bob Stone'])[1 + mod(n, 3)]"
SUMMARY = "'Order NL-' || 48000 + mod(n, 1000)"
PAYERS, SELDOM = "payers", "seldom-named"
"""The group that most rules name, with alice in it, and a person whom one rule in five hundred names."""
STATE = {"order_id": "NL-48213", "notes": ["The parcel arrived broken. " * 10] * 3}

WORDS = "countersign_words(concat_ws(' ', {}))"
TABLES = [f"approvals_{name}" for name in ("thread", "approval", "vote", "decision", "run", "auditentry")]


def fill(first: int, last: int) -> None:
    """Add open approvals with these numbers, the decided ones that belong to them, and an entry about each."""
    from django.db import connection

    _reviewer("alice", PAYERS)
    _reviewer(SELDOM)
    with _in_bulk():
        _open(first, last)
        _decided(first * DECIDED, last * DECIDED + DECIDED - 1)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


@contextmanager
def _in_bulk() -> Iterator[None]:
    """Insert rows without triggers and foreign keys, and build indexes anew at the end: a third of the time.

    What triggers fill, the inserts give. Needs a superuser of the database, as the one of the embedded server is.
    """
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = ANY(%s::text[]::regclass[]) AND NOT indisunique",
            [TABLES],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET maintenance_work_mem = '512MB'")
        try:
            yield
        finally:
            for _, written in indexes:
                cursor.execute(written)
            cursor.execute("RESET session_replication_role")


def id_of(number: int) -> str:
    """Return SQL for the id of the open approval with that number."""
    return f"md5('open-{number}')::uuid"


def _open(first: int, last: int) -> None:
    from approvals.enums import ApprovalStatus, ThreadStatus

    olga, alice = _person("olga"), _person("alice")
    _threads("queue", first, last, status=ThreadStatus.INTERRUPTED)
    own = {
        "id": "md5('open-' || n)::uuid",
        "thread_id": "'queue-' || n",
        "due_at": "CASE WHEN mod(n, 10) = 0 THEN now() + n * interval '1 minute' END",
        "claimed_by_id": f"CASE WHEN mod(n, 200) = 1 THEN {alice} END",
        "claimed_until": "CASE WHEN mod(n, 200) = 1 THEN now() + interval '1 day' END",
        "rule": f"CASE mod(n, 500) WHEN 0 THEN {_rule()} WHEN 7 THEN {_rule(people=[SELDOM])}"
        f" ELSE {_rule(groups=[PAYERS])} END",
    }
    _approvals(first, last, own, status=ApprovalStatus.PENDING)
    _entries("open", "queue", "thread.paused", first, last, "pending", started_by_id=olga)


def _decided(first: int, last: int) -> None:
    from approvals.enums import ApprovalStatus, RunKind, RunStatus, ThreadStatus, Verdict
    from approvals.models import Decision, Run, Vote

    _threads("done", first, last, status=ThreadStatus.IDLE)
    closed = "now() - n * interval '1 second'"
    own = {
        "id": "md5('done-' || n)::uuid",
        "thread_id": "'done-' || n",
        "closed_at": closed,
        "rule": _rule(),
    }
    _approvals(first, last, own, status=ApprovalStatus.APPROVED)
    of = {"approval_id": "md5('done-' || n)::uuid"}
    vote = Vote(voter_id=_person("alice"), verdict=Verdict.APPROVE, seen_digest="0" * 64)
    _insert(vote, first, last, {**of, "id": "md5('vote-' || n)::uuid"})
    decision = Decision(verdict=Verdict.APPROVE, decided_by="alice", answer_digest="0" * 64)
    of_vote = {"id": "md5('decision-' || n)::uuid", "vote_id": "md5('vote-' || n)::uuid", "decided_at": closed}
    _insert(decision, first, last, {**of, **of_vote})
    run = Run(kind=RunKind.RESUME, status=RunStatus.FINISHED, started_by="alice")
    carried = {
        "id": "md5('run-' || n)::uuid",
        "decision_id": "md5('decision-' || n)::uuid",
        "thread_id": "'done-' || n",
        "graph_id": GRAPHS,
        "status": "CASE WHEN mod(n, 1000) = 3 THEN 'failed' ELSE 'finished' END",
    }
    _insert(run, first, last, carried)
    _entries("done", "done", "decision.reached", first, last, "approved", started_by_id=_person("olga"))


def _threads(name: str, first: int, last: int, *, status: str) -> None:
    from approvals.models import Thread

    own = {
        "id": f"'{name}-' || n",
        "graph_id": GRAPHS,
        "title": TITLE,
        "updated_at": "now() - n * interval '1 second'",
        "search": WORDS.format(f"{TITLE}, '{name}-' || n"),
    }
    thread = Thread(status=status, started_by_id=_person("olga"), bound_by="run", state=STATE, next=["act"])
    _insert(thread, first, last, own)


def _approvals(first: int, last: int, own: Mapping[str, str], *, status: str) -> None:
    from approvals.enums import ApprovalStatus
    from approvals.models import Approval

    action = {"name": "act", "args": {"order_id": "NL-48213", "amount": 640.0}, "description": "Pay it back."}
    approval = Approval(
        next=["act"], request={"metadata": {}}, actions=[action], state=STATE, digest="0" * 64,
        allowed_verdicts=["approve", "reject"], status=status,
    )  # fmt: skip
    words = WORDS.format(f"{TITLE}, {SUMMARY}, {own['thread_id']}")
    shared = {
        "search": words,
        "open_search": words if status == ApprovalStatus.PENDING else "NULL",
        "graph_id": GRAPHS,
        "kind": KINDS,
        "title": TITLE,
        "summary": SUMMARY,
        "headline": TITLE,
        "action": "'Action ' || mod(n, 7)",
        "amount": "mod(n, 9000) / 10.0",
        "currency": "'EUR'",
        "customer": "'Customer ' || mod(n, 900)",
        "checkpoint_id": "md5('checkpoint-' || n)",
        "created_at": "now() - n * interval '1 second'",
        "asked_at": "now()",
    }
    _insert(approval, first, last, {**shared, **own})


def _rule(**named: list[str]) -> str:
    from approvals.domain.policies import Rule

    voters = [{"people": [], "groups": [], **named}] if named else []
    return _json({**Rule().as_dict(), "voters": voters})


def _reviewer(name: str, *groups: str) -> None:
    from django.contrib.auth.models import Group, User

    person, _ = User.objects.get_or_create(username=name)
    person.groups.add(*(Group.objects.get_or_create(name=group)[0] for group in ("reviewer", *groups)))


def _person(name: str) -> int:
    from django.contrib.auth.models import User

    return User.objects.get(username=name).pk


def _json(value: Any) -> str:
    from agentcore.plain.json import canonical

    return f"'{canonical(value)}'::jsonb"


def _insert(row: Any, first: int, last: int, own: Mapping[str, str]) -> None:
    """Insert one row for each number `n`, with the values of `row`; `own` has the columns that depend on the number."""
    from django.db import connection

    columns = [field.column for field in row._meta.concrete_fields]
    names = [f'"{name}"' for name in own if name not in columns]  # what only the database knows
    values, given = [own[name.strip('"')] for name in names], []
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        if field.column not in own and field.has_db_default():
            continue
        names.append(f'"{field.column}"')
        if field.column in own:
            values.append(own[field.column])
        else:
            values.append(f"%s::{field.rel_db_type(connection) if field.is_relation else field.db_type(connection)}")
            given.append(field.get_db_prep_save(value, connection))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {row._meta.db_table} ({', '.join(names)}) SELECT {', '.join(values)}"
            f" FROM generate_series({first}, {last}) n",
            given,
        )


def _entries(kind: str, thread: str, action: str, first: int, last: int, status: str, **of_thread: int) -> None:
    """Append an entry about each approval. Its hash is right, and it tells what a page compares."""
    from django.db import connection

    from agentcore.plain.json import canonical
    from approvals.audit.chain import entry_hash
    from approvals.models import AuditHead

    head = AuditHead.objects.get()
    began = datetime.now(UTC) - timedelta(seconds=last - first)
    columns = "seq, at, actor, action, thread_id, about, body, prev_hash, hash"
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY approvals_auditentry ({columns}) FROM STDIN") as copied,
    ):
        for number in range(first, last + 1):
            at, actor = began + timedelta(seconds=number - first), ("alice", "bob", "worker")[number % 3]
            approval_id, thread_id = str(_uuid_of(f"{kind}-{number}")), f"{thread}-{number}"
            about = f"approval:{approval_id}"
            told = {
                "v": 1, "seq": head.seq + 1, "at": at.isoformat(), "actor": actor, "actor_kind": "person",
                "action": action, "thread_id": thread_id, "object": {"approval": approval_id}, "digests": {},
                "texts": [], "policy_version": "", "outcome": "ok", "request_id": "", "about": about,
                "rows": {about: {"status": status}, f"thread:{thread_id}": of_thread},
            }  # fmt: skip
            body = canonical(told)
            digest = entry_hash(head.seq + 1, head.hash, body)
            copied.write_row((head.seq + 1, at, actor, action, thread_id, about, body, head.hash, digest))
            head.seq, head.hash = head.seq + 1, digest
    head.save()


def _uuid_of(text: str) -> UUID:
    """Return what PostgreSQL's `md5(text)::uuid` is."""
    return UUID(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
