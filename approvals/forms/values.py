"""Which JSON values a form field can hold, and how its text is written and parsed. Types are kept."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any

from agentcore.plain.schemas import Schema
from approvals.domain.text import count_odd, json_text

MISSING: Any = object()
_DEEPEST_REF = 20
_DEEPEST_SHAPE = 5
_DEEPEST_JSON = 100
_MOST_DIGITS = 300
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_LARGEST_SAFE_INT = 2**53
_DATE = r"\d{4}-\d\d-\d\d"
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?"
_ZONE = r"(?P<zone>Z|[+-]\d\d:\d\d|)"
_PICKED = {"date": _DATE, "date-time": f"{_DATE}T{_TIME}", "time": _TIME}
PICKERS = tuple(_PICKED)


@dataclass(frozen=True)
class Shape:
    """What a value looks like on a form.

    `kind` is `text`, `number`, `integer`, `either` (a number that stays an int while it has digits only), `choice`,
    `lines`, `date`, `date-time`, `time` or `json`. `zone` follows what a picker of times gives: `Z`, `+02:00` or none.
    """

    kind: str
    is_nullable: bool = False
    choices: tuple[Any, ...] = ()
    zone: str = ""


JSON = Shape("json")


def shape_of(schema: Schema, root: Schema | None = None, depth: int = 0) -> Shape:
    """Read the shape from a JSON Schema; what is not plainly one of the simple kinds is `json`."""
    root = schema if root is None else root
    schema, is_nullable = unwrapped(schema, root)
    if depth > _DEEPEST_SHAPE:  # a schema may refer to itself
        return JSON
    if options := options_of(schema, root):
        shape = _shape_of_choices([shape_of(option, root, depth + 1) for option in options])
    else:
        shape = _shape_of_type(schema, root, depth)
    if not is_nullable or shape == JSON:
        return shape
    if shape.kind == "choice":
        return replace(shape, choices=(*(choice for choice in shape.choices if choice is not None), None))
    return replace(shape, is_nullable=True)


def _shape_of_choices(shapes: Sequence[Shape]) -> Shape:
    if all(shape.kind == "choice" for shape in shapes):
        return Shape("choice", choices=tuple(choice for shape in shapes for choice in shape.choices))
    return JSON


def _shape_of_type(schema: Schema, root: Schema, depth: int) -> Shape:
    if "enum" in schema or "const" in schema:
        return Shape("choice", choices=tuple(schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("type"))
    if kind == "boolean":
        return Shape("choice", choices=(True, False))
    if kind == "array" and "prefixItems" not in schema:
        items = schema.get("items")
        is_text = isinstance(items, Mapping) and shape_of(items, root, depth + 1) == Shape("text")
        return Shape("lines") if is_text else JSON
    if kind == "string" and schema.get("format") in PICKERS:
        return Shape(schema["format"], zone="Z" if schema["format"] == "date-time" else "")
    return {"string": Shape("text"), "number": Shape("number"), "integer": Shape("integer")}.get(kind, JSON)


def resolved(schema: Schema, root: Schema) -> Schema:
    """Follow `$ref` into the `$defs` of `root`, and `allOf` into its only part."""
    for _ in range(_DEEPEST_REF):
        reference, parts = schema.get("$ref"), schema.get("allOf")
        if isinstance(reference, str):
            schema = {**_found_at(reference, root), **{key: item for key, item in schema.items() if key != "$ref"}}
        elif isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], Mapping):
            schema = {**parts[0], **{key: item for key, item in schema.items() if key != "allOf"}}
        else:
            return schema
    return {}


def _found_at(reference: str, root: Schema) -> Schema:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def unwrapped(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """Return the schema without its `null`, and whether it had one. A union of one is that one."""
    is_nullable = False
    for _ in range(_DEEPEST_REF):
        schema = resolved(schema, root)
        options = _all_options(schema, root)
        others = [option for option in options if option.get("type") != "null"]
        is_nullable = is_nullable or len(others) < len(options)
        if len(others) != 1:
            return schema, is_nullable
        schema = {**others[0], **{key: item for key, item in schema.items() if key not in ("anyOf", "oneOf", "type")}}
    return {}, is_nullable


def options_of(schema: Schema, root: Schema) -> list[Schema]:
    """Return what else than null a union may be; nothing for what is no union."""
    return [option for option in _all_options(resolved(schema, root), root) if option.get("type") != "null"]


def _all_options(schema: Schema, root: Schema) -> list[Schema]:
    options, kinds = schema.get("anyOf") or schema.get("oneOf"), schema.get("type")
    if isinstance(options, list):
        return [resolved(option, root) for option in options if isinstance(option, Mapping)]
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else []


def shape_for(schema: Schema, value: Any, root: Schema | None = None) -> Shape:
    """Return the schema's shape if it can show this value, else `json`: an edit must not change what is not shown."""
    shape = shape_of(schema, root)
    if value is MISSING:
        return shape
    if shape.kind == "number" and isinstance(value, int):
        shape = replace(shape, kind="either")
    if shape.kind in ("date-time", "time") and isinstance(value, str):
        found = re.fullmatch(_PICKED[shape.kind] + _ZONE, value)
        shape = replace(shape, zone=found["zone"] if found else "")
    if shape.kind in PICKERS and not can_show(shape, value):
        shape = Shape("text", shape.is_nullable)
    return shape if can_show(shape, value) else JSON


