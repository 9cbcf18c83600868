"""Sign the audit log now, and change the key that signs it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.actions.audit_log import signing
from approvals.errors import Unavailable


class Command(BaseCommand):
    help = "Sign the audit log now, as the worker does each minute; with --new-key, sign with a new key from now on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--new-key", action="store_true", help="make a new key; needs --reason")
        parser.add_argument("--reason", default="")

    def handle(self, *, new_key: bool, reason: str, **options: Any) -> None:
        if not new_key:
            if not signing.sign():
                raise CommandError("Nothing was signed; the log says why, or another process is at it.")
            self.stdout.write("Signed.")
            return
        if not reason.strip():
            raise CommandError("Say why the key is changed: --reason TEXT goes into the log.")
        try:
            self.stdout.write(str(signing.change_key(reason=reason.strip(), actor="operator")))
        except Unavailable as refused:
            raise CommandError(refused.message) from refused
