"""The decision bar: one primary button, which says what it sends and sends what is on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass

from approvals.enums import Verdict
from approvals.models import Approval
from approvals.presenters.answers import DecidedShown, counted
from approvals.presenters.approvals import Choices, PreviewShown
from approvals.presenters.votes import ProposalShown, TallyShown


@dataclass(frozen=True)
class OnScreen:
    """What a person has typed, as far as the server has received it."""

    is_edit_open: bool = False
    has_edits: bool = False
    preview: PreviewShown | None = None
    is_answer_open: bool = False
    is_answered: bool = False
    """Something is filled in, or chosen, on the answer form."""
    is_reviewed: bool = False
    decided: Sequence[DecidedShown] = ()


@dataclass(frozen=True)
class Primary:
    """A candidate for the primary button: its label, and the form that it sends."""

    id: str
    label: str
    form: str
    verdict: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Bar:
    """The bar. The page shows `plain` while nothing is typed, `typed` once something is."""

    plain: Primary | None
    typed: Primary | None
    is_typed: bool
    has_comment: bool
    """A comment has no place on the page yet, so the bar has one."""

    @property
    def form(self) -> str:
        """The id of the form that the primary button sends."""
        found = self.typed if self.is_typed else self.plain
        return found.form if found else ""


def bar_of(
    approval: Approval, choices: Choices, tally: TallyShown, proposal: ProposalShown | None, seen: OnScreen
) -> Bar:
    plain = _plain(approval, choices, proposal, seen)
    typed = _edited(choices, tally, seen) if choices.kind == "gate" else _answered(approval, choices, tally, seen)
    is_typed = typed is not None and (plain is None or _is_typed(choices, seen))
    is_shown_whole = seen.preview is not None or seen.is_reviewed
    has_comment = not is_shown_whole and not tally.needs_reason and bool(typed or plain and not plain.why_not)
    return Bar(plain, typed, is_typed, has_comment)


def _is_typed(choices: Choices, seen: OnScreen) -> bool:
    if choices.kind == "gate":
        return seen.is_edit_open or seen.has_edits or seen.preview is not None
    return seen.is_answered or seen.is_reviewed or (choices.kind == "question" and seen.is_answer_open)


def _plain(approval: Approval, choices: Choices, proposal: ProposalShown | None, seen: OnScreen) -> Primary | None:
    """Return the button for a vote without own content: for the question, or for the current proposal."""
    if proposal is not None:
        why_not = choices.agreeing_with(proposal.verdict).why_not
        return Primary("approve", _agreeing(proposal), "approve-form", Verdict(proposal.verdict), why_not)
    if choices.kind == "question":
        return None
    is_several = choices.kind == "actions" and len(approval.actions) > 1
    # Without scripts nobody hides this button when something is chosen: it sends the form, so that it can be seen.
    is_beside_form = choices.kind == "actions" and not choices.answer.why_not and (is_several or seen.is_answer_open)
    label = f"Approve all {len(approval.actions)}" if is_several else "Approve"
    form = "answer-form" if is_beside_form else "approve-form"
    return Primary("approve", label, form, Verdict.APPROVE, choices.approve.why_not)


def _agreeing(proposal: ProposalShown) -> str:
    if proposal.verdict == Verdict.SKIP:
        return "Agree: skip the node"
    if proposal.verdict == Verdict.RESPOND:
        return f"Agree with {counted(proposal.decided)}" if proposal.decided else "Agree with the answer"
    title = _title_of(proposal.preview)
    return f"Agree: {title}" if title else "Agree with the edit"


def _title_of(preview: PreviewShown | None) -> str:
    """Return the title of what would run, if the edit leads elsewhere."""
    return preview.title if preview is not None and preview.is_rerouted else ""


def edit_label(tally: TallyShown, preview: PreviewShown) -> str:
    """Return the label for approving with this preview."""
    label = "Propose the edit" if tally.needed > 1 or tally.edit_needs_another else "Approve with the edit"
    title = _title_of(preview)
    return f"{label}: {title}" if title else label


def _edited(choices: Choices, tally: TallyShown, seen: OnScreen) -> Primary | None:
    if choices.edit.why_not:
        return None
    if seen.preview is not None:
        return Primary("approve-edit", edit_label(tally, seen.preview), "edit-form")
    return Primary("approve-edit", "Preview the edit" if seen.has_edits else "Approve", "edit-form")


def answer_label(tally: TallyShown, decided: Sequence[DecidedShown]) -> str:
    """Return the label for sending this answer."""
    verb = "Propose" if tally.needed > 1 else "Send"
    return f"{verb} {counted(decided)}" if decided else f"{verb} this answer"


def _answered(approval: Approval, choices: Choices, tally: TallyShown, seen: OnScreen) -> Primary | None:
    if choices.answer.why_not:
        return None
    if seen.is_reviewed:
        return Primary("send-answer", answer_label(tally, seen.decided), "answer-form")
    label = "Review the decisions" if choices.kind == "actions" else "Review the answer"
    return Primary("send-answer", label, "answer-form")
