"""Print a one-time sign-in link."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from approvals.management.people import link_for, person


class Command(BaseCommand):
    help = "Print a new one-time sign-in link of a person, for a browser on this machine."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *, username: str, **options: Any) -> None:
        self.stdout.write(link_for(person(username)))
