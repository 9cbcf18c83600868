"""The command line: `manage.py` in a clone, and `countersign` where the package is installed.

Without DATABASE_URL it starts the embedded PostgreSQL first.
"""

import gc
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from approvals import programs
from approvals.conf import embedded
from approvals.conf.environment import read

NEED_NO_DATABASE = {"help", "version", "check", "collectstatic", "makemessages", "export_docs"}

OFFLINE = {"--export", "--receipt"}
"""Options of verify_audit_log with which it reads files alone."""

COMMANDS = {"dev": ["dev"], "serve": ["serve"], "worker": ["procrastinate", "worker"], "manage": []}
"""What `countersign` takes, and the command of Django that does it."""

USAGE = """Usage: countersign COMMAND [OPTION ...]

  dev     serve the graphs of this folder's langgraph.json, with people to try them as; loads changed code again
  serve   serve pages, API and workers: for a team, with DATABASE_URL and PUBLIC_URL set
  worker  carry out runs, beside `countersign serve --no-worker`
  manage  any other command, such as: countersign manage token alice

`countersign COMMAND --help` lists the options, `countersign manage help` the other commands."""

NO_GRAPHS = """There is no {path} here. `countersign dev` serves the graphs that it names. Go to the folder of your
agent, or write one, where agent.py has a compiled graph under the name graph:

  {{"dependencies": ["."], "graphs": {{"agent": "./agent.py:graph"}}}}"""


def run_installed() -> None:
    """Be the command `countersign`. What it keeps lies in `.countersign`, if DATA_DIR says nothing else."""
    os.environ.setdefault("DATA_DIR", ".countersign")
    os.environ[programs.NAMED] = "countersign manage"
    name, *options = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        sys.exit(print_usage())
    if name not in COMMANDS:
        sys.exit(f"There is no command {name!r:.60}.\n\n{USAGE}")
    os.environ.update(_settings_in(options))  # before the settings are read, which is before a command is begun
    if name == "dev" and not {"-h", "--help"} & set(options):
        _check_folder()
    run_interruptible([sys.argv[0], *COMMANDS[name], *options])


def print_usage() -> int:
    sys.stdout.write(f"{USAGE}\n")
    return 0


def run_interruptible(argv: Sequence[str]) -> None:
    """Run a command of Django. Ctrl-C ends it as it ends other programs."""
    try:
        run(argv)
    except KeyboardInterrupt:
        sys.exit(130)


def run(argv: Sequence[str]) -> None:
    gc.disable()  # until the apps are loaded
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "approvals.settings")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as Python does, which stops the embedded database
    if len(argv) > 1 and not _needs_no_database(*argv[1:]):
        embedded.use_unless_configured()
    _check_settings()
    from django.core.management import execute_from_command_line

    execute_from_command_line(list(argv))


def _check_folder() -> None:
    """Stop before a database is made in a folder without graphs."""
    path = Path(read("LANGGRAPH_JSON") or "langgraph.json")
    if not path.is_file():
        sys.exit(NO_GRAPHS.format(path=path))


def _settings_in(options: Sequence[str]) -> dict[str, str]:
    """Return the environment variables that options of a command stand for."""
    reader = ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    reader.add_argument("--port", dest="PORT", default="")
    reader.add_argument("--config", dest="LANGGRAPH_JSON", default="")
    given = vars(reader.parse_known_args(options)[0])
    return {name: value for name, value in given.items() if value}


def _needs_no_database(command: str, *options: str) -> bool:
    is_offline = any(option.partition("=")[0] in OFFLINE for option in options)
    return command in NEED_NO_DATABASE or is_offline or "--help" in options


def _check_settings() -> None:
    """Stop with the sentence of a wrong setting; Django would print it at the end of a traceback."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        _ = settings.INSTALLED_APPS
    except ImproperlyConfigured as error:
        sys.exit(str(error))
