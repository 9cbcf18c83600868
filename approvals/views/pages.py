"""What every page does alike: fragments, filters, paging."""

from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

from approvals.domain import search

PAGE_SIZE = 50
Rows = TypeVar("Rows", bound="QuerySet[Any]")


class Request(HttpRequest):
    """A request that went through HtmxMiddleware."""

    htmx: HtmxDetails


def wants_part(request: Request) -> bool:
    """Return whether htmx asks for a fragment. A boosted form gets the page, and so does what replaces a page."""
    return bool(request.htmx) and not request.htmx.boosted and request.htmx.target != "page"


def page_or_part(
    request: Request, template: str, part: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """Render the page, or for htmx only its fragment. A boosted form gets the page."""
    response = render(request, f"{template}#{part}" if wants_part(request) else template, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def filtered_by_hand(request: Request, response: HttpResponse) -> HttpResponse:
    """Push the filters to the address bar when a person changed them, not when the page polled."""
    if request.htmx.trigger == "filters":
        response["HX-Push-Url"] = request.path + other_query(request)
    return response


def redirect_after_post(name: str, *arguments: Any) -> HttpResponse:
    response = redirect(name, *arguments)
    response.status_code = 303
    return response


def words(request: HttpRequest, name: str) -> str:
    """Return a filter from the URL without NUL, which PostgreSQL refuses."""
    return word_of(request.GET, name)


def word_of(query: QueryDict, name: str) -> str:
    """Do what `words` does, for the query string of another address."""
    return query.get(name, "").replace("\x00", "").strip()[:200]


def other_query(request: HttpRequest, **changed: str) -> str:
    """Return the query string with some parameters changed; empty ones are dropped."""
    query = request.GET.copy()
    for name, value in changed.items():
        query[name] = value
    kept = query.copy()
    for name in query:
        if not query[name]:
            del kept[name]
    return f"?{kept.urlencode()}" if kept else "?"


def after_key(found: Rows, cursor: str, column: str, *, is_descending: bool) -> Rows:
    """Select what follows the row that `cursor` names; an invalid cursor gives the first page."""
    at, _, pk = cursor.partition("|")
    try:
        moment = datetime.fromisoformat(at)
        key: Any = UUID(pk) if column != "updated_at" else pk
    except ValueError:
        return found
    step = "lt" if is_descending else "gt"
    return found.filter(Q(**{f"{column}__{step}": moment}) | Q(**{column: moment, f"pk__{step}": key}))


def key_of(row: Any, column: str) -> str:
    return f"{getattr(row, column).isoformat()}|{row.pk}"


def one_page(found: QuerySet[Any], column: str, text: str) -> tuple[list[Any], str]:
    """Return the rows of a page, and the cursor of the next one; empty on the last. With `text`, those that match."""
    rows = search.first_matching(found, text, PAGE_SIZE + 1) if text else list(found[: PAGE_SIZE + 1])
    return rows[:PAGE_SIZE], key_of(rows[PAGE_SIZE - 1], column) if len(rows) > PAGE_SIZE else ""
