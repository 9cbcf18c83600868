"""What people are told when a database does not answer, or takes no changes. Never where it is."""

from django.db import Error, InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from approvals.errors import Unavailable

TRY_AGAIN_SECONDS = 5
_READ_ONLY = "25006"  # SQLSTATE of read_only_sql_transaction


def unavailable(error: BaseException | None) -> Unavailable | None:
    """Return the refusal for an error that a database's outage explains, None for any other error."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        return Unavailable("The database does not answer. Try again in a moment.")
    if isinstance(error, Error) and getattr(error.__cause__, "sqlstate", "") == _READ_ONLY:
        return Unavailable("The database takes no changes right now. Try again in a moment.")
    return None
