"""Why is a thread not moving, and what is to be done? Plain values in, a diagnosis out: no database, no clock."""

from approvals.health.facts import Asked, Diagnosis, Facts, Health, RunFacts, Step
from approvals.health.judges import judge

__all__ = ["Asked", "Diagnosis", "Facts", "Health", "RunFacts", "Step", "judge"]
