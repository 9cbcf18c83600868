"""The form of an answer: one choice an action, the fields of a schema, or text."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms

from agentcore import dialects
from agentcore.dialects.any_value import words_of
from agentcore.plain.json import canonical
from agentcore.plain.types import Choice
from approvals.domain import policies
from approvals.domain.answers import is_about_actions, question_of
from approvals.domain.policies import Rule
from approvals.domain.text import json_text
from approvals.enums import VERDICT_WORDS
from approvals.forms.fields import FaultsForm, normal
from approvals.forms.schema import SchemaForm
from approvals.forms.values import read_json
from approvals.models import Approval

LOOK = "Look at the arguments."
_LONG = forms.Textarea(attrs={"rows": 3, "autocomplete": "off"})
_PLACE = re.compile(r"(?:decisions/)?(\d+)?/?(?:(?:edited_action|editedAction|args)/)?(.*)", re.S)


class ChoiceForm(FaultsForm):
    """The decision on one action: approve it, edit it, reject it, or answer instead of the tool."""

    verdict = forms.ChoiceField(widget=forms.RadioSelect, required=False, label="Decision")
    reason = forms.CharField(widget=_LONG, required=False, strip=False, label="Why?")
    message = forms.CharField(widget=_LONG, required=False, strip=False, label="Your answer")

    def __init__(
        self,
        action: Mapping[str, Any],
        place: int,
        *,
        rule: Rule = Rule(),  # noqa: B008 - frozen
        data: Mapping[str, Any] | None,
        choice: Choice | None,
    ) -> None:
        self.name, self.allowed = (
            str(action["name"]),
            [verdict for verdict in VERDICT_WORDS if verdict in action["allowed"]],
        )
        self.why_closed = policies.why_closed(rule) if "edit" in self.allowed else ""
        if "edit" in self.allowed and policies.why_not_edited(rule, action["args"]):
            self.allowed.remove("edit")
        edited = choice.args if choice and choice.verdict == "edit" else action["args"]
        self.args = SchemaForm(action["schema"], edited, prefix=f"a{place}-args", data=data, may_edit=rule.may_edit)
        self.base = action["args"]
        initial = {"verdict": choice.verdict, "reason": choice.message, "message": choice.message} if choice else None
        super().__init__(data, prefix=f"a{place}", initial=initial)
        self.fields["verdict"].choices = [(verdict, VERDICT_WORDS[verdict].button) for verdict in self.allowed]  # type: ignore[attr-defined]
        self.fields["reason"].help_text = "The agent is told, and it goes into the record."
        self.fields["message"].help_text = "The agent gets this as the result. The tool does not run."

    def clean_reason(self) -> str:
        return normal(self.cleaned_data["reason"])

    def clean_message(self) -> str:
        return normal(self.cleaned_data["message"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        verdict = cleaned.get("verdict")
        if not verdict:
            self.add_error("verdict", f"Decide on {self.name} too.")
        if verdict == "reject" and not cleaned.get("reason", "").strip():
            self.add_error("reason", "Say why: the agent is told, and it goes into the record.")
        if verdict == "respond" and not cleaned.get("message", "").strip():
            self.add_error("message", "Write what the agent gets as the result.")
        if verdict == "edit" and not self.args.is_valid():
            self.add_error(None, LOOK)
        elif verdict == "edit" and canonical(self.args.value()) == canonical(self.base):
            self.add_error("verdict", "No argument is changed yet: change one, or approve it as it is.")
        return cleaned

    def choice(self) -> Choice:
        """Return what was chosen; call it when the form is valid."""
        verdict = self.cleaned_data["verdict"]
        messages = {"reject": self.cleaned_data["reason"], "respond": self.cleaned_data["message"]}
        args = self.args.value() if verdict == "edit" else None
        return Choice(verdict, args, messages.get(verdict, ""))

    def place_of(self, path: str) -> tuple[str | None, str]:
        if path != "message":
            return None, path
        return ("message" if self["verdict"].value() == "respond" else "reason"), ""


class WordsForm(FaultsForm):
    """An answer to a question without a schema: text, or any JSON once the person has typed what it is for."""

    words = forms.CharField(widget=_LONG, required=False, strip=False, label="Your answer")
    raw = forms.CharField(
        required=False,
        strip=False,
        label="Answer as JSON",
        widget=forms.Textarea(attrs={"class": "code", "rows": 8, "spellcheck": "false", "autocomplete": "off"}),
    )
    confirm = forms.CharField(required=False, label="Type the node's name", widget=forms.TextInput)

    def __init__(self, node: str, *, is_text: bool, data: Mapping[str, Any] | None, answer: Any = None) -> None:
        self.node, self.can_be_text = node, is_text
        self.is_json = not is_text or (data or {}).get("answer-mode") == "json"
        is_given = answer is not None
        if is_given and not isinstance(answer, str):
            self.is_json = True
        initial = {"words": answer if isinstance(answer, str) else "", "raw": json_text(answer) if is_given else ""}
        super().__init__(data, prefix="answer", initial=initial)
        for name in ("words",) if self.is_json else ("raw", "confirm"):
            del self.fields[name]
        if self.is_json:
            self.fields[
                "confirm"
            ].help_text = (
                f"Nobody can check this answer: what {node} asks has no form. Type {node} to say that it is meant so."
            )

    def clean_raw(self) -> Any:
        try:
            return read_json(self.cleaned_data["raw"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_confirm(self) -> str:
        if self.cleaned_data["confirm"].strip() != self.node:
            raise forms.ValidationError(f"Type {self.node}.")
        return self.node

    def clean_words(self) -> str:
        if not self.cleaned_data["words"].strip():
            raise forms.ValidationError("Write an answer.")
        return normal(self.cleaned_data["words"])

    def value(self) -> Any:
        return self.cleaned_data["raw" if self.is_json else "words"]

    def field_at(self, path: str) -> str | None:
        return "raw" if self.is_json else "words"

    def owns(self, do: str) -> bool:
        return do in ("json:answer", "form:answer")

    def changed(self, do: str) -> "WordsForm":
        """Turn between a text and JSON; what was typed goes along."""
        typed = self.data.get("answer-words") or self.data.get("answer-raw") or ""
        if do == "json:answer":
            return WordsForm(self.node, is_text=self.can_be_text, data={"answer-mode": "json"})._with(json_text(typed))
        try:
            found = read_json(typed)
        except ValueError:
            found = typed
        return WordsForm(self.node, is_text=True, data=None, answer=found if isinstance(found, str) else typed)

    def _with(self, raw: str) -> "WordsForm":
        self.initial["raw"], self.is_bound = raw, False
        return self


class AnswerForm:
    """The whole answer: a form for each action, or one form."""

    def __init__(self, approval: Approval, *, data: Mapping[str, Any] | None = None, answer: Any = None) -> None:
        self.question = question_of(approval)
        self.choices: list[ChoiceForm] = []
        self.schema: SchemaForm | None = None
        self.words: WordsForm | None = None
        if is_about_actions(approval):
            rule = Rule.of(approval.rule)
            chosen: Sequence[Choice | None] = [None] * len(approval.actions)
            if answer is not None:
                chosen = dialects.choices_in(self.question, answer)
            self.choices = [
                ChoiceForm(action, place, rule=rule, data=data, choice=choice)
                for place, (action, choice) in enumerate(zip(approval.actions, chosen, strict=True))
            ]
        elif approval.answer_schema:
            given = {} if answer is None else {"value": answer}
            self.schema = SchemaForm(approval.answer_schema, prefix="answer", data=data, label="Your answer", **given)
        else:
            is_text = bool(words_of(self.question.value))
            self.words = WordsForm(approval.actions[0]["name"], is_text=is_text, data=data, answer=answer)

    @property
    def forms(self) -> list[Any]:
        return [form for form in (*self.choices, self.schema, self.words) if form is not None]

    def is_valid(self) -> bool:
        return all(form.is_valid() for form in self.forms)

    def value(self) -> Any:
        """Return the answer as the graph takes it; call it when the form is valid."""
        if self.choices:
            return dialects.write(self.question, [form.choice() for form in self.choices])
        return (self.schema or self.words).value()  # type: ignore[union-attr]

    @property
    def is_untouched(self) -> bool:
        """Whether nothing is chosen or written on a form about actions."""
        names = ("verdict", "reason", "message")
        return bool(self.choices) and not any(form[name].value() for form in self.choices for name in names)

    @property
    def needs_look(self) -> bool:
        """Whether what is sent may differ from what was typed: numbers are read, and arguments change."""
        if self.choices:
            return any(form["verdict"].value() == "edit" for form in self.choices)
        return self.words is None or self.words.is_json

    @property
    def is_plain_approval(self) -> bool:
        """Whether every action is approved as it is; call it when the form is valid."""
        return bool(self.choices) and all(form.choice().verdict == "approve" for form in self.choices)

    def change(self, do: str) -> bool:
        """Add, remove or pick what a button says; False if it is no button of this form."""
        for form in self.choices:
            if form.args.owns(do):
                form.args = form.args.changed(do)
                return True
        if self.schema and self.schema.owns(do):
            self.schema = self.schema.changed(do)
            return True
        if self.words and self.words.owns(do):
            self.words = self.words.changed(do)
            return True
        return False

    def add_faults(self, faults: Iterable[Mapping[str, str]]) -> None:
        """Put each fault at the field that its path means."""
        for fault in faults:
            if not self.choices:
                (self.schema or self.words).add_faults([fault])  # type: ignore[union-attr]
                continue
            found = _PLACE.fullmatch(fault["path"])
            place, rest = (int(found[1] or 0), found[2]) if found else (0, fault["path"])
            form = self.choices[min(place, len(self.choices) - 1)]
            if rest.startswith("args"):
                form.args.add_faults([{**fault, "path": rest.removeprefix("args").removeprefix("/")}])
                form.add_error(None, LOOK)
            else:
                form.add_faults([{**fault, "path": rest}])
