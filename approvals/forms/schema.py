"""A form for one JSON value, from its JSON Schema or from the value itself: fields, groups, lists, choices, or JSON.

The value is a tree of parts. The name of each part has only letters, digits, `_` and `-`. The structure (the items of a
list, the choice of a union) is in the posted data, so the server draws every change and keeps what was typed. A part
that no field can show whole is edited as JSON. Untouched parts come back unchanged.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from approvals.domain.editable import Editable, is_ajar, is_open
from approvals.domain.text import json_text, plain_visible, visible
from approvals.forms.fields import FaultsForm, ShapedField, hint, normal, notes_on, title_of, widget_for, zone_of
from approvals.forms.values import (
    JSON,
    MISSING,
    Schema,
    Shape,
    fit,
    is_fixed,
    options_of,
    read_json,
    resolved,
    same,
    shape_for,
    show,
    unwrapped,
)

_DEEPEST = 8  # parts inside parts
_DEEPEST_INFERRED = 5
_MOST_FIELDS = 300  # then the rest is JSON; Django refuses a post of 2000
_MOST_ITEMS = 100
_MOST_LINE = 200  # characters
_MOST_KEPT = 200  # fields
_DO = ("add", "remove", "pick", "json", "form")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NO_PLACE = "This value has no place on the form. Go on in JSON."


def name_for(prefix: str, key: str) -> str:
    """Name the part at `key`, whatever it holds: `order_id` stays, other characters become `--2f-`."""
    escaped = "".join(
        char if char.isascii() and (char.isalnum() or char == "_") else f"--{ord(char):x}-" for char in key
    )
    return f"{prefix}-{escaped or '--z-'}"


@dataclass(frozen=True)
class Line:
    """One thing to draw: `field`, `hidden`, `pick`, `open`, `close`, or of a list: `item`, `remove`, `end`, `add`."""

    kind: str
    name: str = ""
    title: str = ""
    hint: str = ""
    field: BoundField | None = None


@dataclass(frozen=True)
class Spot:
    """Where a part stands, and what is known of it: `base` was there, `seed` is shown where nothing was."""

    name: str
    title: str
    schema: Schema | None
    base: Any = MISSING
    seed: Any = MISSING
    is_needed: bool = True
    is_nullable: bool = False
    is_new: bool = True  # nothing was around it either: a default is sent, not only shown
    is_bare: bool = False  # what is around it has drawn its title
    tag: str = ""  # the key that says which option of a union this object is
    is_tag: bool = False
    depth: int = 0

    @property
    def shown(self) -> Any:
        return self.seed if self.base is MISSING else self.base

    @property
    def known(self) -> Schema:
        return self.schema or {}

    @property
    def notes(self) -> str:
        return "" if self.is_needed else "Optional."

    def untouched(self) -> Any:
        """What a part gives back that nobody changed."""
        return self.seed if self.base is MISSING and (self.is_new or self.is_needed) else self.base


class PartField(ShapedField):
    """A field that gives back what it was made from unless its text was changed."""

    def __init__(self, shape: Shape, spot: Spot, **given: Any) -> None:
        self.spot = spot
        super().__init__(shape, **given)

    def clean(self, value: Any) -> Any:
        is_touched = normal(value) != normal(self.initial)
        kept = self.spot.untouched()
        if not is_touched and (kept is not MISSING or not self.spot.is_needed or not self.spot.is_new):
            return kept
        found = super().clean(value)
        if self.spot.is_needed and (found is MISSING or found == "" and self.spot.base is MISSING):
            raise forms.ValidationError("This is needed.", code="needed")
        return self.spot.base if same(found, self.spot.base) else found

    def takes(self, text: str) -> bool:
        try:
            return bool(text) and self.clean(text) is not MISSING
        except forms.ValidationError:
            return False


class Hidden(forms.Field):
    """What the page carries along."""

    def __init__(self, text: str) -> None:
        super().__init__(widget=forms.HiddenInput, required=False, initial=text)


class Part:
    """One JSON value on the form."""

    def __init__(self, form: "SchemaForm", spot: Spot) -> None:
        self.form, self.spot = form, spot
        form.parts[spot.name] = self

    def lines(self) -> Iterator[Line]:
        raise NotImplementedError

    def value(self) -> Any:
        """Return the value, or MISSING."""
        raise NotImplementedError

    def place_of(self, path: str) -> tuple[str | None, str]:
        """Return the field that a path means, and what of the path is left."""
        raise NotImplementedError

    def close(self, path: list[str]) -> None:
        """Disable the fields of what the policy lets nobody change: they give back what was there."""

    def framed(self, inner: Iterator[Line], field: BoundField | None = None, note: str = "") -> Iterator[Line]:
        """Draw the title around `inner`."""
        if not self.spot.is_bare:
            told = hint(self.spot.known, note, self.spot.notes)
            yield Line("open", self.spot.name, self.spot.title, told, field)
        yield from inner
        if not self.spot.is_bare:
            yield Line("close")


class Leaf(Part):
    def __init__(self, form: "SchemaForm", spot: Spot, shape: Shape) -> None:
        super().__init__(form, spot)
        self.shape = shape
        initial = show(shape, spot.shown)
        field = PartField(
            shape,
            spot,
            widget=widget_for(shape, text=form.text_of(spot.name, initial), schema=spot.known, blank=self._blank()),
            label=visible(spot.title + zone_of(shape)),
            help_text=visible(hint(spot.known, *notes_on(shape, spot.shown), spot.notes)),
            initial=initial,
        )
        if spot.is_needed and not spot.is_nullable:
            field.widget.attrs["aria-required"] = "true"
        form.fields[spot.name] = field

    def _blank(self) -> str:
        if not self.spot.is_needed:
            return "(left out)"
        return "Choose…" if self.spot.shown is MISSING else ""

    def close(self, path: list[str]) -> None:
        self.form.fields[self.spot.name].disabled = not is_ajar(self.form.may_edit, path)

    def lines(self) -> Iterator[Line]:
        yield Line("field", field=self.form[self.spot.name])

    def value(self) -> Any:
        return self.form.cleaned_data.get(self.spot.name, MISSING)

    def place_of(self, path: str) -> tuple[str | None, str]:
        return self.spot.name, path


class Fixed(Part):
    """The tag of a union's option: nobody types it."""

    def lines(self) -> Iterator[Line]:
        yield from ()

    def value(self) -> Any:
        known = self.spot.known
        return self.spot.base if not self.spot.is_new else known["const"] if "const" in known else known["enum"][0]

    def place_of(self, path: str) -> tuple[str | None, str]:
        return None, path


