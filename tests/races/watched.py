"""Watch the statements of a forked process: how much it reads under a lock, and freezing while an answer arrives."""

import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg import waiting

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]
LOCKS = "FOR UPDATE"


@dataclass
class _Reading:
    """The largest answer to a statement in a transaction that has locked a row, in bytes."""

    found: dict[str, int] = field(default_factory=dict)
    locked: set[int] = field(default_factory=set)

    def statement(self, execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        ours = id(context["connection"])
        if LOCKS in sql:
            self.locked.add(ours)
        result = execute(sql, params, many, context)
        answer = context["cursor"].cursor.pgresult
        if ours in self.locked and answer is not None:
            self.found[sql] = max(self.found.get(sql, 0), _size(answer))
        return result

    def ends(self, end: Callable[[DatabaseWrapper], None]) -> Callable[[DatabaseWrapper], None]:
        def call(connection: DatabaseWrapper) -> None:
            self.locked.discard(id(connection))
            end(connection)

        return call


def _size(answer: Any) -> int:
    cells = ((row, column) for row in range(answer.ntuples) for column in range(answer.nfields))
    return sum(len(answer.get_value(*cell) or b"") for cell in cells)


def reading(work: str, *args: Any, **more: Any) -> tuple[Any, dict[str, int]]:
    """Do one of `works`; return its result, and the bytes of the largest answer to each statement under a lock."""
    from tests.races import works

    seen = _Reading()
    _watch(seen.statement)
    for name in ("_commit", "_rollback"):
        setattr(DatabaseWrapper, name, seen.ends(getattr(DatabaseWrapper, name)))
    return getattr(works, work)(*args, **more), seen.found


def _watch(statement: Any) -> None:
    """Have each of Django's connections call this around its statements, those of other threads too."""
    from django.db import connections

    def add(connection: Any, **_: Any) -> None:
        if statement not in connection.execute_wrappers:
            connection.execute_wrappers.append(statement)

    connection_created.connect(add, weak=False)
    connections.close_all()


def freezing(text: str, work: str, *args: Any, **more: Any) -> Any:
    """Do one of `works`, and freeze when the answer to the first statement with `text` begins to arrive."""
    from tests.races import works

    is_next = threading.local()

    def statement(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        is_next.answer = text in sql
        return execute(sql, params, many, context)

    def wait(self: Any, gen: Any, interval: float = 0.1) -> Any:
        watched = _frozen_once(gen, is_next) if getattr(is_next, "answer", False) else gen
        return waiting.wait(watched, self.pgconn.socket, interval=interval)

    _watch(statement)
    setattr(psycopg.Connection, "wait", wait)  # noqa: B010
    return getattr(works, work)(*args, **more)


def _frozen_once(gen: Any, is_next: threading.local) -> Generator[Any, Any, Any]:
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready & waiting.Ready.R and is_next.answer:
                is_next.answer = False
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value
