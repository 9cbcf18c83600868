"""Forms made from schemas: what people type becomes the value they meant, of the type the graph expects."""

from typing import Any

import pytest

from agentcore.plain.types import Channel
from approvals.forms.edits import EditForm
from approvals.forms.fields import JsonForm
from approvals.forms.values import JSON, MISSING, Shape, read, read_json, shape_for, shape_of, show

AMOUNT = Channel("amount", "float", False, {"type": "number", "title": "Amount", "exclusiveMinimum": 0})
CURRENCY = Channel("currency", "Literal", False, {"enum": ["EUR", "GBP"], "title": "Currency"})
NOTES = Channel("notes", "list", True, {"type": "array", "items": {"type": "string"}, "title": "Notes"})
ROUTE = Channel("route", "str | None", False, {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Route"})
MAIL = Channel("mail", "str", False, {"type": "string", "title": "Mail"})
EXTRA = Channel("extra", "dict", False, {"type": "object", "title": "Extra"})
CHANNELS = (AMOUNT, CURRENCY, NOTES, ROUTE, MAIL, EXTRA)
STATE = {"amount": 640.0, "currency": "GBP", "notes": ["one"], "route": None, "mail": "Dear\nyou", "extra": {"a": [1]}}


def sent(**changed: str) -> dict[str, str]:
    """What a browser sends when only these fields were changed."""
    form = EditForm(CHANNELS, STATE)
    texts = {name: str(field.initial) for name, field in form.fields.items()}
    return {**{name: text.replace("\n", "\r\n") for name, text in texts.items()}, **changed}


def edited(**changed: str) -> EditForm:
    return EditForm(CHANNELS, STATE, data=sent(**{name.replace("__", "-"): text for name, text in changed.items()}))


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        ({"type": "string"}, Shape("text")),
        ({"type": "number"}, Shape("number")),
        ({"type": "integer"}, Shape("integer")),
        ({"type": "boolean"}, Shape("choice", choices=(True, False))),
        ({"enum": ["a", "b"]}, Shape("choice", choices=("a", "b"))),
        ({"const": "a"}, Shape("choice", choices=("a",))),
        ({"type": ["string", "null"]}, Shape("text", is_nullable=True)),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, Shape("number", is_nullable=True)),
        ({"anyOf": [{"const": "a"}, {"const": "b"}, {"type": "null"}]}, Shape("choice", choices=("a", "b", None))),
        ({"type": "array", "items": {"type": "string"}}, Shape("lines")),
        ({"type": "array", "items": {"type": "number"}}, JSON),
        ({"type": "object"}, JSON),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, JSON),
        ({}, JSON),
        (
            {"$ref": "#/$defs/Risk", "$defs": {"Risk": {"enum": ["low", "high"]}}},
            Shape("choice", choices=("low", "high")),
        ),
    ],
)
def test_a_schema_becomes_the_plainest_field_that_can_show_it(schema: dict[str, Any], shape: Shape) -> None:
    assert shape_of(schema) == shape


def test_a_schema_that_refers_to_itself_is_edited_as_json() -> None:
    tree = {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}
    loop = {"$ref": "#/$defs/Loop", "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}
    assert shape_of(tree) == shape_of(loop) == JSON


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "text with \u202e turned"),
        ({"type": "string"}, {"not": "a text"}),
        ({"type": "string"}, "a\rb"),
        ({"type": "number"}, True),
        ({"type": "array", "items": {"type": "string"}}, ["two\nlines"]),
        ({"type": "array", "items": {"type": "string"}}, [""]),
        ({"enum": ["a"]}, "z"),
        ({"enum": [1]}, True),
    ],
)
def test_a_value_its_field_cannot_show_whole_is_edited_as_json(schema: dict[str, Any], value: Any) -> None:
    shape = shape_for(schema, value)
    assert shape == JSON
    assert read(shape, show(shape, value)) == value


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (Shape("text"), "a\n\nb "),
        (Shape("text", is_nullable=True), None),
        (Shape("number"), 640.0),
        (Shape("number"), 1e-7),
        (Shape("integer"), -3),
        (Shape("choice", choices=(True, False)), False),
        (Shape("choice", choices=("a", None)), None),
        (Shape("lines"), ["a", "b c"]),
        (Shape("lines"), []),
        (JSON, {"a": [1, 2.5, None, "x"]}),
    ],
)
def test_what_is_shown_reads_back_as_the_same_value(shape: Shape, value: Any) -> None:
    again = read(shape, show(shape, value))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "abc", "1,5", "٣", "0x10", "1 000", "9" * 400]
)
def test_a_number_field_refuses_what_is_not_a_finite_number(text: str) -> None:
    with pytest.raises(ValueError):
        read(Shape("number"), text)


def test_an_integer_field_keeps_integers_and_refuses_fractions() -> None:
    assert read(Shape("integer"), "9007199254740993") == 9007199254740993
    with pytest.raises(ValueError, match="whole number"):
        read(Shape("integer"), "1.5")


