"""Watch the statements of a forked process: how much it reads under a lock, and freezing while an answer arrives."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg import waiting
from psycopg.pq import TransactionStatus

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


def head_is_free(text: str, work: str, *args: Any) -> list[bool]:
    """Do one of `works`; say of each statement with `text` whether others could lock the head of the log then."""
    from django.db import connection

    from tests.races import works

    found, other = list[bool](), connection.copy()

    def statement(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if text in sql:
            with other.cursor() as cursor:
                cursor.execute("SELECT 1 FROM approvals_audithead FOR UPDATE SKIP LOCKED")
                found.append(cursor.fetchone() is not None)
        return execute(sql, params, many, context)

    _watch(statement)
    getattr(works, work)(*args)
    return found


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
        # psycopg begins a transaction in front of its first statement: that answer comes first.
        is_begun = context["connection"].connection.info.transaction_status != TransactionStatus.IDLE
        is_next.answer = 2 - is_begun if text in sql else 0
        return execute(sql, params, many, context)

    wait_for = psycopg.Connection.wait

    def wait(self: Any, gen: Any, *args: Any, **more: Any) -> Any:
        return wait_for(self, _frozen_once(gen, is_next) if getattr(is_next, "answer", 0) else gen, *args, **more)

    _watch(statement)
    psycopg.Connection.wait = wait
    return getattr(works, work)(*args, **more)


def _frozen_once(gen: Any, is_next: threading.local) -> Generator[Any, Any, Any]:
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready & waiting.Ready.R and is_next.answer:
                is_next.answer -= 1
                if not is_next.answer:
                    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


MANY = 150
"""Blobs or writes of one call, more than are a parameter each."""
NUMBER = 1


def freezing_write(thread_id: str, kind: str, at: int) -> None:
    """Take a thread, and freeze the `at`-th time that one of a saver's writes has to wait for the database."""
    from approvals import checkpoints

    with checkpoints.open_tables() as tables:
        tables.raise_fence(thread_id, NUMBER, held_seconds=60)
    asyncio.run(_write(thread_id, kind, at))


async def _write(thread_id: str, kind: str, at: int) -> None:
    from agentcore.savers.fence import fenced
    from approvals.jobs import runtime

    saver: Any = fenced((await runtime.worker()).saver(None), thread_id, NUMBER)
    latest = await saver.aget_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    many = {f"channel-{number}": ["x"] for number in range(MANY)}
    _freeze(at)
    match kind:
        case "put":
            versions = dict.fromkeys(many, f"{1:032}.{0:016}")
            put = {**latest.checkpoint, "channel_values": many, "channel_versions": versions, "id": "2"}
            await saver.aput(latest.config, put, {}, versions)
        case "writes":
            await saver.aput_writes(latest.config, list(many.items()), "task")
        case "delete":
            await saver.adelete_thread(thread_id)
    await runtime.close_worker()


def _freeze(at: int) -> None:
    wait_for, left = psycopg.AsyncConnection.wait, [at]

    async def wait(self: Any, gen: Any, *args: Any, **more: Any) -> Any:
        return await wait_for(self, watched(gen), *args, **more)

    def watched(gen: Any) -> Generator[Any, Any, Any]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                left[0] -= 1
                if not left[0]:
                    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    psycopg.AsyncConnection.wait = wait
