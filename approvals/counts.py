"""Several small reads in one statement: counts of lists, and short lists.

    found = read(open=Counted(pending), graphs=Listed(Graph.objects.values("id")))
    found["open"].number, found["graphs"][0]["id"]

A count stops at `MOST_COUNTED`, so a page takes as long over a hundred thousand rows as over a thousand.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Field, QuerySet

MOST_COUNTED = 1_000
"""Counting goes no further, so that it takes no longer when there are a hundred times as many."""


@dataclass(frozen=True)
class Count:
    """How many rows a list has; `1,000+` where there are more than were counted."""

    number: int
    is_more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.is_more else ''}"

    def __bool__(self) -> bool:
        return self.number > 0


class Read:
    """One part of the statement. Its SQL is written once."""

    sql, empty = "", "NULL"

    def __init__(self, found: "QuerySet[Any, Any]") -> None:
        self._found = found

    @cached_property
    def written(self) -> tuple[str, tuple[Any, ...]]:
        """SQL for one value, and its parameters."""
        try:
            inner, params = self._found.query.get_compiler(connection=connection).as_sql()
        except EmptyResultSet:
            return self.empty, ()
        return self.sql.format(inner=inner, columns=", ".join(f'"{name}"' for name in self._names())), params

    def value(self, told: Any) -> Any:
        """Return what the statement answered for this part."""
        return told

    def _names(self) -> list[str]:
        return [*self._found.query.values_select, *self._found.query.annotation_select]


class Counted(Read):
    """A Count of the rows of a QuerySet: of all if `is_exact`, else of the first `MOST_COUNTED`."""

    sql, empty = "(SELECT count(*) FROM ({inner}) AS counted)", "0"

    def __init__(self, found: "QuerySet[Any, Any]", *, is_exact: bool = False) -> None:
        rows = found.order_by().values("pk")
        super().__init__(rows if is_exact else rows[: MOST_COUNTED + 1])
        self._is_exact = is_exact

    def value(self, told: int) -> Count:
        is_more = told > MOST_COUNTED and not self._is_exact
        return Count(MOST_COUNTED if is_more else told, is_more)


class Listed(Read):
    """The rows of a QuerySet that ended in `values`, as a list of dicts, in their order. Times are texts."""

    sql, empty = "(SELECT json_agg(listed)::text FROM ({inner}) AS listed ({columns}))", "NULL"

    def value(self, told: str | None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(told) if told else []
        return rows


class Statement:
    """One statement for all parts. It is built once, and can be read again and again."""

    def __init__(self, **parts: Read) -> None:
        written = [part.written for part in parts.values()]
        self._parts = parts
        self._query = "SELECT " + ", ".join(sql for sql, _ in written)
        self._params = [each for _, params in written for each in params]

    def read(self) -> dict[str, Any]:
        """Return a Count for each Counted, a list for each Listed."""
        with connection.cursor() as cursor:
            cursor.execute(self._query, self._params)
            found = cursor.fetchone()
        return {name: part.value(told) for (name, part), told in zip(self._parts.items(), found, strict=True)}


def read(**parts: Read) -> dict[str, Any]:
    """Read all parts in one statement: a Count for each Counted, a list for each Listed."""
    return Statement(**parts).read()


def field_value(field: "Field[Any, Any]", told: Any) -> Any:
    """Return the value of a field from what Listed gives."""
    if told is not None and hasattr(field, "from_db_value") and isinstance(told, str):
        return field.from_db_value(told, None, connection)
    return field.to_python(told)
