"""Copy the audit log into a file, or to standard output."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.actions.audit_log.exports import export
from approvals.audit.export import FORMATS
from approvals.audit.filters import Filters


class Command(BaseCommand):
    help = "Copy the audit log: jsonl, which can be verified offline, or csv, for people."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=list(FORMATS), default="jsonl")
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")

    def handle(self, *, format: str, output: Path | None, **options: Any) -> None:
        about = {"filters": Filters(), "by": "operator", "kind": "operator at the command line"}
        if output is None:
            export(self.stdout, format=format, **about)  # type: ignore[arg-type]
            return
        try:
            with _whole(output) as file:
                count = export(file, format=format, **about)  # type: ignore[arg-type]
        except OSError as error:
            raise CommandError(f"Cannot write {output}: {error.strerror}.") from error
        self.stdout.write(f"{count} entries in {output}.")


@contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """Write beside the file and rename at the end, so that nobody finds half an export."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=path.parent, delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
