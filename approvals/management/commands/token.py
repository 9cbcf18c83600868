"""Print an API token."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from approvals.actions.people.sign_in import make_token
from approvals.management.people import person


class Command(BaseCommand):
    help = (
        "Print a new API token of a person, and nothing else. Only its digest is stored, so it cannot be shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *, username: str, **options: Any) -> None:
        self.stdout.write(make_token(person(username)))