def can_show(shape: Shape, value: Any) -> bool:
    if shape.kind == "choice":
        return any(same(value, choice) for choice in shape.choices)
    if count_odd(value):
        return False  # a text field would hide it; JSON shows it as an escape
    if value is None and shape.is_nullable:
        return True
    match shape.kind:
        case "text":
            return isinstance(value, str) and "\r" not in value
        case "number" | "integer" | "either":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "lines":
            return isinstance(value, list) and all(isinstance(line, str) and _is_line(line) for line in value)
        case "date" | "date-time" | "time":
            return isinstance(value, str) and value.endswith(shape.zone) and _is_moment(shape, show(shape, value))
    return True


def _is_line(text: str) -> bool:
    return bool(text.strip()) and text == text.strip() and "\n" not in text


def _is_moment(shape: Shape, text: str) -> bool:
    """A picker gives a day that exists and no parts of a second."""
    if not text.isascii() or not re.fullmatch(_PICKED[shape.kind], text):
        return False
    kinds: dict[str, Any] = {"date": date, "date-time": datetime, "time": time}
    try:
        kinds[shape.kind].fromisoformat(text)
    except ValueError:
        return False
    return True


def same(one: Any, other: Any) -> bool:
    """Tell 1 from True, which Python does not."""
    if isinstance(one, list | dict) and isinstance(other, list | dict):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def show(shape: Shape, value: Any) -> str:
    """Write a value as the text of its field."""
    if value is MISSING or value is None and shape.is_nullable:
        return ""
    match shape.kind:
        case "text":
            return str(value or "")
        case "lines":
            return "\n".join(value)
        case "number" | "integer" | "either" | "choice":
            return json.dumps(value)
        case "date" | "date-time" | "time":
            return str(value).removesuffix(shape.zone)
    return json_text(value)


def read(shape: Shape, text: str) -> Any:
    """Read the text of a field back as a value; MISSING if there is none; ValueError with a sentence for people."""
    if shape.kind == "text":
        return None if shape.is_nullable and not text else text
    if shape.kind == "lines":
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return None if shape.is_nullable and not lines else lines
    text = text.strip() if shape.kind != "json" else text
    if not text.strip():
        return None if shape.is_nullable else MISSING
    if shape.kind in ("number", "integer", "either"):
        return _read_number(text, shape.kind)
    if shape.kind in PICKERS:
        return _read_moment(shape, text)
    return _read_choice(shape, text) if shape.kind == "choice" else read_json(text)


