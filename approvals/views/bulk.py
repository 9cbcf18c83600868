"""Several approvals on one page: each is shown whole and voted on by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from approvals import audit
from approvals.actions.votes.ballots import Ballot, Voted
from approvals.actions.votes.bulk import MOST_BALLOTS, vote_on_many
from approvals.domain import permissions
from approvals.enums import Verdict
from approvals.errors import Denied, Invalid, Refusal
from approvals.models import Approval
from approvals.presenters import approvals
from approvals.presenters.queue import Titled, sums_of, titled
from approvals.presenters.votes import ProposalShown
from approvals.views.approval import graph_of, vote_context
from approvals.views.pages import Request
from approvals.views.tray import note_vote
from approvals.views.vote import told_of

LEFT_OUT = "none"


@dataclass(frozen=True)
class ChoiceHere:
    """One way to vote on one approval. `word` is how the button counts it."""

    value: str
    label: str
    word: str
    is_chosen: bool


@dataclass(frozen=True)
class Came:
    """The result of one vote."""

    approval: Approval
    called: Titled
    is_done: bool
    sentence: str


@require_http_methods(["GET", "HEAD", "POST"])
def bulk(request: Request) -> HttpResponse:
    permissions.check_view(request.user)
    if request.method != "POST":
        return _page(request, chosen(request.GET.getlist("id")))
    found = chosen(request.POST.getlist("id"))
    comment = request.POST.get("comment", "").replace("\r\n", "\n")
    verdicts = {each.pk: request.POST.get(f"verdict-{each.pk}", "") for each in found}
    if request.POST.get("do") == Verdict.REJECT:  # nothing is sent: the page is drawn with all of them set
        return _page(request, found, dict.fromkeys(verdicts, Verdict.REJECT.value), comment=comment)
    if "" in verdicts.values():
        return _page(request, found, verdicts, problem="Say of each what you decide, or leave it out.", comment=comment)
    if Verdict.REJECT in verdicts.values() and not comment.strip():
        problem = "Say why you reject: the reason goes into each record."
        return _page(request, found, verdicts, problem=problem, comment=comment)
    voted = [each for each in found if verdicts[each.pk] != LEFT_OUT]
    if not voted:
        return _page(request, found, verdicts, problem="All of them are left out: nothing was sent.", comment=comment)
    ballots = [(each.pk, _ballot(request, each, verdicts[each.pk], comment)) for each in voted]
    came = vote_on_many(ballots=ballots, by=request.user)
    results = [_came(request, each, one) for each, one in zip(voted, came, strict=True)]
    done = sum(result.is_done for result in results)
    return note_vote(render(request, "bulk_done.html", {"results": results, "done": done, "is_voted": True}))


def chosen(ids: list[str]) -> list[Approval]:
    """Return the selected approvals in the order of the queue."""
    try:
        wanted = {UUID(id) for id in ids}
    except ValueError:
        raise Invalid("That is no list of approvals. Choose them in the queue.") from None
    if not 0 < len(wanted) <= MOST_BALLOTS:
        raise Invalid(f"Choose 1 to {MOST_BALLOTS} approvals in the queue.")
    found = Approval.objects.filter(pk__in=wanted).select_related("thread__started_by", "claimed_by", "decision__run")
    return list(found.most_urgent_first())


def _page(
    request: Request,
    found: list[Approval],
    verdicts: Mapping[UUID, str] | None = None,
    *,
    problem: str = "",
    comment: str = "",
) -> HttpResponse:
    items = [_item(request, approval, (verdicts or {}).get(approval.pk, Verdict.APPROVE)) for approval in found]
    votable = [item for item in items if not item["why_not"]]
    context = {
        "items": items,
        "votable": len(votable),
        "sums": sums_of(item["approval"] for item in votable),
        "label": _label([choice for item in votable for choice in item["choices_here"] if choice.is_chosen]),
        "needs_reason": any(item["tally"].needs_reason for item in items),
        "problem": problem,
        "comment": comment,
    }
    return render(request, "bulk.html", context, status=422 if problem else 200)


def _label(chosen_here: Sequence[ChoiceHere]) -> str:
    """Return the label of the button. Without scripts it cannot follow the choices on the page."""
    words = {choice.word for choice in chosen_here}
    return "Send the votes as chosen" if len(chosen_here) > 1 or words != {"approve"} else "Send 1 vote: 1 approve"


def _item(request: Request, approval: Approval, chosen_here: str) -> dict[str, Any]:
    graph = graph_of(approval)
    told = vote_context(request, approval, graph)
    why_not = told["choices"].why_none if approval.is_pending else f"{told['row'].outcome} already."
    if not why_not and not {"approve", "reject"} & set(approval.allowed_verdicts):
        why_not = "This question takes an answer: open it."
    ways = _ways(told["choices"], told["proposal"])
    choices_here = [ChoiceHere(value, label, word, value == chosen_here) for value, label, word in ways]
    if not any(choice.is_chosen for choice in choices_here):
        choices_here[0] = replace(choices_here[0], is_chosen=True)
    actions = approvals.actions_of(approval, graph)
    return told | {
        "warnings": approvals.warnings_of(approval),
        "actions": actions,
        "why_not": why_not,
        "key": uuid4(),
        "choices_here": choices_here,
    }


def _ways(choices: approvals.Choices, proposal: ProposalShown | None) -> list[tuple[str, str, str]]:
    """Return how the person may vote on an approval: for the question or the proposal, against it, or not at all."""
    choice = choices.agreeing_with(proposal.verdict) if proposal else choices.approve
    label, word = (f"Agree with {proposal.by}", "agree") if proposal else ("Approve", "approve")
    ways = [] if choice.why_not else [(Verdict.APPROVE.value, label, word)]
    ways += [] if choices.reject.why_not else [(Verdict.REJECT.value, "Reject", "reject")]
    return [*ways, (LEFT_OUT, "Leave out", "")]


def _ballot(request: Request, approval: Approval, verdict: str, comment: str) -> Ballot:
    """Make the ballot for what the page showed, with the digest from the page.

    To approve is to agree with the proposal.
    """
    if verdict == Verdict.APPROVE and approval.proposal:
        verdict = approval.proposal.get("verdict", verdict)
    return Ballot(
        verdict=verdict,
        seen_digest=request.POST.get(f"digest-{approval.pk}", ""),
        edits={},
        comment=comment,
        hold_seconds=settings.UNDO_SECONDS,
        idempotency_key=f"{request.POST.get(f'key-{approval.pk}') or uuid4()}-{verdict}",
    )


def _came(request: Request, approval: Approval, one: Voted | Refusal) -> Came:
    if isinstance(one, Voted):
        return Came(approval, titled(approval, one.decision), True, told_of(one))
    if isinstance(one, Denied):
        audit.append_refusal(one, actor=request.user.get_username())
    return Came(approval, titled(approval, None), False, one.message)
