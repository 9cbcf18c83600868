"""The queue: what waits for people, what failed after a decision, and what was decided."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals.actions.people.notices import see_notice
from approvals.actions.votes import alterations
from approvals.compiled import planned_by_value
from approvals.counts import Counted, Listed, Read, Statement, read
from approvals.domain import graphs_here, permissions, queries
from approvals.domain.graphs_here import GraphsHere
from approvals.domain.permissions import User
from approvals.models import Approval, Notice
from approvals.presenters.queue import KIND_WORDS, rows_of
from approvals.views.lists import (
    LISTS_KEPT,
    TABS,
    ListAsked,
    address_of_list,
    asked_for,
    came_from,
    kept_counts,
    own_list,
)
from approvals.views.pages import (
    Request,
    filtered_by_hand,
    other_query,
    page_or_part,
    redirect_after_post,
    wants_part,
    words,
)

LARGEST = 2**63 - 1
MOST_NOTICES = 5
FIRST = {"cursor": "", "exact": ""}
"""What another tab begins without."""


@require_safe
def queue(request: Request) -> HttpResponse:
    permissions.check_view(request.user)
    return filtered_by_hand(request, page_or_part(request, "queue.html", "list", list_context(request)))


def list_context(request: Request) -> dict[str, Any]:
    """Return the context of the list with its tabs, which asks again when it is told of a change, and of the page."""
    asked, is_exact = asked_for(request), bool(words(request, "exact"))
    with planned_by_value():
        page, cursor = asked.page()
        told = _beside_rows(replace(asked, cursor=""), is_exact, wants_part(request)).read()
    here = GraphsHere(told)
    context = {
        "tab": asked.tab,
        "tabs": [(tab, word, told[tab], other_query(request, tab=tab, **FIRST)) for tab, word in TABS.items()],
        "count": told[asked.tab],
        "exact": other_query(request, tab=asked.tab, exact="1"),
        "is_closed": asked.is_closed,
        "rows": rows_of(page, alterations.altered(page, request.user), here=here),
        "here": other_query(request, tab=asked.tab),
        "from_list": asked.address,
        "first": other_query(request, cursor="") if request.GET.get("cursor") else "",
        "more": other_query(request, cursor=cursor) if cursor else "",
        "given": asked.filters,
        "is_filtered": asked.is_filtered,
        "why_not_vote": permissions.why_not(request.user, "vote"),
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
        "notices": told["notices"],
    }
    if not wants_part(request):
        context |= {"graphs": here.cards, "kinds": KIND_WORDS, "badge": told.get("badge", told["needs"])}
    return context


@lru_cache(LISTS_KEPT)
def _beside_rows(asked: ListAsked, is_exact: bool, is_part: bool) -> Statement:
    """Return what reads all but the rows: the counts of the tabs, notices, and what a page has around the list."""
    return Statement(
        **{tab: asked.count_of(tab, is_exact=is_exact and tab == asked.tab) for tab in TABS},
        notices=Listed(notices_for(asked.by).values("id", "text", "approval_id")[:MOST_NOTICES]),
        **graphs_here.reads(),
        **({} if is_part or not asked.is_filtered else _around(asked.by)),
    )


def _around(by: User) -> dict[str, Read]:
    """Return what the page around a filtered list reads: the count of the menu. Else that is the one of a tab."""
    return {"badge": Counted(queries.for_menu(by))}


@require_safe
def open_count(request: Request) -> HttpResponse:
    """The badge and the notice in the menu, which every page asks for when the queue changes."""
    permissions.check_view(request.user)
    with planned_by_value():
        told = read(count=kept_counts(own_list(request.user))["badge"])
    return render(request, "open_count.html", told)


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
    asked = came_from(request) or own_list(request.user)
    with planned_by_value():
        told, (page, _) = read(open_count=kept_counts(asked)["open_count"], **graphs_here.reads()), asked.page()
    return told | beside(request, current, page, GraphsHere(told))


def beside(request: Request, current: str, page: list[Approval], here: GraphsHere) -> dict[str, Any]:
    """Return the context of the list beside an approval, apart from its count."""
    return {
        "rows": rows_of(page, here=here),
        "current": current,
        "why_not_vote": permissions.why_not(request.user, "vote"),
        "from_list": address_of_list(request),
    }
