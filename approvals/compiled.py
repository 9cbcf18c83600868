"""Queries that are built once.

Django takes longer to build a query and to write its SQL than PostgreSQL takes to answer it, each time anew. On the way
of a vote and of a run queries are written as functions:

    @compiled
    def by_id(pk: UUID) -> QuerySet[Approval]:
        return Approval.objects.select_related("thread").filter(pk=pk)

    found = by_id(pk=approval_id)

The function is called once. Later calls send the SQL of that time with other parameters, and make rows as Django does.

Lists have too many shapes for that. Theirs are `written`, and kept for who asks for the same list again.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from django.db.transaction import TransactionManagementError

Row = TypeVar("Row")
_PLACEHOLDERS: dict[type, Callable[[], Any]] = {
    UUID: uuid4,
    str: lambda: f"placeholder {uuid4().hex}",
    int: lambda: uuid4().int % 2**31,
}


class Compiled(Generic[Row]):
    """A query with parameters of the types UUID, str and int. Calling it returns the rows."""

    def __init__(self, build: Callable[..., "QuerySet[Any, Row]"]) -> None:
        self._build = build
        self._types = inspect.get_annotations(build, eval_str=True)
        self._types.pop("return")
        self._built: tuple[QuerySet[Any, Row], _Written] | None = None

    def __call__(self, **values: Any) -> list[Row]:
        """Return the rows. The caller names each parameter. Raises what the query of a QuerySet does."""
        assert values.keys() == self._types.keys(), f"its parameters are {', '.join(self._types)}"
        if self._built is None:
            self._built = self._first()
        queryset, written = self._built
        asked = queryset.all()
        asked._query = written.with_values(values)  # type: ignore[attr-defined]
        return list(asked)

    def _first(self) -> "tuple[QuerySet[Any, Row], _Written]":
        placeholders = {name: _PLACEHOLDERS[kind]() for name, kind in self._types.items()}
        queryset = self._build(**placeholders)
        compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        sql, given = compiler.as_sql()
        names = {value: name for name, value in placeholders.items()}
        params = [_Parameter(names[each]) if _is_one_of(each, names) else each for each in given]
        missing = self._types.keys() - {each.name for each in params if isinstance(each, _Parameter)}
        assert not missing, f"the query does not have {', '.join(missing)} as a parameter"
        written = _Written(queryset.query, compiler, sql, params)
        queryset._query = written  # type: ignore[attr-defined]
        return queryset, written


def written(found: "QuerySet[Any, Row]") -> "QuerySet[Any, Row]":
    """Return the QuerySet with its SQL written: `all()` of it reads the rows anew, with nothing to build."""
    compiler = found.query.get_compiler(DEFAULT_DB_ALIAS)
    asked = found.all()
    with suppress(EmptyResultSet):  # there is no SQL for what has no rows
        asked._query = _Written(found.query, compiler, *compiler.as_sql())  # type: ignore[attr-defined]
    return asked


def _is_one_of(value: Any, names: dict[Any, str]) -> bool:
    return isinstance(value, tuple(_PLACEHOLDERS)) and value in names


compiled = Compiled


@contextmanager
def planned_by_value() -> Iterator[None]:
    """Have PostgreSQL plan each statement of the block for its values, as lists with filters need.

    A prepared statement soon has one plan for all values. That of a list goes through its rows in order until a page is
    full: quick for what many rows have, but for what few have a look at every row.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    direct = connection.connection
    before, direct.prepare_threshold = direct.prepare_threshold, None
    try:
        yield
    finally:
        direct.prepare_threshold = before


class _Parameter:
    """The place of a named parameter."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Written:
    """The query of a QuerySet, which has its SQL already."""

    def __init__(self, query: Any, compiler: Any, sql: str, params: Sequence[Any]) -> None:
        self._query, self._compiler, self._sql, self._params = query, compiler, sql, params
        columns = [column for column, *_ in compiler.select[: compiler.col_count]]
        self._converters = compiler.get_converters(columns)

    def with_values(self, values: Mapping[str, Any]) -> "_Written":
        """Return the same query with these parameters."""
        other = copy.copy(self)
        other._params = [values[each.name] if isinstance(each, _Parameter) else each for each in self._params]
        return other

    def chain(self, *_: Any, **__: Any) -> "_Written":
        """Do what `Query.chain` does for a copy of the QuerySet: nothing here changes."""
        return self

    def get_compiler(self, using: str, *_: Any, **__: Any) -> Any:
        compiler = copy.copy(self._compiler)  # threads share the first one, and each has a connection of its own
        compiler.connection = connections[using]
        if self._query.select_for_update and not compiler.connection.in_atomic_block:
            raise TransactionManagementError("A query that locks its rows needs a transaction.")
        compiler.as_sql = lambda *_, **__: (self._sql, tuple(self._params))
        compiler.get_converters = lambda _: self._converters
        return compiler

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `copy` asks for these before `_query` is set
            raise AttributeError(name)
        return getattr(self._query, name)
