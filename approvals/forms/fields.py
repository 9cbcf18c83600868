"""Form fields made from JSON Schema, and the forms that put faults where they belong.

The text of a field stands for one JSON value: numbers stay numbers, null stays null, and what no field can show is
edited as JSON. Nothing that somebody typed is lost: every form renders again from posted data.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from agentcore.plain.schemas import Schema
from approvals.domain.text import count_odd, plain_visible
from approvals.forms.values import PICKERS, Shape, read, read_json

_SHORT = 80  # characters


class ShapedField(forms.Field):
    """A field whose text stands for one JSON value. `clean` returns the value, or MISSING for an empty field."""

    def __init__(self, shape: Shape, *, widget: forms.Widget, **given: Any) -> None:
        self.shape = shape
        super().__init__(widget=widget, required=False, **given)

    def clean(self, value: Any) -> Any:
        try:
            return read(self.shape, normal(value))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


def normal(text: Any) -> str:
    """Undo what browsers do to line ends."""
    return str(text or "").replace("\r\n", "\n").replace("\r", "\n")


_INPUT_TYPES = {"date": "date", "date-time": "datetime-local", "time": "time"}
_INPUT_MODES = {"email": "email", "idn-email": "email", "uri": "url", "uri-reference": "url", "iri": "url"}


class _Picker(forms.TextInput):
    """The browser's own picker of days and times."""

    def __init__(self, kind: str, attrs: dict[str, Any]) -> None:
        self.input_type = _INPUT_TYPES[kind]
        super().__init__(attrs if kind == "date" else {**attrs, "step": "1"})


def widget_for(shape: Shape, *, text: str = "", schema: Schema | None = None, blank: str = "") -> forms.Widget:
    """Pick the widget; `blank` labels the empty choice, if there may be one."""
    schema = schema or {}
    attrs: dict[str, Any] = {"autocomplete": "off"}
    examples = schema.get("examples")
    if isinstance(examples, list) and examples and isinstance(examples[0], str | int | float):
        attrs["placeholder"] = plain_visible(examples[0])
    if shape.kind == "choice":
        empty = [("", blank)] if blank else []
        return forms.Select(choices=[*empty, *((json.dumps(choice), choice_label(choice)) for choice in shape.choices)])
    if shape.kind in ("number", "integer", "either"):
        # Not type=number: a browser drops what it cannot read there, and with it what somebody typed.
        return forms.TextInput(attrs={**attrs, "inputmode": "decimal", "class": "number"})
    if shape.kind in PICKERS and _is_readable(shape, text):
        return _Picker(shape.kind, attrs)
    if mode := _INPUT_MODES.get(str(schema.get("format"))):
        attrs["inputmode"] = mode
    longest = schema.get("maxLength")
    is_long = "\n" in text or len(text) > _SHORT or isinstance(longest, int) and longest > 200
    if shape.kind in ("text", *PICKERS) and not is_long:
        return forms.TextInput(attrs=attrs)
    rows = min(max(text.count("\n") + len(text) // 90 + 2, 3), 18)
    if shape.kind == "json":
        attrs |= {"class": "code", "spellcheck": "false"}
    return forms.Textarea(attrs={**attrs, "rows": rows})


def _is_readable(shape: Shape, text: str) -> bool:
    """A picker shows nothing for what it cannot read, and what was typed would be lost."""
    try:
        read(shape, text)
    except ValueError:
        return False
    return True


def choice_label(choice: Any) -> str:
    """Name a choice for people."""
    if choice is None:
        return "(nothing)"
    return plain_visible(choice) if isinstance(choice, str) else json.dumps(choice)


def title_of(name: str, schema: Schema) -> str:
    return str(schema.get("title") or name.replace("_", " ").capitalize() or "(no name)")


_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} character{s}",
    "maxLength": "at most {} character{s}",
    "minItems": "at least {} item{s}",
    "maxItems": "at most {} item{s}",
}


def hint(schema: Schema, *notes: str) -> str:
    """Join the schema's description and its limits into the sentence under the field."""
    told = [
        words.format(schema[name], s="" if schema[name] == 1 else "s")
        for name, words in _LIMITS.items()
        if isinstance(schema.get(name), int | float)
    ]
    sentence = (", ".join(told)[:1].upper() + ", ".join(told)[1:] + ".") if told else ""
    return " ".join(part for part in (str(schema.get("description") or ""), sentence, *notes) if part)


_NOTES = {"json": "JSON.", "lines": "One on each line."}
_ODD_NOTE = "It holds characters that cannot be seen; they are written as escapes."


def notes_on(shape: Shape, value: Any) -> Iterator[str]:
    """Yield how the text of a field is written, where that is not plain."""
    yield _NOTES.get(shape.kind, "")
    if shape.kind != "choice" and count_odd(value):
        yield _ODD_NOTE


def zone_of(shape: Shape) -> str:
    """Say in which zone a picker's times are, for its label."""
    return " (UTC)" if shape.zone == "Z" else f" (UTC{shape.zone})" if shape.zone else ""


@dataclass
class FieldGroup:
    """The fields of one channel, its parts or its messages; `why_not` says why it has none, or only some."""

    name: str
    title: str
    fields: list[BoundField]
    why_not: str = ""
    type: str = ""
    words: str = ""
    parts: list[Any] = dataclass_field(default_factory=list)
    talk: Any = None


class FaultsForm(forms.Form):
    """A form that can show what an action found wrong, at the field that it names."""

    def add_faults(self, faults: Iterable[Mapping[str, str]], message: str = "") -> None:
        """Put each `{path, message}` at its field, and the message above the form."""
        self.is_valid()
        if message:
            self.add_error(None, message)
        for fault in faults:
            field, rest = self.place_of(fault["path"])
            self.add_error(field, f"{plain_visible(rest)}: {fault['message']}" if rest else fault["message"])

    def field_at(self, path: str) -> str | None:
        """Return the field a path such as `amount/value/0` means."""
        raise NotImplementedError

    def place_of(self, path: str) -> tuple[str | None, str]:
        """Return the field, and what of the path it does not say: the message has to."""
        field = self.field_at(path)
        return field, "" if field else path


class JsonForm(FaultsForm):
    """Anything as JSON, in one field."""

    raw = forms.CharField(
        strip=False,
        label="JSON",
        widget=forms.Textarea(attrs={"class": "code", "rows": 12, "spellcheck": "false", "autocomplete": "off"}),
    )

    def __init__(self, *, data: Mapping[str, Any] | None = None, label: str = "JSON", help_text: str = "") -> None:
        super().__init__(data)
        self.fields["raw"].label, self.fields["raw"].help_text = label, help_text

    def clean_raw(self) -> Any:
        try:
            found = read_json(self.cleaned_data["raw"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not isinstance(found, dict):
            raise forms.ValidationError("This must be a JSON object: { ... }.")
        return found

    def value(self) -> dict[str, Any]:
        return dict(self.cleaned_data["raw"])

    def field_at(self, path: str) -> str | None:
        return None
