"""The metadata that every checkpoint of our runs has: it tells ours from those of other programs."""

from agentcore.plain.timeline import Moment

RUN_KEY = "countersign_run"
FENCE_KEY = "countersign_fence"
DECISION_KEY = "countersign_decision"
RESERVED = "countersign_"
"""Prefix of these names: nobody gives a run others."""


def decision_of(moment: Moment) -> str:
    """Return the id of the decision that a checkpoint names, or an empty string."""
    found = moment.metadata.get(DECISION_KEY)
    return found if isinstance(found, str) else ""
