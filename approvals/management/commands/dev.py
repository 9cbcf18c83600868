"""Serve the graphs of a folder while somebody writes them."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from agentcore.plain import langgraph_json
from agentcore.plain.errors import RegistryError
from approvals import checkpoints
from approvals.actions.workers.presence import forget_graphs_of_nobody
from approvals.conf.environment import read
from approvals.management import supervisor
from approvals.management.code_changes import CodeChanges
from approvals.management.listening import listen, told_of
from approvals.management.people import links_of, make_people
from approvals.management.supervisor import Duty, Reloading


class Command(BaseCommand):
    help = "Serve the graphs of langgraph.json with people to try them as, and load them again when their code changes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument(
            "--config", default=settings.LANGGRAPH_JSON, help="the langgraph.json, for `countersign dev`"
        )

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        _check()
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
        (settings.DATA_DIR / ".gitignore").write_text("*\n")
        listening = listen(host, port)
        call_command("migrate", verbosity=0)
        call_command("setup_checkpointer", verbosity=0)
        self._tell(links_of(make_people()))
        connections.close_all()
        changes = CodeChanges(Path(settings.LANGGRAPH_JSON), without=settings.DATA_DIR)
        with changes.watched():
            reloading = Reloading(changes.take, _forget_graphs, self._tell)
            code = supervisor.run(_duties(), listening, partial(self._begin, listening, changes), reloading=reloading)
        sys.exit(code)

    def _begin(self, listening: Any, changes: CodeChanges) -> None:
        self._tell(told_of(listening))
        if changes.problem:
            self._tell(f"Changes of code are not seen ({changes.problem}): start again after one.")
        else:
            self._tell(f"Watches the code in {', '.join(map(str, changes.folders()))}.")

    def _tell(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _check() -> None:
    """Raise CommandError for a langgraph.json that cannot be read, and for checkpoints that allow one process."""
    try:
        langgraph_json.read_entries(settings.LANGGRAPH_JSON)
    except RegistryError as error:
        raise CommandError(str(error)) from error
    if why := checkpoints.why_one_process():
        raise CommandError(f"{why} Workers cannot be replaced. Unset CHECKPOINT_URL.")


def _duties() -> list[Duty]:
    """Return one process of each kind, unless the settings ask for more."""
    web, workers = read("WEB_PROCESSES"), read("WORKER_PROCESSES")
    asked_web = settings.WEB_PROCESSES if web else 1
    asked_workers = settings.WORKER_PROCESSES if workers else 1
    return [Duty.WEB] * asked_web + [Duty.WORKER] * max(1, asked_workers)


def _forget_graphs() -> None:
    forget_graphs_of_nobody()
    connections.close_all()
