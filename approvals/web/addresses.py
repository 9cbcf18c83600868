"""Thread ids in addresses: LangGraph takes any text, so they may hold slashes and line breaks.

A page's address has the id as the browser shows it. The API looks at the address as it was sent: there `%2F` is part
of an id and `/` is not. So no id is taken for a longer address, and each can be written: `%73earch` is `search`.
"""

from typing import Any
from urllib.parse import quote, unquote

from django.urls import register_converter

API = "/api/"


class AnyText:
    """As Django's `path`, which stops at a line break. It may be empty: so may a thread's id."""

    regex = r"[\s\S]*"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class EscapedPart:
    """One part of an API address, as it was sent. It may be empty: so may a thread's id."""

    regex = "[^/]*"

    def to_python(self, value: str) -> str:
        return unquote(value, errors="strict")

    def to_url(self, value: str) -> str:
        return quote(value, safe="")


class EscapedPath(EscapedPart):
    """The same with slashes that were not escaped, for clients that write an id as it is."""

    regex = r"[\s\S]+"


register_converter(AnyText, "any")
register_converter(EscapedPart, "part")
register_converter(EscapedPath, "rest")


class AsSent:
    """ASGI middleware: give the API the path of a request as it was sent."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"].startswith(API):
            scope = {**scope, "path": _as_sent(scope)}
        await self._application(scope, receive, send)


def _as_sent(scope: dict[str, Any]) -> str:
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("ascii", errors="replace") if raw else quote(scope["path"])