def _read_number(text: str, kind: str) -> int | float:
    if not text.isascii() or not _NUMBER.fullmatch(text) or len(text) > _MOST_DIGITS:
        raise ValueError("Write a number such as 80 or 80.5, without spaces or commas.")
    number = float(text)
    is_whole = text.lstrip("-").isdigit()
    if not math.isfinite(number):
        raise ValueError("This number is too large.")
    if kind == "integer" and not is_whole:
        raise ValueError("Write a whole number.")
    return int(text) if is_whole and (kind != "number" or abs(number) > _LARGEST_SAFE_INT) else number


def _read_moment(shape: Shape, text: str) -> str:
    if not _is_moment(shape, text):
        examples = {"date": "2026-01-31", "date-time": "2026-01-31T09:30:00", "time": "09:30:00"}
        raise ValueError(f"Write it as in {examples[shape.kind]}.")
    is_short = shape.kind != "date" and text.count(":") == 1  # browsers leave out seconds that are 0
    return text + (":00" if is_short else "") + shape.zone


def _read_choice(shape: Shape, text: str) -> Any:
    found = read_json(text)
    for choice in shape.choices:
        if same(found, choice):
            return choice
    raise ValueError("Choose one of the list.")


def read_json(text: str) -> Any:
    """Parse strictly: NaN, Infinity and a key given twice are refused. ValueError says where."""
    try:
        found = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole, object_pairs_hook=_once
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise ValueError("This JSON is nested too deep.") from None
    if max((depth for depth, _ in _levels(found)), default=0) > _DEEPEST_JSON:
        raise ValueError("This JSON is nested too deep.")
    return found


def _levels(value: Any) -> Iterator[tuple[int, Any]]:
    waiting = [(1, value)]
    while waiting:
        depth, item = waiting.pop()
        if isinstance(item, list | dict):
            yield depth, item
            waiting.extend((depth + 1, inner) for inner in (item.values() if isinstance(item, dict) else item))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"The number {text[:20]} is too large.")
    return number


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"A number has more than {_MOST_DIGITS} digits.")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("A key is given twice in one object.")
    return found


def fit(schema: Schema, value: Any, root: Schema, depth: int = 0) -> int:
    """Say how well a value fits a schema: 0 is not at all, and an object fits better with each key that is known."""
    schema, is_nullable = unwrapped(schema, root)
    if value is None and is_nullable or depth > _DEEPEST_SHAPE:
        return 1
    if options := options_of(schema, root):
        return max(fit(option, value, root, depth + 1) for option in options)
    kind = schema.get("type") or ("object" if "properties" in schema else None)
    if "enum" in schema or "const" in schema:
        return 3 * can_show(_shape_of_type(schema, root, depth), value)
    if isinstance(value, dict):
        return _fit_of_object(schema, value, root, depth) if kind in ("object", None) else 0
    if isinstance(value, list):
        items = schema.get("items") or {}
        is_fit = kind == "array" and all(fit(items, item, root, depth + 1) for item in value[:50])
        return 2 if is_fit else int(kind is None)
    return _fit_of_scalar(schema, kind, value)


def _fit_of_object(schema: Schema, value: Mapping[str, Any], root: Schema, depth: int) -> int:
    known = schema.get("properties") or {}
    fits = {key: fit(inner, value[key], root, depth + 1) for key, inner in known.items() if key in value}
    tags = [key for key in fits if is_fixed(resolved(known[key], root))]
    if not all(fits[key] for key in tags):
        return 0
    is_whole = set(schema.get("required") or ()) <= value.keys()
    return 1 + is_whole * (1 + 2 * sum(score > 0 for score in fits.values())) + 2 * len(tags)


def _fit_of_scalar(schema: Schema, kind: Any, value: Any) -> int:
    kinds = {bool: ("boolean",), int: ("integer", "number"), float: ("number",), str: ("string",)}
    wanted = kinds.get(type(value), ())
    if kind not in wanted:
        return int(kind is None)
    picker = Shape(str(schema.get("format")))
    if kind == "string" and picker.kind in PICKERS:
        return 3 if shape_for(schema, value).kind == picker.kind else 1
    return 3 - wanted.index(kind)


def is_fixed(schema: Schema) -> bool:
    """Whether a schema leaves no choice."""
    return "const" in schema or len(schema.get("enum", ())) == 1
