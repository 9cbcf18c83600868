"""A strict JSON parser: it refuses what JSON does not define, and text that nobody could display."""

import json
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser
from ninja.types import DictStrAny

DEEPEST = 200
"""Levels of nesting."""
LONGEST_NAME = 60


class BrokenJson(ValueError):
    """The body cannot be parsed. The message says why and repeats nothing of it but the name of a key."""


class RepeatedKey(BrokenJson):
    """An object has a key twice."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The key {json.dumps(name)} is given twice. Send it once.")


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> DictStrAny:
        try:
            body: DictStrAny = json.loads(request.body, parse_constant=_refuse_constant, object_pairs_hook=_once)
        except BrokenJson:
            raise
        except RecursionError:
            raise BrokenJson(_TOO_DEEP) from None
        except ValueError:
            raise BrokenJson("The body is not JSON in UTF-8.") from None
        _check_depth(body)
        return body


_TOO_DEEP = f"The body is nested deeper than {DEEPEST} levels."


def _refuse_constant(name: str) -> Any:
    raise BrokenJson(f"{name} is not JSON. Leave it out, or send null or a text.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with a repeated key: two readers could take different values of it."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKey(twice[:LONGEST_NAME])
    return found


def _check_depth(body: Any) -> None:
    level = [body]
    for _ in range(DEEPEST):
        level = [item for value in level for item in _children(value)]
        if not level:
            return
    raise BrokenJson(_TOO_DEEP)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
