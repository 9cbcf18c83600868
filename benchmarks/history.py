"""The history of a thread of 10, 100 and 1,000 checkpoints: its first screen, and what lies between two checkpoints.

`plain` is LangGraph's own `aget_state_history`, over the same PostgreSQL and the same rows: limited to a screen, and
whole, which is what telling any two apart takes where their ids are not known. Rows are those of the checkpoint tables
that PostgreSQL read; times are medians.
"""

import asyncio
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.savers.opening import open_checkpointer

SIZES = (10, 100, 1_000)
SCREEN = 20
ROUNDS = 15
_ROWS_SQL = """
SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_user_tables
WHERE relname IN ('checkpoints', 'checkpoint_blobs', 'checkpoint_writes')
"""


class State(TypedDict, total=False):
    count: int
    order: dict[str, Any]


async def note(state: State) -> State:
    return {"count": state.get("count", 0) + 1}


_builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_builder.add_node("note", note)
_builder.add_edge(START, "note")
_builder.add_edge("note", END)
graph = _builder.compile()


@dataclass
class Rows:
    count: int = 0


@contextmanager
def rows_read() -> Iterator[Rows]:
    """Count the rows of the checkpoint tables that are read on Django's connection inside the block."""
    from django.db import connection, transaction

    found = Rows()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ROWS_SQL)
        before = cursor.fetchone()[0]
        yield found
        cursor.execute(_ROWS_SQL)
        found.count = int(cursor.fetchone()[0] - before)


async def fill(database: str, thread_id: str, count: int) -> None:
    """Store a thread of this many checkpoints: steps that count, and an order that stays."""
    async with open_checkpointer(database) as saver:
        config, order = config_for(thread_id), {"lines": [{"item": f"item {index}"} for index in range(200)]}
        versions: dict[str, str | int | float] = {"order": f"{1:032}.{uuid.uuid4().int % 10**16:016}"}
        for step in range(count):
            versions = {**versions, "count": f"{step + 2:032}.0"}
            checkpoint = {
                **empty_checkpoint(),
                "id": str(uuid6(clock_seq=step)),
                "channel_values": {"count": step, "order": order},
                "channel_versions": versions,
                "versions_seen": {"__start__": {"__start__": f"{1:032}.0"}, "note": {"branch:to:note": f"{step:032}"}},
            }
            new = versions if step == 0 else {"count": versions["count"]}
            told = {"source": "loop", "step": step, "parents": {}}
            config = await saver.aput(config, checkpoint, told, new)  # type: ignore[arg-type]


def table() -> list[dict[str, object]]:
    import os

    from django.db import connection

    url = os.environ["DATABASE_URL"]
    made = {size: f"bench-{uuid.uuid4()}" for size in SIZES}
    for size, thread_id in made.items():
        asyncio.run(fill(url, thread_id, size))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE checkpoints, checkpoint_blobs")
    rows = []
    for size, thread_id in made.items():
        plain = asyncio.run(_plain(url, thread_id))
        rows += [
            _row("first screen", size, *_measured(lambda thread_id=thread_id: _screen(thread_id)), plain["screen"]),
            _row("difference", size, *_measured(_differing(thread_id)), plain["whole"]),
        ]
    return rows


def _row(what: str, size: int, queries: int, read: int, seconds: float, plain: float) -> dict[str, object]:
    return {
        "what": what,
        "checkpoints": size,
        "queries": queries,
        "rows read": read,
        "ms": round(seconds * 1_000, 2),
        "plain ms": round(plain * 1_000, 2),
        "times": round(plain / seconds, 1),
    }


def _screen(thread_id: str) -> Any:
    from agentcore.plain import timeline
    from approvals import checkpoints

    with checkpoints.open_tables() as tables:
        return timeline.read_page(tables, thread_id, limit=SCREEN)


def _differing(thread_id: str) -> Callable[[], Any]:
    """The oldest and the newest, by their ids."""
    from agentcore.plain import timeline
    from approvals import checkpoints

    with checkpoints.open_tables() as tables:
        ids = [moment.checkpoint_id for moment in timeline.read_page(tables, thread_id, limit=10_000)]

    def difference() -> Any:
        places = [(thread_id, ids[-1]), (thread_id, ids[0])]
        with checkpoints.open_tables() as tables:
            found = timeline.read_states(tables, places)
        return timeline.changes(found[places[0]], found[places[1]], ())

    return difference


def _measured(work: Callable[[], Any]) -> tuple[int, int, float]:
    """Return queries, rows read and the median of seconds."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with rows_read() as rows:
        work()
    with CaptureQueriesContext(connection) as queries:
        work()
    return len(queries), rows.count, statistics.median(_timed(work) for _ in range(ROUNDS))


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def _plain(url: str, thread_id: str) -> dict[str, float]:
    async with open_checkpointer(url) as saver:
        bound = with_saver(graph, saver)

        async def seconds(limit: int | None, rounds: int) -> float:
            taken = []
            for _ in range(rounds):
                began = time.perf_counter()
                async for _state in bound.aget_state_history(config_for(thread_id), limit=limit):
                    pass
                taken.append(time.perf_counter() - began)
            return statistics.median(taken)

        return {"screen": await seconds(SCREEN, ROUNDS), "whole": await seconds(None, 3)}
