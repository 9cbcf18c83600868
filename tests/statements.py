"""Statements that a presenter or a template causes. They turn values into pages: views and actions read the rows.

`tests/settings.py` watches every connection of the consoles that tests start, so any page that any test opens shows a
presenter that reads rows: the request fails.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.template import base

ROOT = Path(__file__).parent.parent
PRESENTERS = str(ROOT / "approvals" / "presenters")
TEMPLATES = str(ROOT / "templates")
TAGS = str(ROOT / "approvals" / "templatetags")
"""The badges of every page are tags that count rows."""


def cause_of_statement() -> str:
    """Return the presenter or template on the stack of the caller, or an empty string."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(TAGS):
            return ""
        if code.co_filename.startswith(PRESENTERS):
            return f"{Path(code.co_filename).stem}.{code.co_qualname}"
        if code.co_filename == base.__file__ and code.co_name == "render_annotated":
            origin = str(getattr(frame.f_locals["self"], "origin", ""))
            return origin if origin.startswith(TEMPLATES) and not origin.startswith(f"{TEMPLATES}/admin") else ""
        frame = frame.f_back
    return ""


class Statements:
    """Counts the statements of a connection, and names what caused one that should not."""

    def __init__(self) -> None:
        self.sql: list[str] = []
        self.of_presenters: list[str] = []

    @property
    def count(self) -> int:
        return len(self.sql)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.sql.append(sql)
        if cause := cause_of_statement():
            self.of_presenters.append(f"{cause}: {sql[:200]}")
        return execute(sql, params, many, context)


@contextmanager
def counted() -> Iterator[Statements]:
    from django.db import connection

    statements = Statements()
    with connection.execute_wrapper(statements):
        yield statements


class StatementOfPresenter(AssertionError):
    """A presenter or a template reads rows. Read them in the view, and pass them in."""


def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    if cause := cause_of_statement():
        raise StatementOfPresenter(f"{cause}: {sql[:200]}")
    return execute(sql, params, many, context)


def _watch(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if refuse not in connection.execute_wrappers:
        connection.execute_wrappers.append(refuse)


def watch_every_connection() -> None:
    connection_created.connect(_watch, dispatch_uid="statements of presenters")
