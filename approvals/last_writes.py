"""What a transaction writes last, together: one statement for its rows, its jobs, its messages and its entries.

    with gathering():
        thread = Thread.objects.locked(thread_id)
        insert(run)
        update(thread, ["status"])

Each write is a round trip, in which the transaction holds its locks. So inside `gathering` writes are kept, and sent
as one statement at the end of the block, in which none sees what another wrote. The block must not read, with SQL,
what it has written. Outside of `gathering` each write is sent at once.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection
from django.db.models import Field, Model

LastWrite = tuple[str, list[Any]]
"""The SQL of a write, which returns one row for each that it wrote, and its parameters."""

_gathered: ContextVar[list[LastWrite] | None] = ContextVar("gathered_writes", default=None)
_NAMED = re.compile(r"%\((\w+)\)s")


class NotWritten(DatabaseError):
    """A row that was to be changed is not there any more."""


@contextmanager
def gathering() -> Iterator[None]:
    """Send the writes of the block together at its end, unless it raises. Inside another `gathering`, that one does."""
    around = _gathered.get()
    writes: list[LastWrite] = []
    token = _gathered.set(writes)
    try:
        yield
    finally:
        _gathered.reset(token)
    if around is not None:
        around.extend(writes)
    elif writes:
        _send(writes)


@contextmanager
def at_once() -> Iterator[None]:
    """Send the writes of the block at once: one of them may fail, and the transaction goes on."""
    token = _gathered.set(None)
    try:
        yield
    finally:
        _gathered.reset(token)


def is_gathering() -> bool:
    return _gathered.get() is not None


def insert(*rows: Model) -> None:
    """Insert new rows of one kind, whose columns all have values: none is left to a default of the database."""
    meta = rows[0]._meta
    columns, places = ", ".join(map(_column, meta.concrete_fields)), ", ".join(map(_place, meta.concrete_fields))
    sql = f'INSERT INTO "{meta.db_table}" ({columns}) VALUES {", ".join([f"({places})"] * len(rows))} RETURNING 1'
    write(sql, [_value(row, field, is_new=True) for row in rows for field in meta.concrete_fields])
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def update(row: Model, names: Collection[str] | None = None) -> None:
    """Write these columns of a row, which the transaction has locked, or all that were read or set.

    NotWritten is raised if it is gone.
    """
    if names is None:
        there = vars(row)
        names = [each.name for each in row._meta.concrete_fields if each.attname in there and not each.primary_key]
    fields = [field for field in row._meta.concrete_fields if field.name in names]
    assert len(fields) == len(set(names)), f"{', '.join(names)} are not all columns"
    columns = ", ".join(f"{_column(field)} = {_place(field)}" for field in fields)
    sql = f'UPDATE "{row._meta.db_table}" SET {columns} WHERE {_column(row._meta.pk)} = %s RETURNING 1'
    write(sql, [_value(row, field) for field in (*fields, row._meta.pk)])


def write(sql: str, params: Sequence[Any] | Mapping[str, Any]) -> None:
    """Run a statement that returns at least one row: NotWritten is raised if it does not."""
    if isinstance(params, Mapping):
        named = params
        params = [named[name] for name in _NAMED.findall(sql)]
        sql = _NAMED.sub("%s", sql)
    written = (sql.rstrip().rstrip(";"), list(params))
    gathered = _gathered.get()
    if gathered is None:
        _send([written])
    else:
        gathered.append(written)


def _send(writes: Sequence[LastWrite]) -> None:
    parts = ", ".join(f"w{number} AS ({sql})" for number, (sql, _) in enumerate(writes))
    counts = ", ".join(f"(SELECT count(*) FROM w{number})" for number in range(len(writes)))
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {parts} SELECT {counts}", [each for _, params in writes for each in params])
        counted = cursor.fetchone()
    if not all(counted):
        raise NotWritten("A row that was to be changed is gone. Nothing was stored; look at it again.")


def _column(field: "Field[Any, Any]") -> str:
    return f'"{field.column}"'


def _place(field: "Field[Any, Any]") -> str:
    return str(field.get_placeholder(None, None, connection)) if hasattr(field, "get_placeholder") else "%s"


def _value(row: Model, field: "Field[Any, Any]", *, is_new: bool = False) -> Any:
    value = field.pre_save(row, is_new)
    assert not hasattr(value, "resolve_expression"), f"{field.name} is left to the database"
    return field.get_db_prep_save(value, connection)
