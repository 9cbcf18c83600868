"""How a person wants the queue to look and to behave, in this browser: a cookie, so that no page reads a row for it."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from approvals.views.pages import Request

COOKIE = "countersign_desk"
YEAR_SECONDS = 365 * 24 * 3600
DENSITIES = {"comfortable": "Comfortable", "compact": "Compact"}
COLUMNS = {
    "age": "Age", "due": "Due", "graph": "Graph", "risk": "Risk", "holder": "Holder", "node": "Node",
    "thread": "Thread", "starter": "Started by",
}  # fmt: skip
"""What can be shown beside the headline, in the order of the columns."""
USUAL = frozenset({"age", "due", "graph", "risk", "holder"})


@dataclass(frozen=True)
class Preferences:
    """`opens_next`: after a vote the next one of the list opens by itself."""

    density: str = "comfortable"
    columns: frozenset[str] = USUAL
    opens_next: bool = True


def preferences_of(request: Request) -> Preferences:
    """Return what the cookie says; what it does not say, or says wrongly, is as usual."""
    told = QueryDict(request.COOKIES.get(COOKIE, "")[:400])
    density = told.get("density", "")
    return Preferences(
        density=density if density in DENSITIES else "comfortable",
        columns=frozenset(told.getlist("column")) & COLUMNS.keys() if "density" in told else USUAL,
        opens_next=told.get("next") != "stay",
    )


@require_POST
def keep_preferences(request: Request) -> HttpResponse:
    told = request.POST
    kept = [("density", told.get("density", "")), ("next", "open" if "opens_next" in told else "stay")]
    kept += [("column", name) for name in COLUMNS if name in told.getlist("column")]
    back = told.get("back", "")
    response = redirect(
        back if url_has_allowed_host_and_scheme(back, request.get_host(), request.is_secure()) else "queue"
    )
    response.status_code = 303
    response.set_cookie(
        COOKIE, urlencode(kept), YEAR_SECONDS, samesite="Lax", httponly=True, secure=settings.SESSION_COOKIE_SECURE
    )
    return response