class Group(Part):
    """An object: the properties of its schema, then what else the value has."""

    def __init__(self, form: "SchemaForm", spot: Spot) -> None:
        super().__init__(form, spot)
        self.children = {key: form.make(self._child(key)) for key in _keys_of(spot)}

    def _child(self, key: str) -> Spot:
        spot, known = self.spot, self.spot.known.get("properties") or {}
        has_base = isinstance(spot.base, Mapping)
        found = known.get(key, spot.known.get("additionalProperties"))
        schema = found if isinstance(found, Mapping) else None
        return Spot(
            name=name_for(spot.name, key),
            title=title_of(key, resolved(schema or {}, self.form.root)) if key in known else key or "(no name)",
            schema=schema,
            base=spot.base.get(key, MISSING) if has_base else MISSING,
            seed=spot.seed.get(key, MISSING) if isinstance(spot.seed, Mapping) else MISSING,
            is_needed=key in (spot.known.get("required") or ()) or key not in known,
            is_new=not has_base,
            is_tag=key == spot.tag,
            depth=spot.depth + 1,
        )

    def close(self, path: list[str]) -> None:
        for key, part in self.children.items():
            part.close([*path, key])

    def lines(self) -> Iterator[Line]:
        yield from self.framed(line for part in self.children.values() for line in part.lines())

    def value(self) -> Any:
        values = {key: part.value() for key, part in self.children.items()}
        order = [*self.spot.base, *values] if isinstance(self.spot.base, Mapping) else values
        return {key: values[key] for key in order if values[key] is not MISSING}

    def place_of(self, path: str) -> tuple[str | None, str]:
        keys = [key for key in self.children if path == key or path.startswith(f"{key}/")]
        if not path or not keys:
            return None, path
        key = max(keys, key=len)
        return self.children[key].place_of(path[len(key) + 1 :])


