"""Which JSON values a form field can stand for, and how its text is written and read. Types are kept."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from approvals.text import count_odd, json_text

Schema = Mapping[str, Any]
MISSING: Any = object()
_DEEPEST_REF = 20
_DEEPEST_SHAPE = 5
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_LARGEST_SAFE_INT = 2**53


@dataclass(frozen=True)
class Shape:
    """What a value looks like on a form: `text`, `number`, `integer`, `choice`, `lines` or `json`."""

    kind: str
    is_nullable: bool = False
    choices: tuple[Any, ...] = ()


JSON = Shape("json")


def shape_of(schema: Schema, root: Schema | None = None, depth: int = 0) -> Shape:
    """Read the shape from a JSON Schema; what is not plainly one of the simple kinds is `json`."""
    root = schema if root is None else root
    schema = resolved(schema, root)
    if depth > _DEEPEST_SHAPE:  # a schema may refer to itself
        return JSON
    options = [resolved(option, root) for option in schema.get("anyOf") or schema.get("oneOf") or ()]
    if options:
        return _shape_of_options(options, root, depth)
    if "enum" in schema or "const" in schema:
        return Shape("choice", choices=tuple(schema.get("enum", [schema.get("const")])))
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return _shape_of_options([{**schema, "type": kind} for kind in kinds], root, depth)
    if kinds == "boolean":
        return Shape("choice", choices=(True, False))
    if kinds == "array" and shape_of(schema.get("items") or {}, root, depth + 1) == Shape("text"):
        return Shape("lines")
    return {"string": Shape("text"), "number": Shape("number"), "integer": Shape("integer")}.get(str(kinds), JSON)


def _shape_of_options(options: Sequence[Schema], root: Schema, depth: int) -> Shape:
    others = [option for option in options if option.get("type") != "null"]
    is_nullable = len(others) < len(options)
    shapes = [shape_of(option, root, depth + 1) for option in others]
    if shapes and all(shape.kind == "choice" for shape in shapes):
        choices = [choice for shape in shapes for choice in shape.choices]
        return Shape("choice", choices=(*choices, None) if is_nullable else tuple(choices))
    if len(shapes) != 1 or shapes[0].kind == "json":
        return JSON
    return Shape(shapes[0].kind, is_nullable or shapes[0].is_nullable, shapes[0].choices)


def resolved(schema: Schema, root: Schema) -> Schema:
    """Follow `$ref` into the `$defs` of `root`."""
    for _ in range(_DEEPEST_REF):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        found: Any = root
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        schema = {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
    return {}


def shape_for(schema: Schema, value: Any) -> Shape:
    """Return the schema's shape if it can show this value, else `json`: an edit must not change what is not shown."""
    shape = shape_of(schema)
    return shape if value is MISSING or can_show(shape, value) else JSON


def can_show(shape: Shape, value: Any) -> bool:
    if count_odd(value):
        return False  # a text field would hide it; JSON shows it as an escape
    match shape.kind:
        case "text":
            return value is None and shape.is_nullable or isinstance(value, str) and "\r" not in value
        case "number" | "integer":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return is_number or value is None and shape.is_nullable
        case "lines":
            return isinstance(value, list) and all(isinstance(line, str) and _is_line(line) for line in value)
        case "choice":
            return any(same(value, choice) for choice in shape.choices)
    return True


def _is_line(text: str) -> bool:
    return bool(text.strip()) and text == text.strip() and "\n" not in text


def same(one: Any, other: Any) -> bool:
    """Tell 1 from True, which Python does not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def show(shape: Shape, value: Any) -> str:
    """Write a value as the text of its field."""
    if value is MISSING:
        return ""
    match shape.kind:
        case "text":
            return value or ""
        case "lines":
            return "\n".join(value)
        case "number" | "integer":
            return "" if value is None else json.dumps(value)
        case "choice":
            return json.dumps(value)
    return json_text(value)


def read(shape: Shape, text: str) -> Any:
    """Read the text of a field back as a value; MISSING if there is none; ValueError with a sentence for people."""
    if shape.kind == "text":
        return None if shape.is_nullable and not text else text
    if shape.kind == "lines":
        return [line.strip() for line in text.split("\n") if line.strip()]
    if not text.strip():
        return None if shape.is_nullable else MISSING
    if shape.kind in ("number", "integer"):
        return _read_number(text.strip(), is_integer=shape.kind == "integer")
    return read_json(text)


def _read_number(text: str, *, is_integer: bool) -> int | float:
    if not text.isascii() or not _NUMBER.fullmatch(text) or len(text) > 300:
        raise ValueError("Write a number such as 80 or 80.5, without spaces or commas.")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("This number is too large.")
    if is_integer or abs(number) > _LARGEST_SAFE_INT and text.lstrip("-").isdigit():
        if not text.lstrip("-").isdigit():
            raise ValueError("Write a whole number.")
        return int(text)
    return number


def read_json(text: str) -> Any:
    """Parse strictly: NaN, Infinity and a key given twice are refused. ValueError says where."""
    try:
        return json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole, object_pairs_hook=_once
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise ValueError("This JSON is nested too deep.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"The number {text[:20]} is too large.")
    return number


def _whole(text: str) -> int:
    if len(text) > 300:
        raise ValueError("A number has more than 300 digits.")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("A key is given twice in one object.")
    return found
