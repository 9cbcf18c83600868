"""Errors of the API: always `{"error": {"code", "message", "detail"}}`."""

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from approvals import audit
from approvals.api.fields import ApiRecord, PlainObject
from approvals.api.parser import RepeatedKey
from approvals.domain import outages
from approvals.domain.context import current_request_id
from approvals.errors import Denied, NotFound, Refusal, TooLarge
from approvals.programs import typed

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]
MOST_FAULTS = 100
LONGEST_PATH = 200
ALWAYS = (400, 401, 403, 422, 500, 503)


class Problem(ApiRecord):
    """`code` is for programs, `message` for people; `detail` depends on the code, such as `faults` with a path each."""

    code: str
    message: str
    detail: PlainObject


class ErrorOut(ApiRecord):
    error: Problem


def answers(model: Any, *refusals: int, status: int = 200) -> dict[int, Any]:
    """Return the responses of an operation: its model, and each status of an error that it may answer with.

    The errors have no model here: ninja would build one for each status of each operation, a quarter of the time that
    a web process takes to start. `describe` adds theirs to the description of the API.
    """
    return {status: model, **dict.fromkeys(sorted({*ALWAYS, *refusals}))}


def describe(schema: dict[str, Any]) -> None:
    """Add the content of errors to an OpenAPI description."""
    error = ErrorOut.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schema["components"]["schemas"] |= {**error.pop("$defs"), "ErrorOut": error}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}}
    for operation in (operation for path in schema["paths"].values() for operation in path.values()):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                response["content"] = content


def answer(request: HttpRequest, error: Any) -> HttpResponse:
    """Return the response to an error. It repeats nothing of the request, and no address of a server."""
    match error:
        case Refusal():
            return _refusal(request, error)
        case ValidationError():
            return _shape(422, "invalid", "Something needs mending.", {"faults": _faults(error.errors)})
        case AuthenticationError():
            return _unauthenticated()
        case HttpError(__cause__=RepeatedKey() as repeated):
            return _shape(
                422, "invalid", str(repeated), {"faults": [{"path": repeated.name, "message": str(repeated)}]}
            )
        case HttpError():
            return _shape(error.status_code, "broken_json", str(error.__cause__ or error))
        case RequestDataTooBig():
            return _refusal(request, TooLarge("The body is larger than 4 MB."))
        case SuspiciousOperation() | UnreadablePostError():
            return _shape(400, "bad_request", "The request cannot be read.")
        case Http404():
            return _refusal(request, NotFound("There is no such address. See /api/docs."))
    if refused := outages.unavailable(error):
        logger.warning("the database did not answer: %s", type(error).__name__)
        return _refusal(request, refused)
    logger.error("an API request failed", exc_info=error, extra={"request_id": current_request_id()})
    told = f"Something went wrong here. The log has it under request {current_request_id()}."
    return _shape(500, "internal", told)


def register(api: NinjaAPI) -> None:
    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, answer)


def guarded(view: View) -> View:
    """Admit callers without a session, and give each error that the view does not handle the API's format."""

    @functools.wraps(view)
    def call(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the caller gets our error format, the process log the details
            return answer(request, error)
        return _method_not_allowed(response) if response.status_code == 405 else response

    call.csrf_exempt = True  # type: ignore[attr-defined]  # a bearer token is never sent by a browser on its own
    login_not_required(call)
    return call


def no_such_address(request: HttpRequest, path: str = "") -> HttpResponseBase:
    raise Http404


def problem_of(request: HttpRequest, refused: Refusal) -> Problem:
    """Return the response to a refusal. A refused permission also becomes an audit entry."""
    if isinstance(refused, Denied):
        actor = getattr(request, "auth").get_username()  # noqa: B009 - ninja puts it there
        audit.append_refusal(refused, actor=actor)
    detail = dict(refused.detail)
    if "faults" in detail:
        detail["faults"] = [_cut(fault) for fault in detail["faults"][:MOST_FAULTS]]
    return Problem(code=refused.code, message=refused.message, detail=detail)


def _refusal(request: HttpRequest, refused: Refusal) -> HttpResponse:
    told = problem_of(request, refused)
    return _shape(refused.status, told.code, told.message, told.detail)


def _shape(status: int, code: str, message: str, detail: dict[str, Any] | None = None) -> HttpResponse:
    response = JsonResponse({"error": {"code": code, "message": message, "detail": detail or {}}}, status=status)
    if status == 503:
        response["Retry-After"] = str(outages.TRY_AGAIN_SECONDS)
    return response


def _unauthenticated() -> HttpResponse:
    told = (
        f"Send Authorization: Bearer TOKEN, or X-Api-Key: TOKEN. An operator makes one with {typed('token USERNAME')}."
    )
    response = _shape(401, "unauthenticated", told)
    response["WWW-Authenticate"] = "Bearer"
    return response


def _method_not_allowed(refused: HttpResponseBase) -> HttpResponse:
    response = _shape(405, "method_not_allowed", f"This address takes {refused['Allow']}.")
    response["Allow"] = refused["Allow"]
    return response


def _faults(errors: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    return [_cut({"path": _path(error["loc"]), "message": _sentence(error)}) for error in list(errors)[:MOST_FAULTS]]


def _path(location: tuple[Any, ...]) -> str:
    """Return a path such as `edits/amount`: without the place in the request, and without our name for the body."""
    return "/".join(map(str, location[2:] if location[0] == "body" else location[1:]))


def _sentence(error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "This server knows no such field."
    if error["type"] == "missing":
        return "This is missing."
    return str(error["msg"]).removeprefix("Value error, ")


def _cut(fault: dict[str, str]) -> dict[str, str]:
    return {**fault, "path": fault["path"][:LONGEST_PATH]}