class Items(Part):
    """A list: the numbers of its items are posted, so that an item keeps its name when another goes."""

    def __init__(self, form: "SchemaForm", spot: Spot) -> None:
        super().__init__(form, spot)
        self.there: list[Any] = spot.shown if isinstance(spot.shown, list) else []
        self.row = spot.known.get("prefixItems")
        self.order_name = f"{spot.name}--items"
        first = range(len(self.row) if self.row else len(self.there) or self._fewest())
        self.order = list(first) if self.row else _numbers(form.text_of(self.order_name, " ".join(map(str, first))))
        form.hide(self.order_name, " ".join(map(str, first)))
        self.items = [form.make(self._item(number, place)) for place, number in enumerate(self.order)]
        self.is_closed = False

    def _fewest(self) -> int:
        fewest = self.spot.known.get("minItems")
        is_asked = self.spot.shown is MISSING and self.spot.is_needed and isinstance(fewest, int)
        return min(fewest, 10) if is_asked and isinstance(fewest, int) else 0

    def _item(self, number: int, place: int) -> Spot:
        is_there = number < len(self.there)
        schema = self._schema_of(number)
        known = resolved(schema, self.form.root) if schema else {}
        return Spot(
            name=f"{self.spot.name}-{number}",
            title=str(known["title"]) if self.row and "title" in known else f"{self.spot.title} {place + 1}",
            schema=schema,
            base=self.spot.base[number] if is_there and isinstance(self.spot.base, list) else MISSING,
            seed=self.there[number] if is_there else MISSING,
            is_new=not (is_there and isinstance(self.spot.base, list)),
            depth=self.spot.depth + 1,
        )

    def _schema_of(self, number: int) -> Schema | None:
        found: Any = self.row[number] if self.row else self.spot.known.get("items")
        if isinstance(found, Mapping):
            return found
        return like(self.there[0]) if self.there and number >= len(self.there) else None

    def next_number(self) -> int | None:
        """Return the number of an item to add; None if there is no room."""
        most = self.spot.known.get("maxItems")
        room = min(most, _MOST_ITEMS) if isinstance(most, int) else _MOST_ITEMS
        if self.row or len(self.order) >= room:
            return None
        return next(number for number in count(len(self.there)) if number not in self.order)

    def close(self, path: list[str]) -> None:
        self.is_closed = not is_open(self.form.may_edit, path)
        for place, part in enumerate(self.items):
            part.close([*path, str(place)])

    def lines(self) -> Iterator[Line]:
        yield from self.framed(self._inner(), self.form[self.order_name])

    def _inner(self) -> Iterator[Line]:
        yield Line("hidden", field=self.form[self.order_name])
        for part in self.items:
            yield Line("item")
            yield from part.lines()
            if not self.row and not self.is_closed:
                yield Line("remove", part.spot.name, part.spot.title)
            yield Line("end")
        if self.next_number() is not None and not self.is_closed:
            yield Line("add", self.spot.name, self.spot.title)

    def value(self) -> Any:
        values = [found for part in self.items if (found := part.value()) is not MISSING]
        if same(values, self.spot.shown) or not values and not self.there:
            kept = self.spot.untouched()
            if kept is not MISSING or not self.spot.is_needed:
                return kept
        return None if not values and self.spot.is_nullable else values

    def place_of(self, path: str) -> tuple[str | None, str]:
        place, _, rest = path.partition("/")
        if place.isascii() and place.isdigit() and len(place) < 5 and int(place) < len(self.items):
            return self.items[int(place)].place_of(rest)
        return self.order_name, path


