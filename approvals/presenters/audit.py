"""The audit log for people: each entry is readable even if everything else is gone."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from approvals.audit import ACTIONS
from approvals.audit.chain import entry_hash, text_digest
from approvals.domain.text import json_text
from approvals.models import AuditCheck, AuditEntry, AuditHead, AuditText, SignedHead

LATE = timedelta(minutes=5)
"""Time without a signature after which the page warns: a worker signs each minute."""
ENTRY_SENTENCES = {
    "audit.exported": "{actor} took a copy of the log ({entries} of its entries), as {format}.",
    "audit.verified": "The log was walked: {entries} entries in their place.",
    "decision.reached": "Decided: {verdict}, by {by}.",
    "decision.undone": "{actor} took the decision back before its run began; it is asked again.",
    "permission.refused": "{actor} was refused: {permission}.",
    "run.queued": "{actor} handed a run to the workers.",
    "session.refused": "A sign-in as {actor} failed.",
    "session.started": "{actor} signed in.",
    "text.erased": "{actor} erased the {name} beside entry {seq}.",
    "thread.created": "{actor} made this thread.",
    "thread.emptied": "None of this thread's rows is left; {deleted} were deleted.",
    "thread.exported": "{actor} took a copy of this thread ({lines} lines).",
    "thread.force_cleaned": "{actor} removed this thread's checkpoints.",
    "thread.retired": "This thread was over, and removed because of its age.",
    "vote.cast": "{actor} voted: {verdict}.",
    "vote.withdrawn": "{actor} took their vote back: {verdict}.",
}


@dataclass(frozen=True)
class EntryShown:
    seq: int
    at: datetime
    actor: str
    actor_kind: str
    action: str
    sentence: str
    thread_id: str
    outcome: str
    policy_version: str
    about: list[tuple[str, str]]
    digests: list[tuple[str, str]]
    body: str
    hash: str
    prev_hash: str
    is_whole: bool
    """The hash fits the body. Only a verification can tell whether the entry is in its place."""


@dataclass(frozen=True)
class TextShown:
    name: str
    text: str
    is_whole: bool
    erased_at: datetime | None
    erased_by: str


@dataclass(frozen=True)
class ChainShown:
    """What is known of the whole log without verifying it."""

    whole: AuditCheck | None
    """The last check of all entries."""
    newest: AuditCheck | None
    """A later one, of those since a signed head."""
    broken: AuditCheck | None
    head: AuditHead | None
    signed: SignedHead | None
    is_late: bool


def chain_of(*, checks: Mapping[int, AuditCheck], head: AuditHead | None, signed: SignedHead | None) -> ChainShown:
    """The checks come by their ids."""
    return ChainShown(
        whole=checks.get(AuditCheck.WHOLE),
        newest=checks.get(AuditCheck.NEWEST),
        broken=next((check for check in checks.values() if not check.ok), None),
        head=head,
        signed=signed,
        is_late=signed is None or timezone.now() - signed.signed_at > LATE,
    )


def entries_of(entries: Iterable[AuditEntry]) -> list[EntryShown]:
    return [entry_of(entry) for entry in entries]


def entry_of(entry: AuditEntry) -> EntryShown:
    body = _body(entry)
    return EntryShown(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        actor_kind=str(body.get("actor_kind", "")),
        action=entry.action,
        sentence=_sentence(entry, body),
        thread_id=entry.thread_id,
        outcome=str(body.get("outcome", "")),
        policy_version=str(body.get("policy_version", "")),
        about=_pairs(body.get("object")),
        digests=_pairs(body.get("digests")),
        body=json_text(body) if body else entry.body,
        hash=entry.hash,
        prev_hash=entry.prev_hash,
        is_whole=entry_hash(entry.seq, entry.prev_hash, entry.body) == entry.hash,
    )


def texts_of(entry: AuditEntry, texts: Iterable[AuditText]) -> list[TextShown]:
    digests = _body(entry).get("digests") or {}
    return [
        TextShown(
            text.name,
            text.text,
            bool(text.erased_at) or text_digest(text.salt, text.text) == digests.get(text.name),
            text.erased_at,
            text.erased_by,
        )
        for text in texts
    ]


def _sentence(entry: AuditEntry, body: dict[str, Any]) -> str:
    """Return a sentence about an entry, with the entry's own words where it has them."""
    about = body.get("object")
    words = {**(about if isinstance(about, dict) else {}), "actor": entry.actor or "nobody"}
    try:
        return ENTRY_SENTENCES[entry.action].format_map(words)
    except (KeyError, ValueError, AttributeError, IndexError):
        return ACTIONS.get(entry.action, "")


def _pairs(found: Any) -> list[tuple[str, str]]:
    if not isinstance(found, dict):
        return []
    return [(name, item if isinstance(item, str) else json.dumps(item)) for name, item in found.items()]


def _body(entry: AuditEntry) -> dict[str, Any]:
    """Return the body as a dict; an empty one if somebody changed it so that it is no JSON object."""
    try:
        found = json.loads(entry.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
