"""Say whether the audit log, an export of it, or a receipt is intact."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from approvals import audit
from approvals.actions import verify_audit
from approvals.audit import folder
from approvals.audit.export import verify_export
from approvals.audit.notes import PublicKey
from approvals.audit.receipts import check_receipt
from approvals.audit.walk import Broken


class Command(BaseCommand):
    help = "Walk the audit log. Exit 0: intact; 1: broken, names the first bad entry; 2: could not check."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--export", type=Path, metavar="FILE", help="a JSON Lines export; needs no database")
        what.add_argument("--receipt", type=Path, metavar="FILE", help="a receipt; needs no database")
        parser.add_argument("--public-key", type=Path, metavar="FILE", help="default: public_key in AUDIT_DIR")
        parser.add_argument("--json", action="store_true")

    def handle(
        self, *, export: Path | None, receipt: Path | None, public_key: Path | None, json: bool, **options: Any
    ) -> None:
        try:
            keys = _keys(public_key)
            if receipt:
                sys.exit(self._say_receipt(receipt, keys))
            found = verify_export(export, keys) if export else _verify_database(keys)
        except audit.CannotCheck as why:
            self.stderr.write(f"Could not check: {why}")
            sys.exit(2)
        except (DatabaseError, PoolTimeout) as error:
            self.stderr.write(f"Could not check the log: the database does not answer ({type(error).__name__}).")
            sys.exit(2)
        self.stdout.write(_as_json(found) if json else _as_text(found))
        sys.exit(0 if found.ok else 1)

    def _say_receipt(self, path: Path, keys: list[PublicKey]) -> int:
        try:
            told = check_receipt(path, keys)
        except Broken as bad:
            self.stdout.write(f"NOT VALID at entry {bad.seq}: {bad.reason}")
            return 1
        for record in told:
            about = record["object"]
            verdict, by = about.get("verdict", ""), about.get("by", record["actor"])
            self.stdout.write(f"Valid: {record['at']} {record['action']} {verdict} by {by}")
        return 0


def _keys(path: Path | None) -> list[PublicKey]:
    keys = folder.public_keys(path)
    if path and not keys:
        raise audit.CannotCheck(f"There is no public key in {path.name}.")
    return keys


def _verify_database(keys: list[PublicKey]) -> audit.Verification:
    return verify_audit.check(by="operator", kind="operator at the command line", keys=keys)


def _as_json(found: audit.Verification) -> str:
    return json.dumps(found.as_dict())


def _as_text(found: audit.Verification) -> str:
    warnings = "".join(f"\nNote: {warning}" for warning in found.warnings)
    if found.ok:
        return f"Intact: {found.entries} entries, {found.signed} of them signed, head {found.head}.{warnings}"
    return f"BROKEN at entry {found.first_bad}: {found.reason} {found.entries} entries before it are intact.{warnings}"
