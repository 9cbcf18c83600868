"""Approvals: the queue, one question, what an edit would give, and the vote."""

from typing import Annotated, Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status
from pydantic import Field, WithJsonSchema

from approvals.actions import decide
from approvals.api import cursors
from approvals.api.auth import person, viewer
from approvals.api.errors import answers
from approvals.api.fields import Body, Filters, JsonValue, Text
from approvals.api.schemas import (
    ApprovalOut,
    ApprovalPage,
    PreviewOut,
    VotedOut,
    approval_brief,
    approval_out,
    decision_out,
    run_brief,
    vote_out,
)
from approvals.enums import ApprovalStatus, Verdict
from approvals.errors import Invalid, NotFound
from approvals.models import Approval, ApprovalQuerySet

router = Router(tags=["approvals"])
MOST_APPROVALS = 100
HEAVY = ("request", "actions", "state", "opaque", "answer_schema")

Edits = Annotated[
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


class ApprovalFilters(Filters):
    status: ApprovalStatus | None = None
    graph: Text | None = None
    thread_id: Text | None = None
    assignee: Text | None = Field(None, description="Refused: nothing can be claimed yet.")
    q: Text | None = Field(None, max_length=200, description="Part of a title, a summary or a thread id.")
    limit: int = Field(50, ge=1, le=MOST_APPROVALS)
    cursor: Text | None = Field(None, max_length=200, description="`next` of the page before.")


class Trial(Body):
    edits: Edits = Field(default_factory=dict)
    as_node: Text | None = Field(None, max_length=200)


class Ballot(Body):
    """`seen_digest` is the digest of the approval as it was shown: a thread that moved since answers 409 `stale`.

    The same `idempotency_key` again gives the same answer, with status 200.
    """

    verdict: Verdict
    seen_digest: Text = Field(max_length=64)
    edits: Edits = Field(default_factory=dict)
    answer: JsonValue = None
    as_node: Text | None = Field(None, max_length=200)
    comment: Text | None = ""
    seen_preview: Text | None = Field(None, max_length=64, description="Digest of the preview that was shown.")
    idempotency_key: Text | None = None


@router.get("/approvals", response=answers(ApprovalPage))
def list_approvals(request: HttpRequest, filters: Query[ApprovalFilters]) -> ApprovalPage:
    """List approvals: the pending ones oldest first, otherwise newest first."""
    viewer(request)
    if filters.assignee:
        raise Invalid("Approvals cannot be claimed yet, so they have no assignee. Leave it out.")
    found = _filtered(filters)
    oldest_first = filters.status == ApprovalStatus.PENDING
    page = list(
        _after(found, filters.cursor, oldest_first).select_related("decision").defer(*HEAVY)[: filters.limit + 1]
    )
    items, more = page[: filters.limit], len(page) > filters.limit
    return ApprovalPage(
        items=[approval_brief(approval) for approval in items],
        next=cursors.encode(items[-1].created_at.isoformat(), str(items[-1].pk)) if more else None,
        count=found.count(),
    )


@router.get("/approvals/{approval_id}", response=answers(ApprovalOut, 404))
def get_approval(request: HttpRequest, approval_id: UUID) -> ApprovalOut:
    """Read one approval: what is asked, of whom, and what became of it."""
    viewer(request)
    found = Approval.objects.select_related("decision__run").prefetch_related("votes__voter")
    approval = found.filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("There is no such approval.")
    return approval_out(approval)


@router.post("/approvals/{approval_id}/preview", response=answers(PreviewOut, 404, 409, 410, 413))
def preview_edits(request: HttpRequest, approval_id: UUID, trial: Trial) -> PreviewOut:
    """Say what an edit would give; nothing is stored. The real graph runs on a copy, in a worker; 503 without one.

    422 `invalid_edit` with a path for each fault; 409 and 410 as a vote on this approval would answer.
    """
    edits = trial.edits if trial.edits is not None else {}
    given = decide.preview(approval_id=approval_id, edits=edits, as_node=trial.as_node or "", by=person(request))
    return PreviewOut(**given)


@router.post(
    "/approvals/{approval_id}/votes",
    response={**answers(VotedOut, 404, 409, 410, 413), **answers(VotedOut, status=201)},
)
def cast_vote(request: HttpRequest, approval_id: UUID, ballot: Ballot) -> Status[VotedOut]:
    """Vote. 201, or 200 when the same idempotency key was answered before.

    409 `already_decided`, `stale` (with what changed), `busy`, `key_reused`; 410 `superseded`;
    422 `invalid_answer`, `invalid_edit` with a path for each fault. Whatever is refused, nothing is stored.
    """
    voted = decide.vote(
        approval_id=approval_id,
        ballot=decide.Ballot(
            verdict=ballot.verdict,
            seen_digest=ballot.seen_digest,
            edits=ballot.edits if ballot.edits is not None else {},
            answer=ballot.answer,
            as_node=ballot.as_node or "",
            comment=ballot.comment or "",
            seen_preview=ballot.seen_preview or "",
            idempotency_key=ballot.idempotency_key,
        ),
        by=person(request),
    )
    told = VotedOut(vote=vote_out(voted.vote), decision=decision_out(voted.decision), run=run_brief(voted.run))
    return Status(200 if voted.is_replay else 201, told)


def _filtered(filters: ApprovalFilters) -> ApprovalQuerySet:
    found = Approval.objects.all()
    if filters.status:
        found = found.filter(status=filters.status)
    if filters.graph:
        found = found.filter(graph_id=filters.graph)
    if filters.thread_id:
        found = found.filter(thread_id=filters.thread_id)
    if filters.q:
        in_text = Q(title__icontains=filters.q) | Q(summary__icontains=filters.q)
        found = found.filter(in_text | Q(thread__id__icontains=filters.q))
    return found


def _after(found: ApprovalQuerySet, cursor: str | None, oldest_first: bool) -> ApprovalQuerySet:
    """Go on after the cursor. The first condition is what an index can use, the second breaks ties."""
    if cursor:
        at, id = cursors.decode_place(cursor)
        beyond = "gt" if oldest_first else "lt"
        found = found.filter(
            Q(**{f"created_at__{beyond}": at}) | Q(**{"created_at": at, f"id__{beyond}": id}),
            **{f"created_at__{beyond}e": at},
        )
    return found.oldest_first() if oldest_first else found.order_by("-created_at", "-id")
