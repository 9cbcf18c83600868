"""Write the pages of docs/reference that are made from the code."""

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

from approvals import audit, enums, errors
from approvals.conf.environment import VARIABLES
from approvals.domain import permissions

NOTE = "<!-- Made by `manage.py export_docs` from the code. Change the code, then type `make fix`. -->\n"
OURS = "approvals"


class Command(BaseCommand):
    help = "Write docs/reference from the code; with --check, say which pages are stale and change nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true")

    def handle(self, *, check: bool, **options: Any) -> None:
        folder = settings.BASE_DIR / "docs" / "reference"
        pages = {folder / name: NOTE + "\n" + make() for name, make in PAGES.items()}
        stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
        if check:
            for path in stale:
                self.stderr.write(f"{path.relative_to(settings.BASE_DIR)} is stale. Type: make fix")
            sys.exit(1 if stale else 0)
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path])


def settings_page() -> str:
    rows = ([f"`{name}`", each.default, each.meaning, f"`{each.example}`"] for name, each in VARIABLES.items())
    return (
        "# Settings\n\nAll settings are environment variables. A wrong value stops the start and says what to type.\n\n"
        + _table(["variable", "unset means", "what it is", "example"], rows)
    )


def states_page() -> str:
    parts = ["# States\n\nThe words of pages, API and database, and what they say.\n"]
    for title, choices in {
        "Threads": enums.ThreadStatus,
        "Approvals": enums.ApprovalStatus,
        "Runs": enums.RunStatus,
        "Kinds of run": enums.RunKind,
        "Verdicts": enums.Verdict,
        "Votes that no longer count": enums.VoteEnd,
        "At the deadline": enums.OnDeadline,
        "When a worker dies": enums.OnCrash,
    }.items():
        parts.append(f"\n## {title}\n\n" + _table(["word", "meaning"], _choices(choices)))
    return "".join(parts)


def permissions_page() -> str:
    roles = list(enums.Role)
    rows = [
        [f"`{name}`", *("yes" if role in allowed else "" for role in roles)]
        for name, allowed in permissions.ROLES_FOR.items()
    ]
    return (
        "# Roles and permissions\n\nA role is a Django group of the same name; a person may have several.\n\n"
        + _table(["role", "meaning"], _choices(enums.Role))
        + "\n"
        + _table(["permission", *(role.value for role in roles)], rows)
    )


def audit_page() -> str:
    return "# Audit actions\n\n" + _table(
        ["action", "meaning"], ([f"`{name}`", text] for name, text in audit.ACTIONS.items())
    )


def errors_page() -> str:
    refusals = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.Refusal)]
    rows = sorted([str(each.status), f"`{each.code}`", each.title] for each in refusals if each is not errors.Refusal)
    return (
        '# Errors\n\nEvery error of the API is `{"error": {"code", "message", "detail"}}`; the pages say the same.\n\n'
        + _table(["status", "code", "title"], rows)
    )


def commands_page() -> str:
    names = sorted(name for name, app in get_commands().items() if app == OURS)
    rows = ([f"`manage.py {name}`", load_command_class(OURS, name).help or ""] for name in names)
    told = (
        "# Commands\n\n`manage.py NAME --help` lists the options. Where the package is installed, type"
        " `countersign manage NAME`; `countersign dev` and `countersign serve` are short for those two, and"
        " `countersign worker` for `countersign manage procrastinate worker`. What `countersign` keeps lies in"
        " `.countersign/` of the folder that it is started in.\n\n"
    )
    return told + _table(["command", "does"], rows)


def _choices(choices: Any) -> Iterator[list[str]]:
    return ([f"`{each.value}`", str(each.label)] for each in choices)


def _table(header: list[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "states.md": states_page,
    "permissions.md": permissions_page,
    "audit-actions.md": audit_page,
    "errors.md": errors_page,
    "commands.md": commands_page,
}
