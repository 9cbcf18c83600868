"""What entries record of rows that decide something: each deciding column, as a short value or a hash of a long one.

An entry that creates or changes such a row lists the columns under `rows`. The newest value that the log has of a
column must be the one in the database. A verification reads the same columns with SQL, so no state leaves the database.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Person
from django.db import connection
from django.db.models import DateTimeField, Field, JSONField, Model, QuerySet, TextField
from django.db.models.expressions import RawSQL

from agentcore.plain.json import canonical
from approvals.fields import CanonicalJSONField
from approvals.models import (
    ApiToken,
    Approval,
    Change,
    Decision,
    Graph,
    Policy,
    PolicyVersion,
    Reading,
    Run,
    Safeguard,
    Thread,
    Vote,
)

M = TypeVar("M", bound=Model)
MARK_LENGTH = 32
CHUNK = 1_000
Told = dict[str, dict[str, Any] | None]
"""Columns by `kind:id`; None for a row that was removed."""

LEFT_OUT: dict[type[Model], frozenset[str]] = {
    Approval: frozenset({"claimed_by_id", "claimed_until", "created_at", "closed_at", "task_id"}),
    Vote: frozenset({"comment", "created_at"}),  # a comment stands beside its entry: it can be erased
    Decision: frozenset({"comment", "decided_at"}),
    Run: frozenset(
        {"entered_at", "attempts", "retry_at", "steps", "calls", "error", "problem", "created_at", "updated_at"}
        | {"ended_at", "has_log", "metadata"}
    ),
    Policy: frozenset({"changed_at"}),
    PolicyVersion: frozenset({"changed_at"}),
    ApiToken: frozenset({"created_at"}),
    Change: frozenset({"proposed_at", "closed_at", "reason"}),
}
"""Columns that decide nothing. Every other column is recorded, new ones too."""
KEPT: dict[type[Model], frozenset[str]] = {
    Person: frozenset({"username", "is_active", "is_superuser", "date_joined"}),
    Group: frozenset({"name"}),
    Thread: frozenset(
        {"started_by_id", "authors", "graph_id", "bound_by", "bound_who", "forked_from", "forked_at", "options"}
    ),
    Graph: frozenset({"card"}),
}
"""Of these kinds, only these columns are recorded."""
MODELS: dict[str, type[Model]] = {
    "group": Group,
    "person": Person,
    "token": ApiToken,
    "graph": Graph,
    "safeguard": Safeguard,
    "change": Change,
    "policyversion": PolicyVersion,
    "policy": Policy,
    "thread": Thread,
    "approval": Approval,
    "reading": Reading,
    "vote": Vote,
    "decision": Decision,
    "run": Run,
}
HASHED = frozenset({"title", "summary"})
ONLY_WHETHER = frozenset({"ended_at", "escalated_at"})
"""Of these times, only whether they are set is recorded."""
EMPTIED: dict[str, dict[str, Any]] = {
    "thread": {"options": {}},
    "approval": {
        "state": {},
        "request": {},
        "actions": [],
        "summary": "",
        "proposal": None,
        "marks": [],
        "folded": [],
    },
    "vote": {"edits": {}, "answer": None},
    "decision": {"edits": {}, "answer": None},
    "run": {"input": None},
}
"""What a force-clean leaves in recorded columns with a thread's content."""
_NAMES = {model: name for name, model in MODELS.items()}
BINDING = ("graph_id", "bound_by", "bound_who")
"""Columns of a thread that say which graph runs on it."""


@dataclass(frozen=True)
class Column:
    name: str
    sql: str
    field: Any = None

    def told(self, value: Any) -> Any:
        """Return the recorded form of a value that `sql` selected."""
        if isinstance(self.field, JSONField):
            return None if value is None else _mark_of_jsonb(value)
        return short(value)


def told(row: Model, *names: str) -> Told:
    """Return the recorded form of a row as it was just saved: of these columns, or of all."""
    wanted = names or [column.name for column in columns(_NAMES[type(row)])]
    fields = {field.attname: field for field in row._meta.concrete_fields}
    return {key_of(row): {name: _told(row, fields[name]) for name in wanted}}


def key_of(row: Model) -> str:
    return f"{_NAMES[type(row)]}:{row.pk}"


def read(kind: str, ids: Iterable[Any]) -> Told:
    """Return the recorded form of rows, read from the database. For kinds that people seldom change."""
    wanted = list(ids)
    found: Told = {f"{kind}:{pk}": None for pk in wanted}
    return found | {key: columns for key, _, columns in iter_rows(kind, only=wanted)}


def with_marks(found: "QuerySet[M]", names: Sequence[str]) -> "QuerySet[M]":
    """Add the hashes of columns that are left in the database: each is canonical JSON."""
    table = found.model._meta.db_table
    marks = {f"mark_of_{name}": RawSQL(_mark_sql(f'"{table}"."{name}"'), []) for name in names}
    marked: QuerySet[M] = found.annotate(**marks)
    return marked.defer(*names)


def take_over(read: Model, row: Model, names: Iterable[str]) -> None:
    """Set columns that `with_marks` left in the database to what an earlier reading has, where they are the same.

    The other ones stay where they are: they are read when they are used.
    """
    fields = {field.attname: field for field in row._meta.concrete_fields}
    for name in set(names) - read.get_deferred_fields():
        value = getattr(read, name)
        if _told_value(fields[name], value) == row.__dict__[f"mark_of_{name}"]:
            setattr(row, name, value)


