"""Preview an edit, vote, withdraw, claim. What was typed is kept, whatever happens."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from approvals import inbox, permissions
from approvals.actions import claim as claiming
from approvals.actions import decide, keep_draft
from approvals.actions.decide import Ballot, Voted
from approvals.answers import BREAKPOINT
from approvals.errors import Conflict, Gone, Invalid, Refusal
from approvals.models import Approval
from approvals.presenters import approvals as shown
from approvals.presenters.values import differences_of
from approvals.shapes import read_json
from approvals.text import json_text
from approvals.views.answering import answering_of, reviewed
from approvals.views.approval import (
    answer_context,
    decision_of,
    get_approval,
    graph_of,
    next_up,
    page_context,
    vote_context,
)
from approvals.views.editing import ask_preview, editing_of, show_faults, switched
from approvals.views.pages import Request, page_or_part, redirect_after_post


@require_http_methods(["GET", "POST"])
def vote(request: Request, approval_id: UUID) -> HttpResponse:
    if request.method == "GET":  # a page that was reloaded after a conflict
        return redirect("approval", approval_id)
    ballot = ballot_of(request)
    try:
        voted = decide.vote(approval_id=approval_id, ballot=ballot, by=request.user)
    except Refusal as refused:
        return _refused(request, approval_id, ballot, refused)
    keep_draft.drop_draft(thread_id=voted.vote.approval.thread_id, by=request.user)
    messages.success(request, told_of(voted))
    return redirect_after_post("approval", approval_id)


def told_of(voted: Voted) -> str:
    """Say what came of a vote."""
    if voted.decision:
        return f"{shown.PAST[voted.decision.verdict]}."
    missing = inbox.missing(voted.vote.approval_id)
    return f"Your vote is in. {missing} more needed." if voted.vote.verdict != "reject" else "Your vote is in."


@require_POST
def withdraw(request: Request, approval_id: UUID) -> HttpResponse:
    decide.withdraw(approval_id=approval_id, by=request.user)
    messages.success(request, "Your vote is withdrawn.")
    return redirect_after_post("approval", approval_id)


@require_POST
def claim(request: Request, approval_id: UUID) -> HttpResponse:
    is_take_over = "take_over" in request.POST
    claiming.claim(approval_id=approval_id, is_take_over=is_take_over, by=request.user)
    messages.success(request, f"Yours for {claiming.CLAIM_MINUTES} minutes.")
    return redirect_after_post("approval", approval_id)


@require_POST
def release(request: Request, approval_id: UUID) -> HttpResponse:
    claiming.release(approval_id=approval_id, by=request.user)
    messages.success(request, "Released.")
    return redirect_after_post("approval", approval_id)


@require_POST
def preview(request: Request, approval_id: UUID) -> HttpResponse:
    found = get_approval(request.user, approval_id)
    permissions.check_vote(request.user, "approve")
    graph = graph_of(found)
    editing = editing_of(found, graph, post=request.POST)
    if editing.edits is not None and request.POST.get("do") in ("as_json", "as_form"):
        editing = switched(found, graph, editing)
    elif editing.edits is not None and graph is not None and not editing.is_redrawn:
        ask_preview(found, graph, editing, by=request.user)
    context = page_context(request, found, graph, editing) | {
        "is_edit_open": True,
        "comment": request.POST.get("comment", ""),
    }
    return page_or_part(request, "approval.html", "edit", context, status=200 if editing.is_fine else 422)


@require_http_methods(["GET", "POST"])
def answer(request: Request, approval_id: UUID) -> HttpResponse:
    """Show what an answer would be, or what is wrong with it; nothing is stored."""
    found = get_approval(request.user, approval_id)
    if request.method == "GET" or found.kind == BREAKPOINT or not found.is_pending:
        return redirect("approval", approval_id)
    permissions.check_vote(request.user, "respond")
    graph = graph_of(found)
    answering = reviewed(found, graph, request.POST, by=request.user)
    context = page_context(request, found, graph, editing_of(found, graph)) | {
        **answer_context(answering),
        "is_answer_open": True,
        "comment": request.POST.get("comment", ""),
    }
    return page_or_part(request, "approval.html", "answer", context, status=200 if answering.is_fine else 422)


def ballot_of(request: Request) -> Ballot:
    post = request.POST
    try:
        edits = read_json(post.get("edits") or "{}")
        given = read_json(post["answer"]) if "answer" in post else None
    except ValueError as error:
        raise Invalid(f"The edits or the answer came broken: {error}") from None
    return Ballot(
        verdict=post.get("verdict", ""),
        seen_digest=post.get("seen_digest", ""),
        edits=edits,
        answer=given,
        is_answered="answer" in post,
        as_node=post.get("as_node", ""),
        comment=post.get("comment", "").replace("\r\n", "\n"),
        seen_preview=post.get("seen_preview", "")[:64],
        idempotency_key=post.get("idempotency_key") or None,
    )


def _refused(request: Request, approval_id: UUID, ballot: Ballot, refused: Refusal) -> HttpResponse:
    """Keep what was typed, then say what happened: a page of its own for a lost race, the form again for a fault."""
    found = get_approval(request.user, approval_id)
    if isinstance(refused, Invalid):
        return _with_faults(request, found, ballot, refused)
    edits = ballot.edits if isinstance(ballot.edits, dict) else {}
    keep_draft.keep_draft(
        thread_id=found.thread_id, edits=edits, answer=ballot.answer, comment=ballot.comment, by=request.user
    )
    if not isinstance(refused, Conflict | Gone):
        raise refused
    context = vote_context(request, found) | {
        "refusal": refused,
        "is_proposed": found.is_pending and ballot.seen_digest != found.digest,
        "decision": decision_of(found),
        "changed": differences_of(refused.detail.get("changed") or []),
        "newer": newer_than(found, refused),
        "next_nodes": shown.titles_of(refused.detail["next"], graph_of(found)) if "next" in refused.detail else "",
        "seen_next": shown.titles_of(found.next, graph_of(found)),
        "draft_edits": json_text(edits) if edits else "",
        "draft_answer": json_text(ballot.answer) if ballot.answer is not None else "",
        "comment": ballot.comment,
        "next_up": next_up(request, found),
    }
    response = render(request, "conflict.html", context, status=refused.status)
    response["HX-Push-Url"] = "false"
    return response


def _with_faults(request: Request, found: Approval, ballot: Ballot, refused: Invalid) -> HttpResponse:
    graph = graph_of(found)
    edits = ballot.edits if isinstance(ballot.edits, dict) else {}
    editing = editing_of(found, graph, edits=edits, as_node=ballot.as_node)
    if edits:
        show_faults(editing, refused)
    answering = None
    if found.is_pending and found.kind != BREAKPOINT:
        answering = answering_of(found, graph, answer=ballot.answer)
        answering.form.add_faults(refused.detail.get("faults") or [])
    context = page_context(request, found, graph, editing) | {
        **answer_context(answering),
        "is_answer_open": ballot.is_answered,
        "problem": refused.message,
        "is_edit_open": bool(edits),
        "open_panel": ballot.verdict,
        "comment": ballot.comment,
    }
    response = render(request, "approval.html", context, status=refused.status)
    response["HX-Push-Url"] = "false"
    return response


def newer_than(found: Approval, refused: Refusal) -> str:
    """Return the question that is asked now on the same thread, if there is one."""
    if refused.detail.get("approval"):
        return str(refused.detail["approval"])
    newer = Approval.objects.pending().filter(thread_id=found.thread_id).exclude(pk=found.pk)
    return str(newer.values_list("pk", flat=True).first() or "")
