"""Several votes in one request. Each is checked and stored on its own; a refused one does not affect the others."""

from collections.abc import Sequence
from uuid import UUID

from approvals.actions.votes import votes
from approvals.actions.votes.ballots import Ballot, Voted
from approvals.domain.permissions import User
from approvals.errors import Invalid, Refusal

MOST_BALLOTS = 50


def vote_on_many(*, ballots: Sequence[tuple[UUID, Ballot]], by: User) -> list[Voted | Refusal]:
    """Return the result of each ballot in order. Raises Invalid if there are too many."""
    if not 0 < len(ballots) <= MOST_BALLOTS:
        raise Invalid(f"Send 1 to {MOST_BALLOTS} ballots at a time.")
    return [_voted(approval_id, ballot, by) for approval_id, ballot in ballots]


def _voted(approval_id: UUID, ballot: Ballot, by: User) -> Voted | Refusal:
    try:
        return votes.cast(approval_id=approval_id, ballot=ballot, by=by)
    except Refusal as refusal:
        return refusal
