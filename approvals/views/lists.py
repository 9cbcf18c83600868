"""Lists of approvals: which tab, filters and page of the queue a request asks for, or came from, and their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.db.models import F, QuerySet, Value, Window
from django.db.models.functions import RowNumber
from django.http import QueryDict

from approvals.compiled import Compiled, compiled, written
from approvals.counts import Counted, CountedBy, Read
from approvals.domain import permissions, queries, search, sorts
from approvals.domain.permissions import User
from approvals.domain.sorts import SortKeys
from approvals.domain.terms import Terms, terms_of
from approvals.models import Approval, ApprovalQuerySet
from approvals.views.pages import PAGE_SIZE, Request, word_of

TABS = {
    "needs": "Needs me",
    "unclaimed": "Unclaimed",
    "mine": "Claimed by me",
    "snoozed": "Snoozed",
    "open": "All open",
    "failed": "Failed",
    "done": "Done",
}
CLOSED = ("failed", "done")
FILTERS = ("graph", "kind", "q")
SORT, GROUP, NO_GROUP = "urgent", "due", "none"
"""The order and the groups of a list that names none; and that it has no groups."""
HEAVY = (
    "state", "request", "actions", "opaque", "thread__state", "thread__metadata", "thread__next", "thread__blocked",
    "thread__authors", "thread__claims", "thread__unbound", "decision__edits", "decision__answer",
    "decision__run__input", "decision__run__steps", "decision__run__calls", "decision__run__bound",
)  # fmt: skip


MOST_LISTED = 10
"""Questions of the same step, and others of the same thread, that are listed beside an approval."""
OPEN_FIRST = F("closed_at").asc(nulls_first=True)
_PAGE, _TOGETHER, _OTHERS = range(3)
LISTS_KEPT = 200
"""So many lists a process keeps the SQL of. Whoever has a page open asks for the same one again."""


@dataclass(frozen=True, eq=False)
class ListAsked:
    """A list of the queue: a tab, narrowed by filters, in an order, from a cursor on. Empty filters narrow nothing.

    Two of the same person with the same roles are equal: their SQL is the same. `before` says how many rows stand
    before the cursor, as the person went through them.
    """

    by: User
    tab: str
    filters: Mapping[str, str]
    cursor: str = ""
    sort: str = SORT
    group: str = GROUP
    before: int = 0

    def _key(self) -> tuple[Any, ...]:
        return self.tab, self.cursor, self.order, *self.filters.values(), permissions.identity_of(self.by)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListAsked) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def is_filtered(self) -> bool:
        return any(self.filters.values())

    @property
    def is_closed(self) -> bool:
        return self.tab in CLOSED

    @property
    def is_grouped(self) -> bool:
        """Groups by anything but the time need the order of the group."""
        return self.group != NO_GROUP and not self.is_closed and (self.group != GROUP or self.sort == SORT)

    @property
    def order(self) -> SortKeys:
        if self.is_closed:
            return sorts.CLOSED
        return sorts.GROUPS[self.group] if self.is_grouped else sorts.SORTS[self.sort]

    @property
    def terms(self) -> Terms:
        """What is searched for."""
        return terms_of(self.filters["q"])

    @property
    def words(self) -> str:
        """The words that are searched for. What has neither a word nor a field finds nothing."""
        terms = self.terms
        return terms.words or ("" if terms.conditions else self.filters["q"])

    @property
    def address(self) -> str:
        """Return the query string by which a page of an approval knows the list."""
        place = {"cursor": self.cursor, "before": str(self.before) if self.before else ""}
        return f"?{urlencode({**self.asked, **{name: value for name, value in place.items() if value}})}"

    @property
    def asked(self) -> dict[str, str]:
        """What makes the list, apart from the page: what a saved view keeps."""
        order = {"sort": self.sort if self.sort != SORT else "", "group": self.group if self.group != GROUP else ""}
        told = {"tab": self.tab, **self.filters, **order}
        return {name: value for name, value in told.items() if value}

    def count_of(self, tab: str, *, is_exact: bool = False) -> Counted:
        """Return what counts the rows of a tab with the same filters, on all its pages."""
        found = self._tab(tab)
        if self.words:
            return Counted(search.matching(found, self.words, column=_column_of(tab)), is_exact=is_exact)
        if tab == "needs" and not is_exact:
            return Counted(queries.counted_needing(found, self.by))
        return Counted(found, is_exact=is_exact)

    def count_groups(self) -> CountedBy:
        """Return what counts the rows of each group."""
        found: QuerySet[Approval] = self._tab(self.tab)
        if self.words:
            found = search.matching(found, self.words, column=_column_of(self.tab))
        elif self.tab == "needs":
            found = queries.counted_needing(self._tab(self.tab), self.by)
        if self.group == GROUP:
            return CountedBy(queries.with_time_group(found), "time_group")
        return CountedBy(found, self.order[0].column)

    def page(self) -> tuple[list[Approval], str]:
        """Return the rows of the page, and the cursor of the next one."""
        if self.words:
            rows = self._matching(self._after(self.cursor), PAGE_SIZE + 1)
        else:
            rows = list(_kept_rows(self, PAGE_SIZE + 1).all())
        return rows[:PAGE_SIZE], self._key_after(rows[PAGE_SIZE - 1]) if len(rows) > PAGE_SIZE else ""

    def _key_after(self, row: Approval) -> str:
        return sorts.cursor_of(row, self.order)

    def beside(self, thread_id: str, pk: UUID, step: str) -> tuple[list[Approval], list[Approval], list[Approval]]:
        """Return the rows of the page, what a step of a thread asks besides this approval, and others of the thread.

        The latter two are in no order, and a few each. `step` is the checkpoint of a step that asks questions.
        """
        around = {"thread_id": thread_id, "pk": pk, "step": step}
        if self.words:
            page, found = self.page()[0], _around(**around)
        else:
            found = _kept_beside(self)(**around)
            page = sorted((row for row in found if vars(row)["of"] == _PAGE), key=_number_of)
        together, others = ([row for row in found if vars(row)["of"] == of] for of in (_TOGETHER, _OTHERS))
        return page, together, others

    def next_to(self, approval: Approval, page: Sequence[Approval] = ()) -> Approval | None:
        """Return what follows an approval in the list; at its end, the first of another one. `page` is read already."""
        if found := next_on(page, approval):
            return found
        key = self._key_after(approval) if approval.closed_at or not self.is_closed else ""
        for cursor in dict.fromkeys((key, "")):
            if found := self.first(cursor, but=approval):
                return found
        return None

    def step_on(self, approval: Approval) -> "tuple[Approval, ListAsked] | None":
        """Return what follows an approval, with the page of the list that it is on; at the end the list's first."""
        page, _ = self.page()
        if found := next_on(page, approval):
            return found, self
        key = self._key_after(approval) if approval.closed_at or not self.is_closed else ""
        if key and (found := self.first(key, but=approval)):
            is_here = found.pk in [row.pk for row in page]
            return found, self if is_here else replace(self, cursor=key, before=self.before + len(page))
        found = self.first("", but=approval)
        return (found, replace(self, cursor="", before=0)) if found else None

    def step_back(self, approval: Approval) -> "tuple[Approval, ListAsked] | None":
        """Return what stands before an approval, with the page of the list that it is on; None at the beginning."""
        page, _ = self.page()
        if found := before_on(page, approval):
            return found, self
        rows = self.rows_before(approval, PAGE_SIZE + 1)
        if not rows:
            return None
        if len(rows) <= PAGE_SIZE:
            return rows[0], replace(self, cursor="", before=0)
        cursor = self._key_after(rows[PAGE_SIZE])
        return rows[0], replace(self, cursor=cursor, before=max(0, self.before - PAGE_SIZE))

    def first(self, cursor: str = "", *, but: Approval) -> Approval | None:
        """Return the first row after a cursor that is not this one."""
        if self.words:
            found = self._matching(self._after(cursor).exclude(pk=but.pk), 1)
        elif cursor:
            found = list(self.rows(2, cursor))
        else:
            found = list(_kept_rows(replace(self, cursor=""), 2).all())
        return next((row for row in found if row.pk != but.pk), None)

    def rows_before(self, row: Approval, most: int) -> list[Approval]:
        """Return the rows before this one, the nearest first."""
        before = sorts.after(self._tab(self.tab), self.order, self._key_after(row), is_back=True)
        found = sorts.ordered(before, self.order, is_back=True)
        if self.words:
            return self._matching(found, most)
        if self.tab == "needs":
            found = sorts.ordered(queries.first_needing(found, self.by, most), self.order, is_back=True)
        return list(listed(found)[:most])

    def rows(self, most: int, cursor: str = "") -> QuerySet[Approval]:
        """Select the first rows after a cursor. The words that are searched for are not in it."""
        found = self._after(cursor)
        if self.tab == "needs":
            found = sorts.ordered(queries.first_needing(found, self.by, most), self.order)
        return listed(found)[:most]

    def _matching(self, found: ApprovalQuerySet, most: int) -> list[Approval]:
        return search.first_matching(listed(found), self.words, most, column=_column_of(self.tab))

    def _after(self, cursor: str) -> ApprovalQuerySet:
        return sorts.after(sorts.ordered(self._tab(self.tab), self.order), self.order, cursor)

    def _tab(self, name: str) -> ApprovalQuerySet:
        found = Approval.objects.filter(*self.terms.conditions)
        if self.filters["graph"]:
            found = found.filter(graph_id=self.filters["graph"])
        if self.filters["kind"]:
            found = found.filter(kind=self.filters["kind"])
        match name:
            case "needs":
                return queries.needing(found, self.by)
            case "unclaimed":
                return found.pending().unclaimed()
            case "mine":
                return queries.held_by(found, self.by.get_username())
            case "snoozed":
                return queries.snoozed_by(found, self.by)
            case "failed":
                return queries.stuck(found)
            case "done":
                return found.decided()
        return found.pending()


