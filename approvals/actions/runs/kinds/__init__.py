"""The kinds of run. A new one is a module here with a subclass of `Kind`, a line in KINDS and a member of RunKind."""

from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.kinds.fork import Fork
from approvals.actions.runs.kinds.repair import Repair
from approvals.actions.runs.kinds.replay import Replay
from approvals.actions.runs.kinds.resume import Resume
from approvals.actions.runs.kinds.start import Start
from approvals.enums import RunKind

KINDS: dict[str, Kind] = {
    RunKind.START: Start(),
    RunKind.RESUME: Resume(),
    RunKind.REPAIR: Repair(),
    RunKind.FORK: Fork(),
    RunKind.REPLAY: Replay(),
}


def kind_of(name: str) -> Kind:
    """Return the kind that a run's row names."""
    return KINDS[name]
