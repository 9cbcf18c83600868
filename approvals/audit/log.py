"""Appending: under the locked head row, in two round trips, at the end of the caller's transaction."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

import rfc8785
from django.db import connection
from django.db import transaction as database

from agentcore.plain.json import to_plain, written_out
from agentcore.testing.failpoints import is_off, reach
from approvals.audit.actions import ACTIONS
from approvals.audit.chain import SALT_LENGTH, entry_hash, text_digest
from approvals.audit.rows import Told
from approvals.domain.context import current_request_id
from approvals.errors import Denied
from approvals.models import AuditHead, AuditText

WORKER = "worker"
CONSOLE = "countersign"
"""Actors that are no person."""

READ = "SELECT seq, hash, clock_timestamp() FROM approvals_audithead WHERE id = 1"
LOCK = f"{READ} FOR UPDATE"
WRITE = """
WITH entries AS (
    INSERT INTO approvals_auditentry (seq, at, actor, action, thread_id, about, body, prev_hash, hash)
    SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[],
                         %s::text[], %s::text[], %s::text[])
)
UPDATE approvals_audithead SET seq = %s, hash = %s WHERE id = 1
"""


@dataclass(frozen=True)
class _Draft:
    """What an entry says, but for what only the head tells: its number, its time and the hash before it."""

    fields: dict[str, Any]
    salted: dict[str, tuple[str, str]]


_gathered: ContextVar[list[_Draft] | None] = ContextVar("gathered", default=None)


@contextmanager
def transaction() -> Iterator[None]:
    """Open a transaction that appends all its entries together, just before it commits.

    Everybody who appends waits for the head row. So it is locked last, for two statements, however long the block takes
    or hangs. Reads of the log inside the block do not see its own entries. Inside another `transaction`, that one
    appends them. Raises AssertionError in a transaction that somebody else began: it may go on after the block.
    """
    _check_appended_last()
    with database.atomic(), _gathering():
        yield


@contextmanager
def within_django() -> Iterator[None]:
    """Append at the end of the block, in a transaction that Django began itself: where it removes or links rows."""
    with _gathering():
        yield


def _check_appended_last() -> None:
    is_last = _gathered.get() is not None or not connection.in_atomic_block
    assert is_last, "the head of the audit log is locked last: begin the transaction with audit.transaction()"


@contextmanager
def _gathering() -> Iterator[None]:
    drafts: list[_Draft] = []
    token = _gathered.set(drafts)
    try:
        yield
    finally:
        _gathered.reset(token)
    _append(drafts)


class EntryFields(TypedDict, total=False):
    """What an entry says, besides what was done and by whom."""

    thread_id: str
    object: Mapping[str, Any]
    """Names and ids, never a state."""
    digests: Mapping[str, str] | None
    texts: Mapping[str, str] | None
    """Each is kept beside the entry, which holds its salted digest alone: a text can be erased."""
    policy_version: str
    outcome: str
    """"ok" unless told otherwise."""
    rows: Told
    """The rows that it made or changed."""
    about: str
    """By this it is found by whoever relies on one of the rows."""


def append(action: str, *, actor: str, actor_kind: str = "person", **told: Unpack[EntryFields]) -> None:
    """Append an entry at the end of the `transaction` around it; without one, now, in a transaction of its own.

    Raises AssertionError if `action` is not one of ACTIONS, or in a transaction that `transaction` did not begin.
    """
    assert action in ACTIONS, f"{action} is not an audit action; add it to ACTIONS"
    _check_appended_last()
    texts = told.get("texts") or {}
    salted = {name: (secrets.token_hex(SALT_LENGTH // 2), text) for name, text in texts.items() if text}
    fields: dict[str, Any] = {
        "actor": actor,
        "actor_kind": actor_kind,
        "action": action,
        "thread_id": told.get("thread_id", ""),
        "object": dict(told.get("object") or {}),
        "digests": {**(told.get("digests") or {}), **{name: text_digest(*each) for name, each in salted.items()}},
        "texts": sorted(salted),
        "policy_version": told.get("policy_version", ""),
        "outcome": told.get("outcome", "ok"),
        "request_id": current_request_id(),
        **({"rows": told["rows"]} if told.get("rows") else {}),
        **({"about": told["about"]} if told.get("about") else {}),
    }
    _append([_Draft(fields, salted)])


def append_by_worker(action: str, **told: Unpack[EntryFields]) -> None:
    """Append what a worker did."""
    append(action, actor=WORKER, actor_kind="system", **told)


def append_by_console(action: str, **told: Unpack[EntryFields]) -> None:
    """Append what the console did by itself: no person asked for it, and no graph was needed."""
    append(action, actor=CONSOLE, actor_kind="system", **told)


def _append(drafts: list[_Draft]) -> None:
    """Leave entries to the `transaction` around; where there is none, lock the head and write them."""
    gathered = _gathered.get()
    if gathered is not None:
        gathered.extend(drafts)
    elif drafts:
        with database.atomic(savepoint=False):
            _write(drafts)


def _write(drafts: list[_Draft]) -> None:
    first, prev_hash, at = _locked_head()
    written: list[tuple[Any, ...]] = []
    texts: list[AuditText] = []
    for seq, draft in enumerate(drafts, first):
        fields = draft.fields
        body = body_of(v=1, seq=seq, at=at.isoformat(), **fields)
        digest = entry_hash(seq, prev_hash, body)
        shown = (fields["actor"], fields["action"], fields["thread_id"], fields.get("about", ""))
        written.append((seq, at, *shown, body, prev_hash, digest))
        texts += [AuditText(seq=seq, name=name, salt=salt, text=text) for name, (salt, text) in draft.salted.items()]
        prev_hash = digest
    with connection.cursor() as cursor:
        cursor.execute(WRITE, [*map(list, zip(*written, strict=True)), first + len(drafts) - 1, prev_hash])
    if texts:
        AuditText.objects.bulk_create(texts)
    reach("audit.written")


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
    return rfc8785.dumps(written_out(to_plain(fields))).decode()
