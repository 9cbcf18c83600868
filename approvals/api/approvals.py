"""Approvals: the queue, one question, what an edit would give, votes and claims."""

from typing import Annotated, Any
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status
from pydantic import Field, WithJsonSchema

from approvals.actions.threads import whole_values
from approvals.actions.votes import alterations, bulk, claims, previews, votes
from approvals.actions.votes.ballots import Ballot, Voted
from approvals.api import cursors
from approvals.api.auth import person, viewer
from approvals.api.errors import Problem, answers, problem_of
from approvals.api.fields import ApiRecord, Body, JsonValue, QueryFilters, Text
from approvals.api.schemas import (
    ApprovalBrief,
    ApprovalOut,
    ApprovalPage,
    DecisionOut,
    PreviewOut,
    RunBrief,
    VotedOut,
    VoteOut,
    approval_brief,
    approval_out,
    decision_out,
    run_brief,
    vote_out,
)
from approvals.compiled import compiled, planned_by_value
from approvals.counts import Counted, read
from approvals.domain import graphs_here, queries, search
from approvals.domain.graphs_here import GraphsHere
from approvals.enums import ApprovalStatus, Verdict
from approvals.errors import NotFound, Refusal
from approvals.models import Approval, ApprovalQuerySet, Vote
from approvals.web.downloads import whole_of

router = Router(tags=["approvals"])
MOST_APPROVALS = 100
HEAVY = ("request", "actions", "state", "opaque", "answer_schema")

EditsIn = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "object",
            "description": "`set` for a channel that keeps the last value; `append` or `replace` for one that merges.",
            "additionalProperties": {
                "type": "object",
                "properties": {"op": {"enum": ["set", "append", "replace"]}, "value": {}},
                "required": ["op", "value"],
                "additionalProperties": False,
            },
            "examples": [{"amount": {"op": "set", "value": 80}}],
        }
    ),
]


class ApprovalFilters(QueryFilters):
    status: ApprovalStatus | None = None
    graph: Text | None = None
    thread_id: Text | None = None
    assignee: Text | None = Field(
        None, description="Open ones that this person has claimed; `me` for the asker's, `none` for what nobody has."
    )
    q: Text | None = Field(
        None, max_length=200, description="Words, or beginnings of words, of a title, a summary or a thread id."
    )
    exact: bool = Field(False, description="Count all, however many there are.")
    limit: int = Field(50, ge=1, le=MOST_APPROVALS)
    cursor: Text | None = Field(None, max_length=200, description="`next` of the page before.")


class Trial(Body):
    edits: EditsIn = Field(default_factory=dict)
    as_node: Text | None = Field(None, max_length=200)
    answer: JsonValue = Field(None, description="Instead of edits: what decides each task of a breakpoint.")


class BallotIn(Body):
    """`seen_digest` is the digest of the approval as it was shown: a thread that moved since answers 409 `stale`.

    The same `idempotency_key` again gives the same answer, with status 200.
    """

    verdict: Verdict
    seen_digest: Text = Field(max_length=64)
    edits: EditsIn = Field(default_factory=dict)
    answer: JsonValue = None
    as_node: Text | None = Field(None, max_length=200)
    comment: Text | None = ""
    seen_preview: Text | None = Field(None, max_length=64, description="Digest of the preview that was shown.")
    idempotency_key: Text | None = None
    as_asked: bool = Field(False, description="Approve what the agent asks, whatever is proposed instead.")

    def for_action(self) -> Ballot:
        return Ballot(
            verdict=self.verdict,
            seen_digest=self.seen_digest,
            edits=self.edits if self.edits is not None else {},
            answer=self.answer,
            as_node=self.as_node or "",
            comment=self.comment or "",
            seen_preview=self.seen_preview or "",
            idempotency_key=self.idempotency_key,
            is_answered=self.answer is not None
            or self.verdict == Verdict.RESPOND
            and "answer" in self.model_fields_set,
            is_as_asked=self.as_asked,
        )


class BallotOn(BallotIn):
    """A ballot and the approval it is for."""

    approval_id: UUID


class Ballots(Body):
    ballots: list[BallotOn] = Field(min_length=1, max_length=bulk.MOST_BALLOTS)


class BallotResult(ApiRecord):
    """What came of one ballot. `status` is what a vote on its own would have answered; `error` says why not."""

    approval_id: UUID
    status: int
    vote: VoteOut | None = None
    required_votes: int | None = None
    approvals_so_far: int | None = None
    decision: DecisionOut | None = None
    run: RunBrief | None = None
    error: Problem | None = None


class Results(ApiRecord):
    """In the order of the ballots."""

    results: list[BallotResult]