def next_on(page: Sequence[Approval], approval: Approval) -> Approval | None:
    """Return what follows an approval on a page, if it is there."""
    ids = [row.pk for row in page]
    place = ids.index(approval.pk) + 1 if approval.pk in ids else len(ids)
    return page[place] if place < len(ids) else None


def before_on(page: Sequence[Approval], approval: Approval) -> Approval | None:
    """Return what stands before an approval on a page, if it is there."""
    ids = [row.pk for row in page]
    place = ids.index(approval.pk) if approval.pk in ids else 0
    return page[place - 1] if place else None


def _number_of(row: Approval) -> int:
    number: int = vars(row)["number"]
    return number


@lru_cache(LISTS_KEPT)
def _kept_rows(asked: ListAsked, most: int) -> QuerySet[Approval]:
    """Return what reads the first rows of a page. Its SQL depends on nothing but what makes two lists equal."""
    return written(asked.rows(most, asked.cursor))


@lru_cache(LISTS_KEPT)
def kept_counts(asked: ListAsked) -> dict[str, Read]:
    """Return what counts the list itself, and what the menu counts."""
    return {"open_count": asked.count_of(asked.tab), "badge": Counted(queries.for_menu(asked.by))}


@lru_cache(LISTS_KEPT)
def _kept_beside(asked: ListAsked) -> Compiled[Approval]:
    def beside(thread_id: str, pk: UUID, step: str) -> QuerySet[Approval]:
        # PostgreSQL promises no order of two lists in one statement.
        number = Window(RowNumber(), order_by=[key.ordered(is_back=False) for key in asked.order])
        page = asked.rows(PAGE_SIZE, asked.cursor).annotate(of=Value(_PAGE), number=number)
        return page.union(*_parts_around(thread_id, pk, step), all=True)

    return Compiled(beside)


