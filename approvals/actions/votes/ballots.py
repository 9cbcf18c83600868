"""A ballot: what one person sends to vote, and the earlier result of the same ballot."""

from dataclasses import dataclass, replace
from typing import Any

from agentcore.plain.json import digest
from approvals.domain import queries
from approvals.domain.permissions import User
from approvals.enums import Verdict
from approvals.errors import Invalid, KeyReused
from approvals.models import DECISION_CONTENT, Approval, Decision, Run, Vote

LONGEST_KEY = 200


@dataclass(frozen=True)
class Ballot:
    """What one person sends: the verdict, the digest of what they saw, and an edit or an answer."""

    verdict: str
    seen_digest: str
    edits: Any
    answer: Any = None
    as_node: str = ""
    comment: str = ""
    seen_preview: str = ""
    idempotency_key: str | None = None
    is_answered: bool = False
    """`answer` was given; it may be null."""
    is_as_asked: bool = False
    """Approve what the agent asks, whatever somebody proposes instead."""
    hold_seconds: int = 0
    """For so long the run of a decision waits, so that the vote can be taken back."""
    preview: dict[str, Any] | None = None
    """What the edit leads to; the vote finds it out by itself."""
    request_digest: str = ""
    """Digest of the ballot; set by `read`. A second ballot with the same key must have the same digest."""

    @property
    def has_content(self) -> bool:
        """Whether it says more than yes or no, so that the graph tries it or is given it."""
        return bool(self.edits) or self.is_answered or bool(self.as_node) or self.verdict == Verdict.SKIP


@dataclass(frozen=True)
class Voted:
    """The vote and its result. `is_replay`: the same key was answered before."""

    vote: Vote
    decision: Decision | None
    run: Run | None
    required_votes: int
    approvals_so_far: int
    is_replay: bool = False

    @property
    def missing(self) -> int:
        """How many more approving votes are needed."""
        return max(0, self.required_votes - self.approvals_so_far)


def read(ballot: Ballot, edits: Any) -> Ballot:
    """Return the ballot with `edits`, in which new secrets are encrypted, and with the digest of all it says."""
    more = ["answered"] if ballot.is_answered and ballot.answer is None else []
    more += ["as asked"] if ballot.is_as_asked else []
    said = [ballot.verdict, ballot.seen_digest, edits, ballot.answer, ballot.as_node, ballot.comment, *more]
    return replace(ballot, edits=edits, request_digest=digest(said))


def answered_before(approval: Approval, ballot: Ballot, by: User) -> Voted | None:
    """Return the earlier result of the same ballot with the same key.

    Raises KeyReused for another ballot, and Invalid.
    """
    if ballot.idempotency_key is None:
        return None
    if not (0 < len(ballot.idempotency_key) <= LONGEST_KEY and ballot.idempotency_key.isprintable()):
        raise Invalid(f"An idempotency key is 1 to {LONGEST_KEY} printable characters.")
    votes = Vote.objects.filter(voter_id=by.pk, idempotency_key=ballot.idempotency_key)
    given = votes.defer("edits", "answer").first()
    if given is None:
        return None
    if given.approval_id != approval.pk or given.request_digest != ballot.request_digest:
        raise KeyReused("You used this idempotency key for another vote. Send a new key.")
    decision = Decision.objects.filter(vote=given).defer(*DECISION_CONTENT).first()
    run = Run.objects.filter(decision=decision).without_content().first() if decision else None
    so_far = queries.approvals_so_far(approval.pk)
    return Voted(given, decision, run, approval.required_votes, so_far, is_replay=True)
