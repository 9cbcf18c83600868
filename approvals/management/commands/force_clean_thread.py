"""Remove a thread that is beyond help."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.actions import force_clean
from approvals.errors import Refusal
from approvals.management.people import person


class Command(BaseCommand):
    help = "Delete a thread's checkpoints and close its questions. Votes, decisions and the audit log stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("thread_id")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--as", dest="username", default="root", help="the admin who is answerable (root)")
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, thread_id: str, reason: str, username: str, dry_run: bool, yes: bool, **options: Any) -> None:
        by = person(username)
        try:
            planned = force_clean.plan(thread_id=thread_id, by=by)
            self.stdout.write(f"{thread_id}: {planned.rows}, {planned.approvals} open approvals, {planned.runs} runs.")
            if dry_run:
                return
            if not yes and not _is_confirmed(thread_id):
                raise CommandError("Nothing was removed. Type the thread id when asked, or add --yes.")
            force_clean.force_clean(thread_id=thread_id, reason=reason, by=by)
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write("Removed.")


def _is_confirmed(thread_id: str) -> bool:
    try:
        return input("Type the thread id to remove it: ") == thread_id
    except EOFError:
        return False
