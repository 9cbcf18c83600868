"""Audit entries that a worker writes about a run."""

from typing import Any

from approvals import audit
from approvals.models import Run

EACH_TIME = ("status", "resume_from", "is_edited", "bound")
"""Columns of a run that each entry about it tells."""


def append(action: str, run: Run, **about: Any) -> None:
    """Append an entry about the run. `about` is added to its object; empty values are left out."""
    told = {name: value for name, value in about.items() if value not in (None, "")}
    audit.append_by_worker(
        action, thread_id=run.thread_id, object={"run": str(run.pk), **told}, rows=audit.told(run, *EACH_TIME)
    )
