"""Fields for any JSON value: what nobody touches comes back as it was, what is typed keeps its type, nothing is lost."""

from collections.abc import Iterator
from datetime import date, datetime, time
from enum import Enum, IntEnum
from html.parser import HTMLParser
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from approvals.schema_forms import SchemaForm, name_for
from approvals.shapes import MISSING, same

pytestmark = pytest.mark.usefixtures("database")


class Browser(HTMLParser):
    """What a browser would post for a page: the fields as they stand, and the buttons."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.posted: dict[str, str] = {}
        self.buttons: list[str] = []
        self.ids: list[str] = []
        self.described: list[str] = []
        self.open: list[str] = []
        self._writing = self._choosing = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        assert "style" not in found and not any(key.startswith("on") for key in found)
        self.ids += [found["id"]] if "id" in found else []
        self.described += found.get("aria-describedby", "").split()
        if tag in ("fieldset", "div"):
            self.open.append(tag)
        if tag == "input":
            value = found.get("value", "")
            self.posted[found["name"]] = value.removesuffix(":00") if found["type"] == "datetime-local" else value
        elif tag == "textarea":
            self._writing = found["name"]
            self.posted[self._writing] = ""
        elif tag == "select":
            self._choosing = found["name"]
        elif tag == "option" and ("selected" in found or self._choosing not in self.posted):
            self.posted[self._choosing] = found["value"]
        elif tag == "button":
            self.buttons.append(found["value"])

    def handle_endtag(self, tag: str) -> None:
        if tag in ("fieldset", "div"):
            assert self.open.pop() == tag
        if tag == "textarea":
            text = self.posted[self._writing].removeprefix("\n")
            self.posted[self._writing], self._writing = text.replace("\n", "\r\n"), ""

    def handle_data(self, text: str) -> None:
        if self._writing:
            self.posted[self._writing] += text


def drawn(form: SchemaForm) -> str:
    from django.template.loader import render_to_string

    return render_to_string("_schema_form.html", {"form": form})


def browsed(form: SchemaForm) -> Browser:
    page = drawn(form)
    page.encode()
    browser = Browser(page)
    assert not browser.open
    assert len(set(browser.ids)) == len(browser.ids)
    assert set(browser.described) <= set(browser.ids)
    return browser


def posted(schema: Any, value: Any = MISSING, **typed: str) -> SchemaForm:
    """The form as it comes back when these fields were typed over; `__` stands for `-`."""
    sent = browsed(SchemaForm(schema, value, prefix="v")).posted
    texts = {name.replace("__", "-"): text for name, text in typed.items()}
    assert texts.keys() <= sent.keys(), f"{texts.keys()} are not all in {sent.keys()}"
    return SchemaForm(schema, value, prefix="v", data={**sent, **texts})


def pressed(form: SchemaForm, do: str, **typed: str) -> SchemaForm:
    """The form after a button of it was pressed."""
    browser = browsed(form)
    assert do in browser.buttons, browser.buttons
    texts = {name.replace("__", "-"): text for name, text in typed.items()}
    assert texts.keys() <= browser.posted.keys(), browser.posted.keys()
    assert form.owns(do)
    return again(form, **{**browser.posted, **texts}).changed(do)


def again(form: SchemaForm, **data: str) -> SchemaForm:
    return SchemaForm(form.schema, form.given, prefix="v", data=data)


def submitted(form: SchemaForm, **typed: str) -> SchemaForm:
    texts = {name.replace("__", "-"): text for name, text in typed.items()}
    sent = browsed(form).posted
    assert texts.keys() <= sent.keys(), f"{texts.keys()} are not all in {sent.keys()}"
    return again(form, **{**sent, **texts})


def value_of(form: SchemaForm) -> Any:
    assert form.is_valid(), form.errors.as_data()
    return form.value()


def exactly(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one is other or same(one, other))


class Card(BaseModel):
    kind: Literal["card"]
    number: str
    note: str = ""


class Bank(BaseModel):
    kind: Literal["bank"] = "bank"
    iban: str = Field(examples=["NL91 ABNA"])
    note: str = ""


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    city: str = Field(description="The town.", max_length=40)


class Line(BaseModel):
    product: str
    price: float = Field(gt=0)
    count: int = 1


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


class Order(BaseModel):
    """An order of a customer."""

    number: str
    address: Address
    billing: Address | None = None
    lines: list[Line] = Field(min_length=1, max_length=3)
    pay: Annotated[Card | Bank, Field(discriminator="kind")]
    level: Level = Level.LOW
    color: Color | None = None
    tags: list[str] = []
    due: date
    at: datetime
    opens: time | None = None
    paid: bool = False
    size: int | str = 1
    pair: tuple[int, str] = (1, "a")
    facts: dict[str, int] = {}
    tree: Tree | None = None
    anything: Any = None


SCHEMA = Order.model_json_schema()
VALUE: dict[str, Any] = {
    "number": "A\u202e1",
    "address": {"street": "Kerkstraat", "city": "Delft", "<b>": {"": 1, "a/b": [True, None]}},
    "billing": None,
    "lines": [{"product": "Chair", "price": 640, "count": 2}, {"product": "Lamp", "price": 12.0}],
    "pay": {"kind": "bank", "iban": "NL1"},
    "color": "red",
    "tags": ["a", "b c"],
    "due": "2026-01-31",
    "at": "2026-01-31T10:00:00+02:00",
    "opens": "09:30:00",
    "size": "large",
    "pair": [3, "x"],
    "facts": {"a": 1},
    "tree": {"name": "root", "children": [{"name": "leaf", "children": []}]},
    "anything": [1, "1", True],
}


def test_a_form_posted_back_untouched_gives_exactly_the_value() -> None:
    form = posted(SCHEMA, VALUE)
    assert exactly(value_of(form), VALUE)
    assert list(form.value()) == list(VALUE)
    inferred = posted(None, VALUE)
    assert exactly(value_of(inferred), VALUE)


def test_what_was_typed_changes_that_and_nothing_else() -> None:
    form = posted(
        SCHEMA, VALUE, v__lines__0__price="80", v__address__city="Gouda", v__pair____of0__0="7", v__at="2026-02-01T08:15"
    )
    lines = [{"product": "Chair", "price": 80, "count": 2}, VALUE["lines"][1]]
    changed = {**VALUE, "lines": lines, "pair": [7, "x"], "at": "2026-02-01T08:15:00+02:00"}
    assert exactly(value_of(form), {**changed, "address": {**VALUE["address"], "city": "Gouda"}})


# Schemas as Pydantic makes them, each with values that fit. Texts may hold anything.
ANY_TEXT = st.text(max_size=12)
KEYS = st.text(max_size=6) | st.sampled_from(["", "__proto__", "a/b", "a.b", "a-b", "<b>", "{{7*7}}", "\u202e", "--2f-"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
Pair = tuple[dict[str, Any], st.SearchStrategy[Any]]
LEAVES: list[Pair] = [
    ({"type": "string"}, ANY_TEXT),
    ({"type": "string", "format": "date"}, st.dates().map(str)),
    ({"type": "string", "format": "date-time"}, st.datetimes().map(lambda at: at.isoformat() + "Z")),
    ({"type": "string", "format": "time"}, st.times().map(lambda at: at.isoformat())),
    ({"type": "string", "format": "date-time"}, ANY_TEXT),
    ({"type": "number"}, st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)),
    ({"type": "integer"}, st.integers(-(2**60), 2**60)),
    ({"type": "boolean"}, st.booleans()),
    ({"enum": [1, "1", True, None, 1.5]}, st.sampled_from([1, "1", True, None, 1.5])),
    ({"const": "fixed"}, st.just("fixed")),
    ({"type": "object"}, st.dictionaries(KEYS, JSON_VALUES, max_size=3)),
    ({"type": "array"}, st.lists(JSON_VALUES, max_size=3)),
    ({}, JSON_VALUES),
    ({"type": "string"}, JSON_VALUES),  # a state need not fit its schema
]


@st.composite
def pairs(draw: st.DrawFn, depth: int = 0) -> tuple[dict[str, Any], Any]:
    schema, values = draw(kinds(depth))
    return schema, draw(values)


@st.composite
def kinds(draw: st.DrawFn, depth: int = 0) -> Pair:
    kind = "leaf" if depth > 2 else draw(st.sampled_from(["leaf", "object", "list", "union", "optional", "tuple"]))
    inner = kinds(depth + 1)
    if kind == "object":
        properties = draw(st.dictionaries(KEYS, inner, max_size=4))
        required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
        schema = {"type": "object", "properties": {key: found[0] for key, found in properties.items()}}
        known = st.fixed_dictionaries(
            {key: properties[key][1] for key in required},
            optional={key: found[1] for key, found in properties.items() if key not in required},
        )
        extra = st.dictionaries(KEYS, JSON_VALUES, max_size=1)
        return {**schema, "required": required}, st.builds(lambda one, more: {**more, **one}, known, extra)
    if kind == "list":
        schema, values = draw(inner)
        return {"type": "array", "items": schema}, st.lists(values, max_size=3)
    if kind == "tuple":
        row = draw(st.lists(inner, min_size=1, max_size=2))
        return {"type": "array", "prefixItems": [schema for schema, _ in row]}, st.tuples(
            *(values for _, values in row)
        ).map(list)
    if kind == "union":
        options = draw(st.lists(inner, min_size=2, max_size=3))
        return {"anyOf": [schema for schema, _ in options]}, st.one_of([values for _, values in options])
    schema, values = draw(st.sampled_from(LEAVES)) if kind == "leaf" else draw(inner)
    return (schema, values) if kind == "leaf" else ({"anyOf": [schema, {"type": "null"}], "default": None}, st.none() | values)


SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(pairs())
def test_any_value_of_any_schema_comes_back_as_it_was(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    assert exactly(value_of(posted(schema, value)), value)


@SETTINGS
@given(JSON_VALUES)
def test_any_value_without_a_schema_comes_back_as_it_was(value: Any) -> None:
    assert exactly(value_of(posted(None, value)), value)


@SETTINGS
@given(pairs())
def test_any_value_can_go_to_json_and_back(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    form = SchemaForm(schema, value, prefix="v")
    if form.can_turn:
        as_json = pressed(form, "json:v")
        assert exactly(value_of(submitted(as_json)), value)
        assert exactly(value_of(submitted(pressed(as_json, "form:v"))), value)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def replaced(value: Any, path: tuple[Any, ...], leaf: Any) -> Any:
    if not path:
        return leaf
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], leaf)
    return copy


@SETTINGS
@given(JSON_VALUES, st.data())
def test_a_changed_leaf_changes_just_that(value: Any, data: st.DataObject) -> None:
    named = [(path, leaf) for path, leaf in leaves(value) if isinstance(leaf, str | int) and len(path) < 5]
    named = [(path, leaf) for path, leaf in named if not isinstance(leaf, bool) and "\ufffd" not in str(leaf)]
    if not named:
        return
    path, leaf = data.draw(st.sampled_from(named))
    name = "v"
    for key in path:
        name = f"{name}-{key}" if isinstance(key, int) else name_for(name, key)
    form = SchemaForm(None, value, prefix="v")
    if name not in form.fields or form.fields[name].initial != str(leaf):  # one with odd characters is JSON
        return
    wanted = leaf + 7 if isinstance(leaf, int) else "other"
    form = again(form, **{**browsed(form).posted, name: str(wanted)})
    assert exactly(value_of(form), replaced(value, path, wanted))