class Union(Part):
    """One of several: a choice, and below it what was chosen."""

    def __init__(self, form: "SchemaForm", spot: Spot, options: list[Schema]) -> None:
        super().__init__(form, spot)
        self.options, self.pick_name = options, f"{spot.name}--pick"
        tag = _tag_of(spot.known)
        names = _named(options, tag, form.root)
        first = self._first()
        choices = {"null": "(nothing)"} if spot.is_nullable else {}
        choices |= {str(place): name for place, name in enumerate(names)}
        if not spot.is_needed or first == "":
            choices = {"": "Choose…" if spot.is_needed else "(left out)"} | choices
        self.picked = form.text_of(self.pick_name, first)
        if self.picked not in choices:
            self.picked = first
        form.fields[self.pick_name] = PickField(choices, spot, first, is_inside=len(options) > 1)
        self.inner = None
        if self.picked.isdigit():
            self.inner = form.make(self._option(int(self.picked), names, tag, is_first=self.picked == first))

    def _first(self) -> str:
        shown = self.spot.base if not self.spot.is_new else self.spot.shown
        if shown is MISSING or shown is None and self.spot.is_nullable:
            return "" if shown is MISSING else "null"
        return str(_best(self.options, shown, self.form.root))

    def _option(self, place: int, names: list[str], tag: str, *, is_first: bool) -> Spot:
        return replace(
            self.spot,
            name=f"{self.spot.name}--of{place}",
            title=names[place],
            schema={**self.options[place], "title": names[place]},
            base=self.spot.base if is_first else MISSING,
            seed=self.spot.shown if is_first else MISSING,
            is_needed=True,
            is_nullable=False,
            is_new=self.spot.base is MISSING or not is_first,
            is_bare=True,
            tag=tag,
            depth=self.spot.depth + bool(options_of(self.options[place], self.form.root)),
        )

    def carried(self) -> dict[str, str]:
        """Return what was typed below another option, and has a place below the one that is chosen now."""
        found: dict[str, str] = {}
        for name in self.kept() if self.inner else ():
            rest = re.sub(r"^\d+", "", name.removeprefix(f"{self.spot.name}--of"))
            to = f"{self.spot.name}--of{self.picked}{rest}"
            field = self.form.fields.get(to)
            if isinstance(field, PartField) and to not in self.form.posted and field.takes(self.form.data[name]):
                found.setdefault(to, self.form.data[name])
        return found

    def kept(self) -> Iterator[str]:
        """Yield the names of what was typed below the options that are not chosen now."""
        inner = self.inner.spot.name if self.inner else ""
        for name in self.form.data:
            is_shown = inner and (name == inner or name.startswith(f"{inner}-"))
            if name.startswith(f"{self.spot.name}--of") and not is_shown:
                yield name

    def close(self, path: list[str]) -> None:
        self.form.fields[self.pick_name].disabled = not is_open(self.form.may_edit, path)
        if self.inner:
            self.inner.close(path)

    def lines(self) -> Iterator[Line]:
        yield from self.framed(self._inner())

    def _inner(self) -> Iterator[Line]:
        yield Line("pick", self.spot.name, self.spot.title, field=self.form[self.pick_name])
        if self.inner:
            yield from self.inner.lines()

    def value(self) -> Any:
        if self.inner:
            return self.inner.value()
        return None if self.picked == "null" else MISSING

    def place_of(self, path: str) -> tuple[str | None, str]:
        field, rest = self.inner.place_of(path) if self.inner else (None, path)
        return (field, rest) if field else (self.pick_name, rest)


