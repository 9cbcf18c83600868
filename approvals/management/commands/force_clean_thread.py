"""Remove a thread that is beyond help."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.actions.threads import cleaning
from approvals.actions.threads.cleaning import Cleaning
from approvals.actions.threads.exports import export_thread
from approvals.errors import Refusal
from approvals.management.people import person


class Command(BaseCommand):
    help = "Delete a thread's checkpoints and close its questions. Votes, decisions and the audit log stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("thread_id")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--as", dest="username", default="root", help="the admin who is answerable (root)")
        parser.add_argument("--export", type=Path, metavar="FILE", help="write a copy of the thread there first")
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(
        self,
        *,
        thread_id: str,
        reason: str,
        username: str,
        export: Path | None,
        dry_run: bool,
        yes: bool,
        **options: Any,
    ) -> None:
        by = person(username)
        try:
            self._show(thread_id, cleaning.plan(thread_id=thread_id, by=by))
            if export:
                with export.open("x", encoding="utf-8", newline="\n") as out:
                    self.stdout.write(f"{export}: {export_thread(out, thread_id=thread_id, by=by)} lines.")
            if dry_run:
                return
            if not yes and not _is_confirmed(thread_id):
                raise CommandError("Nothing was removed. Type the thread id when asked, or add --yes.")
            cleaning.force_clean(thread_id=thread_id, reason=reason, by=by)
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        except OSError as error:
            raise CommandError(f"{export} cannot be written: {error.strerror}. Nothing was removed.") from None
        self.stdout.write("Removed.")

    def _show(self, thread_id: str, planned: Cleaning) -> None:
        self.stdout.write(f"{thread_id}: {planned.rows}, {planned.approvals} open approvals, {planned.runs} runs.")
        for namespace, count in planned.namespaces.items():
            self.stdout.write(f"  {namespace or 'the graph itself'}: {count} rows")


def _is_confirmed(thread_id: str) -> bool:
    try:
        return input("Type the thread id to remove it: ") == thread_id
    except EOFError:
        return False
