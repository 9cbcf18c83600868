"""The options of a run on the start page: its context as fields, `configurable` as JSON."""

from collections.abc import Mapping
from typing import Any

from django import forms

from agentcore.plain.types import GraphCard
from approvals.forms.fields import FaultsForm
from approvals.forms.schema import SchemaForm
from approvals.forms.values import MISSING, read_json


class ConfigurableForm(FaultsForm):
    """What nodes find in `config["configurable"]`."""

    configurable = forms.CharField(
        required=False,
        strip=False,
        label="Configurable, as JSON",
        help_text='Optional. What nodes read from config["configurable"], such as {"user_id": "ana"}.',
        widget=forms.Textarea(attrs={"class": "code", "rows": 3, "spellcheck": "false", "autocomplete": "off"}),
    )

    def clean_configurable(self) -> dict[str, Any]:
        text = self.cleaned_data["configurable"]
        try:
            found = read_json(text) if text.strip() else {}
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not isinstance(found, dict):
            raise forms.ValidationError("This must be a JSON object: { ... }.")
        return found

    def field_at(self, path: str) -> str | None:
        return "configurable"


class OptionsForm:
    """Fields for the context, where the graph has a schema of it, and one field for `configurable`."""

    def __init__(self, card: GraphCard, data: Mapping[str, Any] | None) -> None:
        schema = card.context_schema or {}
        self.context: SchemaForm | None = None
        if schema.get("properties"):
            self.context = SchemaForm({**schema, "title": "Context"}, prefix="context", data=data, label="Context")
        self.configurable = ConfigurableForm(data)

    def is_valid(self) -> bool:
        return all([self.configurable.is_valid(), self.context is None or self.context.is_valid()])

    @property
    def has_errors(self) -> bool:
        return bool(self.configurable.errors or self.context and self.context.errors)

    def given(self) -> dict[str, Any]:
        """Return `context` and `config`; call it when the form is valid."""
        context = self.context.value() if self.context else None
        configurable = self.configurable.cleaned_data["configurable"]
        config = {"configurable": configurable} if configurable else None
        return {"context": None if context is MISSING else context, "config": config}

    def change(self, do: str) -> bool:
        """Add, remove or pick what a button says; False if it is no button of this form."""
        if self.context is None or not self.context.owns(do):
            return False
        self.context = self.context.changed(do)
        return True

    def add_faults(self, faults: list[dict[str, str]]) -> None:
        """Put each fault of the options at its field."""
        for fault in faults:
            place, _, rest = fault["path"].partition("/")
            if place == "context" and self.context:
                self.context.add_faults([{**fault, "path": rest}])
            elif place == "config":
                self.configurable.add_faults([{**fault, "path": rest.removeprefix("configurable").removeprefix("/")}])