class PickField(forms.Field):
    """Which option of a union."""

    def __init__(self, choices: Mapping[str, str], spot: Spot, first: str, *, is_inside: bool) -> None:
        self.choices, self.spot = choices, spot
        label = "Kind" if is_inside else "Given"
        super().__init__(
            widget=forms.Select(choices=list(choices.items()), attrs={"autocomplete": "off"}),
            required=False,
            initial=first,
            label=label,
        )

    def clean(self, value: Any) -> str:
        if value not in self.choices:
            raise forms.ValidationError("Choose one of the list.")
        if value == "" and self.spot.is_needed:
            raise forms.ValidationError("This is needed.", code="needed")
        return str(value)


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
        deepest = _DEEPEST if spot.schema is not None else _DEEPEST_INFERRED
        schema = _inferred(spot.shown) if spot.schema is None else spot.schema
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
        if not is_list and ("properties" not in known or len(_keys_of(spot)) > _MOST_ITEMS):
            return None
        if (spot.is_nullable or not spot.is_needed) and (not is_list or "prefixItems" in known):
            return Union(self, spot, [known])
        return Items(self, spot) if is_list else Group(self, spot)

    def lines(self) -> Iterator[Line]:
        """Yield what to draw, one after the other: a template must not call itself."""
        own = {part.order_name for part in self.parts.values() if isinstance(part, Items)}
        for name, field in self.fields.items():
            if isinstance(field, Hidden) and name not in own:
                yield Line("hidden", field=self[name])
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


def _numbers(text: str) -> list[int]:
    """Read which items a list has; whatever else was posted is left out."""
    found = [int(word) for word in text[:1000].split() if word.isascii() and word.isdigit() and len(word) < 5]
    return list(dict.fromkeys(found))[:_MOST_ITEMS]


def _keys_of(spot: Spot) -> list[str]:
    """What is required comes first, in its order: a schema kept as jsonb has lost the order of its properties."""
    known, required = spot.known.get("properties") or {}, list(spot.known.get("required") or ())
    order = sorted(known, key=lambda key: required.index(key) if key in required else len(required))
    return order + [key for key in spot.shown if key not in known] if isinstance(spot.shown, dict) else order


def _is_row(known: Schema, value: Any) -> bool:
    """Whether the form has a place for each item."""
    row = known.get("prefixItems")
    return isinstance(value, list) and len(value) <= _MOST_ITEMS and (not row or len(row) == len(value))


def _is_long(shape: Shape, value: Any) -> bool:
    return shape.kind == "lines" and isinstance(value, list) and any(len(line) > _MOST_LINE for line in value)


def _inferred(value: Any) -> Schema:
    """Return what a value says of itself; its parts say the rest."""
    if isinstance(value, dict) and value:
        return {"type": "object", "properties": {}}
    return {"type": "array"} if isinstance(value, list) else _TYPES.get(type(value), {})


_TYPES: dict[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "number"},
    float: {"type": "number"},
    str: {"type": "string"},
}


def like(value: Any, depth: int = 0) -> Schema | None:
    """Return a schema for another value of the same kind."""
    if isinstance(value, dict) and value and depth < _DEEPEST_INFERRED:
        return {
            "type": "object",
            "properties": {key: like(item, depth + 1) or {} for key, item in list(value.items())[:_MOST_ITEMS]},
        }
    return _TYPES.get(type(value))


def _tag_of(known: Schema) -> str:
    tag = known.get("discriminator")
    return str(tag.get("propertyName", "")) if isinstance(tag, Mapping) else ""


def _best(options: list[Schema], value: Any, root: Schema) -> int:
    return max(range(len(options)), key=lambda place: fit(options[place], value, root))


def _named(options: list[Schema], tag: str, root: Schema) -> list[str]:
    """Name each option by its tag, its title or its type; no two alike."""
    names = [_name_of(option, tag, root) for option in options]
    return [name if names.count(name) == 1 else f"{name} ({place + 1})" for place, name in enumerate(names)]


def _name_of(option: Schema, tag: str, root: Schema) -> str:
    known = resolved((option.get("properties") or {}).get(tag) or {}, root)
    if is_fixed(known):
        return plain_visible(known["const"] if "const" in known else known["enum"][0])
    words = {
        "string": "Text", "number": "Number", "integer": "Whole number", "boolean": "Yes or no", "array": "List",
        "object": "Object",
    }  # fmt: skip
    return plain_visible(option.get("title") or words.get(str(option.get("type")), "JSON"))
