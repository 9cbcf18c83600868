"""Serve the console: pages and API, and unless told otherwise workers, in as many processes as asked for."""

import socket
import sys
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from approvals import checkpoints
from approvals.management import serving, supervisor
from approvals.management.listening import listen, told_of
from approvals.management.serving import Orders
from approvals.management.supervisor import Duty
from approvals.programs import typed


class Command(BaseCommand):
    help = "Serve the console: web and worker processes. Ctrl-C and SIGTERM stop everything it started."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--no-worker", action="store_true", help="web only; start workers on their own")
        parser.add_argument("--demo", action="store_true", help="migrate, load the demo and print sign-in links first")

    def handle(self, *, host: str, port: int, no_worker: bool, demo: bool, **options: Any) -> None:
        duties = _duties(no_worker=no_worker)
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
        listening = listen(host, port)
        if demo:
            call_command("migrate", verbosity=0)
            call_command("setup_checkpointer", verbosity=0)
            call_command("demo", links=True)
        on_ready = partial(self._tell, listening)
        if len(duties) == 1:
            serving.serve(Orders(duties[0], on_ready), listening)
        else:
            serving.check_database()
            connections.close_all()
            sys.exit(supervisor.run(duties, listening, on_ready))

    def _tell(self, listening: socket.socket) -> None:
        self.stdout.write(told_of(listening))
        self.stdout.flush()


def _duties(*, no_worker: bool) -> list[Duty]:
    """Return what each process does. Checkpoints in SQLite or in memory allow one process."""
    if why := checkpoints.why_one_process():
        if no_worker:
            raise CommandError(f"{why} Web and worker cannot be two. Type: {typed('serve')}")
        return [Duty.BOTH]
    web, workers = settings.WEB_PROCESSES, settings.WORKER_PROCESSES
    if no_worker:
        return [Duty.WEB] * web
    return [Duty.WEB] * web + [Duty.WORKER] * workers if workers else [Duty.BOTH] * web
