"""Remove threads that are over and old."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.actions.threads import retirement
from approvals.errors import Refusal
from approvals.management.people import person


class Command(BaseCommand):
    help = "Remove threads whose graph reached its end long ago. Threads that wait, run or are stuck stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, help="how long they have not moved (RETENTION_DAYS)")
        parser.add_argument("--graph", default="", help="only threads of this graph")
        parser.add_argument("--as", dest="username", default="root", help="the admin who is answerable (root)")
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, days: int | None, graph: str, username: str, dry_run: bool, yes: bool, **options: Any) -> None:
        by, days = person(username), settings.RETENTION_DAYS if days is None else days
        if not days:
            raise CommandError("Say how old: add --days, such as --days 90, or set RETENTION_DAYS.")
        try:
            found = retirement.plan(days=days, graph_id=graph, by=by)
            for each in found:
                told = f"{each.threads} threads, the oldest from {each.oldest:%Y-%m-%d}"
                self.stdout.write(f"{each.graph or 'of no known graph'}: {told}.")
            if not found:
                self.stdout.write(f"Nothing is over and older than {days} days{f' in {graph}' if graph else ''}.")
            if dry_run or not found:
                self.stdout.write("Nothing was removed.")
                return
            if not yes and not _is_confirmed(days):
                raise CommandError("Nothing was removed. Type the number of days when asked, or add --yes.")
            self.stdout.write(f"Removed {retirement.retire(days=days, graph_id=graph, by=by)} threads.")
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal


def _is_confirmed(days: int) -> bool:
    try:
        return input(f"Type {days} to remove what is older than {days} days: ").strip() == str(days)
    except EOFError:
        return False