class Claim(Body):
    take_over: bool = Field(False, description="Also while somebody else has it. That is written down.")


@router.get("/approvals", response=answers(ApprovalPage))
def list_approvals(request: HttpRequest, filters: Query[ApprovalFilters]) -> ApprovalPage:
    """List approvals: the pending ones oldest first, otherwise newest first."""
    viewer(request)
    found = _filtered(filters, me=person(request).get_username())
    oldest_first = filters.status == ApprovalStatus.PENDING
    after = _with_brief(_after(found, filters.cursor, oldest_first)).defer(*HEAVY)
    most = filters.limit + 1
    column = search.OPEN if oldest_first else search.ALL
    counted = search.matching(found, filters.q, column=column) if filters.q else found
    with planned_by_value():
        page = search.first_matching(after, filters.q, most, column=column) if filters.q else list(after[:most])
        told = read(count=Counted(counted, is_exact=filters.exact), **graphs_here.reads())
    here, count = GraphsHere(told), told["count"]
    items, more = page[: filters.limit], len(page) > filters.limit
    altered = alterations.altered(items, person(request))
    return ApprovalPage(
        items=[approval_brief(approval, altered.get(str(approval.pk), ""), here) for approval in items],
        next=cursors.encode(items[-1].created_at.isoformat(), str(items[-1].pk)) if more else None,
        count=count.number,
        count_is_exact=not count.is_more,
    )


@router.get("/approvals/{approval_id}", response=answers(ApprovalOut, 404))
def get_approval(request: HttpRequest, approval_id: UUID) -> ApprovalOut:
    """Read one approval: what is asked, of whom, and what became of it."""
    viewer(request)
    votes = Prefetch("votes", Vote.objects.select_related("voter").order_by("created_at", "id"))
    found = _with_brief(Approval.objects.all()).select_related("decision__run").prefetch_related(votes)
    approval = found.filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("There is no such approval.")
    here = GraphsHere(read(**graphs_here.reads())) if approval.is_pending else None
    return approval_out(approval, alterations.altered([approval], person(request)).get(str(approval.pk), ""), here)


@router.get("/approvals/{approval_id}/whole", response=answers(Any, 404, 409))
def open_whole(request: HttpRequest, approval_id: UUID, part: Text = "") -> Any:
    """Open whole one of `cut`: JSON, or beyond 16 MB the stored bytes; or one of `folded`, as it is drawn on a page.

    It is remembered: a yes needs it.
    """
    return whole_of(whole_values.of_approval(approval_id=approval_id, part=part, by=person(request)))


@router.post("/approvals/{approval_id}/preview", response=answers(PreviewOut, 404, 409, 410, 413))
def preview_edits(request: HttpRequest, approval_id: UUID, trial: Trial) -> PreviewOut:
    """Say what an edit would give; nothing is stored. The real graph runs on a copy, in a worker; 503 without one.

    422 `invalid_edit` with a path for each fault; 409 and 410 as a vote on this approval would answer.
    """
    edits = trial.edits if trial.edits is not None else {}
    as_node = trial.as_node or ""
    given = previews.preview(
        approval_id=approval_id, edits=edits, as_node=as_node, answer=trial.answer, by=person(request)
    )
    return PreviewOut(**given)


@router.post(
    "/approvals/{approval_id}/votes",
    response={**answers(VotedOut, 404, 409, 410, 413), **answers(VotedOut, status=201)},
)
def cast_vote(request: HttpRequest, approval_id: UUID, ballot: BallotIn) -> Status[VotedOut]:
    """Vote. 201, or 200 when the same idempotency key was answered before.

    The vote that completes what the policy asks for is answered with the decision and its run. An affirmative vote with
    edits is a new proposal: it clears the votes before it and changes the digest. One without agrees with the proposal
    that stands, unless it says `as_asked`. The idempotency key may also come as the header Idempotency-Key.

    An edit is tried on a copy and bound to what it leads to, also without `seen_preview`: the proposal shows that as
    `preview`, its digest covers it, and nothing runs if the edit leads to anything else.

    403 `denied` if the policy lets others vote; 409 `already_decided`, `already_voted`, `claimed` by somebody else,
    `stale` (with what changed), `altered` and `unvouched` (what is stored is not what the audit log has),
    `other_preview`, `busy`, `key_reused`; 410 `superseded`, `expired`; 422 `invalid_answer`, `invalid_edit` with a path
    for each fault. Whatever is refused, nothing is stored.
    """
    if ballot.idempotency_key is None:
        ballot.idempotency_key = request.headers.get("Idempotency-Key")
    voted = votes.cast(approval_id=approval_id, ballot=ballot.for_action(), by=person(request))
    return Status(_status(voted), VotedOut(**_told(voted)))


