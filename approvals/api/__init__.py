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

from approvals.api import approvals, audit, changes, errors, graphs, own_notices, policies, runs, threads
from approvals.api.auth import Token
from approvals.api.docs import DocsPage
from approvals.api.parser import StrictParser
from approvals.web import addresses  # noqa: F401 - registers the `any` of addresses

DESCRIPTION = """\
Threads and runs have the shapes of the LangGraph SDK: `langgraph_sdk.get_client(url=".../api")` is a client.

Send `Authorization: Bearer TOKEN`; `manage.py token USERNAME` makes one.

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
    auth=Token(),
    docs=DocsPage(),
    parser=StrictParser(),
    renderer=_Renderer(),
)
errors.register(api)
# Runs before threads: their addresses are longer, and a thread id may hold slashes.
for _part in (approvals, runs, threads, graphs, policies, changes, own_notices, audit):
    api.add_router("", _part.router)


def _urls() -> tuple[list[URLPattern], str, str]:
    patterns, app_name, namespace = api.urls
    for pattern in patterns:
        assert isinstance(pattern, URLPattern)
        pattern.callback = errors.guarded(pattern.callback)
    rest = path("<any:path>", errors.guarded(errors.no_such_address))
    return [*patterns, rest], app_name, namespace  # type: ignore[list-item]


urls = _urls()
