"""A request id for each request, and a page for each refusal."""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from approvals import audit
from approvals.context import new_request_id
from approvals.errors import Denied, Refusal
from approvals.views import errors as pages

GetResponse = Callable[[HttpRequest], HttpResponse]
logger = logging.getLogger(__name__)


class RequestIdMiddleware:
    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = new_request_id()
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        if not request.path.startswith("/static/"):
            response.setdefault("Cache-Control", "no-store")
        return response


class RefusalMiddleware:
    """Turns a Refusal that a view let through into its page; a permission that was refused is an audit entry."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, Refusal):
            return None
        if isinstance(exception, Denied):
            note_refusal(request.user.get_username(), exception)
        return pages.refusal(request, exception)


def note_refusal(actor: str, denied: Denied) -> None:
    about = {"permission": str(denied.detail.get("permission", ""))}
    audit.append("permission.refused", actor=actor, object=about, outcome="refused")
