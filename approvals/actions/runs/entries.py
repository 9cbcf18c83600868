"""What a worker writes in the audit log about a run."""

from typing import Any

from approvals import audit
from approvals.models import Run

EACH_TIME = ("status", "resume_from", "is_edited", "bound")
"""Columns of a run that each entry about it tells."""


def append(action: str, run: Run, **about: Any) -> None:
    """Append an entry about the run; `about` goes into its object, but for what is empty."""
    told = {name: value for name, value in about.items() if value not in (None, "")}
    audit.append_by_worker(
        action, thread_id=run.thread_id, object={"run": str(run.pk), **told}, rows=audit.told(run, *EACH_TIME)
    )