@router.delete("/approvals/{approval_id}/votes", response=answers(VoteOut, 404, 409, 410))
def withdraw_vote(request: HttpRequest, approval_id: UUID) -> VoteOut:
    """Take your own vote back, before the decision. 404 if you have none that counts."""
    taken_back = votes.withdraw(approval_id=approval_id, by=person(request))
    return vote_out(Vote.objects.select_related("voter").get(pk=taken_back.pk))


@router.post("/votes", response=answers(Results, 413))
def cast_votes(request: HttpRequest, many: Ballots) -> Results:
    """Vote on several approvals. Each ballot is checked and stored on its own: one that is refused harms no other.

    200 whatever came of them; each result has the status that a vote on its own would have had. Only what is no ballot
    at all is refused as a whole, with 422. Send an idempotency key with each: the same request can then be sent again.
    """
    by = viewer(request)
    ballots = [(ballot.approval_id, ballot.for_action()) for ballot in many.ballots]
    came = bulk.vote_on_many(ballots=ballots, by=by)
    pairs = zip(many.ballots, came, strict=True)
    return Results(results=[_result(request, ballot.approval_id, each) for ballot, each in pairs])


@router.post("/approvals/{approval_id}/claim", response=answers(ApprovalBrief, 404, 409, 410, 413))
def claim_approval(request: HttpRequest, approval_id: UUID, wanted: Claim) -> ApprovalBrief:
    """Reserve it for 15 minutes, or renew that: meanwhile nobody else can vote on it. Who may vote may claim.

    409 `claimed` while somebody else has it, unless `take_over` is true.
    """
    claims.claim(approval_id=approval_id, is_take_over=wanted.take_over, by=person(request))
    return _brief(approval_id)


@router.delete("/approvals/{approval_id}/claim", response=answers(ApprovalBrief, 404))
def release_approval(request: HttpRequest, approval_id: UUID) -> ApprovalBrief:
    """Give your claim back before it ends. 404 if you hold none."""
    claims.release(approval_id=approval_id, by=person(request))
    return _brief(approval_id)


def _status(voted: Voted) -> int:
    return 200 if voted.is_replay else 201


def _told(voted: Voted) -> dict[str, Any]:
    return {
        "vote": vote_out(voted.vote),
        "required_votes": voted.required_votes,
        "approvals_so_far": voted.approvals_so_far,
        "decision": decision_out(voted.decision),
        "run": run_brief(voted.run),
    }


def _result(request: HttpRequest, approval_id: UUID, came: Voted | Refusal) -> BallotResult:
    if isinstance(came, Refusal):
        return BallotResult(approval_id=approval_id, status=came.status, error=problem_of(request, came))
    return BallotResult(approval_id=approval_id, status=_status(came), **_told(came))


def _with_brief(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Select everything that an ApprovalBrief needs, in one query."""
    return queries.with_tally(found.select_related("decision", "claimed_by"))


def _brief(approval_id: UUID) -> ApprovalBrief:
    [approval] = _briefly(pk=approval_id)
    return approval_brief(approval)


@compiled
def _briefly(pk: UUID) -> "QuerySet[Approval]":
    return _with_brief(Approval.objects.all()).defer(*HEAVY).filter(pk=pk)


def _filtered(filters: ApprovalFilters, *, me: str) -> ApprovalQuerySet:
    """Apply all filters but the search."""
    found = Approval.objects.all()
    if filters.assignee == "none":
        found = found.pending().unclaimed()
    elif filters.assignee:
        found = queries.held_by(found, me if filters.assignee == "me" else filters.assignee)
    if filters.status == ApprovalStatus.PENDING:
        found = found.pending()
    elif filters.status:
        found = found.filter(status=filters.status)
    if filters.graph:
        found = found.filter(graph_id=filters.graph)
    if filters.thread_id:
        found = found.filter(thread_id=filters.thread_id)
    return found


def _after(found: ApprovalQuerySet, cursor: str | None, oldest_first: bool) -> ApprovalQuerySet:
    """Select what follows the cursor. The first condition can use an index, the second breaks ties."""
    if cursor:
        at, id = cursors.decode_place(cursor)
        beyond = "gt" if oldest_first else "lt"
        found = found.filter(
            Q(**{f"created_at__{beyond}": at}) | Q(**{"created_at": at, f"id__{beyond}": id}),
            **{f"created_at__{beyond}e": at},
        )
    return found.oldest_first() if oldest_first else found.order_by("-created_at", "-id")
