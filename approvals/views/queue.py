"""The queue: what waits for people, what failed after a decision, and what was decided."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals.actions.people.notices import see_notice
from approvals.actions.votes import alterations
from approvals.domain import permissions, queries
from approvals.domain.permissions import User
from approvals.models import Approval, ApprovalQuerySet, Graph, Notice
from approvals.presenters.queue import KIND_WORDS, rows_of
from approvals.views.pages import (
    PAGE_SIZE,
    Request,
    after_key,
    filtered_by_hand,
    key_of,
    one_page,
    other_query,
    page_or_part,
    redirect_after_post,
    wants_part,
    words,
)

LARGEST = 2**63 - 1
MOST_NOTICES = 5
HEAVY = (
    "state", "request", "actions", "opaque", "thread__state", "thread__metadata",
    "decision__edits", "decision__run__input", "decision__run__steps",
)  # fmt: skip
SIDE_SIZE = 50
TABS = {
    "needs": "Needs me",
    "unclaimed": "Unclaimed",
    "mine": "Claimed by me",
    "open": "All open",
    "failed": "Failed",
    "done": "Done",
}
CLOSED = ("failed", "done")


@require_safe
def queue(request: Request) -> HttpResponse:
    permissions.check_view(request.user)
    context = list_context(request)
    if not wants_part(request):
        context |= {"graphs": list(Graph.objects.order_by("pk").values_list("pk", flat=True)), "kinds": KIND_WORDS}
    return filtered_by_hand(request, page_or_part(request, "queue.html", "list", context))


def list_context(request: Request) -> dict[str, Any]:
    """Return the context of the list with its tabs, which asks again every 15 s."""
    tab, asked = tab_of(request), given(request)
    lists = lists_of(filtered(request), request)
    page, cursor = page_of(lists[tab], tab, request.GET.get("cursor", ""))
    return {
        "tab": tab,
        "tabs": [
            (name, word, lists[name].count(), other_query(request, tab=name, cursor="")) for name, word in TABS.items()
        ],
        "is_closed": tab in CLOSED,
        "rows": rows_of(page, alterations.altered(page, request.user)),
        "here": other_query(request, tab=tab),
        "first": other_query(request, cursor="") if request.GET.get("cursor") else "",
        "more": other_query(request, cursor=cursor) if cursor else "",
        "given": asked,
        "is_filtered": any(asked.values()),
        "why_not_vote": permissions.why_not(request.user, "vote"),
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
        "notices": list(notices_for(request.user)[:MOST_NOTICES]),
    }


def tab_of(request: Request) -> str:
    """Return the requested tab; by default the person's own list, or all for somebody who does not vote."""
    asked = request.GET.get("tab", "")
    return asked if asked in TABS else "open" if permissions.why_not(request.user, "vote") else "needs"


def lists_of(found: ApprovalQuerySet, request: Request) -> dict[str, ApprovalQuerySet]:
    """Return the query of each tab. The count of a tab is the count of its query."""
    return {
        "needs": queries.needing(found, request.user),
        "unclaimed": found.pending().unclaimed(),
        "mine": queries.held_by(found, request.user.get_username()),
        "open": found.pending(),
        "failed": queries.stuck(found),
        "done": found.exclude(status="pending"),
    }


def page_of(found: ApprovalQuerySet, tab: str, cursor: str) -> tuple[list[Approval], str]:
    """Return the rows of a page, and the cursor of the next one."""
    if tab in CLOSED:
        return one_page(after_key(newest_closed(listed(found)), cursor, "closed_at", is_descending=True), "closed_at")
    rows = list(after_urgent(listed(found).most_urgent_first(), cursor)[: PAGE_SIZE + 1])
    last = rows[PAGE_SIZE - 1] if len(rows) > PAGE_SIZE else None
    due = last.due_at.isoformat() if last and last.due_at else ""
    return rows[:PAGE_SIZE], f"{due}|{key_of(last, 'created_at')}" if last else ""


def after_urgent(found: ApprovalQuerySet, cursor: str) -> ApprovalQuerySet:
    """Select what follows the row that `cursor` names, in the order of `most_urgent_first`; an invalid cursor is
    ignored.
    """
    try:
        due, at, pk = cursor.split("|")
        key = {"created_at": datetime.fromisoformat(at), "pk": UUID(pk)}
        due_at = datetime.fromisoformat(due) if due else None
    except ValueError:
        return found
    later = Q(created_at__gt=key["created_at"]) | Q(created_at=key["created_at"], pk__gt=key["pk"])
    if due_at is None:
        return found.filter(later, due_at=None)
    return found.filter(Q(due_at__gt=due_at) | Q(due_at=None) | Q(due_at=due_at) & later)


def for_me(request: Request) -> ApprovalQuerySet:
    """Select what waits for this person; everything open for somebody who does not vote."""
    if permissions.why_not(request.user, "vote"):
        return Approval.objects.pending()
    return queries.needing(Approval.objects.all(), request.user)


@require_safe
def open_count(request: Request) -> HttpResponse:
    """The badge and the notice in the menu. Every page polls them."""
    permissions.check_view(request.user)
    return render(request, "open_count.html", {"count": queries.needing(Approval.objects.all(), request.user).count()})


def notices_for(user: User) -> QuerySet[Notice]:
    return Notice.objects.filter(user_id=user.pk or 0, seen_at=None).order_by("-created_at", "-id")


@require_POST
def put_notice_away(request: Request, notice_id: int) -> HttpResponse:
    see_notice(notice_id=min(notice_id, LARGEST), by=request.user)
    return redirect_after_post("queue")


@require_safe
def side(request: Request) -> HttpResponse:
    """The list beside an open approval."""
    permissions.check_view(request.user)
    return render(request, "approval.html#side", side_context(request, request.GET.get("current", "")))


def side_context(request: Request, current: str) -> dict[str, Any]:
    waiting = for_me(request)
    return {
        "rows": rows_of(list(listed(waiting.most_urgent_first())[:SIDE_SIZE])),
        "current": current,
        "open_count": waiting.count(),
        "why_not_vote": permissions.why_not(request.user, "vote"),
    }


def listed(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Select what a list needs in one query, without the large columns."""
    with_all = found.select_related("thread__started_by", "claimed_by", "decision__run").defer(*HEAVY)
    return queries.with_others(queries.with_tally(with_all))


def newest_closed(found: ApprovalQuerySet) -> ApprovalQuerySet:
    return found.order_by("-closed_at", "-id")


def given(request: Request) -> dict[str, str]:
    return {name: words(request, name) for name in ("graph", "kind", "q")}


def filtered(request: Request) -> ApprovalQuerySet:
    asked = given(request)
    found = Approval.objects.all()
    if asked["graph"]:
        found = found.filter(graph_id=asked["graph"])
    if asked["kind"]:
        found = found.filter(kind=asked["kind"])
    if text := asked["q"]:
        found = found.filter(Q(title__icontains=text) | Q(summary__icontains=text) | Q(thread__id__icontains=text))
    return found
