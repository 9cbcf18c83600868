"""The edit of a paused state as a form: fields for single values, nested forms for objects and lists, messages as
messages.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.utils import ErrorDict

from agentcore.dialects.breakpoint import is_conversation
from agentcore.plain.messages import REMOVAL, is_removal
from agentcore.plain.types import Channel
from approvals.domain import editable, encryption, policies
from approvals.domain.policies import Rule
from approvals.domain.text import plain_visible
from approvals.forms.fields import (
    FaultsForm,
    FieldGroup,
    ShapedField,
    hint,
    normal,
    notes_on,
    title_of,
    widget_for,
    zone_of,
)
from approvals.forms.parts import name_for
from approvals.forms.schema import SchemaForm
from approvals.forms.values import MISSING, can_show, read, same, shape_for, show

MOST_MESSAGES = 30
"""The newest; earlier ones are edited as JSON."""
ROLES = {"human": "Person", "ai": "Agent", "system": "System", "tool": "Tool"}
Edit = tuple[str, Any]
_MERGED = {
    "appends": "Added at the end by the graph.",
    "messages": "Added at the end by the graph.",
    "adds": "Added to what is there by the graph.",
    "keys": "Its keys are put beside those that are there, or in their place.",
    "other": "Merged with what is there by the graph.",
}


class EditForm(FaultsForm):
    """A field, a form in parts, a talk or a secret for each channel; `edits()` are the changed ones.

    A channel that merges can be appended to or replaced. New secrets are encrypted.
    """

    SET, APPEND, REPLACE = "edit-", "append-", "replace-"

    def __init__(
        self,
        channels: Sequence[Channel],
        state: Mapping[str, Any],
        *,
        opaque: Iterable[str] = (),
        rule: Rule = Rule(),  # noqa: B008 - frozen
        secrets: Sequence[str] = (),
        thread_id: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.secrets, self.thread_id = secrets, thread_id
        self.parts: dict[str, SchemaForm] = {}
        self.talks: dict[str, TalkForm] = {}
        self.given = data
        super().__init__(data)
        self.channels, self.state, self.opaque, self.rule = channels, state, set(opaque), rule
        self.closed = [each.name for each in channels if not editable.is_ajar(rule.may_edit, [each.name])]
        self._base: dict[str, Any] = {}
        for channel in channels:
            if channel.name not in self.closed:
                self._add(channel)

    @classmethod
    def has_fields(cls, data: Iterable[str]) -> bool:
        """Return whether names of posted data are fields of such a form."""
        return any(name.startswith((cls.SET, cls.APPEND, cls.REPLACE, "talk-")) for name in data)

    def _add(self, channel: Channel) -> None:
        if channel.merges == "messages" and is_conversation(self.state.get(channel.name)):
            prefix = name_for("talk", channel.name)
            self.talks[channel.name] = TalkForm(self.state[channel.name], prefix=prefix, data=self.given)
        else:
            self._add_fields(channel)

    def _add_fields(self, channel: Channel) -> None:
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
        if channel.name in self.secrets:
            self._add_secret(prefix, channel, value)
        elif form := self._in_parts(prefix, channel, value):
            self.parts[prefix + channel.name] = form
        else:
            self._add_flat(prefix, channel, value, note)

    def _add_flat(self, prefix: str, channel: Channel, value: Any, note: str) -> None:
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

    def _in_parts(self, prefix: str, channel: Channel, value: Any) -> SchemaForm | None:
        is_added = prefix == self.APPEND and channel.schema.get("type") == "array"
        if shape_for(channel.schema, value).kind != "json" or not (is_added or isinstance(value, dict | list)):
            return None
        words = {self.SET: "{}", self.APPEND: "Append to {}", self.REPLACE: "Replace {}"}[prefix]
        base = [] if is_added and value is MISSING else value
        label = words.format(title_of(channel.name, channel.schema))
        is_known = bool(channel.schema.keys() & {"$ref", "properties", "items", "anyOf", "oneOf", "allOf"})
        made = SchemaForm(
            channel.schema if is_known else None,  # of a bare dict or list the value says more
            base,
            prefix=name_for(prefix.rstrip("-"), channel.name),
            data=self.given,
            label=label,
            may_edit=self.rule.may_edit,
            at=[channel.name],
        )
        return made if made.can_turn else None

    def _add_secret(self, prefix: str, channel: Channel, value: Any) -> None:
        name = prefix + channel.name
        self._base[name] = MISSING
        self.fields[name] = field = SecretField(
            channel, self.thread_id, label=title_of(channel.name, channel.schema), is_there=value not in (None, MISSING)
        )
        if name in self.data:
            self.data = {**{key: self.data[key] for key in self.data}, name: field.encrypted(self.data[name])}

    def _is_changed(self, name: str) -> bool:
        field = self.fields[name]
        if isinstance(field, SecretField):
            return bool(self.data.get(name))
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

    @property
    def errors(self) -> ErrorDict:
        """Those of the fields, or of the first part that has any: valid is what has none."""
        found = super().errors
        return (
            next((form.errors for form in [*self.parts.values(), *self.talks.values()] if form.errors), found)
            if not found
            else found
        )

    def groups(self, first: Sequence[str] = ()) -> Iterator[FieldGroup]:
        """Yield the channels in order, those named in `first` before the others."""
        order = {name: place for place, name in enumerate(first)}
        for channel in sorted(self.channels, key=lambda channel: order.get(channel.name, len(order))):
            if channel.name in self.closed:
                continue
            names = [prefix + channel.name for prefix in (self.SET, self.APPEND, self.REPLACE)]
            why_not = "This channel holds objects that JSON cannot carry; an edit would lose their type."
            group = FieldGroup(
                channel.name,
                title_of(channel.name, channel.schema),
                [self[name] for name in names if name in self.fields],
                why_not if channel.name in self.opaque else self._why_closed(channel.name),
                channel.type,
                channel.words or ("merges" if channel.is_reducer else "replaces"),
            )
            group.parts = [self.parts[name] for name in names if name in self.parts]
            group.talk = self.talks.get(channel.name)
            yield group

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

    def edits(self) -> dict[str, Any]:
        """Return `{channel: {"op", "value"}}` of what was changed; call it when the form is valid."""
        found = self._flat_edits()
        for name, form in self.parts.items():
            if (value := form.value()) is not MISSING and not same(value, form.given):
                op, _, channel = name.partition("-")
                found[channel] = {"op": {"edit": "set"}.get(op, op), "value": value}
        for channel, talk in self.talks.items():
            if items := talk.items():
                found[channel] = {"op": "append", "value": items}
        order = [channel.name for channel in self.channels]
        return dict(
            encryption.encrypted({name: found[name] for name in order if name in found}, self.secrets, self.thread_id)
        )

    def _flat_edits(self) -> dict[str, Any]:
        ops = {self.SET: "set", self.APPEND: "append", self.REPLACE: "replace"}
        return {
            channel.name: {"op": op, "value": self.cleaned_data[prefix + channel.name]}
            for channel in self.channels
            for prefix, op in ops.items()
            if prefix + channel.name in self._base and self._is_changed(prefix + channel.name)
        }

    def texts_of(self, edits: Mapping[str, Any]) -> dict[str, str] | None:
        """Return the data this form would have sent for these edits; None if it has no way to say them."""
        own: dict[str, str] = {}
        flat: dict[str, Any] = {}
        for channel, edit in edits.items():
            texts = self._part_texts(str(channel), edit)
            if texts is None:
                flat[channel] = edit
            else:
                own |= texts
        rest = self._flat_texts(flat)
        return None if rest is None else rest | own

    def _flat_texts(self, edits: Mapping[str, Any]) -> dict[str, str] | None:
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

    def _part_texts(self, channel: str, edit: Any) -> dict[str, str] | None:
        if not isinstance(edit, Mapping) or edit.keys() != {"op", "value"}:
            return None
        prefix = {"set": self.SET, "append": self.APPEND, "replace": self.REPLACE}.get(edit["op"], "")
        if form := self.parts.get(prefix + channel):
            return form.texts_of(edit["value"])
        if channel in self.talks and edit["op"] == "append":
            return self.talks[channel].texts_of(edit["value"])
        if isinstance(self.fields.get(prefix + channel), SecretField) and encryption.is_encrypted(edit["value"]):
            return {prefix + channel: edit["value"]}
        return None

    def change(self, do: str) -> bool:
        """Add, remove or turn what a button says; False if it is no button of this form."""
        for name, form in self.parts.items():
            if form.owns(do):
                self.parts[name] = form.changed(do)
                return True
        return any(talk.change(do) for talk in self.talks.values())

    def field_at(self, path: str) -> str | None:
        names = [
            channel.name for channel in self.channels if path == channel.name or path.startswith(f"{channel.name}/")
        ]
        if not names:
            return None
        fields = [prefix + max(names, key=len) for prefix in (self.SET, self.APPEND, self.REPLACE)]
        changed = [name for name in fields if name in self._base and self._is_changed(name)]
        return next(iter(changed), next((name for name in fields if name in self.fields), None))

    def add_faults(self, faults: Iterable[Mapping[str, str]], message: str = "") -> None:
        others = []
        for fault in faults:
            channel, _, rest = fault["path"].partition("/value")
            form = next(
                (self.parts[p + channel] for p in (self.SET, self.APPEND, self.REPLACE) if p + channel in self.parts),
                None,
            )
            if form is not None:
                form.add_faults([{**fault, "path": rest.removeprefix("/")}])
            else:
                others.append(fault)
        super().add_faults(others, message)


class SecretField(ShapedField):
    """A new value for a secret. Its text is encrypted once it has been sent."""

    def __init__(self, channel: Channel, thread_id: str, *, label: str, is_there: bool) -> None:
        self.channel, self.thread_id = channel, thread_id
        shape = shape_for(channel.schema, MISSING)
        told = "A secret. Leave this empty to keep it." if is_there else "A secret. Nothing is there yet."
        widget = forms.PasswordInput(render_value=True, attrs={"autocomplete": "new-password"})
        super().__init__(shape, widget=widget, label=label, help_text=told, initial="")

    def encrypted(self, text: Any) -> str:
        """Return what was typed, encrypted. What cannot be read stays as it is, to be corrected."""
        try:
            value = read(self.shape, normal(text)) if text and not encryption.is_encrypted(text) else text
        except ValueError:
            return str(text)
        if value is MISSING or not text:
            return ""
        edits = encryption.encrypted({self.channel.name: {"value": value}}, [self.channel.name], self.thread_id)
        return str(edits[self.channel.name]["value"])

    def clean(self, value: Any) -> Any:
        return value if encryption.is_encrypted(value) or not value else super().clean(value)


@dataclass
class Turn:
    """One message on the form. `shown` is the plain message; `calls` a form for its tool calls."""

    shown: Mapping[str, Any]
    role: forms.BoundField
    text: forms.BoundField
    is_removed: forms.BoundField
    calls: SchemaForm | None = None
    speaker: str = ""


class TalkForm(FaultsForm):
    """The messages of a conversation: changed and removed by their id, and one more at the end."""

    def __init__(self, messages: Sequence[Mapping[str, Any]], *, prefix: str, data: Mapping[str, Any] | None) -> None:
        super().__init__(data)
        self.name, self.messages = prefix, messages
        self.earlier = max(len(messages) - MOST_MESSAGES, 0)
        self.calls: dict[int, SchemaForm] = {}
        for place in self.places:
            self._add(place, messages[place])
        self.fields[f"{prefix}-new-role"] = forms.ChoiceField(
            choices=[(role, word) for role, word in ROLES.items() if role != "tool"],
            required=False,
            label="Says",
            initial="human",
        )
        self.fields[f"{prefix}-new-text"] = _text("", "Text")

    @property
    def places(self) -> list[int]:
        """Return the places of the later messages that have an id: an edit names a message by it."""
        return [place for place in range(self.earlier, len(self.messages)) if self.messages[place].get("id")]

    def _add(self, place: int, message: Mapping[str, Any]) -> None:
        start, role = f"{self.name}-{place}", str(message["type"])
        roles = ROLES if role in ROLES else {**ROLES, role: role}
        choices = [(key, word) for key, word in roles.items() if (key == "tool") == (role == "tool") or key == role]
        self.fields[f"{start}-role"] = forms.ChoiceField(choices=choices, required=False, label="Says", initial=role)
        self.fields[f"{start}-text"] = _text(message["content"], "Text")
        self.fields[f"{start}-remove"] = forms.BooleanField(required=False, label="Take this message out")
        if calls := message.get("tool_calls"):
            self.calls[place] = SchemaForm(
                None, calls, prefix=f"{start}-calls", data=self.data if self.is_bound else None, label="Tool calls"
            )

    @property
    def turns(self) -> list[Turn]:
        return [self._turn(place, f"{self.name}-{place}") for place in self.places]

    def _turn(self, place: int, start: str) -> Turn:
        shown = self.messages[place]
        return Turn(
            shown=shown,
            role=self[f"{start}-role"],
            text=self[f"{start}-text"],
            is_removed=self[f"{start}-remove"],
            calls=self.calls.get(place),
            speaker=_speaker(shown),
        )

    @property
    def new(self) -> list[forms.BoundField]:
        return [self[f"{self.name}-new-role"], self[f"{self.name}-new-text"]]

    @property
    def errors(self) -> ErrorDict:
        found = super().errors
        return next((form.errors for form in self.calls.values() if form.errors), found) if not found else found

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in (f"{self.name}-{place}-text" for place in self.places):
            if name in self.data and cleaned.get(name, "") is MISSING:
                self.add_error(name, "This cannot be left empty.")
        return cleaned

    def items(self) -> list[dict[str, Any]]:
        """Return what `add_messages` is to be given; call it when the form is valid."""
        if not self.is_bound:
            return []
        found = [item for place in self.places if (item := self._item(place)) is not None]
        text = self.cleaned_data[f"{self.name}-new-text"]
        if isinstance(text, str) and text.strip():
            found.append({"type": self.cleaned_data[f"{self.name}-new-role"] or "human", "content": text})
        return found

    def _item(self, place: int) -> dict[str, Any] | None:
        message, start = self.messages[place], f"{self.name}-{place}"
        if self.cleaned_data[f"{start}-remove"]:
            return {**REMOVAL, "id": message["id"]}
        if f"{start}-text" not in self.data:
            return None
        text = self.cleaned_data[f"{start}-text"]
        if text == normal(message["content"]) and isinstance(message["content"], str):
            text = message["content"]
        item = {**message, "type": self.cleaned_data[f"{start}-role"] or message["type"], "content": text}
        if place in self.calls:
            item["tool_calls"] = self.calls[place].value()
        if not item.get("tool_calls"):
            item.pop("tool_calls", None)
        return None if same(item, dict(message)) else item

    def texts_of(self, items: Any) -> dict[str, str] | None:
        """Return the data this form would have sent for these items; None if it has no way to say them."""
        by_id = {self.messages[place]["id"]: place for place in self.places}
        texts: dict[str, str] = {}
        for place in self.places:
            texts |= self._texts(place, self.messages[place])
        for item in items if isinstance(items, list) else [None]:
            if not isinstance(item, Mapping):
                return None
            known = by_id.get(item.get("id"))
            if known is not None and is_removal(item):
                texts[f"{self.name}-{known}-remove"] = "on"
            elif known is not None and item.keys() - {"tool_calls"} == self.messages[known].keys() - {"tool_calls"}:
                texts |= self._texts(known, item)
            elif (
                item.keys() == {"type", "content"}
                and isinstance(item["content"], str)
                and f"{self.name}-new-text" not in texts
            ):
                texts |= {f"{self.name}-new-role": str(item["type"]), f"{self.name}-new-text": item["content"]}
            else:
                return None
        return texts

    def _texts(self, place: int, message: Mapping[str, Any]) -> dict[str, str]:
        start, shape = f"{self.name}-{place}", shape_for({"type": "string"}, self.messages[place]["content"])
        texts = {f"{start}-role": str(message["type"]), f"{start}-text": show(shape, message["content"])}
        calls = message.get("tool_calls") or []
        if place in self.calls and not same(calls, self.messages[place].get("tool_calls")):
            texts |= self.calls[place].texts_of(calls)
        return texts

    def change(self, do: str) -> bool:
        for place, form in self.calls.items():
            if form.owns(do):
                self.calls[place] = form.changed(do)
                return True
        return False

    def field_at(self, path: str) -> str | None:
        return None


def _speaker(message: Mapping[str, Any]) -> str:
    name = message.get("name")
    return plain_visible(ROLES.get(str(message["type"]), message["type"]) + (f" ({name})" if name else ""))


def _text(content: Any, label: str) -> ShapedField:
    shape = shape_for({"type": "string"}, content)
    text = show(shape, content)
    widget = widget_for(shape, text=text + "\n", blank="")
    return ShapedField(shape, widget=widget, label=label, initial=text)
