"""Pages for refusals and for errors that nothing else caught."""

import logging
import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.defaults import server_error

from approvals.domain import outages
from approvals.errors import Denied, Refusal

logger = logging.getLogger(__name__)


def refusal(request: HttpRequest, refused: Refusal) -> HttpResponse:
    """Render a refusal: a page, or only the sentence for a fragment of an open page."""
    htmx = getattr(request, "htmx", None)
    if htmx and refused.status == 503 and request.method == "POST":
        return _outage(request, refused)  # which leaves the page as it is, with what was typed
    template = "refusal.html#sentence" if htmx and not htmx.boosted else "refusal.html"
    response = render(request, template, {"refusal": refused}, status=refused.status)
    if htmx:
        response["HX-Push-Url"] = "false"
    if refused.status == 503:
        response["Retry-After"] = str(outages.TRY_AGAIN_SECONDS)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return refusal(
        request, Denied("This form is too old or came from elsewhere. Open the page again and send it from there.")
    )


def broken(request: HttpRequest) -> HttpResponse:
    """Render an unexpected error. An unreachable database is reported as an outage, which ends by itself."""
    error = sys.exc_info()[1]
    refused = outages.unavailable(error)
    if refused is None:
        return server_error(request)
    logger.warning("the database did not answer: %s", type(error).__name__)
    return _outage(request, refused)


def _outage(request: HttpRequest, refused: Refusal) -> HttpResponse:
    """Render an outage without any query: a page, or for htmx a notice that leaves the open page as it is."""
    is_safe = request.method in ("GET", "HEAD")
    context = {"sentence": refused.message, "seconds": outages.TRY_AGAIN_SECONDS, "is_safe": is_safe}
    template = "503.html#notice" if request.headers.get("HX-Request") else "503.html"
    response = HttpResponse(render_to_string(template, context), status=refused.status)
    response["Retry-After"] = str(outages.TRY_AGAIN_SECONDS)
    if request.headers.get("HX-Request"):
        response["HX-Reswap"], response["HX-Push-Url"] = "none", "false"
    return response
