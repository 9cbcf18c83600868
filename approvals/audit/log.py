"""Appending. One short transaction under the locked head row: two round trips, or that of the caller."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import rfc8785
from django.db import connection, transaction

from agentcore.failpoints import is_off
from agentcore.serde import to_plain
from approvals.audit.actions import ACTIONS
from approvals.audit.chain import SALT_LENGTH, entry_hash, text_digest
from approvals.audit.rows import Told
from approvals.context import current_request_id
from approvals.errors import Denied
from approvals.models import AuditEntry, AuditHead, AuditText

READ = "SELECT seq, hash, clock_timestamp() FROM approvals_audithead WHERE id = 1"
LOCK = f"{READ} FOR UPDATE"
WRITE = """
WITH entry AS (
    INSERT INTO approvals_auditentry (seq, at, actor, action, thread_id, about, body, prev_hash, hash)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING seq, hash
)
UPDATE approvals_audithead SET seq = entry.seq, hash = entry.hash FROM entry WHERE id = 1
"""


def append(
    action: str,
    *,
    actor: str,
    actor_kind: str = "person",
    thread_id: str = "",
    object: Mapping[str, Any] | None = None,
    digests: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    policy_version: str = "",
    outcome: str = "ok",
    rows: Told | None = None,
    about: str = "",
) -> AuditEntry:
    """Append an entry inside the caller's transaction. Locks the head: take the thread and approval locks first.

    `rows` tells the rows that it made or changed; by `about` it is found by whoever relies on one of them.

    Each of `texts` is kept beside the entry, which holds its salted digest alone: a text can be erased.
    """
    assert action in ACTIONS, f"{action} is not an audit action; add it to ACTIONS"
    salted = {name: (secrets.token_hex(SALT_LENGTH // 2), text) for name, text in (texts or {}).items() if text}
    with transaction.atomic(savepoint=False):
        seq, prev_hash, at = _locked_head()
        more: dict[str, Any] = {**({"rows": rows} if rows else {}), **({"about": about} if about else {})}
        body = body_of(
            v=1,
            seq=seq,
            at=at.isoformat(),
            actor=actor,
            actor_kind=actor_kind,
            action=action,
            thread_id=thread_id,
            object=dict(object or {}),
            digests={**(digests or {}), **{name: text_digest(*each) for name, each in salted.items()}},
            texts=sorted(salted),
            policy_version=policy_version,
            outcome=outcome,
            request_id=current_request_id(),
            **more,
        )
        with connection.cursor() as cursor:
            digest = entry_hash(seq, prev_hash, body)
            cursor.execute(WRITE, [seq, at, actor, action, thread_id, about, body, prev_hash, digest])
        AuditText.objects.bulk_create(
            AuditText(seq=seq, name=name, salt=salt, text=text) for name, (salt, text) in salted.items()
        )
    return AuditEntry(
        seq=seq,
        at=at,
        actor=actor,
        action=action,
        thread_id=thread_id,
        about=about,
        body=body,
        prev_hash=prev_hash,
        hash=digest,
    )


def append_refusal(denied: Denied, *, actor: str) -> None:
    """Write down that somebody tried what they may not."""
    about = {"permission": str(denied.detail.get("permission", ""))}
    append("permission.refused", actor=actor, object=about, outcome="refused")


def _locked_head() -> tuple[int, str, datetime]:
    """Return the next number, the newest hash and the database's time."""
    with connection.cursor() as cursor:
        cursor.execute(READ if is_off("chain_lock") else LOCK)
        if (head := cursor.fetchone()) is None:
            raise AuditHead.DoesNotExist("The audit log has lost its head; see manage.py verify_audit_log.")
    return head[0] + 1, head[1], head[2]


def body_of(**fields: Any) -> str:
    """Return the one text of a body: RFC 8785 canonical JSON."""
    return rfc8785.dumps(to_plain(fields)).decode()
