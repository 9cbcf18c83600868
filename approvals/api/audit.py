"""The audit log: list, export and verify entries, and fetch the receipt of a decision."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router
from pydantic import AfterValidator, Field

from approvals.actions.audit_log.receipts import give_receipt
from approvals.actions.audit_log.verification import verify_audit
from approvals.api import cursors
from approvals.api.auth import person
from approvals.api.errors import answers
from approvals.api.fields import ApiRecord, PlainObject, QueryFilters, Text
from approvals.audit.filters import Filters as Asked
from approvals.compiled import planned_by_value
from approvals.domain import permissions
from approvals.models import AuditEntry
from approvals.web.downloads import download

router = Router(tags=["audit"])
MOST_ENTRIES = 1_000
TEXT = {"type": "string"}


def _in_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("This time is outside the calendar.") from None


UtcTime = Annotated[datetime, AfterValidator(_in_utc)]


class ExportFilters(QueryFilters):
    thread_id: Text | None = None
    actor: Text | None = None
    action: Text | None = Field(None, description="Such as `vote.cast`.")
    approval: UUID | None = Field(None, description="Entries that name this approval.")
    policy: Text | None = Field(None, description="Entries under this version of a policy, as they name it.")
    since: UtcTime | None = Field(None, description="At this time or later; without a zone, UTC.")
    until: UtcTime | None = Field(None, description="Before this time; without a zone, UTC.")

    @property
    def asked(self) -> Asked:
        given = {name: getattr(self, name) for name in ("thread_id", "actor", "action", "policy", "since", "until")}
        approval = str(self.approval) if self.approval else ""
        return Asked(approval=approval, **{name: value for name, value in given.items() if value})


class EntryFilters(ExportFilters):
    limit: int = Field(50, ge=1, le=MOST_ENTRIES)
    cursor: Text | None = Field(None, max_length=200, description="`next` of the page before.")


class ExportAs(ExportFilters):
    format: Literal["jsonl", "csv"] = Field(
        "jsonl", description="`jsonl` can be verified if whole; `csv` is for people."
    )


class EntryOut(ApiRecord):
    """One entry. `hash` covers its number, `prev_hash` and its canonical body."""

    seq: int
    at: datetime
    actor: str
    actor_kind: str
    action: str
    thread_id: str
    object: PlainObject
    digests: PlainObject
    policy_version: str
    outcome: str
    request_id: str
    prev_hash: str
    hash: str


class EntryPage(ApiRecord):
    items: list[EntryOut]
    next: str | None


class VerificationOut(ApiRecord):
    """`first_bad` is the number of the first entry that is wrong, `reason` says how.

    `signed` is the newest entry that a signed head vouches for. Entries up to `after` were not read again.
    """

    ok: bool
    entries: int
    head: str
    first_bad: int | None
    reason: str
    signed: int
    after: int
    warnings: list[str]


class ReceiptEntry(ApiRecord):
    """An entry as it was written, and the signed head that lists its hash."""

    seq: int
    prev_hash: str
    hash: str
    body: str
    note: str | None


class ReceiptOut(ApiRecord):
    """What the log says of one decision. `pending`: not all of it is signed yet, which takes a minute at most.

    Check it with `manage.py verify_audit_log --receipt FILE`, with no database.
    """

    kind: str
    v: int
    approval: UUID
    pending: bool
    entries: list[ReceiptEntry]


@router.get("/audit", response=answers(EntryPage))
def list_entries(request: HttpRequest, filters: Query[EntryFilters]) -> EntryPage:
    """List entries, newest first. Auditors and admins."""
    permissions.check_read_audit(person(request))
    found = filters.asked.entries().order_by("-seq")
    if filters.cursor:
        found = found.filter(seq__lt=cursors.decode_number(filters.cursor))
    with planned_by_value():
        page = list(found[: filters.limit + 1])
    items, more = page[: filters.limit], len(page) > filters.limit
    return EntryPage(items=[_entry(entry) for entry in items], next=cursors.encode(items[-1].seq) if more else None)


@router.get("/audit/verify", response=answers(VerificationOut))
def verify_log(request: HttpRequest, newest: bool = False) -> VerificationOut:
    """Walk the whole log and say whether it is intact. That somebody asked is an entry too. Auditors and admins.

    With `newest=true` it goes on from the last head that was signed a day ago or earlier, whose signature stands for
    the entries before it.
    """
    return VerificationOut(**verify_audit(by=person(request), is_whole=not newest).as_dict())


@router.get(
    "/audit/export",
    response=answers(None),
    openapi_extra={
        "responses": {200: {"content": {"application/x-ndjson": {"schema": TEXT}, "text/csv": {"schema": TEXT}}}}
    },
)
def export_log(request: HttpRequest, filters: Query[ExportAs]) -> StreamingHttpResponse:
    """Download the log, or a part of it. That somebody did is an entry too. Auditors and admins."""
    return download(format=filters.format, filters=filters.asked, by=person(request))


@router.get("/approvals/{approval_id}/receipt", response=answers(ReceiptOut, 404, 409))
def get_receipt(request: HttpRequest, approval_id: UUID) -> dict[str, Any]:
    """Read what the log says of a decision, signed. 409 `undecided` while nobody has decided."""
    return give_receipt(approval_id=approval_id, by=person(request))


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
        policy_version=str(told.get("policy_version", "")),
        outcome=str(told.get("outcome", "")),
        request_id=str(told.get("request_id", "")),
        prev_hash=entry.prev_hash,
        hash=entry.hash,
    )


def _body(entry: AuditEntry) -> dict[str, Any]:
    """Return the body of an entry.

    A tampered log must stay readable, so anything that is not JSON becomes an empty body.
    """
    try:
        return entry.record
    except (ValueError, TypeError):
        return {}
