"""Searches of threads: what clients of a LangGraph server filter by, and what they want of each thread."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from django.db import connection
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL
from pydantic import AfterValidator, Field

from approvals.actions.threads.thread_metadata import OF_GRAPH
from approvals.api.fields import Body, JsonObject, Text
from approvals.api.schemas import ThreadOut
from approvals.api.selection import ThreadField, selected
from approvals.domain import assistants
from approvals.enums import ThreadStatus
from approvals.errors import Invalid, NotOffered
from approvals.models import Thread

MOST_THREADS = 1_000
MOST_WITH_VALUES = 100
DEEPEST_OFFSET = 10_000
MOST_PATHS = 10
TOO_MANY_VALUES = f"At most {MOST_WITH_VALUES} threads come with their values. Select fields without `values` for more."
NEEDS_16 = "A search by values needs PostgreSQL 16 or newer. Search by metadata."
_HAS_VALUES = """
CASE WHEN pg_input_is_valid(approvals_thread.state, 'jsonb')
    THEN approvals_thread.state::jsonb @> %s::jsonb ELSE false END
"""
"""What jsonb cannot hold, such as a NUL, is no error here: that thread is not found by its values."""
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d{1,6})\]")
_PATH = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[-?\d{1,6}\])*")
_ROOTS = ("values", "metadata", "interrupts", "thread_id", "status", "created_at", "updated_at", "state_updated_at")


def _path(text: str) -> str:
    if not _PATH.fullmatch(text) or next(_steps(text)) not in _ROOTS:
        raise ValueError(f"A path is as `values.messages[-1].content`. It begins with one of {', '.join(_ROOTS)}.")
    return text


class ThreadFilters(Body):
    """`metadata` finds threads whose metadata holds all of it, `values` those whose state does.

    `graph_id` in the metadata finds threads of that graph. Cleaned threads are left out.
    """

    metadata: JsonObject | None = None
    values: JsonObject | None = None
    status: ThreadStatus | None = None

    def found(self) -> "QuerySet[Thread]":
        threads = Thread.objects.filter(cleaned_at=None)
        if self.metadata:
            threads = threads.filter(_of_metadata(self.metadata))
        if self.status:
            threads = threads.filter(status=self.status)
        return threads.filter(_of_values(self.values)) if self.values else threads


class ThreadSearch(ThreadFilters):
    """`select` names the fields that are wanted of each thread; `extract` puts parts of it under names of yours."""

    ids: list[Text] | None = Field(None, max_length=1_000)
    limit: int = Field(10, ge=1, le=MOST_THREADS)
    offset: int = Field(0, ge=0, le=DEEPEST_OFFSET)
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] = "updated_at"
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[ThreadField] | None = None
    extract: dict[Text, Annotated[Text, AfterValidator(_path)]] | None = Field(
        None, max_length=MOST_PATHS, examples=[{"last": "values.messages[-1].content"}]
    )

    @property
    def has_values(self) -> bool:
        """Whether the states of the threads are wanted, which may be large."""
        paths = (self.extract or {}).values()
        return not self.select or "values" in self.select or any(next(_steps(path)) == "values" for path in paths)

    def page(self) -> list[Thread]:
        if self.has_values and self.limit > MOST_WITH_VALUES:
            raise Invalid(TOO_MANY_VALUES, faults=[{"path": "limit", "message": TOO_MANY_VALUES}])
        threads = self.found()
        if self.ids is not None:
            threads = threads.filter(pk__in=self.ids)
        # The ids of checkpoints grow with the time at which they were written.
        column = {"thread_id": "pk", "state_updated_at": "checkpoint_id"}.get(self.sort_by, self.sort_by)
        sign = "-" if self.sort_order == "desc" else ""
        ordered = threads.order_by(f"{sign}{column}", f"{sign}pk")
        if self.has_values:
            return list(ordered[self.offset : self.offset + self.limit])
        found = list(ordered.defer("state")[self.offset : self.offset + self.limit])
        for thread in found:
            thread.state = {}
        return found

    def shown(self, found: list[ThreadOut]) -> list[ThreadOut] | list[Any]:
        """Return what is wanted of the threads that were found."""
        if not self.select and not self.extract:
            return found
        plain = selected(found, self.select or list(ThreadOut.model_fields))
        if not self.extract:
            return plain
        whole = [each.model_dump(mode="json") for each in found]
        extracts = [{name: extracted(each, path) for name, path in self.extract.items()} for each in whole]
        return [{**each, "extracted": extract} for each, extract in zip(plain, extracts, strict=True)]


def extracted(plain: Any, path: str) -> Any:
    """Return what stands at a path such as `values.messages[-1].content`; None where there is nothing."""
    for step in _steps(path):
        try:
            plain = plain[step] if isinstance(step, int) == isinstance(plain, list) else None
        except (KeyError, IndexError, TypeError):
            return None
    return plain


def _steps(path: str) -> Iterator[str | int]:
    yield from (int(place) if place else name for name, place in _STEP.findall(path))


def _of_metadata(wanted: dict[str, Any]) -> Q:
    """Find threads by metadata, which also names the graph that ran on a thread."""
    rest = {name: value for name, value in wanted.items() if name not in OF_GRAPH}
    found = Q(metadata__contains=rest) if rest else Q()
    for name in OF_GRAPH:
        if name in wanted:
            graph_id = assistants.graph_id_of(str(wanted[name]))
            found &= Q(graph_id=graph_id) | Q(metadata__contains={name: wanted[name]})
    return found


def _of_values(wanted: dict[str, Any]) -> RawSQL:
    with connection.cursor() as cursor:
        if cursor.connection.info.server_version < 160_000:
            raise NotOffered(NEEDS_16)
    return RawSQL(_HAS_VALUES, [json.dumps(wanted)], output_field=BooleanField())
