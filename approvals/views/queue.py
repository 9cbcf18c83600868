"""The queue: what waits for people, what failed after a decision, and what was decided."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals.actions.people import saved_views
from approvals.actions.people.notices import see_notice
from approvals.actions.people.saved_views import views_for
from approvals.actions.votes import alterations
from approvals.compiled import planned_by_value
from approvals.counts import Counted, Listed, Read, Statement, read
from approvals.domain import graphs_here, permissions, queries
from approvals.domain.graphs_here import GraphsHere
from approvals.domain.permissions import User
from approvals.domain.terms import MEANINGS
from approvals.models import Approval, Notice
from approvals.presenters.queue import KIND_WORDS, grouped, rows_of
from approvals.views.lists import (
    GROUP,
    LISTS_KEPT,
    NO_GROUP,
    SORT,
    TABS,
    ListAsked,
    address_of_list,
    asked_for,
    came_from,
    kept_counts,
    list_of,
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
from approvals.views.preferences import COLUMNS, DENSITIES, preferences_of

LARGEST = 2**63 - 1
MOST_NOTICES = 5
FIRST = {"cursor": "", "before": "", "exact": ""}
"""What another tab begins without."""
SORT_WORDS = {
    "urgent": "Most urgent first",
    "oldest": "Oldest first",
    "newest": "Newest first",
    "amount": "Largest amount first",
}
GROUP_WORDS = {"due": "Due", "graph": "Graph", "action": "Action", "customer": "Customer", "none": "No groups"}


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
    here, preferences = GraphsHere(told), preferences_of(request)
    rows, count = rows_of(page, alterations.altered(page, request.user), here=here), told[asked.tab]
    context = {
        "tab": asked.tab,
        "tabs": [(tab, word, told[tab], other_query(request, tab=tab, **FIRST)) for tab, word in TABS.items()],
        "count": count,
        "exact": other_query(request, tab=asked.tab, exact="1"),
        "is_closed": asked.is_closed,
        "rows": rows,
        "groups": grouped(rows, asked.group if asked.is_grouped else "", None if count.is_more else told.get("groups")),
        "has_headings": asked.is_grouped and (asked.group != GROUP or any(row.due_at for row in rows)),
        "width": 2 + len(preferences.columns) + (not permissions.why_not(request.user, "vote")),
        "here": other_query(request, tab=asked.tab),
        "from_list": asked.address,
        "first": other_query(request, cursor="", before="") if request.GET.get("cursor") else "",
        "more": other_query(request, cursor=cursor, before=str(asked.before + len(rows))) if cursor else "",
        "given": asked.filters,
        "is_filtered": asked.is_filtered,
        "problem": asked.terms.problem,
        "preferences": preferences,
        "why_not_vote": permissions.why_not(request.user, "vote"),
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
        "notices": told["notices"],
        "views": _views(request, asked, told["views"]),
        "sorts": _ways(request, asked, "sort", SORT_WORDS),
        "groupings": _ways(request, asked, "group", GROUP_WORDS),
    }
    if not wants_part(request):
        context |= {"graphs": here.cards, "kinds": KIND_WORDS, "badge": told.get("badge", told["needs"])}
        context |= {"densities": DENSITIES, "columns": COLUMNS, "meanings": MEANINGS}
    return context


def _ways(request: Request, asked: ListAsked, name: str, sentences: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the sorts or groups to choose from. A sort that no group has ends the groups, and the other way round."""
    usual, other = (SORT, "group") if name == "sort" else (GROUP, "sort")
    chosen = {"sort": SORT if asked.is_grouped else asked.sort, "group": asked.group if asked.is_grouped else NO_GROUP}
    queries_of = {
        value: other_query(request, tab=asked.tab, **FIRST, **{other: "", name: "" if value == usual else value})
        for value in sentences
    }
    return [
        {"word": word, "query": queries_of[value], "is_chosen": value == chosen[name]}
        for value, word in sentences.items()
    ]


def _views(request: Request, asked: ListAsked, kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the saved views: each with its query string, and whether it is what is shown."""
    here = urlencode(asked.asked)
    return [
        view
        | {
            "is_here": view["query"] == here,
            "is_own": view["owner_id"] == request.user.pk,
            "by": view["owner__username"],
        }
        for view in kept
    ]


@lru_cache(LISTS_KEPT)
def _beside_rows(asked: ListAsked, is_exact: bool, is_part: bool) -> Statement:
    """Return what reads all but the rows: the counts of the tabs, notices, and what a page has around the list."""
    return Statement(
        **{tab: asked.count_of(tab, is_exact=is_exact and tab == asked.tab) for tab in TABS},
        notices=Listed(notices_for(asked.by).values("id", "text", "approval_id")[:MOST_NOTICES]),
        views=Listed(views_for(asked.by)),
        **({"groups": asked.count_groups()} if asked.is_grouped else {}),
        **graphs_here.reads(),
        **({} if is_part or not asked.is_filtered else _around(asked.by)),
    )


def _around(by: User) -> dict[str, Read]:
    """Return what the page around a filtered list reads: the count of the menu. Else that is the one of a tab."""
    return {"badge": Counted(queries.for_menu(by))}


@require_POST
def keep_view(request: Request) -> HttpResponse:
    """Keep the list that the page shows under a name."""
    told = list_of(request.user, QueryDict(request.POST.get("query", "").removeprefix("?")))
    kept = saved_views.keep_view(
        name=request.POST.get("name", ""),
        query=urlencode(told.asked),
        is_shared="is_shared" in request.POST,
        by=request.user,
    )
    messages.success(request, f"“{kept.name}” is kept.")
    response = redirect_after_post("queue")
    response["Location"] += f"?{kept.query}"
    return response


@require_POST
def remove_view(request: Request, view_id: int) -> HttpResponse:
    saved_views.remove_view(view_id=min(view_id, LARGEST), by=request.user)
    messages.success(request, "The view is removed.")
    return redirect_after_post("queue")


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
