"""Say whether the audit log, an export of it, or a receipt is intact."""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from approvals import audit
from approvals.actions.audit_log import verification
from approvals.audit import folder
from approvals.audit.export import verify_export
from approvals.audit.notes import BadNote, PublicKey, newest_in, open_note
from approvals.audit.receipts import check_receipt
from approvals.audit.walk import Broken, Known

HEAD = re.compile(r"(?P<seq>[1-9][0-9]{0,18}):(?P<hash>[0-9a-f]{64})")


class Command(BaseCommand):
    help = "Verify the audit log. Exit 0: intact; 1: broken, names the first bad entry; 2: could not be checked."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--export", type=Path, metavar="FILE", help="a JSON Lines export; needs no database")
        what.add_argument("--receipt", type=Path, metavar="FILE", help="a receipt; needs no database")
        parser.add_argument("--public-key", type=Path, metavar="FILE", help="default: public_key in AUDIT_DIR")
        known = "a head that you have kept: SEQ:HASH of an entry, or a file with signed heads; a missing end is found"
        parser.add_argument("--head", metavar="HEAD", help=known)
        since = "go on from the last head that was signed before this time (UTC): 2026-01-31, or with T14:00; or `day`"
        parser.add_argument("--since", metavar="TIME", help=since)
        parser.add_argument("--json", action="store_true")

    def handle(
        self,
        *,
        export: Path | None,
        receipt: Path | None,
        public_key: Path | None,
        head: str | None,
        since: str | None,
        json: bool,
        **options: Any,
    ) -> None:
        try:
            keys = _keys(public_key)
            if receipt:
                sys.exit(self._say_receipt(receipt, keys))
            known = _known(head, keys) if head else None
            if since and (export or head):
                raise audit.CannotCheck("--since goes on from a signed head of the database: it takes no other option.")
            begin = _moment(since) if since else None
            found = verify_export(export, keys, known) if export else _verify_database(keys, known, begin)
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


def _known(head: str, keys: list[PublicKey]) -> Known:
    """Parse a head that somebody kept: `SEQ:HASH`, or a file of signed heads, whose last one counts."""
    if found := HEAD.fullmatch(head):
        return Known(int(found["seq"]), found["hash"])
    try:
        note, _ = open_note(newest_in(Path(head).read_text()), keys)
    except (OSError, UnicodeDecodeError):
        raise audit.CannotCheck("Give --head as SEQ:HASH, or as a file with signed heads.") from None
    except BadNote as bad:
        raise audit.CannotCheck(f"The head that was given cannot be used. {bad}") from None
    return Known(note.size, note.root)


def _moment(since: str) -> datetime:
    if since == "day":
        return verification.new_since()
    try:
        found = datetime.fromisoformat(since)
    except ValueError:
        raise audit.CannotCheck("Give --since as 2026-01-31 or 2026-01-31T14:00 (UTC), or as day.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _verify_database(keys: list[PublicKey], known: Known | None, since: datetime | None) -> audit.Verification:
    who = "operator at the command line"
    return verification.check(by="operator", kind=who, keys=keys, known=known, since=since)


def _as_json(found: audit.Verification) -> str:
    return json.dumps(found.as_dict())


def _as_text(found: audit.Verification) -> str:
    warnings = "".join(f"\nNote: {warning}" for warning in found.warnings)
    if found.after:
        warnings = f"\nEntries up to {found.after} were not read again: a signed head stands for them.{warnings}"
    if found.ok:
        return f"Intact: {found.entries} entries, {found.signed} of them signed, head {found.head}.{warnings}"
    return f"BROKEN at entry {found.first_bad}: {found.reason} {found.entries} entries before it are intact.{warnings}"
