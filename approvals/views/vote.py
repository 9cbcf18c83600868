"""Preview an edit, vote, withdraw, claim. What was typed is kept, whatever happens."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_POST

from approvals.actions.votes import claims, drafts, votes
from approvals.actions.votes.ballots import Ballot, Voted
from approvals.domain import bindings, permissions
from approvals.domain.answers import takes_answer
from approvals.domain.text import json_text
from approvals.enums import VERDICT_WORDS
from approvals.errors import Conflict, Gone, Invalid, InvalidAnswer, OtherPreview, Refusal, Unavailable
from approvals.forms.edits import EditForm
from approvals.forms.values import MISSING, read_json
from approvals.models import Approval, Graph
from approvals.presenters import approvals
from approvals.presenters.values import differences_of
from approvals.views.answering import Answering, answered_with, answering_of, reviewed
from approvals.views.approval import (
    answer_context,
    decision_of,
    edit_context,
    get_approval,
    graph_of,
    next_up,
    page_context,
    vote_context,
    with_bar,
)
from approvals.views.editing import Editing, ask_preview, editing_of, show_faults, switched
from approvals.views.lists import address_of_list, came_from
from approvals.views.pages import Request, page_or_part, redirect_after_post, wants_part
from approvals.views.preferences import preferences_of
from approvals.views.steps import to_next
from approvals.views.tray import note_vote

CHANGED = "This form was changed. Here is what that leads to: look at it, then send it."
OTHERWISE = "This leads to something else than the preview showed. Here is what it leads to now."
TAKEN_BACK = "The edit that was previewed is taken back: nothing would be changed. Edit it again, or send it without."
CHOSEN = "Something is filled in here. This is what would be sent: look at it, then send it."
AT_FAULT = "Nothing was sent: something in the answer is missing or does not fit. It is marked below."
UNREADABLE = "So nobody can try an edit, and nothing was sent. Open the page anew to decide without one."
OLD_PAGE = "This page is older than what is decided now. Nothing was sent; open it again."


@require_http_methods(["GET", "POST"])
def vote(request: Request, approval_id: UUID) -> HttpResponse:
    """Vote with what is on the screen. If its effect was not shown yet, show it and ask instead."""
    if request.method == "GET":  # a page that was reloaded after a conflict
        return redirect("approval", approval_id)
    match request.POST.get("on"):
        case "edit":
            return _vote_with_edit(request, approval_id)
        case "answer":
            return _vote_with_answer(request, approval_id)
    return _cast(request, approval_id, ballot_of(request))


def _cast(request: Request, approval_id: UUID, ballot: Ballot) -> HttpResponse:
    try:
        return _voted(request, approval_id, ballot)
    except Refusal as refused:
        return _refused(request, approval_id, ballot, refused)


def _voted(request: Request, approval_id: UUID, ballot: Ballot) -> HttpResponse:
    voted = votes.cast(approval_id=approval_id, ballot=ballot, by=request.user)
    drafts.drop_draft(thread_id=voted.vote.approval.thread_id, by=request.user)
    if came_from(request) and preferences_of(request).opens_next:
        # The tray tells of what was decided, where there are scripts.
        link = format_html('{} <a href="{}">See it</a>', told_of(voted), reverse("approval", args=[approval_id]))
        messages.success(request, link, extra_tags="quiet" if voted.decision else "")
        return note_vote(to_next(request, approval_id))
    messages.success(request, told_of(voted))
    return note_vote(_to_approval(request, approval_id))


def _vote_with_edit(request: Request, approval_id: UUID) -> HttpResponse:
    """Approve with the edit form: as it is without an edit, else with the edit as its preview showed it."""
    found = get_approval(request.user, approval_id)
    graph = graph_of(found)
    _check_readable(request, found, graph)
    editing = editing_of(found, graph, post=request.POST)
    if editing.edits is None:
        return _edit_page(request, found, graph, editing)
    ballot = replace(ballot_of(request), edits=editing.edits, as_node=editing.as_node if editing.edits else "")
    if _is_to_be_seen(request, found):
        if editing.edits and not ballot.seen_preview:
            return _ask_with_preview(request, found, graph, editing, CHANGED)
        if ballot.seen_preview and not editing.edits:
            return _edit_page(request, found, graph, editing, TAKEN_BACK)
    try:
        return _voted(request, approval_id, ballot)
    except OtherPreview:
        return _ask_with_preview(request, found, graph, editing, OTHERWISE)
    except Refusal as refused:
        if isinstance(refused, InvalidAnswer) and editing.edits:  # a reason is missing, say: the preview stays
            return _ask_with_preview(request, found, graph, editing, refused.message)
        return _refused(request, approval_id, ballot, refused)


def _vote_with_answer(request: Request, approval_id: UUID) -> HttpResponse:
    """Send the answer form; without any choice on it, what the button says about every action."""
    found = get_approval(request.user, approval_id)
    ballot = ballot_of(request)
    graph = graph_of(found)
    _check_readable(request, found, graph)
    answering = answered_with(found, graph, request.POST)
    if not _is_to_be_seen(request, found):  # it is refused, and what was typed is kept
        answer = _whole_answer(answering)
        return _cast(request, approval_id, replace(ballot, answer=answer, is_answered=answer is not None))
    permissions.check_vote(request.user, "respond")
    if answering.is_untouched:
        return _cast(request, approval_id, replace(ballot, verdict="approve"))
    answering = reviewed(found, graph, request.POST, by=request.user)
    if answering.review is None:
        return _answer_page(request, found, graph, answering, answering.problem or AT_FAULT)
    is_silent = bool(found.rule.get("needs_reason")) and not ballot.comment.strip()
    is_to_be_seen = answering.needs_look or is_silent or _says_all(request)
    if is_to_be_seen and request.POST.get("reviewed") != answering.review.mark:
        return _answer_page(request, found, graph, answering, CHOSEN)
    said = replace(
        ballot,
        verdict=answering.review.verdict,
        answer=answering.answer if answering.review.verdict == "respond" else None,
        is_answered=answering.review.verdict == "respond",
        edits=answering.edits,
        seen_preview=answering.preview.digest if answering.preview else "",
    )
    return _cast(request, approval_id, said)


def _check_readable(request: Request, found: Approval, graph: Graph | None) -> None:
    """Raise Unavailable for fields of an edit of which nobody can tell what they mean: the graph's card is gone.

    They would be taken for no edit. The open page stays as it is, with what was typed.
    """
    if _is_unreadable(request, graph):
        raise Unavailable(f"{bindings.graph_gone(found.graph_id)} {UNREADABLE}")


def _is_unreadable(request: Request, graph: Graph | None) -> bool:
    return graph is None and EditForm.has_fields(request.POST)


def _whole_answer(answering: Answering) -> Any:
    """Return the typed answer if it is complete, else None."""
    form = answering.form
    answer = None if form.is_untouched or not form.is_valid() else form.value()
    return None if answer is MISSING else answer


def _says_all(request: Request) -> bool:
    """Return whether the button said that it approves everything. Only scripts hide that button in time."""
    return request.POST.get("do") == "plain"


def _is_to_be_seen(request: Request, found: Approval) -> bool:
    """Return whether the page is still valid for a vote. If not, the vote itself says why."""
    return found.is_pending and request.POST.get("seen_digest") == found.digest


def _ask_with_preview(
    request: Request, found: Approval, graph: Graph | None, editing: Editing, problem: str
) -> HttpResponse:
    permissions.check_vote(request.user, "approve")
    if graph is not None:
        ask_preview(found, graph, editing, by=request.user)
    return _edit_page(request, found, graph, editing, problem if editing.preview else "")


def _edit_page(
    request: Request, found: Approval, graph: Graph | None, editing: Editing, problem: str = ""
) -> HttpResponse:
    more = {"is_edit_open": True, "problem": problem, "answering": None}
    return _page(request, page_context(request, found, graph, editing) | more)


def _answer_page(
    request: Request, found: Approval, graph: Graph | None, answering: Answering, problem: str = ""
) -> HttpResponse:
    more = {**answer_context(answering), "is_answer_open": True, "problem": problem}
    return _page(request, page_context(request, found, graph, editing_of(found, graph)) | more)


def _page(request: Request, context: dict[str, Any]) -> HttpResponse:
    """Render the page of an approval again with what was typed; nothing was sent."""
    context = with_bar({"comment": request.POST.get("comment", ""), **context})
    response = render(request, "approval.html", context, status=422)
    response["HX-Push-Url"] = "false"
    return response


def _to_approval(request: Request, approval_id: UUID, **parameters: str) -> HttpResponse:
    """Redirect to the page of an approval, which keeps the list that the person came from."""
    response, came = redirect_after_post("approval", approval_id), came_from(request)
    query = [came.address.removeprefix("?")] if came else []
    query += [urlencode(parameters)] if parameters else []
    response["Location"] += f"?{'&'.join(query)}" if query else ""
    return response


@require_POST
def keep(request: Request, approval_id: UUID) -> HttpResponse:
    """Store what was typed on an outdated page as a draft, and show the current page."""
    found = get_approval(request.user, approval_id)
    has_draft = _keep_typed(request, found) and found.is_pending
    return _to_approval(request, approval_id, **({"draft": "1"} if has_draft else {}))


@require_POST
def draft(request: Request, approval_id: UUID) -> HttpResponse:
    """Store what is being typed, as far as it is whole. The page sends it while its person types."""
    found = get_approval(request.user, approval_id)
    if _is_unreadable(request, graph_of(found)):
        return HttpResponse(status=204)
    if found.is_pending and not _is_old(request, found) and not _keep_typed(request, found):
        drafts.drop_draft(thread_id=found.thread_id, by=request.user)
    return HttpResponse(status=204)


def _keep_typed(request: Request, found: Approval) -> bool:
    """Store what was typed as a draft. Return whether there was anything."""
    graph = graph_of(found)
    _check_readable(request, found, graph)
    edits, answer = {}, None
    if request.POST.get("on") == "edit":
        edits = editing_of(found, graph, post=request.POST).edits or {}
    elif request.POST.get("on") == "answer":
        answer = _whole_answer(answered_with(found, graph, request.POST))
    comment = request.POST.get("comment", "").replace("\r\n", "\n")
    drafts.keep_draft(thread_id=found.thread_id, edits=edits, answer=answer, comment=comment, by=request.user)
    return bool(edits or comment or answer is not None)


def told_of(voted: Voted) -> str:
    """Return the sentence about the result of a vote."""
    if voted.decision:
        return f"{VERDICT_WORDS[voted.decision.verdict].decided}."
    return f"Your vote is in. {voted.missing} more needed." if voted.vote.verdict != "reject" else "Your vote is in."


@require_POST
def withdraw(request: Request, approval_id: UUID) -> HttpResponse:
    votes.withdraw(approval_id=approval_id, by=request.user)
    messages.success(request, "Your vote is withdrawn.")
    return _to_approval(request, approval_id)


@require_POST
def claim(request: Request, approval_id: UUID) -> HttpResponse:
    is_take_over = "take_over" in request.POST
    claims.claim(approval_id=approval_id, is_take_over=is_take_over, by=request.user)
    messages.success(request, f"Yours for {claims.CLAIM_MINUTES} minutes.")
    return _to_approval(request, approval_id)


@require_POST
def release(request: Request, approval_id: UUID) -> HttpResponse:
    claims.release(approval_id=approval_id, by=request.user)
    messages.success(request, "Released.")
    return _to_approval(request, approval_id)


@require_POST
def preview(request: Request, approval_id: UUID) -> HttpResponse:
    found = get_approval(request.user, approval_id)
    permissions.check_vote(request.user, "approve")
    graph = graph_of(found)
    editing = editing_of(found, graph, post=request.POST)
    if _is_old(request, found):
        editing.problem = OLD_PAGE
    elif editing.edits is not None and request.POST.get("do") in ("as_json", "as_form"):
        editing = switched(found, graph, editing)
    elif editing.edits is not None and graph is not None and not editing.is_redrawn:
        ask_preview(found, graph, editing, by=request.user)
    context = _form_context(request, found, graph, editing) | {
        "is_edit_open": True,
        "comment": request.POST.get("comment", ""),
        "seen_digest": request.POST.get("seen_digest"),
    }
    return page_or_part(request, "approval.html", "edit", with_bar(context), status=200 if editing.is_fine else 422)


@require_http_methods(["GET", "POST"])
def answer(request: Request, approval_id: UUID) -> HttpResponse:
    """Show the review of an answer, or its faults. Nothing is stored."""
    found = get_approval(request.user, approval_id)
    if request.method == "GET" or not takes_answer(found) or not found.is_pending:
        return redirect("approval", approval_id)
    permissions.check_vote(request.user, "respond")
    graph = graph_of(found)
    if _is_old(request, found):
        answering = answered_with(found, graph, request.POST)
        answering.problem = OLD_PAGE
    else:
        answering = reviewed(found, graph, request.POST, by=request.user)
    context = _form_context(request, found, graph, editing_of(found, graph)) | {
        **answer_context(answering),
        "is_answer_open": True,
        "problem": "" if answering.is_fine else answering.problem or AT_FAULT,
        "comment": request.POST.get("comment", ""),
        "seen_digest": request.POST.get("seen_digest"),
    }
    return page_or_part(request, "approval.html", "answer", with_bar(context), status=200 if answering.is_fine else 422)


def _form_context(request: Request, found: Approval, graph: Graph | None, editing: Editing) -> dict[str, Any]:
    """Return what the answer to a form shows: its fragment and the bar, or without scripts the page."""
    return (edit_context if wants_part(request) else page_context)(request, found, graph, editing)


def _is_old(request: Request, found: Approval) -> bool:
    """Return whether the page around the fragment shows something else than what is being decided now."""
    return request.POST.get("seen_digest", found.digest) != found.digest


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
        is_as_asked="as_asked" in post,
        hold_seconds=settings.UNDO_SECONDS,
    )


def _refused(request: Request, approval_id: UUID, ballot: Ballot, refused: Refusal) -> HttpResponse:
    """Store what was typed; show a page of its own for a lost race, or the form again for a fault."""
    found = get_approval(request.user, approval_id)
    if isinstance(refused, Invalid):
        return _with_faults(request, found, ballot, refused)
    if isinstance(refused, Unavailable) and found.is_pending:
        _keep(request, found, ballot)
        return _with_faults(request, found, ballot, refused)
    edits = _keep(request, found, ballot)
    if not isinstance(refused, Conflict | Gone):
        raise refused
    graph = graph_of(found)
    context = vote_context(request, found, graph) | {
        "refusal": refused,
        "is_proposed": found.is_pending and ballot.seen_digest != found.digest,
        "decision": decision_of(found),
        "changed": differences_of(refused.detail.get("changed") or []),
        "newer": newer_than(found, refused),
        "next_nodes": approvals.titles_of(refused.detail["next"], graph) if "next" in refused.detail else "",
        "seen_next": approvals.titles_of(found.next, graph),
        "draft_edits": json_text(edits) if edits else "",
        "draft_answer": json_text(ballot.answer) if ballot.answer is not None else "",
        "comment": ballot.comment,
        "next_up": next_up(request, found),
        "from_list": address_of_list(request),
    }
    response = render(request, "conflict.html", context, status=refused.status)
    response["HX-Push-Url"] = "false"
    return response


def _keep(request: Request, found: Approval, ballot: Ballot) -> dict[str, Any]:
    """Store what a ballot has as a draft. Return its edits."""
    edits = ballot.edits if isinstance(ballot.edits, dict) else {}
    drafts.keep_draft(
        thread_id=found.thread_id, edits=edits, answer=ballot.answer, comment=ballot.comment, by=request.user
    )
    return edits


def _with_faults(request: Request, found: Approval, ballot: Ballot, refused: Refusal) -> HttpResponse:
    graph = graph_of(found)
    edits = ballot.edits if isinstance(ballot.edits, dict) else {}
    editing = editing_of(found, graph, edits=edits, as_node=ballot.as_node)
    if edits:
        show_faults(editing, refused)
    answering = None
    if found.is_pending and takes_answer(found):
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
    response = render(request, "approval.html", with_bar(context), status=refused.status)
    response["HX-Push-Url"] = "false"
    return response


def newer_than(found: Approval, refused: Refusal) -> str:
    """Return the question that the same thread asks now, or an empty string."""
    if refused.detail.get("approval"):
        return str(refused.detail["approval"])
    newer = Approval.objects.pending().filter(thread_id=found.thread_id).exclude(pk=found.pk)
    return str(newer.values_list("pk", flat=True).first() or "")
