"""Export the log. The export itself is an entry, with its filters and the number of entries."""

from typing import IO

from approvals import audit
from approvals.audit.export import FORMATS
from approvals.audit.filters import Filters
from approvals.domain import permissions
from approvals.domain.permissions import User


def export_audit(out: IO[str], *, format: str, filters: Filters, by: User) -> int:
    """Write the log, or the selected entries, to `out`; return the number of entries. Raises Denied."""
    permissions.check_read_audit(by)
    return export(out, format=format, filters=filters, by=by.get_username(), kind="person")


def export(out: IO[str], *, format: str, filters: Filters, by: str, kind: str) -> int:
    """Do what `export_audit` does for the command line, which asks for no role."""
    count = FORMATS[format](out, filters)
    about = {"format": format, "entries": count, "filters": filters.told()}
    audit.append("audit.exported", actor=by, actor_kind=kind, object=about)
    return count
