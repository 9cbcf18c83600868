"""Audit logs of their own, for tests that break them: a database beside the shared one, and a folder for its heads."""

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg

from tests import servers

_TEMPLATE = "countersign_audit"
PEOPLE = {"alice": "reviewer", "bob": "reviewer", "erin": "auditor", "root": "admin"}


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """Make a database with our tables and people and yield its alias; other threads `use` it as well."""
    servers.make_template(_TEMPLATE, _fill)
    name = f"audit_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        with _known(name), use(name):
            yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _fill(name: str) -> None:
    """Make our people in a database without any."""
    from django.contrib.auth.models import Group, User

    with _known(name), use(name):
        for person, role in PEOPLE.items():
            User.objects.create(username=person).groups.add(Group.objects.get(name=role))


@contextmanager
def _known(name: str) -> Iterator[None]:
    """Let Django know the database by its name, until the block ends."""
    from django.db import connections

    connections.settings[name] = {**connections.settings["default"], "NAME": name}
    try:
        yield
    finally:
        connections[name].close()  # a migration asks by its name
        connections[name].close_pool()
        del connections[name], connections.settings[name]


@contextmanager
def use(alias: str) -> Iterator[None]:
    """Make it this thread's database."""
    from django.db import connections

    before = connections["default"]
    connections["default"] = connections.create_connection(alias)
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before


@contextmanager
def without_chain_lock(execute: Callable[[Any], Any]) -> Iterator[None]:
    """Have the database append entries without a lock on the head of the log, until the block ends."""
    append = import_module("approvals.migrations.0020_append").APPEND
    execute(append.replace(" FOR UPDATE", ""))
    try:
        yield
    finally:
        execute(append)


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Keep key and heads there."""
    from django.conf import settings

    before, settings.AUDIT_DIR = settings.AUDIT_DIR, folder
    try:
        yield folder
    finally:
        settings.AUDIT_DIR = before


def decided(*, comment: str = "because", verdict: str = "approve") -> str:
    """Let a thread pause and be decided, as the rows and entries of that; return its id."""
    from approvals import audit

    with audit.transaction():
        return _decide(_vote(comment, verdict)).approval.thread_id


def voted(*, comment: str = "because", verdict: str = "approve") -> Any:
    """Let a thread pause and be voted on; return the vote, which does not decide it yet."""
    from approvals import audit

    with audit.transaction():
        return _vote(comment, verdict)


def decide(vote: Any) -> Any:
    """Let a vote decide. The entry names it, as those of the console do."""
    from approvals import audit

    with audit.transaction():
        return _decide(vote, votes=[str(vote.pk)])


def _vote(comment: str, verdict: str) -> Any:
    from django.contrib.auth.models import User

    from agentcore.plain.json import digest
    from approvals import audit
    from approvals.models import Approval, Thread, Vote

    thread = Thread.objects.create(id=f"t-{uuid.uuid4()}", graph_id="refund")
    approval = Approval.objects.create(
        thread=thread, checkpoint_id=uuid.uuid4().hex, kind="breakpoint", next=["pay"], title="Pay",
        allowed_verdicts=[], request={}, actions=[], state={"amount": 640}, digest="0" * 64,
    )  # fmt: skip
    asked = {"rows": audit.told(approval), "about": audit.key_of(approval)}
    audit.append("thread.paused", actor="worker", actor_kind="system", thread_id=thread.pk, **asked)
    vote = Vote.objects.create(
        approval=approval, voter=User.objects.get(username="alice"), verdict=verdict, comment=comment,
        seen_digest=approval.digest, edits={"amount": 80}, request_digest="",
    )  # fmt: skip
    about = {"approval": str(approval.pk), "vote": str(vote.pk), "verdict": verdict}
    content = digest([vote.edits, vote.answer, vote.as_node])
    audit.append(
        "vote.cast", actor="alice", thread_id=thread.pk, object=about, texts={"comment": comment},
        digests={"seen": vote.seen_digest, "content": content}, policy_version="default", rows=audit.told(vote),
    )  # fmt: skip
    return vote


def _decide(vote: Any, **named: list[str]) -> Any:
    from approvals import audit
    from approvals.domain.policies import answer_digest
    from approvals.models import Decision

    approval, verdict, comment = vote.approval, vote.verdict, vote.comment
    answer = answer_digest(verdict=verdict, edits=vote.edits, answer=None, as_node="", comment=comment)
    decision = Decision.objects.create(
        approval=approval, vote=vote, verdict=verdict, edits=vote.edits, comment=comment, decided_by="alice",
        answer_digest=answer,
    )  # fmt: skip
    about = {"approval": str(approval.pk), "decision": str(decision.pk), "verdict": verdict, "by": "alice", **named}
    audit.append(
        "decision.reached", actor="alice", thread_id=approval.thread_id, object=about, digests={"answer": answer},
        rows=audit.told(decision),
    )  # fmt: skip
    return decision


def empty(folder: Path) -> None:
    """Forget the log and what it is about, as a new console would begin. The database is the test's own."""
    from django.db import connection

    from approvals.audit import subjects

    tables = (
        "auditentry", "audittext", "signedhead", "auditcheck", "decision", "vote", "run", "approval", "draft", "thread",
    )  # fmt: skip
    with connection.cursor() as cursor:
        for name in ("auditentry", "signedhead"):
            cursor.execute(f"ALTER TABLE approvals_{name} DISABLE TRIGGER USER")
        cursor.execute("TRUNCATE " + ", ".join(f"approvals_{name}" for name in tables) + " CASCADE")
        cursor.execute("UPDATE approvals_audithead SET seq = 0, hash = repeat('0', 64)")
        for name, triggers in (("auditentry", "audit"), ("signedhead", "signedhead")):
            for what in ("rows_stay", "table_stays"):
                cursor.execute(f"ALTER TABLE approvals_{name} ENABLE ALWAYS TRIGGER {triggers}_{what}")
    for file in folder.iterdir():
        file.unlink()
    subjects.adopt()  # of the people who stay


def grow(count: int, seed: int) -> None:
    """Append about `count` entries of several kinds."""
    from approvals import audit

    dice = random.Random(seed)
    while count > 0:
        if dice.random() < 0.4:
            decided(
                comment=dice.choice(["", "because", "Größe: 80 €", "a\u202eb"]),
                verdict=dice.choice(["approve", "reject"]),
            )
            count -= 3
        else:
            about: dict[str, Any] = {"n": dice.randrange(10**6), "x": dice.random(), "text": 'ü\n\t"\\'}
            audit.append(
                "run.started", actor=dice.choice(list(PEOPLE)), thread_id=f"t-{dice.randrange(9)}", object=about
            )
            count -= 1
