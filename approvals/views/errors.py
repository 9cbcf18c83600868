"""Pages for refusals."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from approvals.errors import Denied, Refusal


def refusal(request: HttpRequest, refused: Refusal) -> HttpResponse:
    """A page; for a fragment of an open page only the sentence."""
    htmx = getattr(request, "htmx", None)
    template = "refusal.html#sentence" if htmx and not htmx.boosted else "refusal.html"
    response = render(request, template, {"refusal": refused}, status=refused.status)
    if htmx:
        response["HX-Push-Url"] = "false"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return refusal(
        request, Denied("This form is too old or came from elsewhere. Open the page again and send it from there.")
    )
