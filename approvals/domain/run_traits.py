"""What the console needs to know of each kind of run. `actions/runs/kinds/` holds how a worker carries it out."""

from dataclasses import dataclass

from approvals.enums import RunKind


@dataclass(frozen=True)
class RunTraits:
    is_watched: bool = True
    """Whether the worker reports writes of other programs during the run."""
    goes_on_from_head: bool = False
    """Whether a retry begins only at the checkpoint at which the run stopped."""
    asks_again: bool = False
    """Whether decided questions that still wait after the run are asked again."""
    leaves_waiting: bool = False
    """Whether nodes that wait after the run stay waiting: nobody asked for them to run."""


_TRAITS: dict[str, RunTraits] = {
    RunKind.START: RunTraits(),
    RunKind.RESUME: RunTraits(goes_on_from_head=True),
    RunKind.REPAIR: RunTraits(is_watched=False, asks_again=True),
    RunKind.FORK: RunTraits(is_watched=False, leaves_waiting=True),
    RunKind.REPLAY: RunTraits(),
}


def traits_of(kind: str) -> RunTraits:
    """Return the traits of the kind that a run's row names."""
    return _TRAITS[kind]
