"""Several approvals together: each shown whole, each voted on by itself."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from approvals import audit as log
from approvals import permissions
from approvals.actions import decide_many
from approvals.actions.decide import Ballot, Voted
from approvals.errors import Denied, Invalid, Refusal
from approvals.models import Approval
from approvals.presenters import approvals as shown
from approvals.views.approval import graph_of, vote_context
from approvals.views.pages import Request
from approvals.views.vote import told_of

VERDICTS = ("approve", "reject")


@dataclass(frozen=True)
class Came:
    """What came of one vote."""

    approval: Approval
    is_done: bool
    sentence: str


@require_http_methods(["GET", "HEAD", "POST"])
def bulk(request: Request) -> HttpResponse:
    permissions.check_view(request.user)
    if request.method != "POST":
        return _page(request, chosen(request.GET.getlist("id")))
    found = chosen(request.POST.getlist("id"))
    verdict, comment = request.POST.get("verdict", ""), request.POST.get("comment", "").replace("\r\n", "\n")
    if verdict not in VERDICTS:
        raise Invalid("Approve or reject: nothing else can be done to several at once.")
    if verdict == "reject" and not comment.strip():
        return _page(request, found, problem="Say why you reject: the reason goes into each record.", comment=comment)
    ballots = [(each.pk, _ballot(request, each, verdict, comment)) for each in found]
    came = decide_many.vote_on_many(ballots=ballots, by=request.user)
    results = [_came(request, each, one) for each, one in zip(found, came, strict=True)]
    return render(request, "bulk_done.html", {"results": results, "done": sum(result.is_done for result in results)})


def chosen(ids: list[str]) -> list[Approval]:
    """Return the approvals that were chosen, in their order in the queue."""
    try:
        wanted = {UUID(id) for id in ids}
    except ValueError:
        raise Invalid("That is no list of approvals. Choose them in the queue.") from None
    if not 0 < len(wanted) <= decide_many.MOST_BALLOTS:
        raise Invalid(f"Choose 1 to {decide_many.MOST_BALLOTS} approvals in the queue.")
    found = Approval.objects.filter(pk__in=wanted).select_related("thread__started_by", "claimed_by", "decision__run")
    return list(found.most_urgent_first())


def _page(request: Request, found: list[Approval], *, problem: str = "", comment: str = "") -> HttpResponse:
    items = [_item(request, approval) for approval in found]
    context = {
        "items": items,
        "votable": sum(not item["why_not"] for item in items),
        "needs_reason": any(item["tally"].needs_reason for item in items),
        "problem": problem,
        "comment": comment,
    }
    return render(request, "bulk.html", context, status=422 if problem else 200)


def _item(request: Request, approval: Approval) -> dict[str, Any]:
    told = vote_context(request, approval)
    why_not = told["choices"].why_none if approval.is_pending else f"{told['row'].outcome} already."
    if not why_not and not set(VERDICTS) & set(approval.allowed_verdicts):
        why_not = "This question takes an answer: open it."
    return told | {"actions": shown.actions_of(approval, graph_of(approval)), "why_not": why_not, "key": uuid4()}


def _ballot(request: Request, approval: Approval, verdict: str, comment: str) -> Ballot:
    """Vote on what the page showed: its digest came with it."""
    return Ballot(
        verdict=verdict,
        seen_digest=request.POST.get(f"digest-{approval.pk}", ""),
        edits={},
        comment=comment,
        idempotency_key=f"{request.POST.get(f'key-{approval.pk}') or uuid4()}-{verdict}",
    )


def _came(request: Request, approval: Approval, one: Voted | Refusal) -> Came:
    if isinstance(one, Voted):
        return Came(approval, True, told_of(one))
    if isinstance(one, Denied):
        log.append_refusal(one, actor=request.user.get_username())
    return Came(approval, False, one.message)
