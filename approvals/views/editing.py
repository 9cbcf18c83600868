"""The edit form of an approval, as fields or as JSON, with its preview."""

from dataclasses import dataclass, field
from typing import Any

from approvals.actions.votes import previews
from approvals.actions.votes.edits import origins
from approvals.domain import encryption
from approvals.domain.answers import BREAKPOINT
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.domain.text import json_text
from approvals.errors import InvalidEdit, Refusal
from approvals.forms.edits import EditForm
from approvals.forms.fields import JsonForm
from approvals.models import Approval, Graph
from approvals.presenters import approvals

WHICH_NODE = "Several nodes ran last. Say which of them the edit comes from: what runs next depends on it."


@dataclass
class Editing:
    """The edit form in one of its two modes, its content, and the preview of that."""

    form: EditForm
    json_form: JsonForm
    mode: str
    edits: dict[str, Any] | None = None
    problem: str = ""
    preview: approvals.PreviewShown | None = None
    is_redrawn: bool = False
    """A part was added, removed or turned: nothing is to be previewed yet."""
    nodes: list[str] = field(default_factory=list)
    """Those that the edit may come from, once it matters which."""
    as_node: str = ""

    @property
    def has_edits(self) -> bool:
        """Whether the form has edits. A form with faults counts as edited: its content is not known."""
        return bool(self.edits) or self.edits is None

    @property
    def is_fine(self) -> bool:
        if self.is_redrawn:
            return True
        form = self.json_form if self.mode == "json" else self.form
        return self.edits is not None and not self.problem and not form.errors


def editing_of(
    found: Approval,
    graph: Graph | None,
    *,
    post: Any = None,
    edits: dict[str, Any] | None = None,
    mode: str = "form",
    as_node: str = "",
) -> Editing:
    """Make the forms: empty, from posted data, or from known edits."""
    editing = _forms_of(found, graph, post=post, edits=edits, mode=mode)
    if found.kind == BREAKPOINT and len(nodes := origins(found)) > 1:
        editing.nodes = nodes
        editing.as_node = post.get("as_node", "") if post is not None else as_node
    return editing


def _forms_of(found: Approval, graph: Graph | None, *, post: Any, edits: dict[str, Any] | None, mode: str) -> Editing:
    mode = post.get("mode", "form") if post is not None else mode
    if post is not None and mode == "json":
        json_form = json_form_of(post)
        secret = graph.record.secrets if graph else ()
        given = encryption.encrypted(json_form.value(), secret, found.thread_id) if json_form.is_valid() else None
        return Editing(edit_form(found, graph), json_form, "json", given)
    if post is not None:
        form = edit_form(found, graph, post)
        if form.change(post.get("do", "")):
            return Editing(form, json_form_of(None), "form", is_redrawn=True)
        given = form.edits() if form.is_valid() else None
        return Editing(form, json_form_of(None), "form", given)
    texts = edit_form(found, graph).texts_of(edits) if edits else None
    if mode == "json" or edits and texts is None:
        return Editing(edit_form(found, graph), json_form_of({"raw": json_text(edits or {})}), "json", edits or {})
    return Editing(edit_form(found, graph, texts), json_form_of(None), "form", edits or {})


def switched(found: Approval, graph: Graph | None, editing: Editing) -> Editing:
    """Show the same edits in the other mode."""
    wanted = "form" if editing.mode == "json" else "json"
    other = editing_of(found, graph, edits=editing.edits, mode=wanted, as_node=editing.as_node)
    if other.mode != wanted:
        other.problem = "These edits have no place on the form. Go on in JSON."
    return other


def edit_form(found: Approval, graph: Graph | None, data: Any = None) -> EditForm:
    card = graph.record if graph else None
    return EditForm(
        card.channels if card else (),
        found.state,
        opaque=found.opaque,
        rule=Rule.of(found.rule),
        secrets=card.secrets if card else (),
        thread_id=found.thread_id,
        data=data,
    )


def json_form_of(data: Any) -> JsonForm:
    example = '{"channel": {"op": "set" | "append" | "replace", "value": ...}}'
    return JsonForm(data=data, label="Edits as JSON", help_text=f"As {example}.")


def ask_preview(found: Approval, graph: Graph, editing: Editing, *, by: User) -> None:
    """Ask a worker for the preview of the edit; put each fault at its field."""
    if not editing.edits:
        editing.problem = "Nothing is changed yet."
        return
    try:
        given = previews.preview(approval_id=found.pk, edits=editing.edits, as_node=editing.as_node, by=by)
    except InvalidEdit as refused:
        if refused.detail.get("ambiguous"):
            editing.nodes, editing.problem = origins(found), WHICH_NODE
        else:
            show_faults(editing, refused)
    except Refusal as refused:
        editing.problem = refused.message
    else:
        editing.preview = approvals.preview_of(found, given, graph)


def show_faults(editing: Editing, refused: Refusal) -> None:
    form = editing.json_form if editing.mode == "json" else editing.form
    faults = refused.detail.get("faults") or []
    editing.problem = "" if faults and editing.mode == "json" else refused.message
    if form.is_bound:
        form.add_faults(faults)
