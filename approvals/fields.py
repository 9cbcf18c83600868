"""A database column that keeps the exact bytes that people decided on."""

import json
from typing import TYPE_CHECKING, Any

from django.db import models

from agentcore.plain.json import canonical

if TYPE_CHECKING:
    _Field = models.Field[Any, Any]
else:
    _Field = models.Field


class CanonicalJSONField(_Field):
    """Plain data as canonical JSON text, not as jsonb.

    jsonb refuses NUL and lone surrogates, loses the order of keys and rewrites numbers. The digest of a question must
    be computable from what is stored. The text is ASCII, so every value survives as an escape.
    """

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else canonical(value)

    def value_to_string(self, obj: models.Model) -> str:
        return canonical(self.value_from_object(obj))
