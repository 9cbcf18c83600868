"""A request id for each request, a page for each refusal, and no body for what a page shows already."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response

from approvals import audit
from approvals.domain.context import new_request_id
from approvals.errors import Denied, Invalid, Refusal, TooLarge
from approvals.views import errors
from approvals.views.pages import Request

GetResponse = Callable[[HttpRequest], HttpResponse]
_MOVING = re.compile(rb'(<time [^>]*>)[^<]*|name="csrfmiddlewaretoken" value="[^"]*"')
"""What differs between two answers that show the same: tokens, and times, which the page's script moves on."""
_DUE = re.compile(rb'class="due due-[a-z]+"')


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


class SignInMiddleware(LoginRequiredMiddleware):
    """Django's own, but for views that need no sign-in it does not read the session: /healthz needs no database."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


class UnchangedMiddleware:
    """Answers 304 to a page that asks again for what it shows. The page sends the ETag of the last answer."""

    def __init__(self, get_response: Callable[[Request], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: Request) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method != "GET" or not request.htmx or response.status_code != 200 or response.streaming:
            return response
        etag = f'W/"{digest_of_answer(response.content)}"'
        response["ETag"] = etag
        return get_conditional_response(request, etag=etag, response=response) or response


def digest_of_answer(content: bytes) -> str:
    """Return the digest of an answer: 32 hexadecimal digits. Tokens, and times that the page moves on, are left out."""
    still = _DUE.sub(b"", _MOVING.sub(rb"\1", content))
    return hashlib.sha256(still).hexdigest()[:32]


class RefusalMiddleware:
    """Turns a Refusal that a view let through into its page; a permission that was refused is an audit entry."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        size = request.META.get("CONTENT_LENGTH") or "0"
        is_large = size.isdigit() and int(size) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if is_large and not request.path.startswith("/api/"):  # the API has its own error format
            return errors.refusal(request, TooLarge("What you sent is larger than 4 MB. Nothing was stored."))
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, DataError) and "NUL" in str(exception):  # in an address: forms refuse it themselves
            return errors.refusal(request, Invalid("A NUL character is in the address. Nothing here has one."))
        if not isinstance(exception, Refusal):
            return None
        if isinstance(exception, Denied):
            audit.append_refusal(exception, actor=request.user.get_username())
        return errors.refusal(request, exception)
