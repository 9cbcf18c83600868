"""Say whether the audit log is intact."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError

from approvals import audit


class Command(BaseCommand):
    help = "Walk the audit log. Exit 0: intact; 1: broken, names the first bad entry; 2: could not check."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *, json: bool, **options: Any) -> None:
        try:
            found = audit.verify()
        except DatabaseError as error:
            self.stderr.write(f"Could not check the log: {type(error).__name__}.")
            sys.exit(2)
        self.stdout.write(_as_json(found) if json else _as_text(found))
        sys.exit(0 if found.ok else 1)


def _as_json(found: audit.Verification) -> str:
    return json.dumps(found.as_dict())


def _as_text(found: audit.Verification) -> str:
    if found.ok:
        return f"Intact: {found.entries} entries, head {found.head}."
    return f"BROKEN at entry {found.first_bad}: {found.reason} {found.entries} entries before it are intact."
