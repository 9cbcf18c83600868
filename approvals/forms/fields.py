"""Form fields made from JSON Schema, and the edit form of a flat state.

The text of a field stands for one JSON value: numbers stay numbers, null stays null, and what no field can show is
edited as JSON. Nothing that somebody typed is lost: every form renders again from posted data.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from agentcore.dialects.breakpoint import is_conversation
from agentcore.plain.types import Channel
from approvals.domain import editable, policies
from approvals.domain.policies import Rule
from approvals.domain.text import count_odd, plain_visible
from approvals.forms.values import MISSING, PICKERS, Schema, Shape, can_show, read, read_json, same, shape_for, show

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


_MERGED = {
    "appends": "Added at the end by the graph.",
    "messages": "Added at the end by the graph.",
    "adds": "Added to what is there by the graph.",
    "keys": "Its keys are put beside those that are there, or in their place.",
    "other": "Merged with what is there by the graph.",
}


class FlatEditForm(FaultsForm):
    """One field for each channel; `edits()` are the changed ones. A merging channel can be appended to or replaced."""

    SET, APPEND, REPLACE = "edit-", "append-", "replace-"

    def __init__(
        self,
        channels: Sequence[Channel],
        state: Mapping[str, Any],
        *,
        opaque: Iterable[str] = (),
        rule: Rule = Rule(),  # noqa: B008 - frozen
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data)
        self.channels, self.state, self.opaque, self.rule = channels, state, set(opaque), rule
        self.closed = [each.name for each in channels if not editable.is_ajar(rule.may_edit, [each.name])]
        self._base: dict[str, Any] = {}
        for channel in channels:
            if channel.name not in self.closed:
                self._add(channel)

    def _add(self, channel: Channel) -> None:
        value = self.state.get(channel.name, MISSING)
        if not channel.is_reducer:
            if channel.name not in self.opaque:
                self._add_field(self.SET, channel, value, "")
            return
        note = f"{_MERGED.get(channel.merges, _MERGED['other'])} Leave it empty to add nothing."
        if is_conversation(value) or "messages" in channel.name:
            note += ' A message looks like [{"type": "human", "content": "..."}].'
        self._add_field(self.APPEND, channel, MISSING, note)
        if channel.name not in self.opaque:
            self._add_field(self.REPLACE, channel, value, "Puts this in place of everything that is there.")

    def _add_field(self, prefix: str, channel: Channel, value: Any, note: str) -> None:
        shape = shape_for(channel.schema, value)
        text = show(shape, value)
        notes = [note, *notes_on(shape, value)]
        words = {self.SET: "{}", self.APPEND: "Append to {}", self.REPLACE: "Replace {}"}[prefix]
        field = ShapedField(
            shape,
            widget=widget_for(shape, text=text, schema=channel.schema if prefix == self.SET else None, blank="(unset)"),
            label=words.format(title_of(channel.name, channel.schema)) + zone_of(shape),
            help_text=hint(channel.schema, *notes) if prefix == self.SET else " ".join(filter(None, notes)),
            initial=text,
        )
        name = prefix + channel.name
        self.fields[name], self._base[name] = field, value

    def groups(self, first: Sequence[str] = ()) -> Iterator[FieldGroup]:
        """Yield the channels in order, those named in `first` before the others."""
        order = {name: place for place, name in enumerate(first)}
        for channel in sorted(self.channels, key=lambda channel: order.get(channel.name, len(order))):
            if channel.name in self.closed:
                continue
            names = [prefix + channel.name for prefix in (self.SET, self.APPEND, self.REPLACE)]
            why_not = "This channel holds objects that JSON cannot carry; an edit would lose their type."
            yield FieldGroup(
                channel.name,
                title_of(channel.name, channel.schema),
                [self[name] for name in names if name in self.fields],
                why_not if channel.name in self.opaque else self._why_closed(channel.name),
                channel.type,
                channel.words or ("merges" if channel.is_reducer else "replaces"),
            )

    @property
    def why_closed(self) -> str:
        """Say of which channels there are no fields, because the policy lets nobody change them."""
        names = ", ".join(self.closed)
        return f"{policies.why_closed(self.rule)} Not: {names}." if names else ""

    def _why_closed(self, name: str) -> str:
        """Of a channel of which only a part may be changed: its fields stay."""
        return "" if editable.is_open(self.rule.may_edit, [name]) else policies.why_closed(self.rule)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in self._base:
            if name in cleaned and cleaned[name] is MISSING and self._is_changed(name):
                self.add_error(name, "This cannot be left empty.")
        for channel in self.channels:
            both = [prefix + channel.name for prefix in (self.APPEND, self.REPLACE)]
            if all(name in self._base and self._is_changed(name) for name in both):
                self.add_error(both[1], "Append or replace, not both.")
        return cleaned

    def _is_changed(self, name: str) -> bool:
        field = self.fields[name]
        assert isinstance(field, ShapedField)
        if name not in self.data:
            return False
        text, base = normal(self.data[name]), self._base[name]
        if text == normal(show(field.shape, base)):
            return False
        try:
            return not same(read(field.shape, text), base)
        except ValueError:
            return True

    def edits(self) -> dict[str, Any]:
        """Return `{channel: {"op", "value"}}` of what was changed; call it when the form is valid."""
        ops = {self.SET: "set", self.APPEND: "append", self.REPLACE: "replace"}
        return {
            channel.name: {"op": op, "value": self.cleaned_data[prefix + channel.name]}
            for channel in self.channels
            for prefix, op in ops.items()
            if prefix + channel.name in self._base and self._is_changed(prefix + channel.name)
        }

    def texts_of(self, edits: Mapping[str, Any]) -> dict[str, str] | None:
        """Return the data this form would have sent for these edits; None if it has no way to say them."""
        texts = {name: self.fields[name].initial or "" for name in self._base}
        prefixes = {"set": self.SET, "append": self.APPEND, "replace": self.REPLACE}
        for channel, edit in edits.items():
            if not isinstance(edit, Mapping) or edit.keys() != {"op", "value"} or edit["op"] not in prefixes:
                return None
            field = self.fields.get(prefixes[edit["op"]] + str(channel))
            if not isinstance(field, ShapedField) or not can_show(field.shape, edit["value"]):
                return None
            texts[prefixes[edit["op"]] + channel] = show(field.shape, edit["value"])
        return texts

    def field_at(self, path: str) -> str | None:
        names = [
            channel.name for channel in self.channels if path == channel.name or path.startswith(f"{channel.name}/")
        ]
        if not names:
            return None
        fields = [prefix + max(names, key=len) for prefix in (self.SET, self.APPEND, self.REPLACE)]
        changed = [name for name in fields if name in self._base and self._is_changed(name)]
        return next(iter(changed), next((name for name in fields if name in self.fields), None))


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
