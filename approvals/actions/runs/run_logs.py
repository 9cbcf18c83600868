"""What the code of a run prints and logs, stored beside its row."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from agentcore.plain.json import canonical
from agentcore.plain.kept_lines import KeptLines
from approvals.models import RunLog

KEEP_SQL = """
INSERT INTO approvals_runlog (run_id, lines, dropped) SELECT {id}, %(lines)s, %(dropped)s {of}
ON CONFLICT (run_id) DO UPDATE SET lines = EXCLUDED.lines, dropped = EXCLUDED.dropped RETURNING 1
"""
AT_END_SQL = KEEP_SQL.format(id="%(run_id)s::uuid", of="")


def columns_of(kept: KeptLines) -> dict[str, Any]:
    return {"lines": canonical(kept.plain()), "dropped": kept.dropped}


def go_on(kept: KeptLines, run_id: str) -> None:
    """Add what was kept of an attempt that a worker did not bring to its end."""
    for found in RunLog.objects.filter(pk=UUID(run_id)):
        kept.put_before(found.lines, found.dropped)


def params_at_end(run_id: str, log: Mapping[str, Any]) -> dict[str, Any]:
    return {"run_id": run_id, **log}
