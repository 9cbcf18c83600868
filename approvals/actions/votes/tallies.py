"""Count a vote: the proposal, the votes that count on it, and the result."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User as Person
from django.db.models import QuerySet

from agentcore.testing.failpoints import reach
from approvals import audit, last_writes
from approvals.actions.people import notices
from approvals.actions.votes import checks, decisions
from approvals.actions.votes.ballots import Ballot, Voted
from approvals.actions.votes.decisions import ReachedDecision
from approvals.actions.votes.locks import Locked
from approvals.audit import rows, vouching
from approvals.compiled import compiled
from approvals.domain import permissions, policies, voters
from approvals.domain.permissions import User
from approvals.domain.policies import Proposal
from approvals.enums import Verdict, VoteEnd
from approvals.errors import AlreadyVoted, Altered, OtherPreview, Stale, Unvouched
from approvals.live import events
from approvals.models import Approval, Vote

CLEARED = "Somebody proposed something else, so your vote on this no longer counts. Look at it again."
NOTHING_PREVIEWED = "You name a preview, and there is no edit that could lead there. Send the edit with it."


def count(here: Locked, ballot: Ballot, tried: dict[str, Any] | None, log: vouching.Log, by: User) -> Voted:
    """Store the vote and its entry, count, and settle the approval if the votes are enough. `tried` is the preview."""
    ballot, votes = _bind(here, ballot, tried), _counting_votes(here, log)
    if any(vote.voter_id == by.pk for vote in votes):
        raise AlreadyVoted(checks.VOTED)
    proposal = Proposal(**here.approval.proposal) if here.approval.proposal else Proposal()
    is_new = ballot.verdict != Verdict.REJECT and not _agrees(ballot, proposal)
    if is_new:
        end(here, votes, VoteEnd.CLEARED)
        notices.tell(((vote.voter_id, here.approval.pk) for vote in votes), CLEARED)
        proposal, votes = replace(_proposed(ballot), by=by.get_username()), []
        propose(here, proposal)  # also when it decides at once: the pages say then what was decided
    is_own = ballot.verdict != Verdict.REJECT and _needs_others(here, proposal) == by.get_username()
    vote = _stored(here.approval, ballot, by, is_own=is_own)
    reach("decide.voted")
    _record(here, vote, is_new=is_new)
    so_far = sum(each.verdict != Verdict.REJECT and not each.is_own for each in [*votes, vote])
    if reached := _reached(here, proposal, [*votes, vote]):
        settled = decisions.settle(here, reached, hold_seconds=ballot.hold_seconds)
        return Voted(vote, *settled, here.approval.required_votes, so_far)
    _let_go(here, is_new=is_new)
    return Voted(vote, None, None, here.approval.required_votes, so_far)


def end(here: Locked, votes: Sequence[Vote], why: VoteEnd) -> None:
    """End votes: they no longer count."""
    if not votes:
        return
    Vote.objects.filter(pk__in=[vote.pk for vote in votes]).update(ended_at=here.now, ended_as=why)
    for vote in votes:
        vote.ended_at, vote.ended_as = here.now, why
        here.rows.update(audit.told(vote, "ended_at", "ended_as"))


def propose(here: Locked, proposal: Proposal | None) -> None:
    """Set a new proposal, or none. The caller saves `proposal` and `digest`, and ends the votes on the earlier one."""
    approval = here.approval
    plain = proposal.as_dict() if proposal and not proposal.is_plain else None
    approval.proposal, approval.digest = plain, policies.digest_with(approval.shown_digest, plain)
    here.rows.update(audit.told(approval, "proposal", "digest"))


def _proposed(ballot: Ballot) -> Proposal:
    return Proposal(
        verdict=ballot.verdict,
        edits=ballot.edits,
        answer=ballot.answer,
        as_node=ballot.as_node,
        seen_preview=ballot.seen_preview,
        is_answered=ballot.is_answered,
        preview=ballot.preview,
    )


def _agrees(ballot: Ballot, standing: Proposal) -> bool:
    """Return whether the ballot votes for the proposal or, if there is none, for what the agent asks."""
    return standing.is_plain if ballot.is_as_asked else _proposed(ballot).agrees_with(standing)


def _bind(here: Locked, ballot: Ballot, preview: dict[str, Any] | None) -> Ballot:
    """Bind a ballot to what its edit leads to; without an edit, to what the proposal shows."""
    if ballot.verdict == Verdict.REJECT:
        return replace(ballot, seen_preview="")
    proposal = here.approval.proposal or {}
    if preview:
        leads_to = preview["digest"]
    else:
        leads_to = "" if ballot.is_as_asked else proposal.get("seen_preview", "")
        if proposal.get("edits") and not leads_to and not ballot.is_as_asked:
            raise Stale("This was proposed without what it leads to. Propose it again, and look at that.")
    if ballot.seen_preview not in ("", leads_to):
        raise OtherPreview(
            "This does not lead to what you were shown. Preview it again." if leads_to else NOTHING_PREVIEWED,
            preview=preview,
        )
    return replace(ballot, seen_preview=leads_to, preview=preview)


def _counting_votes(here: Locked, log: vouching.Log) -> list[Vote]:
    """Return the votes that count, oldest first. Votes of people who may no longer vote end here.

    Raises Altered if they differ from the votes in the log, Unvouched if the log does not have a voter's role.
    """
    cast = _cast(approval_id=here.approval.pk) if here.voters else []
    if sentence := vouching.why_not_votes(log, here.approval, cast):
        raise Altered(sentence, columns=["votes"])
    lapsed = [vote for vote in cast if not _may_still_vote(here, vote)]
    end(here, lapsed, VoteEnd.LAPSED)
    counting = [vote for vote in cast if vote not in lapsed]
    for vote in counting:
        memberships = permissions.memberships_of(vote.voter)
        if sentence := vouching.why_not_person(log, vote.voter_id, vote.voter.username, memberships):
            raise Unvouched(sentence)
    return counting


@compiled
def _cast(approval_id: UUID) -> "QuerySet[Vote]":
    counted = rows.with_marks(Vote.objects.counting().filter(approval_id=approval_id), ("edits", "answer"))
    return counted.select_related("voter").order_by("created_at")


def _reached(here: Locked, proposal: Proposal, votes: Sequence[Vote]) -> ReachedDecision | None:
    against = [vote for vote in votes if vote.verdict == Verdict.REJECT]
    approving = [vote for vote in votes if vote.verdict != Verdict.REJECT]
    proposer = _needs_others(here, proposal)
    number = 0
    if against and not here.rule.one_reject_ends:
        number = _count_voters(here, without=proposer)
        number += any(vote.voter.get_username() == proposer for vote in against)
    others = [vote for vote in approving if vote.voter.get_username() != proposer]
    result = policies.tally(here.rule, approving=len(others), rejecting=len(against), voters=number)
    if not result:
        return None
    made_by = against if result == "reject" else approving
    return ReachedDecision(
        verdict=Verdict.REJECT if result == "reject" else proposal.verdict,
        by=", ".join(vote.voter.get_username() for vote in made_by),
        proposal=Proposal() if result == "reject" else proposal,
        comment="\n".join(filter(None, (vote.comment for vote in made_by))),
        vote=votes[-1],
        votes=tuple(made_by),
    )


def _needs_others(here: Locked, proposal: Proposal) -> str:
    """Return who proposed this, if the policy does not count them as an approver."""
    return proposal.by if here.rule.edit_needs_another and not proposal.is_plain else ""


def _may_still_vote(here: Locked, vote: Vote) -> bool:
    return permissions.can_vote(vote.voter, vote.verdict) and not voters.why_not(
        here.approval, vote.voter, thread=here.thread, rule=here.rule, verdict=vote.verdict
    )


def _count_voters(here: Locked, *, without: str) -> int:
    is_escalated, asked_at = here.approval.escalated_at is not None, here.approval.asked_at
    excluded = voters.owners(here.thread, here.rule) | ({without} if without else set())
    return voters.count(here.rule, without=excluded, asked_at=asked_at, is_escalated=is_escalated)


def _stored(approval: Approval, ballot: Ballot, by: User, *, is_own: bool) -> Vote:
    assert isinstance(by, Person)
    vote = Vote(
        approval=approval,
        voter=by,
        verdict=ballot.verdict,
        edits=ballot.edits,
        answer=ballot.answer,
        as_node=ballot.as_node,
        comment=ballot.comment,
        seen_digest=ballot.seen_digest,
        seen_preview=ballot.seen_preview,
        idempotency_key=ballot.idempotency_key,
        request_digest=ballot.request_digest,
        is_own=is_own,
    )
    last_writes.insert(vote)
    return vote


def _let_go(here: Locked, *, is_new: bool) -> None:
    """Save a proposal that decides nothing yet, and end the voter's claim."""
    changed = ["proposal", "digest"] if is_new else []
    if here.approval.claimed_by_id is not None:
        here.approval.claimed_by, here.approval.claimed_until = None, None
        changed += ["claimed_by", "claimed_until"]
    if changed:
        last_writes.update(here.approval, changed)
    events.publish(thread_id=here.thread.pk)


def _record(here: Locked, cast: Vote, *, is_new: bool) -> None:
    about = {"approval": str(here.approval.pk), "vote": str(cast.pk), "verdict": cast.verdict, "is_new": is_new}
    audit.append(
        "vote.cast",
        actor=cast.voter.get_username(),
        thread_id=here.thread.pk,
        object=about,
        digests={
            "seen": cast.seen_digest,
            "content": policies.content_digest(edits=cast.edits, answer=cast.answer, as_node=cast.as_node),
            **policies.preview_digest(cast.seen_preview),
        },
        texts={"comment": cast.comment},
        policy_version=here.rule.source,
        rows={**here.rows, **audit.told(cast)},
        about=audit.key_of(here.approval) if is_new else "",
    )
