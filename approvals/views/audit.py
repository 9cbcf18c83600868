"""The audit log: read, filter, verify."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals import audit as log
from approvals import permissions
from approvals.actions import verify_audit as action
from approvals.models import AuditEntry, AuditHead
from approvals.presenters.audit import CheckShown, check_of, entries_of
from approvals.views.pages import PAGE_SIZE, Request, other_query, redirect_after_post, words


@require_safe
def audit(request: Request) -> HttpResponse:
    permissions.check_read_audit(request.user)
    given = {name: words(request, name) for name in ("actor", "action", "thread_id", "since", "until")}
    found, problem = filtered(given)
    cursor = request.GET.get("cursor", "")
    page = found.filter(seq__lt=int(cursor)) if cursor.isascii() and cursor.isdigit() and len(cursor) < 19 else found
    rows = list(page.order_by("-seq")[: PAGE_SIZE + 1])
    context = {
        "entries": entries_of(rows[:PAGE_SIZE]),
        "count": found.count(),
        "more": other_query(request, cursor=str(rows[PAGE_SIZE - 1].seq)) if len(rows) > PAGE_SIZE else "",
        "first": other_query(request, cursor="") if cursor else "",
        "given": given,
        "is_filtered": any(given.values()),
        "problem": problem,
        "actions": log.ACTIONS,
        "head": AuditHead.objects.filter(pk=1).first(),
        "last_check": last_check(),
    }
    return render(request, "audit.html", context)


@require_POST
def verify_audit(request: Request) -> HttpResponse:
    found = action.verify_audit(by=request.user)
    if found.ok:
        messages.success(request, f"Intact: {found.entries} entries, each in its place.")
    else:
        messages.error(request, f"Broken at entry {found.first_bad}. {found.reason}")
    return redirect_after_post("audit")


def last_check() -> CheckShown | None:
    """The last time somebody verified: verifying at every look would walk the whole log."""
    entry = AuditEntry.objects.filter(action="audit.verified").order_by("-seq").first()
    return check_of(entry) if entry else None


def filtered(given: dict[str, str]) -> tuple[Any, str]:
    """Return the entries that were asked for, and what was wrong with the question."""
    found, problem = AuditEntry.objects.all(), ""
    for name in ("actor", "action", "thread_id"):
        if given[name]:
            found = found.filter(**{name: given[name]})
    for name, lookup in (("since", "at__gte"), ("until", "at__lte")):
        try:
            found = found.filter(**{lookup: _moment(given[name])}) if given[name] else found
        except ValueError:
            problem = f"Write {name} as 2026-01-31 or 2026-01-31T14:00 (UTC)."
    return found, problem


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
