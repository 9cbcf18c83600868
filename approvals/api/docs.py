"""The page /api/docs with every operation, made from the schema. It loads nothing from other hosts."""

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

_DEEPEST = 4


class DocsPage(DocsBase):
    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        schema = api.get_openapi_schema()
        context = {
            "title": schema["info"]["title"],
            "description": _marked(schema["info"]["description"]),
            "groups": _groups(schema),
            "schema_url": self.get_openapi_url(api, kwargs),
        }
        return render(request, "api_docs.html", context)


def _groups(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations by tag, in the order of the schema."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append(_operation(schema, path, method.upper(), operation))
    return [{"name": name, "operations": operations} for name, operations in groups.items()]


def _operation(schema: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = _json_schema(operation.get("requestBody"))
    statuses = [status for status in sorted(operation["responses"]) if status < 300]
    return {
        "id": operation["operationId"],
        "method": method,
        "path": path,
        "description": _marked(operation.get("description", "")),
        "parameters": [_parameter(schema, item) for item in operation["parameters"]],
        "body": _pretty(_shape(schema, body)) if body else "",
        "statuses": " or ".join(map(str, statuses)),
        "answer": _pretty(_shape(schema, _json_schema(operation["responses"][statuses[0]]))),
        "errors": ", ".join(str(status) for status in sorted(operation["responses"]) if status >= 400),
        "curl": _curl(schema, path, method, body),
    }


def _parameter(schema: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    of = parameter["schema"]
    options = [_resolved(schema, option) for option in of.get("anyOf", [of]) if option.get("type") != "null"]
    kinds = [" | ".join(option["enum"]) if "enum" in option else option.get("type", "any") for option in options]
    return {
        "name": parameter["name"],
        "where": parameter["in"],
        "type": " or ".join(kinds),
        "required": parameter["required"],
        "default": of.get("default", ""),
        "description": _marked(parameter.get("description", "")),
    }


def _json_schema(message: dict[str, Any] | None) -> dict[str, Any]:
    return dict((message or {}).get("content", {}).get("application/json", {}).get("schema", {}))


def _shape(schema: dict[str, Any], of: dict[str, Any], depth: int = 0, required_only: bool = False) -> Any:
    """Return an example value with type names in the place of values."""
    of = _resolved(schema, of)
    if of.get("examples"):
        return of["examples"][0]
    if "const" in of:
        return of["const"]
    if "enum" in of:
        return " | ".join(map(str, of["enum"]))
    if options := [option for option in of.get("anyOf", []) if option.get("type") != "null"]:
        return _shape(schema, options[0], depth, required_only)
    if of.get("type") == "array":
        return [_shape(schema, of["items"], depth + 1, required_only)] if "items" in of else []
    if of.get("type") == "object" and depth < _DEEPEST:
        kept = of.get("required", []) if required_only else of.get("properties", {})
        return {name: _shape(schema, of["properties"][name], depth + 1, required_only) for name in kept}
    return {} if of.get("type") == "object" else of.get("format") or of.get("type", "any JSON")


def _resolved(schema: dict[str, Any], of: dict[str, Any]) -> dict[str, Any]:
    if len(of.get("allOf", [])) == 1:
        of = {**of["allOf"][0]}
    if "anyOf" in of and len([option for option in of["anyOf"] if option.get("type") != "null"]) == 1:
        of = {**of, **next(option for option in of["anyOf"] if option.get("type") != "null")}
    if "$ref" in of:
        return dict(schema["components"]["schemas"][of["$ref"].rpartition("/")[2]])
    return of


def _curl(schema: dict[str, Any], path: str, method: str, body: dict[str, Any]) -> str:
    lines = [f"curl -X {method} '{settings.PUBLIC_URL}{path}'", "-H 'Authorization: Bearer TOKEN'"]
    if body:
        sent = json.dumps(_shape(schema, body, required_only=True))
        lines += ["-H 'Content-Type: application/json'", f"-d '{sent}'"]
    return " \\\n  ".join(lines)


def _marked(text: str) -> SafeString:
    """Render backticks as code, and blank lines as paragraphs."""
    parts = enumerate(text.split("`"))
    html = "".join(f"<code>{escape(part)}</code>" if number % 2 else escape(part) for number, part in parts)
    return mark_safe(html.replace("\n\n", "<br>"))  # every part was escaped


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
