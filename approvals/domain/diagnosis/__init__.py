"""Why is a thread not moving, and what helps? Plain values in, a diagnosis out: no database, no clock."""

from approvals.domain.diagnosis.facts import AdvisedStep, Asked, Diagnosis, Facts, Health, RunFacts
from approvals.domain.diagnosis.judges import judge

__all__ = ["Asked", "Diagnosis", "Facts", "Health", "RunFacts", "AdvisedStep", "judge"]
