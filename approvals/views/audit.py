"""The audit log: list, filter, verify and export; one entry; the receipt of a decision."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals import counts
from approvals.actions.audit_log import receipts, texts, verification
from approvals.audit.actions import ACTIONS
from approvals.audit.filters import Filters
from approvals.audit.receipts import make_receipt, note_on
from approvals.compiled import planned_by_value
from approvals.counts import Counted
from approvals.domain import permissions
from approvals.errors import Busy, Gone, Invalid, NotFound
from approvals.models import Approval, AuditCheck, AuditEntry, AuditHead, AuditText, SignedHead
from approvals.presenters.audit import ChainShown, chain_of, entries_of, entry_of, texts_of
from approvals.views.pages import PAGE_SIZE, Request, other_query, redirect_after_post, words
from approvals.web.downloads import TYPES, download

ASKED = ("actor", "action", "thread_id", "approval", "policy", "since", "until")
LARGEST = 2**63


@require_safe
def audit(request: Request) -> HttpResponse:
    permissions.check_read_audit(request.user)
    given = {name: words(request, name) for name in ASKED}
    filters, problem = asked_for(given)
    found, cursor = filters.entries(), request.GET.get("cursor", "")
    page = found.filter(seq__lt=int(cursor)) if cursor.isascii() and cursor.isdigit() and len(cursor) < 19 else found
    with planned_by_value():
        rows = list(page.order_by("-seq")[: PAGE_SIZE + 1])
        count = counts.read(count=Counted(found, is_exact=bool(words(request, "exact"))))["count"]
    context = {
        "entries": entries_of(rows[:PAGE_SIZE]),
        "count": count,
        "exact": other_query(request, exact="1"),
        "more": other_query(request, cursor=str(rows[PAGE_SIZE - 1].seq)) if len(rows) > PAGE_SIZE else "",
        "first": other_query(request, cursor="") if cursor else "",
        "given": given,
        "is_filtered": any(given.values()),
        "problem": problem,
        "actions": ACTIONS,
        "chain": _chain(),
        "exports": {format: other_query(request, cursor="", format=format) for format in TYPES},
    }
    return render(request, "audit.html", context)


@require_POST
def verify_audit(request: Request) -> HttpResponse:
    found = verification.verify_audit(by=request.user, is_whole="whole" in request.POST)
    if found.ok and found.after:
        messages.success(
            request,
            f"Intact: entries {found.after + 1} to {found.entries}, each in its place. A signed head stands for those"
            " before: they were not read again.",
        )
    elif found.ok:
        messages.success(request, f"Intact: {found.entries} entries, each in its place.")
    else:
        messages.error(request, f"Broken at entry {found.first_bad}. {found.reason}")
    for warning in found.warnings:
        messages.warning(request, warning)
    return redirect_after_post("audit")


@require_safe
def export_audit(request: Request) -> HttpResponseBase:
    filters, problem = asked_for({name: words(request, name) for name in ASKED})
    if problem:
        raise Invalid(problem)
    format = words(request, "format")
    if format not in TYPES:
        raise Invalid("A copy is jsonl or csv.")
    return download(format=format, filters=filters, by=request.user)


@require_safe
def entry(request: Request, seq: int) -> HttpResponse:
    return _entry_page(request, seq)


@require_POST
def erase_text(request: Request, seq: int, name: str) -> HttpResponse:
    reason = request.POST.get("reason", "").replace("\x00", "")
    try:
        texts.erase_text(seq=min(seq, LARGEST - 1), name=name, reason=reason, by=request.user)
    except (Invalid, Busy, Gone) as refused:
        return _entry_page(request, seq, problem=refused.message, reason=reason, status=refused.status)
    messages.success(request, "Erased. The entry stays, and the log still verifies.")
    return redirect_after_post("audit_entry", seq)


@require_safe
def receipt(request: Request, approval_id: UUID) -> HttpResponseBase:
    entries = receipts.entries_of(approval_id=approval_id, by=request.user)
    made = make_receipt(str(approval_id), entries)
    if "json" in request.GET:
        name = f"receipt-{approval_id}.json"
        return JsonResponse(made, headers={"Content-Disposition": f'attachment; filename="{name}"'})
    context = {
        "approval": Approval.objects.get(pk=approval_id),
        "entries": [(entry_of(each), note_on(each.seq)) for each in entries],
        "is_pending": made["pending"],
    }
    return render(request, "audit_receipt.html", context)


def asked_for(given: dict[str, str]) -> tuple[Filters, str]:
    """Return the filters of the request, and what is wrong with them."""
    asked: dict[str, Any] = {name: value for name, value in given.items() if value}
    problem = ""
    for name in ("since", "until"):
        try:
            asked |= {name: _moment(given[name])} if given[name] else {}
        except ValueError:
            del asked[name]
            problem = f"Write {name} as 2026-01-31 or 2026-01-31T14:00 (UTC)."
    try:
        asked |= {"approval": str(UUID(given["approval"]))} if given["approval"] else {}
    except ValueError:
        del asked["approval"]
        problem = "An approval is named by its id, as the address of its page has it."
    return Filters(**asked), problem


def _chain() -> ChainShown:
    return chain_of(
        checks={check.pk: check for check in AuditCheck.objects.all()},
        head=AuditHead.objects.filter(pk=1).first(),
        signed=SignedHead.objects.order_by("-id").first(),
    )


def _entry_page(request: Request, seq: int, *, problem: str = "", reason: str = "", status: int = 200) -> HttpResponse:
    permissions.check_read_audit(request.user)
    found = AuditEntry.objects.filter(pk=seq).first() if seq < LARGEST else None
    if found is None:
        raise NotFound("There is no such entry.")
    context = {
        "entry": entry_of(found),
        "texts": texts_of(found, list(AuditText.objects.filter(seq=found.seq).order_by("name"))),
        "note": note_on(found.seq) or "",
        "why_not_erase": permissions.why_not(request.user, "erase_text"),
        "newest": AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first(),
        "problem": problem,
        "reason": reason,
    }
    return render(request, "audit_entry.html", context, status=status)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
