"""Search in lists: each word that was typed begins a word of a title, a summary or a thread id.

The database keeps those words in columns of their own (migration 0019), with an index.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from django.db import connection
from django.db.models import BooleanField, F, Model, QuerySet
from django.db.models.expressions import OrderBy, RawSQL

M = TypeVar("M", bound=Model)
_CHARACTER = "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]"
_BETWEEN = "[\u0001-\u002f\u003a-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f]+"
"""Both as in `countersign_words` of the migration."""
ALL, OPEN = "search", "open_search"
"""Columns with the words: of every row, and of approvals that are pending."""
NEAR = 500
"""A common word is found among so many rows of a list often enough to fill a page."""


def words_of(text: str) -> list[str]:
    """Return the words that are looked for."""
    parted = re.sub(f"({_CHARACTER})", r" \1 ", text.lower())
    return [word for word in re.split(_BETWEEN, parted) if word]


def matching(found: "QuerySet[M]", text: str, *, column: str = ALL) -> "QuerySet[M]":
    """Select what has all the words; nothing where there is no word. `column` is OPEN for a list of what is pending."""
    words = words_of(text)
    if not words:
        return found.none()
    return found.filter(
        RawSQL(f"{_written(found, column)} @@ %s::tsquery", [_query(words)], output_field=BooleanField())
    )


def first_matching(listed: "QuerySet[M]", text: str, most: int, *, column: str = ALL) -> list[M]:
    """Return the first `most` of an ordered list that have all the words.

    A word that many rows have is among the first rows of the list: it is looked for there. One that few rows have has
    few places in the index: all are read and put in order, by a second statement. Either takes as long in a large table
    as in a small one; the planner of PostgreSQL alone does not know which word is which.
    """
    words = words_of(text)
    if not words or listed.query.is_empty():
        return []
    near = listed.annotate(search_words=RawSQL(_written(listed, column), [])).values("pk", "search_words")[:NEAR]
    sql, params = near.query.get_compiler(connection=connection).as_sql()
    inner = f"SELECT pk FROM ({sql}) AS near (pk, search_words) WHERE search_words @@ %s::tsquery LIMIT {most}"
    found = list(listed.filter(_is_one_of(listed, inner, [*params, _query(words)])))
    return found if len(found) == most else list(listed.filter(_first_of_all(listed, text, most, column)))


def _is_one_of(listed: "QuerySet[Any]", sql: str, params: Sequence[Any]) -> RawSQL:
    """Return the condition that a row is one of those of a subquery, which is run first.

    As an array: of `IN` the planner may make a join, and look at all that the other conditions leave.
    """
    table, key = listed.model._meta.db_table, listed.model._meta.pk.column
    return RawSQL(f'"{table}"."{key}" = ANY (ARRAY({sql}))', params, output_field=BooleanField())


def _first_of_all(listed: "QuerySet[M]", text: str, most: int, column: str) -> RawSQL:
    """Return the condition for the first rows that match; the planner must begin at the index: OFFSET 0 says so."""
    places = [_place(each) for each in listed.query.order_by]
    columns = [column for column, _ in places]
    found = matching(listed.order_by(), text, column=column).annotate(**{f"key_{name}": F(name) for name in columns})
    keys = [f"key_{name}" for name in columns]
    sql, params = found.values("pk", *keys).query.get_compiler(connection=connection).as_sql()
    order = ", ".join(f"key_{column} {direction}" for column, direction in places)
    first = f"SELECT pk FROM ({sql} OFFSET 0) AS matching (pk, {', '.join(keys)}) ORDER BY {order} LIMIT {most}"
    return _is_one_of(listed, first, params)


def _place(each: Any) -> tuple[str, str]:
    """Return a column of `order_by`, and its direction in SQL."""
    if isinstance(each, OrderBy):
        direction = "DESC" if each.descending else "ASC"
        nulls = " NULLS LAST" if each.nulls_last else " NULLS FIRST" if each.nulls_first else ""
        return str(vars(each.expression)["name"]), direction + nulls
    name = str(each)
    return name.removeprefix("-"), "DESC" if name.startswith("-") else "ASC"


def _written(found: "QuerySet[Any]", column: str) -> str:
    return f'"{found.model._meta.db_table}"."{column}"'


def _query(words: list[str]) -> str:
    return " & ".join(f"'{word}':*" for word in words)
