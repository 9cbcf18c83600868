"""Which answers are compressed. It is decided here alone, as compression can tell secrets (BREACH).

Another site can make a browser ask for a page again and again, with other input each time. Whoever sees how long the
compressed answers are then learns which input repeats a secret of that page. So an answer is compressed only where no
other site can choose what comes back in it:

* It answers a GET that another site cannot send, as it has our script's header `HX-Request` or a token in a header,
  which no link and no form can carry; or a GET without a query string.
* It is a page or JSON with the status 200. What refuses or complains may repeat the address.
* It is no page for signing in, and none of Django's admin.

Beyond that, the tokens against forged forms are masked anew in each answer, and Django makes compressed answers longer
by a random number of bytes. Answers that are streamed stay as they are.
"""

from django.http import HttpRequest, HttpResponseBase
from django.middleware.gzip import GZipMiddleware

_TYPES = ("text/html", "application/json")
_NEVER = ("/admin/", "/sign-in/")
_OF_SCRIPTS = ("HX-Request", "Authorization", "X-Api-Key")


class CompressionMiddleware(GZipMiddleware):
    """Django's own, for the answers that may be compressed."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return super().process_response(request, response) if may_compress(request, response) else response


def may_compress(request: HttpRequest, response: HttpResponseBase) -> bool:
    is_plain = response.status_code == 200 and not response.streaming
    is_of_type = response.get("Content-Type", "").startswith(_TYPES)
    return is_plain and is_of_type and not request.path.startswith(_NEVER) and not _may_be_forged(request)


def _may_be_forged(request: HttpRequest) -> bool:
    """Return whether another site could have sent it, with input of its choice."""
    if request.method != "GET":
        return True
    return bool(request.META["QUERY_STRING"]) and not any(name in request.headers for name in _OF_SCRIPTS)
