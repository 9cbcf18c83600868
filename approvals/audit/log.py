"""Appending: under the locked head row, with the last statement of the caller's transaction."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import rfc8785
from django.db import connection
from django.db import transaction as database

from agentcore.plain.json import to_plain, written_out
from agentcore.testing.failpoints import reach
from approvals import last_writes
from approvals.audit.actions import ACTIONS
from approvals.audit.chain import SALT_LENGTH, text_digest
from approvals.audit.rows import Told
from approvals.domain.context import current_request_id
from approvals.errors import Denied

WORKER = "worker"
CONSOLE = "countersign"
"""Actors that are no person."""

APPEND = """
SELECT countersign_append(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                          %s::integer[], %s::text[], %s::text[], %s::text[])
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

    Everybody who appends waits for the head row. So it is locked by the last statement, however long the block takes or
    hangs, which also has what the block leaves to `last_writes`. Reads of the log inside the block do not see its own
    entries. Inside another `transaction`, that one appends them. Raises AssertionError in a transaction that somebody
    else began: it may go on after the block.
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
    with last_writes.gathering():
        try:
            yield
        finally:
            _gathered.reset(token)
        if (around := _gathered.get()) is not None:
            around.extend(drafts)
        elif drafts:
            _write(drafts)
    if drafts and around is None:
        reach("audit.written")


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
    if (gathered := _gathered.get()) is None:
        with transaction():
            append(action, actor=actor, actor_kind=actor_kind, **told)
        return
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
    gathered.append(_Draft(fields, salted))


def append_by_worker(action: str, **told: Unpack[EntryFields]) -> None:
    """Append what a worker did."""
    append(action, actor=WORKER, actor_kind="system", **told)


def append_by_console(action: str, **told: Unpack[EntryFields]) -> None:
    """Append what the console did by itself: no person asked for it, and no graph was needed."""
    append(action, actor=CONSOLE, actor_kind="system", **told)


def _write(drafts: list[_Draft]) -> None:
    """Append the entries: the database locks the head, and gives them their numbers, their time and their hashes."""
    rows = [_row(draft.fields) for draft in drafts]
    texts = [
        (number, name, salt, text)
        for number, draft in enumerate(drafts, 1)
        for name, (salt, text) in draft.salted.items()
    ]
    last_writes.write(APPEND, [*_columns(rows, 7), *_columns(texts, 4)])


def _row(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of an entry, and its body in three parts: before its time, up to its number, and after it."""
    at, seq = secrets.token_hex(), secrets.token_hex()
    head, _, rest = body_of(v=1, seq=seq, at=at, **fields).partition(f'"{at}"')
    middle, _, tail = rest.partition(f'"{seq}"')
    return fields["actor"], fields["action"], fields["thread_id"], fields.get("about", ""), head, middle, tail


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [[row[number] for row in rows] for number in range(count)]


def append_refusal(denied: Denied, *, actor: str) -> None:
    """Write down that somebody tried what they may not."""
    about = {"permission": str(denied.detail.get("permission", ""))}
    append("permission.refused", actor=actor, object=about, outcome="refused")


def body_of(**fields: Any) -> str:
    """Return the one text of a body: RFC 8785 canonical JSON."""
    return rfc8785.dumps(written_out(to_plain(fields))).decode()