def test_a_number_field_gives_a_float_even_for_a_round_number() -> None:
    assert type(read(Shape("number"), "80")) is float


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "9" * 400 + "}", "digits"),
        ('{"a": 1, "a": 2}', "twice"),
        ("{'a': 1}", "line 1"),
        ("[" * 100_000, "deep"),
    ],
)
def test_bad_json_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_json(text)


def test_nothing_is_sent_when_nothing_was_changed() -> None:
    form = edited()
    assert form.is_valid()
    assert form.edits() == {}


def test_only_what_was_changed_is_sent_and_a_number_stays_a_number() -> None:
    form = edited(**{"edit__amount": "80"})
    assert form.is_valid()
    assert form.edits() == {"amount": {"op": "set", "value": 80.0}}


def test_the_same_number_written_otherwise_is_no_change() -> None:
    form = edited(**{"edit__amount": "640"})
    assert form.is_valid()
    assert form.edits() == {}


def test_a_merging_channel_is_appended_to_or_replaced() -> None:
    appended, replaced = edited(append__notes="two\r\nthree"), edited(replace__notes="other")
    assert appended.is_valid() and replaced.is_valid()
    assert appended.edits() == {"notes": {"op": "append", "value": ["two", "three"]}}
    assert replaced.edits() == {"notes": {"op": "replace", "value": ["other"]}}


def test_a_merging_channel_can_be_emptied() -> None:
    form = edited(replace__notes="")
    assert form.is_valid()
    assert form.edits() == {"notes": {"op": "replace", "value": []}}


def test_appending_and_replacing_at_once_is_refused() -> None:
    form = edited(append__notes="two", replace__notes="other")
    assert not form.is_valid()
    assert form.errors["replace-notes"] == ["Append or replace, not both."]


def test_an_emptied_number_is_refused_and_an_emptied_nullable_text_is_null() -> None:
    form = EditForm((AMOUNT, ROUTE), {"amount": 1.0, "route": "paid"}, data={"edit-amount": "", "edit-route": ""})
    assert not form.is_valid()
    assert "edit-amount" in form.errors and "edit-route" not in form.errors
    form = EditForm((ROUTE,), {"route": "paid"}, data={"edit-route": ""})
    assert form.is_valid()
    assert form.edits() == {"route": {"op": "set", "value": None}}


def test_line_ends_that_a_browser_turned_are_no_change() -> None:
    form = EditForm((MAIL,), {"mail": "a\n\nb\n"}, data={"edit-mail": "a\r\n\r\nb\r\n"})
    assert form.is_valid()
    assert form.edits() == {}


def test_what_was_typed_stays_on_the_form_when_it_is_wrong() -> None:
    form = edited(**{"edit__amount": "eighty"})
    assert not form.is_valid()
    assert form["edit-amount"].value() == "eighty"


def test_a_channel_that_holds_objects_can_only_be_appended_to() -> None:
    form = EditForm((NOTES, EXTRA), STATE, opaque=["notes", "extra"])
    assert set(form.fields) == {"append-notes"}
    assert [bool(group.why_not) for group in form.groups()] == [True, True]


def test_a_channel_that_has_no_value_yet_is_left_alone() -> None:
    form = EditForm(CHANNELS, {}, data={f"edit-{channel.name}": "" for channel in CHANNELS})
    assert form.is_valid()
    assert form.edits() == {}


def test_faults_are_shown_at_the_field_they_name() -> None:
    form = edited(**{"edit__amount": "-5", "append__notes": "x"})
    form.add_faults(
        [{"path": "amount/value", "message": "More than 0."}, {"path": "notes/value/0", "message": "Too short."}]
    )
    assert form.errors["edit-amount"] == ["More than 0."]
    assert form.errors["append-notes"] == ["Too short."]
    form.add_faults([{"path": "nobody/value", "message": "Unknown."}])
    assert form.non_field_errors() == ["nobody/value: Unknown."]


def test_edits_that_are_known_fill_the_form() -> None:
    edits = {"amount": {"op": "set", "value": 80.0}, "notes": {"op": "append", "value": ["two"]}}
    texts = EditForm(CHANNELS, STATE).texts_of(edits)
    form = EditForm(CHANNELS, STATE, data=texts)
    assert form.is_valid()
    assert form.edits() == edits


@pytest.mark.parametrize(
    "edits",
    [
        {"nobody": {"op": "set", "value": 1}},
        {"amount": {"op": "append", "value": 1}},
        {"amount": {"op": "set", "value": "eighty"}},
        {"amount": 5},
    ],
)
def test_edits_that_have_no_place_on_the_form_are_left_to_json(edits: dict[str, Any]) -> None:
    assert EditForm(CHANNELS, STATE).texts_of(edits) is None


def test_the_json_form_takes_an_object_and_nothing_else() -> None:
    assert JsonForm(data={"raw": '{"a": 1}'}).is_valid()
    for text in ("[]", "1", "{", "", '{"a": NaN}'):
        form = JsonForm(data={"raw": text})
        assert not form.is_valid()
        assert form.errors["raw"]


def test_an_empty_field_of_any_kind_says_missing_or_its_own_empty_value() -> None:
    assert read(Shape("number"), " ") is MISSING
    assert read(JSON, "") is MISSING
    assert read(Shape("lines"), "\n\n") == []
    assert read(Shape("text"), "") == ""
