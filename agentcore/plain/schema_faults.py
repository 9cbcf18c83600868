"""Validate plain data against a JSON Schema."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from pydantic import AnyUrl, TypeAdapter
from pydantic_core import SchemaError as CoreSchemaError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

from agentcore.plain.errors import Fault
from agentcore.plain.schemas import Schema, joined, unstorable

# As Pydantic parses them, because a node with a `response_schema` uses Pydantic.
_FORMATS: dict[str, Any] = {
    "date": dt.date,
    "date-time": dt.datetime,
    "time": dt.time,
    "duration": dt.timedelta,
    "uri": AnyUrl,
    "uuid": UUID,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
}
_formats = FormatChecker(formats=("email",))


def _format_check(kind: Any) -> Callable[[Any], bool]:
    adapter = TypeAdapter(kind)

    def fits(value: Any) -> bool:
        return not isinstance(value, str) or adapter.validate_python(value) is not None

    return fits


for _name, _kind in _FORMATS.items():
    _formats.checks(_name, raises=ValueError)(_format_check(_kind))


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> SchemaValidator | None:
    """Return what checks a pattern in linear time; None for one that needs more, as a look-ahead does.

    Python's own engine takes years over some patterns, and holds up everything else while it does.
    """
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except CoreSchemaError:
        return None


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    found = _compiled(pattern) if isinstance(instance, str) and isinstance(pattern, str) else None
    if found and not found.isinstance_python(instance):
        yield ValidationError("does not match")


def _additional(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Names that patterns allow are not looked at, as that would be Python's engine again."""
    if "patternProperties" not in schema:
        yield from _DRAFT["additionalProperties"](validator, wanted, instance, schema) or ()


