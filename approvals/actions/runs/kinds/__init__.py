"""The kinds of run. To add one, write a module here with a subclass of `Kind`, a line in KINDS and a member of
RunKind.

`approvals/domain/run_traits.py` holds what web processes need to know of it.
"""

from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.kinds.fork import ForkKind
from approvals.actions.runs.kinds.repair import RepairKind
from approvals.actions.runs.kinds.replay import ReplayKind
from approvals.actions.runs.kinds.resume import ResumeKind
from approvals.actions.runs.kinds.start import StartKind
from approvals.enums import RunKind

KINDS: dict[str, Kind] = {
    RunKind.START: StartKind(),
    RunKind.RESUME: ResumeKind(),
    RunKind.REPAIR: RepairKind(),
    RunKind.FORK: ForkKind(),
    RunKind.REPLAY: ReplayKind(),
}


def kind_of(name: str) -> Kind:
    """Return the kind that a run's row names."""
    return KINDS[name]
