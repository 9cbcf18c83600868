#!/usr/bin/env python
"""Countersign's command line. Without DATABASE_URL it starts the embedded PostgreSQL first."""

import gc
import os
import signal
import sys

from approvals.conf import embedded

NEED_NO_DATABASE = {"help", "version", "check", "collectstatic", "makemessages", "export_docs"}

OFFLINE = {"--export", "--receipt"}
"""Options of verify_audit_log with which it reads files alone."""


def main() -> None:
    gc.disable()  # until the apps are loaded
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "approvals.settings")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as Python does, which stops the embedded database
    if len(sys.argv) > 1 and not _needs_no_database(*sys.argv[1:]):
        embedded.use_unless_configured()
    _check_settings()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


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


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
