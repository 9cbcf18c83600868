"""What a vote compares: the versions of all rows that its tasks can read, beside a look at the newest checkpoint
alone.

`ratio` is the median divided by that of the look at the head, in the same run over the same PostgreSQL. `digests` reads
every byte: that happens once when a question is indexed, and where rows were written anew.
"""

import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg.types.json import Jsonb

from agentcore.plain.tables import PostgresTables

SIZES = {"10 KB": 10_000, "300 KB": 300_000, "5 MB": 5_000_000}
NAMESPACES = (1, 10)
ROUNDS = 200
OTHERS = 2_000
"""Threads beside the one that is measured."""


def table() -> list[dict[str, object]]:
    from django.conf import settings

    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        for _ in range(OTHERS):
            _put(connection, str(uuid.uuid4()), 1_000, 1)
        threads = {}
        for size, length in SIZES.items():
            for count in NAMESPACES:
                threads[size, count] = thread_id = str(uuid.uuid4())
                _put(connection, thread_id, length, count)
        connection.execute("VACUUM ANALYZE")
        tables = PostgresTables(psycopg.ClientCursor(connection))
        return [_row(tables, size, count, thread_id) for (size, count), thread_id in threads.items()]


def _row(tables: PostgresTables, size: str, count: int, thread_id: str) -> dict[str, object]:
    head = _median(lambda: tables.read_head(thread_id))
    stamps = _median(lambda: tables.read_bound(thread_id))
    digests = _median(lambda: tables.read_bound(thread_id, is_hashed=True), rounds=ROUNDS // 10)
    return {
        "state": size,
        "namespaces": count,
        "head ms": round(head, 3),
        "stamps ms": round(stamps, 3),
        "ratio": round(stamps / head, 1),
        "digests ms": round(digests, 2),
        "digests ratio": round(digests / head, 1),
    }


def _median(read: Callable[[], Any], *, rounds: int = ROUNDS) -> float:
    """Return milliseconds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        assert read()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def _put(connection: psycopg.Connection[Any], thread_id: str, length: int, namespaces: int) -> None:
    """Store a thread of ten channels whose values together are so long, in so many namespaces."""
    text = uuid.uuid4().hex * (length // namespaces // 10 // 32 + 1)
    kind, blob = JsonPlusSerializer().dumps_typed([text])
    versions = {f"channel_{number}": f"{number}.1" for number in range(10)}
    checkpoint = {"v": 4, "id": str(uuid.uuid4()), "channel_values": {"amount": 1}, "channel_versions": versions}
    spaces = ["", *(f"node_{number}:{uuid.uuid4()}" for number in range(1, namespaces))]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(thread_id, space, checkpoint["id"], Jsonb(checkpoint), Jsonb({"step": 1})) for space in spaces],
        )
        cursor.executemany(
            "INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [(thread_id, space, name, version, kind, blob) for space in spaces for name, version in versions.items()],
        )
