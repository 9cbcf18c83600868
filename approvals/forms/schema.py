"""A form for one JSON value, from its JSON Schema or from the value itself: fields, groups, lists, choices, or JSON.

The value is a tree of parts. The name of each part has only letters, digits, `_` and `-`. The structure (the items of a
list, the choice of a union) is in the posted data, so the server draws every change and keeps what was typed. A part
that no field can show whole is edited as JSON. Untouched parts come back unchanged.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentcore.plain.schemas import Schema
from approvals.domain.editable import Editable
from approvals.domain.text import json_text
from approvals.forms.fields import FaultsForm, title_of
from approvals.forms.inference import DEEPEST_INFERRED, MOST_ITEMS, inferred
from approvals.forms.parts import Fixed, FormLine, Group, Hidden, Items, Leaf, Part, Spot, Union, keys_of
from approvals.forms.values import (
    JSON,
    MISSING,
    Shape,
    fit,
    is_fixed,
    options_of,
    read_json,
    resolved,
    shape_for,
    unwrapped,
)

_DEEPEST = 8  # parts inside parts
_MOST_FIELDS = 300  # then the rest is JSON; Django refuses a post of 2000
_MOST_LINE = 200  # characters
_MOST_KEPT = 200  # fields
_DO = ("add", "remove", "pick", "json", "form")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NO_PLACE = "This value has no place on the form. Go on in JSON."


class SchemaForm(FaultsForm):
    """Fields for one JSON value, from its schema, or inferred from the value. Names of inputs begin with `prefix`."""

    def __init__(
        self,
        schema: Schema | None,
        value: Any = MISSING,
        *,
        prefix: str,
        data: Mapping[str, Any] | None = None,
        label: str = "",
        may_edit: Editable = None,
        at: Sequence[str] = (),
    ) -> None:
        """`may_edit` is what a policy lets people change; the value stands at the path `at`."""
        super().__init__(None if data is None else {})
        self.schema, self.given, self.name, self.label = schema, value, prefix, label
        self.may_edit, self.at = may_edit, list(at)
        self.root: Schema = schema or {}
        self.problem = ""
        self.data: dict[str, str] = dict(_own(data or {}, prefix))
        self.posted = set(self.data)
        self.parts: dict[str, Part] = {}
        self.is_json = self.data.get(self._mode) == "json"
        self.top = self._made()
        if may_edit is not None:
            self.top.close(self.at)
        self._keep()
        for name, field in self.fields.items():
            self.data.setdefault(name, field.initial)

    @property
    def _mode(self) -> str:
        return f"{self.name}--mode"

    @property
    def _was(self) -> str:
        return f"{self.name}--was"

    def _made(self) -> Part:
        title = self.label or title_of("value", resolved(self.root, self.root))
        spot = Spot(self.name, title, self.schema, self._base(), is_bare=not self.label)
        if self.is_json:
            return Leaf(self, replace(spot, title=f"{title} as JSON", schema=None), JSON)
        return self.make(spot)

    def _base(self) -> Any:
        """What the form is made from: the given value, or what was written as JSON before it became a form again."""
        try:
            return read_json(self.data[self._was]) if self._was in self.data else self.given
        except ValueError:
            return self.given

    def _keep(self) -> None:
        for name in (self._mode, self._was):
            if name in self.data:
                self.hide(name, "")
        unions = [part for part in self.parts.values() if isinstance(part, Union)]
        for name in [name for part in unions for name in part.kept()][:_MOST_KEPT]:
            self.hide(name, "")

    def hide(self, name: str, text: str) -> None:
        self.fields[name] = Hidden(text)

    def text_of(self, name: str, initial: str) -> str:
        return self.data.get(name, initial)

    def make(self, spot: Spot) -> Part:
        """Make the part that can show a value whole; JSON can show any."""
        deepest = _DEEPEST if spot.schema is not None else DEEPEST_INFERRED
        schema = inferred(spot.shown) if spot.schema is None else spot.schema
        known, is_nullable = unwrapped(schema, self.root)
        seed = known.get("default") if spot.seed is MISSING else spot.seed
        spot = replace(spot, schema=known, is_nullable=is_nullable, seed=MISSING if seed is None else seed)
        if spot.is_tag and is_fixed(known) and (spot.shown is MISSING or fit(known, spot.shown, self.root)):
            return Fixed(self, spot)
        shape = shape_for(schema, spot.shown, self.root)
        if shape.kind != "json" and not _is_long(shape, spot.shown):
            return Leaf(self, spot, shape)
        is_sent_as_json = spot.name in self.posted
        if is_sent_as_json or spot.depth >= deepest or len(self.fields) > _MOST_FIELDS * (3 if self.posted else 1):
            return Leaf(self, spot, Shape("json", is_nullable))
        return self._made_of_parts(spot) or Leaf(self, spot, Shape("json", is_nullable))

    def _made_of_parts(self, spot: Spot) -> Part | None:
        known, shown = spot.known, spot.shown
        is_empty = shown is MISSING or shown is None and spot.is_nullable
        options = options_of(known, self.root)
        if options:
            is_fit = is_empty or any(fit(option, shown, self.root) for option in options)
            return Union(self, spot, options) if is_fit else None
        is_list = known.get("type") == "array"
        if not is_empty and not (_is_row(known, shown) if is_list else isinstance(shown, dict)):
            return None
        if not is_list and ("properties" not in known or len(keys_of(spot)) > MOST_ITEMS):
            return None
        if (spot.is_nullable or not spot.is_needed) and (not is_list or "prefixItems" in known):
            return Union(self, spot, [known])
        return Items(self, spot) if is_list else Group(self, spot)

    def lines(self) -> Iterator[FormLine]:
        """Yield what to draw, one after the other: a template must not call itself."""
        own = {part.order_name for part in self.parts.values() if isinstance(part, Items)}
        for name, field in self.fields.items():
            if isinstance(field, Hidden) and name not in own:
                yield FormLine("hidden", field=self[name])
        yield from self.top.lines()

    @property
    def can_turn(self) -> bool:
        """Whether the form has another way to show the value: fields, or JSON."""
        return self.is_json or not (isinstance(self.top, Leaf) and self.top.shape.kind == "json")

    def value(self) -> Any:
        """Return the value; call it when the form is valid."""
        return self.top.value()

    def texts_of(self, value: Any) -> dict[str, str]:
        """Return the data this form would have sent for another value."""
        return {self._was: json.dumps(value)}

    def field_at(self, path: str) -> str | None:
        return self.place_of(path)[0]

    def place_of(self, path: str) -> tuple[str | None, str]:
        field, rest = self.top.place_of(path)
        return (field, rest) if field else (None, path)

    def owns(self, do: str) -> bool:
        """Whether a button of this form was pressed."""
        verb, _, name = do.partition(":")
        return verb in _DO and _is_below(name, self.name)

    def changed(self, do: str) -> "SchemaForm":
        """Return a form with one item more or less, another choice, or the other mode; what was typed is on it."""
        verb, _, name = do.partition(":")
        verbs = {"add": self._added, "remove": self._removed, "pick": self._picked}
        if verb in ("json", "form"):
            return self._as_json() if verb == "json" else self._as_form()
        again = self._again(verbs[verb](name) if verb in verbs else self.data)
        if len(again.fields) > 2 * _MOST_FIELDS:
            again = self._again(self.data)
            again.problem = "The form is full. Go on in JSON."
        return again

    def _again(self, data: Mapping[str, str], *, is_checked: bool = False) -> "SchemaForm":
        """Draw the form with this text; what is still empty is no mistake yet."""
        form = SchemaForm(
            self.schema,
            self.given,
            prefix=self.name,
            data=data,
            label=self.label,
            may_edit=self.may_edit,
            at=self.at,
        )
        if not is_checked:
            form.initial, form.is_bound = form.data, False
        return form

    def _added(self, name: str) -> dict[str, str]:
        part = self.parts.get(name)
        number = part.next_number() if isinstance(part, Items) else None
        if not isinstance(part, Items) or number is None:
            return self.data
        return {**self.data, part.order_name: " ".join(map(str, [*part.order, number]))}

    def _removed(self, name: str) -> dict[str, str]:
        for part in self.parts.values():
            if isinstance(part, Items) and not part.row and name in (item.spot.name for item in part.items):
                number = int(name.rpartition("-")[2])
                order = " ".join(str(other) for other in part.order if other != number)
                data = {key: text for key, text in self.data.items() if key != name and not key.startswith(f"{name}-")}
                return {**data, part.order_name: order}
        return self.data

    def _picked(self, name: str) -> dict[str, str]:
        part = self.parts.get(name)
        return {**self.data, **part.carried()} if isinstance(part, Union) else self.data

    def _as_json(self) -> "SchemaForm":
        checked = self._again(self.data, is_checked=True)
        if self.is_json or not self.can_turn:
            return self._again(self.data)
        if any(error.code != "needed" for errors in checked.errors.as_data().values() for error in errors):
            return checked
        value = checked.value()
        text = "" if value is MISSING else json_text(value)
        return self._again({**self._remembered(), self._mode: "json", self.name: text})

    def _remembered(self) -> dict[str, str]:
        return {self._was: self.data[self._was]} if self._was in self.data else {}

    def _as_form(self) -> "SchemaForm":
        if not self.is_json:
            return self._again(self.data)
        checked = self._again(self.data, is_checked=True)
        if any(error.code != "needed" for errors in checked.errors.as_data().values() for error in errors):
            return checked
        value = checked.value()
        is_other = value is not MISSING and not (value is checked.given or value == "")
        form = self._again({self._was: json.dumps(value)} if is_other else {})
        if form.can_turn:
            return form
        again = self._again(self.data)
        again.problem = _NO_PLACE
        return again


def _is_below(name: str, prefix: str) -> bool:
    """`a-b` is below `a`, but `a--2f-b` is the name of a key that only begins as `a` does."""
    return bool(re.fullmatch(rf"{re.escape(prefix)}(-(?!-[0-9a-fz])[A-Za-z0-9_-]+)?", name))


def _own(data: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield what was posted for this form, as text that can be sent back."""
    for name, text in data.items():
        if _is_below(name, prefix):
            yield name, _SURROGATES.sub("\ufffd", str(text))


def _is_row(known: Schema, value: Any) -> bool:
    """Whether the form has a place for each item."""
    row = known.get("prefixItems")
    return isinstance(value, list) and len(value) <= MOST_ITEMS and (not row or len(row) == len(value))


def _is_long(shape: Shape, value: Any) -> bool:
    return shape.kind == "lines" and isinstance(value, list) and any(len(line) > _MOST_LINE for line in value)