def iter_rows(kind: str, *, only: Sequence[Any] | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each row's key, its thread and its columns. Without `only` it needs a transaction."""
    wanted, model = columns(kind), MODELS[kind]
    table, pk = model._meta.db_table, model._meta.pk.column
    thread, join = _thread_of(model)
    listed = ", ".join(column.sql for column in wanted)
    query = f'SELECT "{table}"."{pk}"::text, {thread}, {listed} FROM "{table}" {join}'
    if only is not None:
        with connection.cursor() as cursor:
            cursor.execute(f'{query} WHERE "{table}"."{pk}" = ANY(%s)', [list(only)])
            yield from (_row(kind, wanted, found) for found in cursor.fetchall())
        return
    with connection.chunked_cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(CHUNK):
            yield from (_row(kind, wanted, found) for found in rows)


def _row(kind: str, wanted: Sequence[Column], found: tuple[Any, ...]) -> tuple[str, str, dict[str, Any]]:
    pk, thread, *values = found
    return (
        f"{kind}:{pk}",
        thread or "",
        {each.name: each.told(value) for each, value in zip(wanted, values, strict=True)},
    )


@functools.cache
def columns(kind: str) -> tuple[Column, ...]:
    """Return the recorded columns of a kind of row."""
    model = MODELS[kind]
    table, kept, left = model._meta.db_table, KEPT.get(model), LEFT_OUT.get(model, frozenset())
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    wanted = [field for field in fields if (field.attname in kept if kept else field.attname not in left)]
    found = [Column(field.attname, _sql(f'"{table}"."{field.column}"', field), field) for field in wanted]
    if model is Person:
        found.append(Column("since", _since_sql()))
    if model is Person or not kept:
        found += [Column(many.name, _many_sql(model, many)) for many in model._meta.many_to_many]
    return tuple(sorted(found, key=lambda column: column.name))


@functools.cache
def untold(kind: str) -> dict[str, Any]:
    """Return the values that a row without an entry may have: a thread that was found belongs to nobody."""
    return {"started_by_id": None, "authors": mark("[]")} if kind == "thread" else {}


def is_untold_by_nature(kind: str, columns: dict[str, Any]) -> bool:
    """Return whether a row needs no entry: a thread that was found, not started here, and of which nothing decides."""
    return kind == "thread" and all(columns[name] == value for name, value in untold(kind).items())


@functools.cache
def emptied(kind: str) -> dict[str, Any]:
    """Return the recorded form of columns that a force-clean empties."""
    fields = {field.attname: field for field in MODELS[kind]._meta.concrete_fields}
    return {name: _told_value(fields[name], value) for name, value in EMPTIED.get(kind, {}).items()}


def _told(row: Model, field: Any) -> Any:
    if field.attname in row.get_deferred_fields():
        return row.__dict__[f"mark_of_{field.attname}"]
    return _told_value(field, getattr(row, field.attname))


def _told_value(field: Any, value: Any) -> Any:
    if field.attname in ONLY_WHETHER:
        return value is not None
    if value is None:
        return None
    if isinstance(field, CanonicalJSONField | JSONField):
        return mark(canonical(value))
    if isinstance(field, TextField) or field.attname in HASHED:
        return mark(str(value))
    return short(value)


def short(value: Any) -> Any:
    """Return a value that is recorded as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    return value


def mark(text: str) -> str:
    """Return half of the SHA-256 of a text: nobody finds another text with the same hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:MARK_LENGTH]


@functools.lru_cache(4_096)
def _mark_of_jsonb(text: str) -> str:
    return mark(canonical(json.loads(text)))


def _mark_sql(column: str) -> str:
    return f"left(encode(sha256(convert_to({column}, 'UTF8')), 'hex'), {MARK_LENGTH})"


def _sql(column: str, field: "Field[Any, Any]") -> str:
    if field.attname in ONLY_WHETHER and isinstance(field, DateTimeField):
        return f"{column} IS NOT NULL"
    if isinstance(field, CanonicalJSONField | TextField) or field.attname in HASHED:
        return _mark_sql(column)
    return f"{column}::text" if isinstance(field, JSONField) else column


def _many_sql(model: type[Model], many: Any) -> str:
    """Return SQL for linked rows: a person's groups by name, as the log has them, anything else by id."""
    through, table = many.remote_field.through._meta.db_table, model._meta.db_table
    mine, theirs = many.m2m_column_name(), many.m2m_reverse_name()
    if model is Person:
        named = f'SELECT g.name FROM "{through}" AS t JOIN auth_group AS g ON g.id = t."{theirs}"'
        return f'ARRAY({named} WHERE t."{mine}" = "{table}".id ORDER BY g.name COLLATE "C")'
    return f'ARRAY(SELECT t."{theirs}" FROM "{through}" AS t WHERE t."{mine}" = "{table}".id ORDER BY 1)'


def since(at: datetime) -> str:
    """Format the time at which a person joined a group as `_since_sql` does."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _since_sql() -> str:
    """Return SQL for the times since when a person is in each group, in the order of their names."""
    at = "to_char(t.granted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
    named = f"SELECT {at} FROM auth_user_groups AS t JOIN auth_group AS g ON g.id = t.group_id"
    return f'ARRAY({named} WHERE t.user_id = auth_user.id ORDER BY g.name COLLATE "C")'


def _thread_of(model: type[Model]) -> tuple[str, str]:
    table = model._meta.db_table
    if model in (Approval, Reading, Run):
        return f'"{table}".thread_id', ""
    if model in (Vote, Decision):
        return "a.thread_id", f'LEFT JOIN approvals_approval AS a ON a.id = "{table}".approval_id'
    return "NULL", ""
