"""What people read when a database does not answer or is read-only. The text never names its address."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import Error, InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from approvals.errors import Unavailable

logger = logging.getLogger(__name__)

TRY_AGAIN_SECONDS = 5
_READ_ONLY = "25006"
_IDLE_TOO_LONG = "25P03"
"""This process stopped inside a transaction, so the database ended its connection."""
_LOCKED = ("55P03", "40P01", _IDLE_TOO_LONG)
"""SQLSTATEs that concern the rows of one transaction: those of the next one may be free."""
_GONE = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


def unavailable(error: BaseException | None) -> Unavailable | None:
    """Return the refusal for a database error that an outage explains, None for any other error."""
    if isinstance(error, _GONE) or _sqlstate(error) == _IDLE_TOO_LONG:
        return Unavailable("The database does not answer. Try again in a moment.")
    if _sqlstate(error) == _READ_ONLY:
        return Unavailable("The database takes no changes right now. Try again in a moment.")
    return None


@contextmanager
def put_off(job: str, **about: Any) -> Iterator[None]:
    """End the block with one line in the log if the database does not answer or a row stays locked: `job` comes again.

    `about` are fields of that line.
    """
    try:
        yield
    except Exception as error:
        if unavailable(error) is None:
            raise
        _note(job, error, about)


@contextmanager
def skip_locked(item: str, **about: Any) -> Iterator[None]:
    """End the block with one line in the log if its rows stay locked: the next item of a sweep may be free.

    An outage is raised: there is no use in trying the others.
    """
    try:
        yield
    except (Error, psycopg.Error) as error:
        if _sqlstate(error) not in _LOCKED:
            raise
        _note(item, error, about)


def _sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of psycopg's error, which Django's has as its cause."""
    source = error.__cause__ if isinstance(error, Error) else error
    return source.sqlstate if isinstance(source, psycopg.Error) else None


def _note(what: str, error: Exception, about: dict[str, Any]) -> None:
    reason = type(error.__cause__ or error).__name__
    logger.warning("%s waits for the next time (%s)", what, reason, extra=about)
