"""The answer form of an approval: what was typed, its faults, and the review of what would be sent."""

from dataclasses import dataclass, field
from typing import Any

from approvals.actions.votes import previews
from approvals.domain import answers
from approvals.domain.permissions import User
from approvals.errors import InvalidAnswer, InvalidEdit, Refusal
from approvals.forms.answers import AnswerForm
from approvals.forms.edits import EditForm
from approvals.forms.values import MISSING
from approvals.models import Approval, Graph
from approvals.presenters.answers import ReviewShown, review_of
from approvals.presenters.approvals import PreviewShown, preview_of
from approvals.views.editing import edit_form


@dataclass
class Answering:
    """The form, the edit of the state that may go along, and the review of both."""

    form: AnswerForm
    edit: EditForm
    problem: str = ""
    review: ReviewShown | None = None
    preview: PreviewShown | None = None
    answer: Any = None
    edits: dict[str, Any] = field(default_factory=dict)

    @property
    def is_untouched(self) -> bool:
        """Whether a posted form about actions has no choice and no edit."""
        return self.form.is_untouched and self.edit.is_valid() and not self.edit.edits()

    @property
    def is_blank(self) -> bool:
        """Whether the page shows an empty form."""
        if not self.form.choices:
            return not any(form.is_bound for form in self.form.forms)
        return self.form.is_untouched and not self.edit.is_bound

    @property
    def needs_look(self) -> bool:
        """Whether people must see what would be sent before they send it."""
        return self.form.needs_look or self.preview is not None

    @property
    def is_fine(self) -> bool:
        return not self.problem and not self.edit.errors and not any(form.errors for form in self.form.forms)


def answering_of(found: Approval, graph: Graph | None, *, answer: Any = None, edits: Any = None) -> Answering:
    """Make an empty form, or one from a known answer that fits."""
    fits = answer is not None and not answers.faults_in(found, answer)
    texts = edit_form(found, graph).texts_of(edits) if edits else None
    return Answering(AnswerForm(found, answer=answer if fits else None), edit_form(found, graph, texts))


def answered_with(found: Approval, graph: Graph | None, post: Any) -> Answering:
    """Make the form from posted data."""
    return Answering(AnswerForm(found, data=post), edit_form(found, graph, post))


def reviewed(found: Approval, graph: Graph | None, post: Any, *, by: User) -> Answering:
    """Make the form from posted data; show its faults, or what would be sent."""
    answering = answered_with(found, graph, post)
    do = post.get("do", "")
    if answering.form.change(do) or answering.edit.change(do):
        return answering
    is_fine = answering.form.is_valid() & answering.edit.is_valid()
    if not is_fine:
        return answering
    answer = answering.form.value()
    if answer is MISSING:
        answering.problem = "Nothing is filled in yet."
    elif faults := answers.faults_in(found, answer):
        answering.problem = "The answer does not fit the question."
        answering.form.add_faults([fault.as_dict() for fault in faults])
    else:
        _review(found, graph, answering, answer, by=by)
    return answering


def _review(found: Approval, graph: Graph | None, answering: Answering, answer: Any, *, by: User) -> None:
    edits = answering.edit.edits()
    is_plain = answering.form.is_plain_approval
    try:
        if found.kind == answers.BREAKPOINT and graph:
            given = previews.preview(approval_id=found.pk, edits={}, answer=answer, by=by)
            answering.preview = None if is_plain else preview_of(found, given, graph)
        elif edits and graph:
            given = previews.preview(approval_id=found.pk, edits=edits, by=by)
            answering.preview, answering.edits = preview_of(found, given, graph), edits
    except InvalidAnswer as refused:
        answering.problem = refused.message
        answering.form.add_faults(refused.detail.get("faults") or [])
    except InvalidEdit as refused:
        answering.problem = refused.message
        answering.edit.add_faults(refused.detail.get("faults") or [])
    except Refusal as refused:
        answering.problem = refused.message
    else:
        leads_to = answering.preview.digest if answering.preview else ""
        answering.answer = answer
        answering.review = review_of(found, answer, is_plain=is_plain, leads_to=leads_to)
