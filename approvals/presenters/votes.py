"""The votes on an approval: how many are needed, who cast which, the proposal, the claim, the deadline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from approvals.domain import folds
from approvals.domain.permissions import User
from approvals.domain.policies import Proposal, Rule
from approvals.domain.text import json_text
from approvals.enums import VERDICT_WORDS, OnDeadline, Verdict, VoteEnd
from approvals.models import Approval, Graph, Vote
from approvals.presenters.answers import DecidedShown, proposed_of
from approvals.presenters.approvals import PreviewShown, preview_of
from approvals.presenters.policies import escalated_to, sentences_of, who_votes
from approvals.presenters.values import Difference, Value, json_value_of, value_of


@dataclass(frozen=True)
class VoteShown:
    """One vote. `ended` says why it no longer counts."""

    voter: str
    verdict: str
    word: str
    at: datetime
    comment: str
    edits: str
    ended: str
    is_own: bool
    """Its voter proposed this, so it does not count as an approval."""


@dataclass(frozen=True)
class ClaimShown:
    """Who has reserved the approval, while they do."""

    by: str
    until: datetime
    is_mine: bool


@dataclass(frozen=True)
class ProposalShown:
    """What is voted on when it is more than the agent asked."""

    by: str
    sentence: str
    verdict: str
    """A vote without own content agrees with it."""
    needs_others: bool
    """Its proposer does not count as an approver."""
    decided: list[DecidedShown]
    differences: list[Difference]
    answer: Value | None
    answer_part: str
    """Where the end of the answer must be seen."""
    parts: list[str]
    """All that is folded."""
    preview: PreviewShown | None
    """What it leads to; None for an answer without an edit, and for what was proposed before this was kept."""
    votes: int


@dataclass(frozen=True)
class TallyShown:
    needed: int
    so_far: int
    rejections: int
    votes: list[VoteShown]
    source: str
    who: str
    sentences: list[str]
    needs_reason: bool
    problem: str
    due_at: datetime | None
    at_deadline: str
    escalated_to: str
    claim: ClaimShown | None
    is_voted: bool
    edit_needs_another: bool = False
    """Whoever proposes an edit does not count as an approver of it."""

    @property
    def missing(self) -> int:
        return max(0, self.needed - self.so_far)


def tally_of(approval: Approval, votes: Sequence[Vote], by: User, *, voters: int, now: datetime) -> TallyShown:
    """The votes come with their `voter`, oldest first."""
    rule = Rule.of(approval.rule)
    counting = [vote for vote in votes if vote.ended_at is None]
    against = [vote for vote in counting if vote.verdict == Verdict.REJECT]
    return TallyShown(
        needed=approval.required_votes,
        so_far=sum(vote.verdict != Verdict.REJECT and not vote.is_own for vote in counting),
        rejections=len(against),
        votes=[_vote(vote) for vote in votes],
        source=rule.source,
        who=who_votes(rule),
        sentences=sentences_of(rule),
        needs_reason=rule.needs_reason,
        problem=_problem(approval, rule, voters) if approval.is_pending else "",
        due_at=approval.due_at,
        at_deadline=_at_deadline(approval, rule) if approval.is_pending else "",
        escalated_to=escalated_to(rule) if approval.escalated_at else "",
        claim=claim_of(approval, by, now=now),
        edit_needs_another=rule.edit_needs_another,
        is_voted=any(vote.voter_id == by.pk for vote in counting),
    )


def _vote(vote: Vote) -> VoteShown:
    return VoteShown(
        voter=vote.voter.get_username(),
        verdict=vote.verdict,
        word=VERDICT_WORDS[vote.verdict].voted,
        at=vote.created_at,
        comment=vote.comment,
        edits=json_text(vote.edits) if vote.edits else "",
        ended=str(VoteEnd(vote.ended_as).label) if vote.ended_as else "",
        is_own=vote.is_own,
    )


def _problem(approval: Approval, rule: Rule, voters: int) -> str:
    """Return a sentence if too few people may vote for it ever to be approved."""
    if voters >= rule.approvals or not approval.allowed_verdicts:
        return ""
    people = {0: "nobody may vote", 1: "only 1 person may vote"}.get(voters, f"only {voters} people may vote")
    needed = "1 approval is needed" if rule.approvals == 1 else f"{rule.approvals} approvals are needed"
    return f"{needed}, but {people}: ask an admin."


def _at_deadline(approval: Approval, rule: Rule) -> str:
    if approval.due_at is None or approval.escalated_at is not None:
        return ""
    if rule.on_deadline == OnDeadline.DENY and "reject" in approval.allowed_verdicts:
        return "Then it is rejected."
    return f"Then {escalated_to(rule)} may vote as well."


def claim_of(approval: Approval, by: User, *, now: datetime) -> ClaimShown | None:
    """The approval comes with its `claimed_by`."""
    if approval.claimed_by is None or approval.claimed_until is None or approval.claimed_until <= now:
        return None
    return ClaimShown(approval.claimed_by.get_username(), approval.claimed_until, approval.claimed_by_id == by.pk)


def proposal_of(approval: Approval, votes: Sequence[Vote], graph: Graph | None) -> ProposalShown | None:
    """Return the current proposal; None while people vote on what the agent asked."""
    if approval.proposal is None:
        return None
    proposal = Proposal(**approval.proposal)
    by = proposal.by or next((vote.voter.get_username() for vote in votes if _is_of(vote, proposal)), "somebody")
    folded = folds.parts_of_proposal(approval.proposal)
    sentences = {Verdict.APPROVE: "to approve with this edit", Verdict.SKIP: "to skip the node"}
    return ProposalShown(
        by=by,
        sentence=sentences.get(Verdict(proposal.verdict), "this answer"),
        verdict=proposal.verdict,
        needs_others=Rule.of(approval.rule).edit_needs_another and not proposal.is_plain,
        decided=proposed_of(approval, proposal.answer) if proposal.verdict == Verdict.RESPOND else [],
        differences=[_difference(approval.state, name, edit, folded) for name, edit in (proposal.edits or {}).items()],
        answer=json_value_of(proposal.answer) if proposal.is_answered else None,
        answer_part=folds.part_of_proposal() if folds.part_of_proposal() in folded else "",
        parts=folded,
        preview=_preview(approval, proposal.preview, graph, folded) if proposal.preview else None,
        votes=sum(vote.ended_at is None and vote.verdict == proposal.verdict for vote in votes),
    )


def _preview(approval: Approval, given: Mapping[str, Any], graph: Graph | None, folded: Sequence[str]) -> PreviewShown:
    preview = preview_of(approval, given, graph)
    return replace(preview, differences=[_with_part(each, folded) for each in preview.differences])


def _with_part(difference: Difference, folded: Sequence[str]) -> Difference:
    part = folds.part_of_proposal(difference.channel)
    return replace(difference, part=part if part in folded else "")


def _is_of(vote: Vote, proposal: Proposal) -> bool:
    return (vote.verdict, vote.edits or {}, vote.answer) == (proposal.verdict, proposal.edits or {}, proposal.answer)


def _difference(state: dict[str, Any], name: str, edit: dict[str, Any], folded: Sequence[str]) -> Difference:
    op = str(edit["op"])
    shown = Difference(name, value_of(state.get(name)), value_of(edit["value"]), "" if op == "set" else op)
    return _with_part(shown, folded)