def _any_of(validator: Any, options: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """A Decimal is a number, or a text that Pydantic reads as one; its schema says the limits for the number alone."""
    numbers = [option for option in options if isinstance(option, Mapping) and option.get("type") == "number"]
    number = _number(instance) if len(numbers) == 1 else None
    if number is not None:
        yield from validator.descend(number, numbers[0])
    else:
        yield from _DRAFT["anyOf"](validator, options, instance, schema) or ()


def _multiple_of(validator: Any, step: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Allow for what floats lose, as Pydantic does: 19.99 is a multiple of 0.01."""
    if isinstance(instance, bool) or not isinstance(instance, int | float) or not step:
        return
    rest, lost = abs(instance % step), abs(instance) / 1e9 if isinstance(instance + step, float) else 0
    if rest > lost and abs(rest - abs(step)) > lost:
        yield ValidationError("is not a multiple")


def _number(value: Any) -> float | None:
    """Read a text as a decimal number; None for any other text, or value."""
    try:
        found = Decimal(value) if isinstance(value, str) and len(value) < 400 else Decimal("NaN")
    except InvalidOperation:
        return None
    return float(found) if found.is_finite() else None


_DRAFT: Mapping[str, Any] = Draft202012Validator.VALIDATORS
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": lambda *_: iter(()),
        "additionalProperties": _additional,
        "anyOf": _any_of,
        "multipleOf": _multiple_of,
    },
)


def _coercible(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Let pass what Pydantic reads as the type: `"5"` as a number, 1767225600 as a date and time."""
    kinds = wanted if isinstance(wanted, list) else [wanted]
    if any(_reads_as(kind, instance, schema) for kind in kinds):
        return
    yield from _DRAFT["type"](validator, wanted, instance, schema) or ()


def _reads_as(kind: Any, value: Any, schema: Any) -> bool:
    if kind in ("number", "integer"):
        return isinstance(value, bool) or _number(value) is not None
    if kind == "boolean":
        return value in (0, 1) or isinstance(value, str) and value.lower() in _YES_OR_NO
    is_moment = kind == "string" and schema.get("format") in ("date", "date-time", "time", "duration")
    return is_moment and isinstance(value, int | float)


_YES_OR_NO = {"0", "1", "f", "t", "n", "y", "no", "yes", "off", "on", "false", "true"}
_Lenient: Any = extend(_Validator, {"type": _coercible})  # type: ignore[no-untyped-call]


def faults(schema: Schema, value: Any, path: str = "", *, is_coerced: bool = False) -> Iterator[Fault]:
    """Yield what is wrong with `value`, with paths below `path`. A schema that cannot be used is a fault too.

    `is_coerced`: what Pydantic would make the right type of is no fault. References are resolved inside the schema
    only: nothing is fetched.
    """
    if unkept := list(unstorable(value, path)):
        yield from unkept
        return
    # The registry is empty on purpose: without one, jsonschema would fetch what a schema refers to.
    kind = _Lenient if is_coerced else _Validator
    validator = kind(dict(schema), registry=Registry(), format_checker=_formats)
    try:
        for error in validator.iter_errors(value):
            for cause in _causes(error):
                for name in _names(cause):
                    yield Fault(joined(path, [*cause.absolute_path, *name]), sentence(cause))
    except (Unresolvable, SchemaError, RecursionError) as error:
        yield Fault(path, f"The question's own schema cannot be read ({type(error).__name__}).")


def is_schema(schema: Any) -> bool:
    """Whether this can be used to check a value."""
    if not isinstance(schema, Mapping):
        return False
    try:
        Draft202012Validator.check_schema(dict(schema))
    except (SchemaError, RecursionError):
        return False
    return True


def _causes(error: ValidationError) -> Iterator[ValidationError]:
    """Of a choice between schemas, yield what is wrong with the one that was meant."""
    if error.validator not in ("oneOf", "anyOf") or not error.context:
        yield error
        return
    by_branch: dict[Any, list[ValidationError]] = {}
    for each in error.context:
        if not each.schema_path:
            continue  # a branch that is just `false`
        by_branch.setdefault(each.schema_path[0], []).append(each)
    meant = [causes for causes in by_branch.values() if not any(_is_other_kind(each, error) for each in causes)]
    if len(meant) != 1:
        yield error
        return
    for each in meant[0]:
        yield from _causes(each)


def _is_other_kind(error: ValidationError, choice: ValidationError) -> bool:
    """Whether a branch is ruled out by its type, or by the constant that names it, rather than by a mistake in it."""
    depth = len(error.absolute_path) - len(choice.absolute_path)
    is_named = error.validator in ("const", "enum") and depth == 1
    return is_named or error.validator == "type" and depth == 0


def _names(error: ValidationError) -> list[list[str]]:
    """Name the field that is missing, or those that are too many; nothing where the value itself is at fault."""
    wanted, within = error.validator_value, error.schema
    if error.validator == "required" and isinstance(wanted, list):
        return [[name] for name in wanted if error.message.startswith(repr(name))]
    if (
        error.validator == "additionalProperties"
        and isinstance(error.instance, Mapping)
        and isinstance(within, Mapping)
    ):
        return [[name] for name in error.instance if name not in within.get("properties", {})]
    return [[]]


def sentence(error: ValidationError) -> str:
    """Return what the schema wants, without repeating the value: it may be long, or secret."""
    wanted = error.validator_value
    if error.validator == "required":
        return "This is needed."
    if error.validator in ("oneOf", "anyOf"):
        return _choice(wanted)
    if error.validator == "additionalProperties":
        return "This is not known here."
    if error.validator in _WANTED:
        between = " or " if error.validator == "type" else ", "
        return _WANTED[str(error.validator)].format(
            between.join(map(str, wanted)) if isinstance(wanted, list) else wanted
        )
    return f"This does not fit the schema ({error.validator})."


def _choice(options: Any) -> str:
    kinds = [
        option.get("properties", {}).get("type", {}).get("const") for option in options if isinstance(option, dict)
    ]
    if kinds and all(isinstance(kind, str) for kind in kinds):
        return f'This must be an object with "type": {" or ".join(f"{chr(34)}{kind}{chr(34)}" for kind in kinds)}.'
    return f"This fits none of the {len(options)} kinds that are taken here."


_WANTED = {
    "type": "This must be of type {}.",
    "enum": "This must be one of: {}.",
    "const": "This must be {}.",
    "minimum": "This must be {} or more.",
    "exclusiveMinimum": "This must be more than {}.",
    "maximum": "This must be {} or less.",
    "exclusiveMaximum": "This must be less than {}.",
    "multipleOf": "This must be a multiple of {}.",
    "minLength": "This must have at least {} characters.",
    "maxLength": "This may have at most {} characters.",
    "pattern": "This must match the pattern {}.",
    "minItems": "This must have at least {} items.",
    "maxItems": "This may have at most {} items.",
    "format": "This must be a valid {}.",
}
