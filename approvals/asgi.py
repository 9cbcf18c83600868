"""ASGI: HTTP to Django, /ws/live/ to the socket of open pages."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "approvals.settings")
http = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path  # noqa: E402

from agentcore.plain.canary import check_serializer  # noqa: E402
from agentcore.plain.decoding import plain_serializer  # noqa: E402
from approvals.live.consumers import LiveConsumer  # noqa: E402
from approvals.web.addresses import AsSent  # noqa: E402
from approvals.web.probes import Probes  # noqa: E402
from approvals.web.request_limit import RequestLimit  # noqa: E402
from approvals.web.streamed import Streamed  # noqa: E402

check_serializer(plain_serializer())
sockets = URLRouter([path("ws/live/", LiveConsumer.as_asgi())])  # type: ignore[arg-type, list-item]
pages = Streamed(RequestLimit(Probes(AsSent(http))))
application = ProtocolTypeRouter(
    {"http": pages, "websocket": OriginValidator(SessionMiddlewareStack(sockets), settings.ORIGINS)}
)
