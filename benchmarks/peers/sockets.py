"""The least that can tell many sockets: no person, no topic, no database. `POST /tell` sends one message to all."""

from typing import Any

_open: set[Any] = set()
MESSAGE = '{"live": true, "changed": {"queue": 30}}'


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        _open.add(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        _open.discard(send)
    elif scope["type"] == "http":
        for each in list(_open) if scope["method"] == "POST" else ():
            await each({"type": "websocket.send", "text": MESSAGE})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
