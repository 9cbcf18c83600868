"""The HTTP API under /api/. Each operation makes one call into actions, or one read."""

import json
from datetime import datetime
from typing import Any

from django.urls import URLPattern, path
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder

from approvals.api import (
    approvals,
    assistants,
    audit,
    changes,
    errors,
    graphs,
    not_offered,
    own_notices,
    policies,
    runs,
    server_info,
    states,
    streams,
    threads,
)
from approvals.api.auth import HeaderToken, Token
from approvals.api.docs import DocsPage
from approvals.api.parser import StrictParser
from approvals.web import addresses  # noqa: F401 - registers the `any` of addresses

DESCRIPTION = """\
Threads and runs have the shapes of the LangGraph SDK: `langgraph_sdk.get_client(url=".../api")` is a client.

Send `Authorization: Bearer TOKEN`, or `X-Api-Key: TOKEN`; `manage.py token USERNAME` makes one.

Every error is `{"error": {"code", "message", "detail"}}`; `detail.faults` names each fault with its path."""


class _Encoder(NinjaJSONEncoder):
    """Keeps the microseconds of times, which Django's own encoder drops."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if isinstance(o, datetime) else super().default(o)


class _Renderer(JSONRenderer):
    encoder_class: type[json.JSONEncoder] = _Encoder


class _Api(NinjaAPI):
    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **given: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**given)
        errors.describe(schema)
        return schema


api = _Api(
    title="Countersign",
    description=DESCRIPTION,
    urls_namespace="api",
    auth=[Token(), HeaderToken()],
    docs=DocsPage(),
    parser=StrictParser(),
    renderer=_Renderer(),
)
errors.register(api)
for _part in (
    approvals,
    streams,
    runs,
    states,
    threads,
    assistants,
    server_info,
    graphs,
    policies,
    changes,
    own_notices,
    audit,
):
    api.add_router("", _part.router)


def _urls() -> tuple[list[URLPattern], str, str]:
    """Return the addresses: exact ones first, then those of clients that do not escape the slashes of a thread id."""
    patterns, app_name, namespace = api.urls
    known = {str(pattern.pattern): pattern.callback for pattern in patterns if isinstance(pattern, URLPattern)}
    views = {address: errors.guarded(view) for address, view in not_offered.with_refusals(known).items()}
    names = {str(pattern.pattern): pattern.name for pattern in patterns if isinstance(pattern, URLPattern)}
    exact = [path(address, view, name=names.get(address)) for address, view in views.items()]
    loose = [path(address.replace(ESCAPED, LOOSE), view) for address, view in views.items() if ESCAPED in address]
    rest = path("<any:path>", errors.guarded(errors.no_such_address))
    return [*exact, *loose, rest], app_name, namespace


ESCAPED, LOOSE = "<part:thread_id>", "<rest:thread_id>"


urls = _urls()
