"""The parts that a form for one JSON value is made of: fields, groups, lists, choices, and what nobody may change."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from django import forms
from django.forms.boundfield import BoundField

from agentcore.plain.schemas import ORDER, Schema
from approvals.domain.editable import is_ajar, is_open
from approvals.domain.text import plain_visible, visible
from approvals.forms.fields import ShapedField, hint, normal, notes_on, title_of, widget_for, zone_of
from approvals.forms.inference import MOST_ITEMS, like
from approvals.forms.values import (
    MISSING,
    Shape,
    fit,
    is_fixed,
    options_of,
    resolved,
    same,
    show,
)

if TYPE_CHECKING:
    from approvals.forms.schema import SchemaForm


def name_for(prefix: str, key: str) -> str:
    """Name the part at `key`, whatever it holds: `order_id` stays, other characters become `--2f-`."""
    escaped = "".join(
        char if char.isascii() and (char.isalnum() or char == "_") else f"--{ord(char):x}-" for char in key
    )
    return f"{prefix}-{escaped or '--z-'}"


@dataclass(frozen=True)
class FormLine:
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

    def lines(self) -> Iterator[FormLine]:
        raise NotImplementedError

    def value(self) -> Any:
        """Return the value, or MISSING."""
        raise NotImplementedError

    def place_of(self, path: str) -> tuple[str | None, str]:
        """Return the field that a path means, and what of the path is left."""
        raise NotImplementedError

    def close(self, path: list[str]) -> None:
        """Disable the fields of what the policy lets nobody change: they give back what was there."""

    def framed(self, inner: Iterator[FormLine], field: BoundField | None = None, note: str = "") -> Iterator[FormLine]:
        """Draw the title around `inner`."""
        if not self.spot.is_bare:
            told = hint(self.spot.known, note, self.spot.notes)
            yield FormLine("open", self.spot.name, self.spot.title, told, field)
        yield from inner
        if not self.spot.is_bare:
            yield FormLine("close")


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

    def lines(self) -> Iterator[FormLine]:
        yield FormLine("field", field=self.form[self.spot.name])

    def value(self) -> Any:
        return self.form.cleaned_data.get(self.spot.name, MISSING)

    def place_of(self, path: str) -> tuple[str | None, str]:
        return self.spot.name, path


class Fixed(Part):
    """The tag of a union's option: nobody types it."""

    def lines(self) -> Iterator[FormLine]:
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
        self.children = {key: form.make(self._child(key)) for key in keys_of(spot)}

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

    def lines(self) -> Iterator[FormLine]:
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
        room = min(most, MOST_ITEMS) if isinstance(most, int) else MOST_ITEMS
        if self.row or len(self.order) >= room:
            return None
        return next(number for number in count(len(self.there)) if number not in self.order)

    def close(self, path: list[str]) -> None:
        self.is_closed = not is_open(self.form.may_edit, path)
        for place, part in enumerate(self.items):
            part.close([*path, str(place)])

    def lines(self) -> Iterator[FormLine]:
        yield from self.framed(self._inner(), self.form[self.order_name])

    def _inner(self) -> Iterator[FormLine]:
        yield FormLine("hidden", field=self.form[self.order_name])
        for part in self.items:
            yield FormLine("item")
            yield from part.lines()
            if not self.row and not self.is_closed:
                yield FormLine("remove", part.spot.name, part.spot.title)
            yield FormLine("end")
        if self.next_number() is not None and not self.is_closed:
            yield FormLine("add", self.spot.name, self.spot.title)

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

    def lines(self) -> Iterator[FormLine]:
        yield from self.framed(self._inner())

    def _inner(self) -> Iterator[FormLine]:
        yield FormLine("pick", self.spot.name, self.spot.title, field=self.form[self.pick_name])
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


def _numbers(text: str) -> list[int]:
    """Read which items a list has; whatever else was posted is left out."""
    found = [int(word) for word in text[:1000].split() if word.isascii() and word.isdigit() and len(word) < 5]
    return list(dict.fromkeys(found))[:MOST_ITEMS]


def keys_of(spot: Spot) -> list[str]:
    """Return the keys in the author's order; where that is not known, what is required first."""
    known, first = spot.known.get("properties") or {}, list(spot.known.get(ORDER) or spot.known.get("required") or ())
    order = sorted(known, key=lambda key: first.index(key) if key in first else len(first))
    return order + [key for key in spot.shown if key not in known] if isinstance(spot.shown, dict) else order


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
