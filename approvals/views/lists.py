"""Lists of approvals: which tab, filters and page of the queue a request asks for, or came from, and their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.db.models import F, Q, QuerySet, Value
from django.http import QueryDict

from approvals.compiled import Compiled, compiled, written
from approvals.counts import Counted, Read
from approvals.domain import permissions, queries, search
from approvals.domain.permissions import User
from approvals.models import Approval, ApprovalQuerySet
from approvals.views.pages import PAGE_SIZE, Request, after_key, key_of, word_of

TABS = {
    "needs": "Needs me",
    "unclaimed": "Unclaimed",
    "mine": "Claimed by me",
    "open": "All open",
    "failed": "Failed",
    "done": "Done",
}
CLOSED = ("failed", "done")
FILTERS = ("graph", "kind", "q")
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
    """A list of the queue: a tab, narrowed by filters, from a cursor on. Empty filters narrow nothing.

    Two of the same person with the same roles are equal: their SQL is the same.
    """

    by: User
    tab: str
    filters: Mapping[str, str]
    cursor: str = ""

    def _key(self) -> tuple[Any, ...]:
        return self.tab, self.cursor, *self.filters.values(), permissions.identity_of(self.by)

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
    def address(self) -> str:
        """Return the query string by which a page of an approval knows the list."""
        told = {"tab": self.tab, **self.filters, "cursor": self.cursor}
        return f"?{urlencode({name: value for name, value in told.items() if value})}"

    def count_of(self, tab: str, *, is_exact: bool = False) -> Counted:
        """Return what counts the rows of a tab with the same filters, on all its pages."""
        found = self._tab(tab)
        text = self.filters["q"]
        if text:
            return Counted(search.matching(found, text, column=_column_of(tab)), is_exact=is_exact)
        if tab == "needs" and not is_exact:
            return Counted(queries.counted_needing(found, self.by))
        return Counted(found, is_exact=is_exact)

    def page(self) -> tuple[list[Approval], str]:
        """Return the rows of the page, and the cursor of the next one."""
        if self.filters["q"]:
            rows = self._matching(self._after(self.cursor), PAGE_SIZE + 1)
        else:
            rows = list(_kept_rows(self, PAGE_SIZE + 1).all())
        return rows[:PAGE_SIZE], self._key_after(rows[PAGE_SIZE - 1]) if len(rows) > PAGE_SIZE else ""

    def _key_after(self, row: Approval) -> str:
        return key_of(row, "closed_at") if self.is_closed else _urgent_key(row)

    def beside(self, thread_id: str, pk: UUID, step: str) -> tuple[list[Approval], list[Approval], list[Approval]]:
        """Return the rows of the page, what a step of a thread asks besides this approval, and others of the thread.

        The latter two are in no order, and a few each. `step` is the checkpoint of a step that asks questions.
        """
        around = {"thread_id": thread_id, "pk": pk, "step": step}
        if self.filters["q"]:
            page, found = self.page()[0], _around(**around)
        else:
            found = _kept_beside(self)(**around)
            page = sorted((row for row in found if vars(row)["of"] == _PAGE), key=self._place)
        together, others = ([row for row in found if vars(row)["of"] == of] for of in (_TOGETHER, _OTHERS))
        return page, together, others

    def _place(self, row: Approval) -> Any:
        """Return what rows of the list are in the order of: PostgreSQL promises none to two lists in one statement."""
        if self.is_closed:
            return -row.closed_at.timestamp() if row.closed_at else 0, -row.pk.int
        return row.due_at is None, row.due_at or row.created_at, row.created_at, row.pk.int

    def next_to(self, approval: Approval, page: Sequence[Approval] = ()) -> Approval | None:
        """Return what follows an approval in the list; at its end, the first of another one. `page` is read already."""
        if found := self._next_on(page, approval):
            return found
        key = self._key_after(approval) if approval.closed_at or not self.is_closed else _urgent_key(approval)
        for cursor in (key, ""):
            if found := self.first(cursor, but=approval):
                return found
        return None

    def _next_on(self, page: Sequence[Approval], approval: Approval) -> Approval | None:
        if self.is_closed or not page or (self.cursor and self._place(page[0]) > self._place(approval)):
            return None
        place = self._place(approval)
        return next((row for row in page if row.pk != approval.pk and self._place(row) > place), None)

    def first(self, cursor: str = "", *, but: Approval) -> Approval | None:
        """Return the first row after a cursor that is not this one."""
        if self.filters["q"]:
            found = self._matching(self._after(cursor).exclude(pk=but.pk), 1)
        elif cursor:
            found = list(self.rows(2, cursor))
        else:
            found = list(_kept_rows(replace(self, cursor=""), 2).all())
        return next((row for row in found if row.pk != but.pk), None)

    def rows(self, most: int, cursor: str = "") -> QuerySet[Approval]:
        """Select the first rows after a cursor. What is searched for is not in it."""
        found = self._after(cursor)
        if self.tab == "needs":
            found = queries.first_needing(found, self.by, most).most_urgent_first()
        return listed(found)[:most]

    def _matching(self, found: ApprovalQuerySet, most: int) -> list[Approval]:
        return search.first_matching(listed(found), self.filters["q"], most, column=_column_of(self.tab))

    def _after(self, cursor: str) -> ApprovalQuerySet:
        found = self._tab(self.tab)
        if not self.is_closed:
            return after_urgent(found.most_urgent_first(), cursor)
        return after_key(found.order_by("-closed_at", "-id"), cursor, "closed_at", is_descending=True)

    def _tab(self, name: str) -> ApprovalQuerySet:
        found = Approval.objects.all()
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
            case "failed":
                return queries.stuck(found)
            case "done":
                return found.decided()
        return found.pending()


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
        page = asked.rows(PAGE_SIZE, asked.cursor).annotate(of=Value(_PAGE))
        return page.union(*_parts_around(thread_id, pk, step), all=True)

    return Compiled(beside)


@compiled
def _around(thread_id: str, pk: UUID, step: str) -> QuerySet[Approval]:
    together, others = _parts_around(thread_id, pk, step)
    return together.union(others, all=True)


def _parts_around(thread_id: str, pk: UUID, step: str) -> tuple[ApprovalQuerySet, ApprovalQuerySet]:
    """Select what a step asks, the open ones first, and the newest others of its thread."""
    found = listed(Approval.objects.filter(thread_id=thread_id).exclude(pk=pk))
    together = found.filter(checkpoint_id=step).order_by(OPEN_FIRST, "created_at").annotate(of=Value(_TOGETHER))
    others = found.exclude(checkpoint_id=step).order_by("-created_at").annotate(of=Value(_OTHERS))
    return together[:MOST_LISTED], others[:MOST_LISTED]


def _column_of(tab: str) -> str:
    return search.ALL if tab in CLOSED else search.OPEN


def asked_for(request: Request) -> ListAsked:
    """Return the list that the queue shows; by default the person's own, or all for somebody who does not vote."""
    own = "open" if permissions.why_not(request.user, "vote") else "needs"
    tab = request.GET.get("tab", "")
    return _list(request.user, tab if tab in TABS else own, request.GET)


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
    return ListAsked(by, tab, {name: word_of(told, name) for name in FILTERS}, word_of(told, "cursor"))


def own_list(by: User) -> ListAsked:
    """Return what waits for this person; everything open for somebody who does not vote."""
    tab = "open" if permissions.why_not(by, "vote") else "needs"
    return ListAsked(by, tab, dict.fromkeys(FILTERS, ""))


def listed(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Select what a list needs in one query, without the large columns."""
    with_all = found.select_related("thread__started_by", "claimed_by", "decision__run").defer(*HEAVY)
    return queries.with_others(queries.with_tally(with_all))


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


def _urgent_key(row: Approval) -> str:
    return f"{row.due_at.isoformat() if row.due_at else ''}|{key_of(row, 'created_at')}"
