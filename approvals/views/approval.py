"""The page of one approval: the action, the state, its place in the graph, and its outcome."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User as Person
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_safe

from agentcore.plain.json import digest
from approvals.actions.threads import whole_values
from approvals.actions.votes import alterations
from approvals.compiled import compiled, planned_by_value
from approvals.counts import Counted, Listed, Read, read
from approvals.domain import graphs_here, permissions, policies, queries, voters
from approvals.domain.answers import BREAKPOINT, choices_of, takes_answer
from approvals.domain.graphs_here import GraphsHere
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.domain.text import json_text
from approvals.enums import ThreadStatus, Verdict
from approvals.errors import NotFound
from approvals.models import Approval, Draft, Graph, Run, Snooze
from approvals.presenters import approvals
from approvals.presenters.answers import asked_by
from approvals.presenters.bars import OnScreen, bar_of
from approvals.presenters.queue import row_of
from approvals.presenters.runs import run_of
from approvals.presenters.steps import PlaceShown, is_held
from approvals.presenters.values import conversations_of, differences, state_of
from approvals.presenters.votes import proposal_of, tally_of
from approvals.views.answering import Answering, answering_of
from approvals.views.editing import Editing, editing_of
from approvals.views.lists import TABS, ListAsked, address_of_list, came_from, kept_counts, listed, own_list
from approvals.views.pages import Request, page_or_part
from approvals.views.queue import beside

DRAFT = ("edits", "answer", "comment", "updated_at")
"""What is shown of a draft."""


@require_safe
def approval(request: Request, approval_id: UUID) -> HttpResponse:
    found = get_approval(request.user, approval_id)
    graph = graph_of(found)
    draft = draft_of(found) if found.is_pending else None
    use = draft if "draft" in request.GET else None
    edits = use.edits if use else None
    editing = editing_of(found, graph, edits=edits, mode=request.GET.get("edit", "form"))
    answering = None
    if found.is_pending and takes_answer(found):
        answering = answering_of(found, graph, answer=use.answer if use else None, edits=edits)
    context = page_context(request, found, graph, editing) | {
        **answer_context(answering),
        "is_edit_open": "edit" in request.GET or bool(use and use.edits),
        "is_answer_open": "answer" in request.GET or bool(use and use.answer is not None),
        "draft": None if use else draft,
        "comment": use.comment if use else "",
    }
    return render(request, "approval.html", with_bar(context))


@require_GET
def standing(request: Request, approval_id: UUID) -> HttpResponse:
    """Tell an open page whether it is still current: 204 if so; else fragments with new votes and claims, or why it
    is old.
    """
    found = get_approval(request.user, approval_id)
    if not found.is_pending:
        return render(request, "approval.html#closed", {"approval": found, "row": row_of(found)})
    context = vote_context(request, found, graph_of(found))
    if request.GET.get("seen") != found.digest:
        is_same_question = request.GET.get("asked") == found.shown_digest
        return render(request, "approval.html#proposed", context | {"is_same_question": is_same_question})
    marks = {name: request.GET.get(name) != context[f"{name}_mark"] for name in ("tally", "choices")}
    if not any(marks.values()):
        return HttpResponse(status=204)
    return render(request, "approval.html#votes", with_bar(context | {"key": uuid4(), "is_new": marks}))


@require_GET
def run(request: Request, approval_id: UUID) -> HttpResponse:
    """The run that carries out the decision. The fragment asks again when it is told of a step."""
    found = get_approval(request.user, approval_id)
    context = run_context(request, found, graph_of(found)) | {"is_fragment": bool(request.htmx)}
    return page_or_part(request, "run.html", "run", context)


@require_safe
def raw(request: Request, approval_id: UUID) -> HttpResponseBase:
    """The shown values as JSON. The digest of the approval is computed from them."""
    found = get_approval(request.user, approval_id)
    return JsonResponse(
        {
            "digest": found.shown_digest or found.digest,
            "request": found.request,
            "actions": found.actions,
            "state": found.state,
        }
    )


def get_approval(user: User, approval_id: UUID) -> Approval:
    permissions.check_view(user)
    for found in _with_graph_and_draft(approval_id=approval_id, person_id=user.pk or 0):
        return found
    raise NotFound("There is no such approval.")


@compiled
def _with_graph_and_draft(approval_id: UUID, person_id: int) -> QuerySet[Approval]:
    """Select all that the page of an approval needs of single rows."""
    wanted = Approval.objects.select_related("thread__started_by", "claimed_by", "decision__run", "decision__vote")
    graph = Graph.objects.filter(pk=OuterRef("graph_id"))
    drafts = Draft.objects.filter(user_id=person_id, thread_id=OuterRef("thread_id"))
    snoozes = Snooze.objects.filter(user_id=person_id, approval_id=OuterRef("pk"), until__gt=Now())
    return wanted.filter(pk=approval_id).annotate(
        snoozed_until=Subquery(snoozes.values("until")),
        card=Subquery(graph.values("card")),
        card_at=Subquery(graph.values("published_at")),
        **{f"draft_{name}": Subquery(drafts.values(name)) for name in DRAFT},
    )


def draft_of(found: Approval) -> Draft | None:
    """Return what the person had typed on this thread."""
    told = {name: vars(found)[f"draft_{name}"] for name in DRAFT}
    return Draft(**told) if told["updated_at"] else None


def graph_of(found: Approval) -> Graph | None:
    if "card" in vars(found):
        card, at = vars(found)["card"], vars(found)["card_at"]
        graph = Graph(pk=found.graph_id, card=card, published_at=at) if card else None
    else:
        graph = Graph.objects.filter(pk=found.graph_id).first()
    return graph.at(found.path) if graph else None


def with_bar(context: dict[str, Any]) -> dict[str, Any]:
    """Add the decision bar, which depends on everything else on the page. Call it last."""
    found, choices = context["approval"], context["choices"]
    editing, answering = context.get("editing"), context.get("answering")
    review = answering.review if answering else None
    is_shown_open = len(found.allowed_verdicts) < 2 or len(answering.form.choices) > 1 if answering else False
    is_proposed = context["proposal"] is not None and context["proposal"].verdict == Verdict.RESPOND
    seen = OnScreen(
        is_edit_open=bool(context.get("is_edit_open")),
        has_edits=bool(editing and editing.has_edits),
        preview=editing.preview if editing else None,
        is_answer_open=bool(context.get("is_answer_open")) or (is_shown_open and not is_proposed),
        is_answered=bool(answering and not answering.is_blank),
        is_reviewed=review is not None,
        decided=review.decided if review else (),
    )
    bar = bar_of(found, choices, context["tally"], context["proposal"], seen)
    leads_to = seen.preview or (context["proposal"] and context["proposal"].preview)
    drawing = {}
    if leads_to and found.is_pending and "drawing" in context:
        drawing = {"drawing": approvals.picture_of(found, context["graph"], leads_to=leads_to.leads_to)}
    return context | drawing | {"bar": bar, "on_screen": seen}


def edit_context(
    request: Request, found: Approval, graph: Graph | None, editing: Editing, **also: Read
) -> dict[str, Any]:
    """Return the context of the forms and of the decision bar: all that a fragment with a form shows.

    `also` is read in the same statement as the votes.
    """
    actions = approvals.actions_of(found, graph)
    return {
        "graph": graph,
        "actions": actions,
        "drawing": approvals.picture_of(found, graph),
        "notice": policies.why_not_edit_blocked(blocked=found.blocked),
        "editing": editing,
        "groups": list(editing.form.groups(approvals.shown_first(actions))),
        "answering": None,
        "key": uuid4(),
        **vote_context(request, found, graph, **also),
    }


def page_context(request: Request, found: Approval, graph: Graph | None, editing: Editing) -> dict[str, Any]:
    """Return the context of the whole page."""
    asked = came_from(request) or own_list(request.user)
    step = found.checkpoint_id if found.interrupt_id else ""
    with planned_by_value():
        page, together, others = asked.beside(found.thread_id, found.pk, step)
    voted_on = edit_context(request, found, graph, editing, **kept_counts(asked))
    return {
        **voted_on,
        "thread": found.thread,
        "asked_by": asked_by(found),
        "asked_together": [row_of(each) for each in sorted(together, key=_open_first)],
        "conversations": conversations_of(found.state),
        "warnings": approvals.warnings_of(found),
        "state": state_of(found.state),
        "request_json": json_text(found.request),
        "decision": decision_of(found),
        "next_titles": approvals.titles_of(found.next, graph),
        "others": [row_of(each) for each in sorted(others, key=lambda each: each.created_at, reverse=True)],
        "why_not_ask_again": permissions.why_not(request.user, "retry_run"),
        "can_ask_again": found.is_pending and found.interrupt_id and not found.allowed_verdicts,
        **beside(request, str(found.pk), page, voted_on["here"]),
        **place_context(request, asked, found, page),
        **run_context(request, found, graph, page),
    }


def place_context(request: Request, asked: ListAsked, found: Approval, page: Sequence[Approval]) -> dict[str, Any]:
    """Return where an approval stands in a list of which `page` was read: its number, Back and Next."""
    ids = [row.pk for row in page]
    number = ids.index(found.pk) if found.pk in ids else None
    query = asked.address if came_from(request) else f"?tab={asked.tab}"
    has_back = number is not None and (number > 0 or asked.cursor)
    has_next = bool(set(ids) - {found.pk})
    place = PlaceShown(
        list_name=TABS[asked.tab],
        list_address=f"{reverse('queue')}{query}",
        number=None if number is None else asked.before + number + 1,
        back=f"{reverse('one_before', args=[found.pk])}{query}" if has_back else "",
        next=f"{reverse('next_one', args=[found.pk])}{query}" if has_next else "",
    )
    return {"place": place}


def _open_first(other: Approval) -> Any:
    return other.closed_at is not None, other.closed_at or other.created_at, other.created_at


def answer_context(answering: Answering | None) -> dict[str, Any]:
    """Return the context of the answer form, and of the state fields that may be edited with it."""
    return {"answering": answering, "answer_groups": list(answering.edit.groups()) if answering else []}


def vote_context(request: Request, found: Approval, graph: Graph | None, **also: Read) -> dict[str, Any]:
    """Return the context of the votes: tally, proposal, claim and buttons; and what is read `also`."""
    by, now = request.user, timezone.now()
    with planned_by_value():
        told = read(
            votes=Listed(queries.votes_on(found.pk)),
            openings=Listed(whole_values.openings(found, by)),
            voters=Counted(_voters(found), is_exact=True),
            **graphs_here.reads(),
            **also,
        )
    here = GraphsHere(told)
    votes = queries.votes_of(told["votes"])
    tally = tally_of(found, votes, by, voters=told["voters"].number, now=now)
    untrue = alterations.why_not(found, by)  # before the proposal is read: one that nobody made may have any shape
    opened = whole_values.opened_of(found, told["openings"])
    unopened = [part for part in whole_values.parts_to_open(found) if part not in opened]
    is_voted = tally.is_voted
    choices = approvals.choices_of(found, by, is_voted=is_voted, now=now, untrue=untrue, unopened=unopened)
    row = row_of(found, here=here)
    return {
        "approval": found,
        "row": row,
        "here": here,
        "untrue": untrue,
        "tally": tally,
        "seen_parts": opened,
        "proposal": proposal_of(found, votes, graph),
        "choices": choices,
        "why_not_claim": permissions.why_not(by, "vote") or approvals.why_not_claim(found, by),
        "tally_mark": digest(str(tally))[:12],
        "choices_mark": digest(f"{choices} {row.gone}")[:12],
        **{name: told[name] for name in also},
    }


def _voters(found: Approval) -> QuerySet[Person]:
    """Select the people who may vote on an open approval."""
    if not found.is_pending:
        return Person.objects.none()
    rule = Rule.of(found.rule)
    is_escalated, owners = found.escalated_at is not None, voters.owners(found.thread, rule)
    return voters.people(rule, without=owners, asked_at=found.asked_at, is_escalated=is_escalated)


def decision_of(found: Approval) -> approvals.DecisionShown | None:
    decision = getattr(found, "decision", None)
    return approvals.decision_of(found, decision) if decision else None


def run_context(
    request: Request, found: Approval, graph: Graph | None, page: Sequence[Approval] = ()
) -> dict[str, Any]:
    """Return the context of the run that carries out the decision. `page` is the list beside it, if it was read."""
    decision = getattr(found, "decision", None)
    carried: Run | None = getattr(decision, "run", None)
    if carried is None:
        return {"run": None, "next_up": None if found.is_pending else next_up(request, found, page)}
    is_own = decision is not None and decision.vote is not None and decision.vote.voter_id == request.user.pk
    is_last = Run.objects.newest_of(found.thread_id) == carried.pk
    waits = next(iter(_pending_of(thread_id=found.thread_id)), None) if is_last else None
    return {
        "approval": found,
        "run": run_of(carried, graph, upcoming=upcoming_of(found)),
        "is_last_run": is_last,
        "can_undo": is_held(carried, timezone.now()) and is_own,
        "why_not_retry": permissions.why_not(request.user, "retry_run"),
        "changes": differences(found.state, found.thread.state) if is_last and not carried.is_active else [],
        "waits_again": row_of(waits) if waits else None,
        "thread_sentence": str(ThreadStatus(found.thread.status).label),
        "thread": found.thread,
        "next_up": next_up(request, found, page),
        "from_list": address_of_list(request),
        "drawing": approvals.picture_of(found, graph),
    }


@compiled
def _pending_of(thread_id: str) -> QuerySet[Approval]:
    return listed(Approval.objects.pending().filter(thread_id=thread_id).order_by("pk"))[:1]


def upcoming_of(found: Approval) -> list[str]:
    """Return the nodes that certainly run next: none after a rejection, perhaps others after an edit."""
    decision = found.decision
    if decision.verdict == "respond" and found.kind == BREAKPOINT:
        choices = zip(found.next, choices_of(found, decision), strict=False)
        return [node for node, choice in choices if choice.verdict != "reject"]
    return found.next if decision.verdict != "reject" and not decision.edits else []


def next_up(request: Request, found: Approval, page: Sequence[Approval] = ()) -> Any:
    """Return what follows in the list that the person came from, else the most urgent that waits for them, or None.

    `page` is a page of that list, if it was read already.
    """
    came = came_from(request)
    with planned_by_value():
        if came:
            waiting = came.next_to(found, page)
        else:
            waiting = next((row for row in page if row.pk != found.pk), None)
            waiting = waiting or own_list(request.user).first(but=found)
    return row_of(waiting) if waiting else None
