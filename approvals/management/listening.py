"""The port that the console listens on."""

import socket

from django.core.management.base import CommandError

from approvals.programs import typed_with_port


def listen(host: str, port: int) -> socket.socket:
    """Take the port first. Otherwise people could get sign-in links to a server that is another."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # asyncio does this for sockets it makes itself. Without it each answer waits 40 ms for the client's ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Is another server there?"
            f" Type: {typed_with_port(port + 1)}"
        ) from error


def told_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"Countersign serves on http://{host}:{port}  (Ctrl-C stops it)"
