"""Probes of load balancers and containers, which know a server by an address that no setting has."""

from typing import Any

from django.conf import settings

PROBED = ("/healthz", "/readyz")


class Probes:
    """ASGI middleware: answer health checks whatever host they name. They show no address and no link."""

    def __init__(self, application: Any) -> None:
        self._application = application
        [first, *_] = settings.ALLOWED_HOSTS
        self._host = "localhost" if first == "*" else first.lstrip(".")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] in PROBED:
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "headers": [*headers, (b"host", self._host.encode())]}
        await self._application(scope, receive, send)
