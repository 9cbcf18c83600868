"""The audit log: read it, and ask whether it is intact."""

from datetime import UTC, datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import AfterValidator, BaseModel, Field

from approvals import permissions
from approvals.actions.verify_audit import verify_audit
from approvals.api import cursors
from approvals.api.auth import person
from approvals.api.errors import answers
from approvals.api.fields import Filters, PlainObject, Text
from approvals.models import AuditEntry

router = Router(tags=["audit"])
MOST_ENTRIES = 1_000


def _in_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("This time is outside the calendar.") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class EntryFilters(Filters):
    thread_id: Text | None = None
    actor: Text | None = None
    action: Text | None = Field(None, description="Such as `vote.cast`.")
    since: Moment | None = Field(None, description="At this time or later; without a zone, UTC.")
    until: Moment | None = Field(None, description="Before this time; without a zone, UTC.")
    limit: int = Field(50, ge=1, le=MOST_ENTRIES)
    cursor: Text | None = Field(None, max_length=200, description="`next` of the page before.")


class EntryOut(BaseModel):
    """One entry. `hash` covers its number, `prev_hash` and its canonical body."""

    seq: int
    at: datetime
    actor: str
    actor_kind: str
    action: str
    thread_id: str
    object: PlainObject
    digests: PlainObject
    outcome: str
    request_id: str
    prev_hash: str
    hash: str


class EntryPage(BaseModel):
    items: list[EntryOut]
    next: str | None


class VerificationOut(BaseModel):
    """`first_bad` is the number of the first entry that is wrong, `reason` says how."""

    ok: bool
    entries: int
    head: str
    first_bad: int | None
    reason: str


@router.get("/audit", response=answers(EntryPage))
def list_entries(request: HttpRequest, filters: Query[EntryFilters]) -> EntryPage:
    """List entries, newest first. Auditors and admins."""
    permissions.check_read_audit(person(request))
    page = list(_filtered(filters)[: filters.limit + 1])
    items, more = page[: filters.limit], len(page) > filters.limit
    return EntryPage(items=[_entry(entry) for entry in items], next=cursors.encode(items[-1].seq) if more else None)


@router.get("/audit/verify", response=answers(VerificationOut))
def verify_log(request: HttpRequest) -> VerificationOut:
    """Walk the whole log and say whether it is intact. That somebody asked is an entry too. Auditors and admins."""
    return VerificationOut(**verify_audit(by=person(request)).as_dict())


def _filtered(filters: EntryFilters) -> Any:
    found = AuditEntry.objects.order_by("-seq")
    if filters.thread_id:
        found = found.filter(thread_id=filters.thread_id)
    if filters.actor:
        found = found.filter(actor=filters.actor)
    if filters.action:
        found = found.filter(action=filters.action)
    if filters.since:
        found = found.filter(at__gte=filters.since)
    if filters.until:
        found = found.filter(at__lt=filters.until)
    return found.filter(seq__lt=cursors.decode_number(filters.cursor)) if filters.cursor else found


def _entry(entry: AuditEntry) -> EntryOut:
    told = _body(entry)
    return EntryOut(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        actor_kind=str(told.get("actor_kind", "")),
        action=entry.action,
        thread_id=entry.thread_id,
        object=told.get("object", {}),
        digests=told.get("digests", {}),
        outcome=str(told.get("outcome", "")),
        request_id=str(told.get("request_id", "")),
        prev_hash=entry.prev_hash,
        hash=entry.hash,
    )


def _body(entry: AuditEntry) -> dict[str, Any]:
    """A log that was tampered with must stay readable: that is when people look."""
    try:
        return entry.record
    except (ValueError, TypeError):
        return {}
