"""Take a copy of the log. That somebody did is an entry, with what was asked for and how many entries that were."""

from typing import IO

from approvals import audit
from approvals.audit.export import FORMATS
from approvals.audit.filters import Filters
from approvals.domain import permissions
from approvals.domain.permissions import User


def export_audit(out: IO[str], *, format: str, filters: Filters, by: User) -> int:
    """Write the log, or the entries that were asked for, to `out`; return how many. Raises Denied."""
    permissions.check_read_audit(by)
    return export(out, format=format, filters=filters, by=by.get_username(), kind="person")


def export(out: IO[str], *, format: str, filters: Filters, by: str, kind: str) -> int:
    """The same for whoever has the database: the command line."""
    count = FORMATS[format](out, filters)
    about = {"format": format, "entries": count, "filters": filters.told()}
    audit.append("audit.exported", actor=by, actor_kind=kind, object=about)
    return count
