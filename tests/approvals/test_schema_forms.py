"""Fields for any JSON value: what nobody touches comes back as it was, what is typed keeps its type and is not lost."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from enum import Enum, IntEnum
from html.parser import HTMLParser
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agentcore.plain.json import canonical
from agentcore.plain.schemas import with_order
from approvals.forms.parts import name_for
from approvals.forms.schema import SchemaForm
from approvals.forms.values import MISSING, same
from tests.scale import share, tries

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
            has_seconds = found["type"] in ("datetime-local", "time") and value.count(":") == 2
            self.posted[found["name"]] = value.removesuffix(":00") if has_seconds else value
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
        SCHEMA,
        VALUE,
        v__lines__0__price="80",
        v__address__city="Gouda",
        v__pair____of0__0="7",
        v__at="2026-02-01T08:15",
    )
    lines = [{"product": "Chair", "price": 80, "count": 2}, VALUE["lines"][1]]
    changed = {**VALUE, "lines": lines, "pair": [7, "x"], "at": "2026-02-01T08:15:00+02:00"}
    assert exactly(value_of(form), {**changed, "address": {**VALUE["address"], "city": "Gouda"}})


# Schemas as Pydantic makes them, each with values that fit. Texts may hold anything.
ANY_TEXT = st.text(max_size=12)
KEYS = st.text(max_size=6) | st.sampled_from(
    ["", "__proto__", "a/b", "a.b", "a-b", "<b>", "{{7*7}}", "\u202e", "--2f-"]
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
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
    return (
        (schema, values)
        if kind == "leaf"
        else ({"anyOf": [schema, {"type": "null"}], "default": None}, st.none() | values)
    )


SETTINGS = settings(max_examples=tries(40, full=1000), deadline=None, suppress_health_check=list(HealthCheck))
WITHOUT_THE_KEY = (
    {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]}]},
    {},
)


@SETTINGS
@given(pairs())
@example(WITHOUT_THE_KEY)
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


INPUT = {
    "type": "object",
    "required": ["order_id", "amount"],
    "properties": {
        "amount": {"type": "number", "exclusiveMinimum": 0, "examples": [49.95]},
        "order_id": {"type": "string", "description": "Number on the invoice."},
        "risk": {"$ref": "#/$defs/Risk"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "address": {"type": "object"},
        "days": {"type": "integer", "default": 14},
    },
    "$defs": {"Risk": {"enum": ["low", "high"]}},
}


def test_a_new_value_leaves_out_what_was_left_empty_and_sends_the_defaults_it_showed() -> None:
    form = posted(INPUT, v__order_id="NL-1", v__amount="49.95", v__risk='"low"')
    assert value_of(form) == {"order_id": "NL-1", "amount": 49.95, "risk": "low", "days": 14}


def test_a_new_value_is_asked_for_what_is_required_and_what_cannot_be_read() -> None:
    form = posted(INPUT, v__address="{")
    assert not form.is_valid()
    assert set(form.errors) == {"v-order_id", "v-amount", "v-address"}
    assert "line 1" in str(form.errors["v-address"])
    assert browsed(form).posted["v-address"] == "{"


def test_required_fields_come_first_with_their_limits_and_examples() -> None:
    form = SchemaForm(INPUT, prefix="v")
    assert list(form.fields)[:2] == ["v-order_id", "v-amount"]
    assert "More than 0." in form["v-amount"].help_text
    assert form.fields["v-amount"].widget.attrs["placeholder"] == "49.95"
    assert "Number on the invoice." in form["v-order_id"].help_text


def test_faults_are_shown_at_the_field_they_name() -> None:
    form = posted(SCHEMA, VALUE)
    form.add_faults(
        [
            {"path": "lines/1/price", "message": "Too low."},
            {"path": "lines", "message": "Too few."},
            {"path": "pay/iban", "message": "No bank."},
            {"path": "address/<b>/a/b/0", "message": "No."},
            {"path": "facts/a/b", "message": "Hm."},
            {"path": "nobody", "message": "Unknown."},
        ],
        "It does not fit.",
    )
    assert form.errors["v-lines-1-price"] == ["Too low."]
    assert form.errors["v-lines--items"] == ["Too few."]
    assert form.errors["v-pay--of1-iban"] == ["No bank."]
    assert form.errors["v-address---3c-b--3e--a--2f-b-0"] == ["No."]
    assert form.errors["v-facts"] == ["a/b: Hm."]
    assert form.non_field_errors() == ["It does not fit.", "nobody: Unknown."]
    assert "part-v-lines_error" in browsed(form).described


def test_items_are_added_and_removed_and_nothing_typed_is_lost() -> None:
    form = pressed(SchemaForm(SCHEMA, VALUE, prefix="v"), "add:v-lines", v__lines__1__price="13.50", v__number="eighty")
    assert not form.errors
    form = submitted(form, v__lines__2__product="Desk", v__lines__2__price="99")
    desk = {"product": "Desk", "price": 99.0, "count": 1}
    lamp = {"product": "Lamp", "price": 13.5}
    assert not form.is_valid()  # a text with odd characters is JSON, and eighty is none
    form = again(form, **{**form.data, "v-number": '"eighty"'})
    assert exactly(value_of(form), {**VALUE, "number": "eighty", "lines": [VALUE["lines"][0], lamp, desk]})
    form = pressed(form, "remove:v-lines-0")
    form = submitted(form)
    assert value_of(form)["lines"] == [lamp, desk]
    form.add_faults([{"path": "lines/0/price", "message": "Low."}])
    assert "v-lines-1-price" in form.errors


def test_a_full_list_takes_no_more_and_says_its_limits() -> None:
    form = SchemaForm(SCHEMA, {**VALUE, "lines": [VALUE["lines"][1]] * 3}, prefix="v")
    page = drawn(form)
    assert "At least 1 item, at most 3 items." in page
    assert "add:v-lines" not in browsed(form).buttons
    assert exactly(value_of(again(form, **form.changed("add:v-lines").data))["lines"], [VALUE["lines"][1]] * 3)


def test_another_option_is_picked_and_what_both_have_is_carried_along() -> None:
    form = SchemaForm(SCHEMA, VALUE, prefix="v")
    form = pressed(form, "pick:v-pay", v__pay____pick="0", v__pay____of1__note="urgent")
    assert not form.errors
    assert "v-pay--of0-kind" not in form.fields
    paid = submitted(form, v__pay____of0__number="4111")
    assert value_of(paid)["pay"] == {"kind": "card", "number": "4111", "note": "urgent"}
    back = pressed(paid, "pick:v-pay", v__pay____pick="1")
    assert value_of(submitted(back))["pay"] == {"kind": "bank", "iban": "NL1", "note": "urgent"}


def test_an_option_that_was_chosen_but_not_filled_in_is_asked_for() -> None:
    form = posted(SCHEMA, VALUE, v__pay____pick="0")
    assert not form.is_valid()
    assert set(form.errors) == {"v-pay--of0-number"}


def test_an_optional_object_is_given_or_taken_away() -> None:
    form = pressed(
        SchemaForm(SCHEMA, VALUE, prefix="v"), "pick:v-billing", v__billing____pick="0", v__tree____pick="null"
    )
    changed = value_of(submitted(form, v__billing____of0__street="Markt", v__billing____of0__city="Delft"))
    assert changed["billing"] == {"street": "Markt", "city": "Delft"}
    assert changed["tree"] is None
    assert "tree" not in value_of(posted(SCHEMA, VALUE, v__tree____pick=""))


def test_a_new_order_is_filled_in_from_nothing() -> None:
    form = SchemaForm(SCHEMA, prefix="v")
    assert "v-lines-0-product" in form.fields  # at least one is asked for
    form = pressed(form, "pick:v-pay", v__pay____pick="0", v__number="7")
    form = submitted(
        form, v__address__street="Markt", v__address__city="Delft", v__lines__0__product="Desk", v__lines__0__price="5",
        v__pay____of0__number="41", v__due="2026-02-01", v__at="2026-02-01T10:00:30",
    )  # fmt: skip
    found = value_of(form)
    Order.model_validate(found)
    assert found["number"] == "7"
    assert found["at"] == "2026-02-01T10:00:30Z"
    assert "tree" not in found and "anything" not in found


@pytest.mark.parametrize(
    ("schema", "value", "typed", "wanted"),
    [
        ({"type": "number"}, 640, "80", 80),
        ({"type": "number"}, 640, "80.5", 80.5),
        ({"type": "number"}, 640.0, "80", 80.0),
        ({"type": "number"}, 640.0, "640", 640.0),
        (None, 640, "80.5", 80.5),
        ({"enum": [1, "1", True]}, 1, '"1"', "1"),
        ({"enum": [1, "1", True]}, "1", "true", True),
        ({"type": "string"}, "x", "", ""),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "x", "", None),
        ({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}, ["x"], "", None),
        ({"anyOf": [{"type": "object"}, {"type": "null"}]}, {"a": 1}, "", None),
        ({"type": "string"}, "a\u200bb", '"ab"', "ab"),
        ({"type": "string", "format": "date"}, "2026-01-31", "2024-02-29", "2024-02-29"),
        ({"type": "string", "format": "date"}, "tomorrow", "today", "today"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T10:00:00+05:30", "2026-01-31T11:00",
         "2026-01-31T11:00:00+05:30"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T10:00:00", "2026-01-31T11:00", "2026-01-31T11:00:00"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T10:00:00.5Z", "soon", "soon"),
        ({"type": "string", "format": "time"}, "10:00Z", "11:30", "11:30:00Z"),
    ],
)  # fmt: skip
def test_what_is_typed_keeps_its_type(schema: Any, value: Any, typed: str, wanted: Any) -> None:
    assert exactly(value_of(posted(schema, value, v=typed)), wanted)


def test_a_picker_says_its_zone_and_keeps_what_it_cannot_read() -> None:
    schema = {"type": "string", "format": "date-time"}
    assert "UTC+05:30" in drawn(SchemaForm(schema, "2026-01-31T10:00:00+05:30", prefix="v"))
    form = SchemaForm(schema, prefix="v", data={"v": "31.1.2026"})
    assert not form.is_valid()
    page = drawn(form)
    assert 'type="text"' in page and "31.1.2026" in page


def test_an_emptied_number_is_asked_for_unless_it_may_be_left_out() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
    assert set(posted(schema, {"a": 1, "b": 2}, v__a="").errors) == {"v-a"}
    assert value_of(posted(schema, {"a": 1, "b": 2}, v__b="")) == {"a": 1}
    assert set(posted(None, {"a": 1}, v__a="").errors) == {"v-a"}


def test_a_form_goes_to_json_and_back_with_what_was_typed() -> None:
    form = pressed(SchemaForm(SCHEMA, VALUE, prefix="v"), "json:v", v__due="2026-05-05")
    assert [name for name in form.fields if not name.startswith("v--")] == ["v"]
    text = browsed(form).posted["v"].replace('"Delft"', '"Gouda"').replace('"tags": [', '"more": 1.0, "tags": [')
    form = pressed(form, "form:v", v=text)
    wanted = {**VALUE, "due": "2026-05-05", "more": 1.0, "address": {**VALUE["address"], "city": "Gouda"}}
    assert exactly(value_of(submitted(form)), wanted)
    assert exactly(value_of(submitted(form, v__more="2")), {**wanted, "more": 2.0})


def test_a_form_that_cannot_be_read_stays_and_json_that_has_no_place_stays_json() -> None:
    form = pressed(SchemaForm(SCHEMA, VALUE, prefix="v"), "json:v", v__lines__0__price="eighty")
    assert form.errors["v-lines-0-price"] and not form.is_json
    form = pressed(SchemaForm(SCHEMA, VALUE, prefix="v"), "json:v")
    broken = pressed(form, "form:v", v='{"a": 1,}')
    assert broken.is_json and "line 1" in str(broken.errors["v"])
    assert browsed(broken).posted["v"] == '{"a": 1,}'
    placeless = pressed(form, "form:v", v="[1]")
    assert placeless.is_json and "no place" in drawn(placeless)
    assert browsed(placeless).posted["v"] == "[1]"


def test_a_form_with_required_fields_still_empty_can_go_to_json() -> None:
    form = pressed(SchemaForm(INPUT, prefix="v"), "json:v", v__order_id="NL-1")
    assert form.is_json and not form.errors
    assert value_of(submitted(form)) == {"order_id": "NL-1", "days": 14}


HOSTILE = [
    "",
    "__proto__",
    "a/b",
    "a.b",
    "<b>",
    "{{7*7}}",
    "a\u202eb",
    "a-b",
    "--items",
    "--2f-",
    "\ud800",
    "x" * 5_000,
]


def test_keys_of_any_kind_have_names_of_their_own_and_are_shown_safely() -> None:
    value = {key: {"inner": number} for number, key in enumerate(HOSTILE)}
    page = drawn(SchemaForm(None, value, prefix="v"))
    assert "<b>" not in page and "\u202e" not in page and "U+202E" in page
    assert "{{7*7}}" in page and "(no name)" in page
    assert exactly(value_of(posted(None, value)), value)
    assert len({name_for("v", key) for key in HOSTILE}) == len(HOSTILE)


DONE = ["add:v-lines", "remove:v-lines-0", "pick:v-pay", "json:v", "form:v", "add:v-nobody", "remove:", "x:v", ""]


@pytest.mark.parametrize(
    ("place", "data"),
    list(enumerate([
        {},
        {"v-lines--items": "0 " * 100_000},
        {"v-lines--items": " ".join(map(str, range(10_000)))},
        {"v-lines--items": "-1 x 999999999999 \u0663 1e9 0"},
        {"v-pay--pick": "7", "v-size--pick": "-1", "v-tree--pick": "\u0661"},
        {"v-pay--pick": ["0"], "v-lines": None},
        {f"v-tree--of0{'-children-0' * n}-children--items": "0 1 2 3" for n in range(60)},
        {"v--mode": "json", "v": "[" * 100_000},
        {"v--mode": "json", "v": '{"a":' * 300 + "1" + "}" * 300},
        {"v--mode": "json", "v": '"\ud800"', "v--was": "{"},
        {"v--was": "[" * 100_000},
        {"v--was": '"\\ud800"'},
        {"v-number": "\ud800\x00", "v-due": "\ud800", "v-color": "{", "v-facts": "\ud800"},
        {"v-pay--of0-x": "\x00", **{f"v-pay--of0-{n}": "x" for n in range(3_000)}},
        {"v-lines": "[]", "v-address": "nonsense"},
    ])),
    ids=map(str, range(15)),
)  # fmt: skip
def test_hostile_posts_are_capped_or_refused(place: int, data: dict[str, Any]) -> None:
    form = SchemaForm(SCHEMA, VALUE, prefix="v", data=data)
    if form.is_valid():
        form.value()
    drawn(form).encode()
    assert len(form.fields) < 1_500
    for do in share(DONE, place, of=3):
        drawn(form.changed(do)).encode()


def test_a_list_of_lists_cannot_be_grown_without_end() -> None:
    schema: Any = {"type": "array", "items": {"type": "integer"}}
    for _ in range(5):
        schema = {"type": "array", "items": schema}
    some = " ".join(map(str, range(100)))
    names = ["v"]
    data = {}
    for _ in range(1_000):
        name = names.pop(0)
        data[f"{name}--items"] = some
        names += [f"{name}-{number}" for number in range(100)]
    assert len(SchemaForm(schema, [], prefix="v", data=data).fields) < 1_500


def test_a_large_value_is_json_where_it_is_large() -> None:
    many = tries(2_000, full=10_000)
    value = {"rows": [{"a": 1}] * many, "keys": {str(n): n for n in range(many)}, "one": 1}
    form = posted(None, value)
    assert len(form.fields) < 10
    assert exactly(value_of(form), value)
    size = tries(20, full=50)
    wide = [[{"a": n, "b": [n] * 20} for n in range(size)] for _ in range(size)]
    assert exactly(value_of(posted(None, wide)), wide)


def test_a_schema_that_refers_to_itself_ends_in_json() -> None:
    loop = {"$ref": "#/$defs/Loop", "$defs": {"Loop": {"anyOf": [{"$ref": "#/$defs/Loop"}, {"type": "integer"}]}}}
    needy: Any = {"type": "object", "required": ["again"], "properties": {"again": {"$ref": "#"}}}
    assert exactly(value_of(posted(loop, 1)), 1)
    browsed(SchemaForm(needy, prefix="v"))
    deep: Any = {"name": "end"}
    for _ in range(30):
        deep = {"name": "x", "children": [deep]}
    assert exactly(value_of(posted(Tree.model_json_schema(), deep)), deep)
    assert exactly(value_of(posted(None, deep)), deep)


def test_a_form_knows_its_own_buttons() -> None:
    form = SchemaForm(SCHEMA, VALUE, prefix="v")
    assert all(form.owns(do) for do in browsed(form).buttons)
    assert not any(
        form.owns(do) for do in ("", "add", "preview", "add:vw", "add:w-v", "stop:v", "add:v--2f-b", "add:v b")
    )
    assert form.owns("add:v-lines") and form.owns("json:v")


def test_keys_the_schema_does_not_know_stay_and_can_be_edited() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert value_of(posted(schema, {"b": [1, "x"], "a": "y"}, v__b__0="5")) == {"b": [5, "x"], "a": "y"}


def test_a_list_without_a_schema_grows_by_items_like_its_first() -> None:
    form = pressed(SchemaForm(None, {"rows": [{"sku": "a", "count": 1}]}, prefix="v"), "add:v-rows")
    form = submitted(form, v__rows__1__sku="b", v__rows__1__count="2")
    assert value_of(form) == {"rows": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2.0}]}


def test_every_field_has_a_label_of_its_own() -> None:
    page = drawn(SchemaForm(SCHEMA, VALUE, prefix="v"))
    assert page.count("<label ") == page.count("<select") + page.count("<textarea") + page.count("<input") - page.count(
        'type="hidden"'
    )
    assert page.count("<fieldset") == page.count("<legend")


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**64 - 1])
def test_a_number_that_javascript_would_round_comes_back_exactly(number: int) -> None:
    value = {"order": number, "price": 5.0, "deep": {"order": number}}
    form = posted(None, value, v__price="4.5")
    assert value_of(form) == {"order": number, "price": 4.5, "deep": {"order": number}}
    assert value_of(posted(None, value, v__order=str(number - 1 if number > 0 else number + 1)))["order"] != number


def test_fields_stand_in_the_order_that_their_author_wrote() -> None:
    class Written(BaseModel):
        zeta: str = "z"
        alpha: int
        middle: Card | None = None

    stored = json.loads(canonical(with_order(Written.model_json_schema())))
    assert list(SchemaForm(stored, prefix="v").fields)[:2] == ["v-zeta", "v-alpha"]
