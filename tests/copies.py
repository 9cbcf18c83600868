"""Many paused threads at once: rows copied from one that a real run paused. Each can be decided and carried out."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from agentcore.plain import bound_bytes

_CHECKPOINTS = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
# A copied row is another row: the approval must name it, as `agentcore.plain.tables` reads it. Effects are not copied.
_BOUND_SQL = f"""
UPDATE approvals_approval asked SET bound = jsonb_set(bound, '{{parts}}', (
    SELECT jsonb_agg(CASE WHEN part ->> 0 = '' THEN jsonb_set(jsonb_set(part, '{{2}}', (
        SELECT to_jsonb({bound_bytes.stamp(is_full=False)}) FROM checkpoints c
        WHERE c.thread_id = asked.thread_id AND c.checkpoint_ns = '' AND c.checkpoint_id = part ->> 1
    )), '{{5}}', (
        SELECT to_jsonb({bound_bytes.WRITES_STAMP}) FROM checkpoint_writes w
        WHERE w.thread_id = asked.thread_id AND w.checkpoint_ns = '' AND w.checkpoint_id = part ->> 1
    )) ELSE part END) FROM jsonb_array_elements(bound -> 'parts') part WHERE part ->> 0 <> '{bound_bytes.EFFECTS}'
)) WHERE asked.thread_id LIKE %s AND bound IS NOT NULL
"""
_HEADS_SQL = """
UPDATE approvals_approval asked SET head_writes = (
    SELECT md5(concat_ws(',', concat_ws(':', c.xmin, c.ctid), (
        SELECT string_agg(concat_ws(':', w.task_id, w.idx, w.channel, w.xmin, w.ctid), ',' ORDER BY w.task_id, w.idx)
        FROM checkpoint_writes w
        WHERE w.thread_id = asked.thread_id AND w.checkpoint_ns = '' AND w.checkpoint_id = c.checkpoint_id
    ))) FROM checkpoints c
    WHERE c.thread_id = asked.thread_id AND c.checkpoint_ns = '' ORDER BY c.checkpoint_id DESC LIMIT 1
) WHERE asked.thread_id LIKE %s
"""

_MOST_AT_ONCE = 200
"""Entries in one transaction. PostgreSQL ends a transaction that says nothing for 5 s while its entries are made."""


@dataclass(frozen=True)
class Paused:
    """A thread that waits, its approval, and the digest a vote must name."""

    thread_id: str
    approval_id: UUID
    digest: str


def copy_paused(database: Connection[Any], thread_id: str, count: int, *, name: str) -> list[Paused]:
    """Copy a paused thread `count` times, as `name`-1 and so on. Nobody can decide them before the log is told."""
    new_id = f"'{name}-' || number"
    with database.transaction():
        _copy(database, "approvals_thread", "id", thread_id, count, {"id": new_id})
        for table in _CHECKPOINTS:
            _copy(database, table, "thread_id", thread_id, count, {"thread_id": new_id})
        own = {"id": "gen_random_uuid()", "thread_id": new_id}
        _copy(database, "approvals_approval", "thread_id", thread_id, count, own)
        ours = f"{name}-%"
        database.execute(_HEADS_SQL, [ours])
        database.execute(_BOUND_SQL, [ours])
        database.execute("UPDATE countersign_heads SET is_indexed = true WHERE thread_id LIKE %s", [ours])
    found = "SELECT thread_id, id, digest FROM approvals_approval WHERE thread_id LIKE %s ORDER BY created_at, id"
    return [Paused(*row) for row in database.execute(found, [ours]).fetchall()]


def _copy(database: Connection[Any], table: str, key: str, of: str, count: int, own: dict[str, str]) -> None:
    described = database.execute(f"SELECT * FROM {table} LIMIT 0").description or []
    columns = [f'"{column.name}"' for column in described]
    values = [own.get(column.name, f'original."{column.name}"') for column in described]
    database.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
        f" FROM {table} original, generate_series(1, %s) number WHERE original.{key} = %s",
        [count, of],
    )


def tell(name: str, rule: dict[str, Any] | None = None) -> None:
    """Write the audit entries of copied approvals: nobody can decide what the log does not know.

    `rule` is of a policy that an admin makes for them; `people` are who may vote.
    """
    from django.contrib.auth.models import User

    from approvals import audit
    from approvals.actions.people import policies
    from approvals.domain import rulebook
    from approvals.models import Approval, Policy

    found = Approval.objects.filter(thread__id__startswith=f"{name}-")
    if rule:
        fields = {key: value for key, value in rule.items() if key != "people"}
        policy = Policy.objects.create(graph_id=name, **fields)
        policy.people.set(User.objects.filter(username__in=rule.get("people", ())))
        policies.note_change(policy, by=User.objects.get(username="root"))
        policy.refresh_from_db()
        found.update(rule=rulebook.rule_of(policy).as_dict(), required_votes=policy.approvals)
    told = list(found.select_related("thread"))
    for first in range(0, len(told), _MOST_AT_ONCE):
        with audit.transaction():
            for approval in told[first : first + _MOST_AT_ONCE]:
                audit.append(
                    "thread.paused",
                    actor="worker",
                    actor_kind="system",
                    thread_id=approval.thread_id,
                    object={"approval": str(approval.pk), "checkpoint": approval.checkpoint_id, "kind": approval.kind},
                    rows=audit.told(approval) | audit.told(approval.thread),
                    about=audit.key_of(approval),
                )