@compiled
def _around(thread_id: str, pk: UUID, step: str) -> QuerySet[Approval]:
    together, others = _parts_around(thread_id, pk, step)
    return together.union(others, all=True)


def _parts_around(thread_id: str, pk: UUID, step: str) -> tuple[ApprovalQuerySet, ApprovalQuerySet]:
    """Select what a step asks, the open ones first, and the newest others of its thread."""
    found = listed(Approval.objects.filter(thread_id=thread_id).exclude(pk=pk))
    together = (
        found.filter(checkpoint_id=step)
        .order_by(OPEN_FIRST, "created_at")
        .annotate(of=Value(_TOGETHER), number=Value(0))
    )
    others = found.exclude(checkpoint_id=step).order_by("-created_at").annotate(of=Value(_OTHERS), number=Value(0))
    return together[:MOST_LISTED], others[:MOST_LISTED]


def _column_of(tab: str) -> str:
    return search.ALL if tab in CLOSED else search.OPEN


def asked_for(request: Request) -> ListAsked:
    """Return the list that the queue shows; by default the person's own, or all for somebody who does not vote."""
    return list_of(request.user, request.GET)


def list_of(by: User, told: QueryDict) -> ListAsked:
    """Return the list that a query string asks for."""
    own = "open" if permissions.why_not(by, "vote") else "needs"
    tab = told.get("tab", "")
    return _list(by, tab if tab in TABS else own, told)


def came_from(request: Request) -> ListAsked | None:
    """Return the list from which a person came to an approval, if it is known.

    Its address names it. A form or a fragment of that page does not, but it is sent from that address.
    """
    told = request.GET
    if "tab" not in told and (request.method == "POST" or request.htmx):
        address = request.htmx.current_url_abs_path if request.htmx else request.headers.get("Referer")
        told = QueryDict(urlsplit(address or "").query)
    tab = told.get("tab", "")
    return _list(request.user, tab, told) if tab in TABS else None


def address_of_list(request: Request) -> str:
    """Return the query string of the list that a person came from, or an empty string."""
    came = came_from(request)
    return came.address if came else ""


def _list(by: User, tab: str, told: QueryDict) -> ListAsked:
    sort, group, before = word_of(told, "sort"), told.get("group", GROUP), word_of(told, "before")
    return ListAsked(
        by,
        tab,
        {name: word_of(told, name) for name in FILTERS},
        word_of(told, "cursor"),
        sort if sort in sorts.SORTS else SORT,
        group if group in sorts.GROUPS or group == NO_GROUP else GROUP,
        int(before) if before.isascii() and before.isdigit() and len(before) < 8 else 0,
    )


def own_list(by: User) -> ListAsked:
    """Return what waits for this person; everything open for somebody who does not vote."""
    tab = "open" if permissions.why_not(by, "vote") else "needs"
    return ListAsked(by, tab, dict.fromkeys(FILTERS, ""))


def listed(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Select what a list needs in one query, without the large columns."""
    with_all = found.select_related("thread__started_by", "claimed_by", "decision__run").defer(*HEAVY)
    return queries.with_others(queries.with_tally(with_all))
