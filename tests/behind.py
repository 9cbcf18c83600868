"""Ways to change what is stored behind a question: by SQL, and by LangGraph's own saver as anybody may call it."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send
from psycopg import Connection
from psycopg.types.json import Jsonb

Change = Callable[[Connection[Any], str], None]
"""Is given a connection that commits each statement, and the id of the thread."""

ROOT, MIDDLE, INNER, KEPT = "^$", r"^middle:[^|]*$", r"\|inner:", "^kept$"
EARLY = "^early:"
NULL_TASK = "00000000-0000-0000-0000-000000000000"
_HEAD = """(checkpoint_ns, checkpoint_id) IN (SELECT checkpoint_ns, max(checkpoint_id) FROM checkpoints
    WHERE thread_id = %(thread)s AND checkpoint_ns ~ %(ns)s GROUP BY 1)"""
_AT_HEAD = f"thread_id = %(thread)s AND {_HEAD}"
_NAMED = f"""
b.thread_id = %(thread)s AND b.channel = %(channel)s AND EXISTS (
    SELECT FROM checkpoints WHERE {_AT_HEAD} AND checkpoint_ns = b.checkpoint_ns
    AND checkpoint -> 'channel_versions' ->> b.channel = b.version)"""


@dataclass(frozen=True)
class Kind:
    """One way. `is_gone`: nothing is asked any more once the thread was read again."""

    name: str
    graph: str
    change: Change
    is_gone: bool = False


def packed(value: Any) -> dict[str, Any]:
    kind, blob = JsonPlusSerializer().dumps_typed(value)
    return {"type": kind, "blob": blob}


def sql(query: str, ns: str = ROOT, *, rows: int | None = None, **params: Any) -> Change:
    """Run a statement; without a row that it changes it was no change at all."""

    def change(database: Connection[Any], thread_id: str) -> None:
        done = database.execute(query, {"thread": thread_id, "ns": ns, **params})
        assert done.rowcount == rows if rows is not None else done.rowcount > 0, (query, done.rowcount)

    return change


def inline(ns: str = ROOT, value: str = "999999") -> Change:
    return sql(
        "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{channel_values,people}', %(value)s::jsonb)"
        f" WHERE {_AT_HEAD}",
        ns,
        value=value,
    )


def column(name: str, value: str, ns: str = ROOT, **params: Any) -> Change:
    return sql(f"UPDATE checkpoints SET {name} = {value} WHERE {_AT_HEAD}", ns, **params)


def blob(channel: str, value: Any, ns: str = ROOT) -> Change:
    query = f"UPDATE checkpoint_blobs b SET type = %(type)s, blob = %(blob)s WHERE {_NAMED}"
    return sql(query, ns, channel=channel, **packed(value))


def write(ns: str, channel: str, value: Any) -> Change:
    query = f"UPDATE checkpoint_writes SET type = %(type)s, blob = %(blob)s WHERE {_AT_HEAD} AND channel = %(channel)s"
    return sql(query, ns, channel=channel, **packed(value))


def more_writes(ns: str, channel: str, value: Any, task: str = NULL_TASK) -> Change:
    query = (
        "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob)"
        " SELECT thread_id, checkpoint_ns, checkpoint_id, %(task)s, -9, %(channel)s, %(type)s, %(blob)s"
        f" FROM checkpoints WHERE {_AT_HEAD}"
    )
    return sql(query, ns, channel=channel, task=task, **packed(value))


def fewer_writes(ns: str, channel: str) -> Change:
    return sql(f"DELETE FROM checkpoint_writes WHERE {_AT_HEAD} AND channel = %(channel)s", ns, channel=channel)


def by_saver(work: Callable[[Any, dict[str, Any]], Awaitable[Any]], ns: str = ROOT) -> Change:
    """Call LangGraph's saver with the config of the namespace's newest checkpoint."""

    def change(database: Connection[Any], thread_id: str) -> None:
        query = f"SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE {_AT_HEAD}"
        [(namespace, checkpoint_id)] = database.execute(query, {"thread": thread_id, "ns": ns}).fetchall()
        place = {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}
        url = database.info.dsn

        async def run() -> None:
            async with AsyncPostgresSaver.from_conn_string(url) as saver:
                await work(saver, {"configurable": place})

        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(asyncio.run, run()).result(60)

    return change


def put_again(ns: str = ROOT, **values: Any) -> Change:
    """Put the very same checkpoint with other values, in place of itself."""

    async def work(saver: Any, config: Any) -> None:
        found = await saver.aget_tuple(config)
        checkpoint, versions = found.checkpoint, {name: f"9.{name}" for name in values}
        checkpoint["channel_values"] |= values
        checkpoint["channel_versions"] |= versions
        await saver.aput(found.parent_config or found.config, checkpoint, found.metadata, versions)

    return by_saver(work, ns)


def put_newer(ns: str = ROOT, **values: Any) -> Change:
    """Put a checkpoint after the one that stands there, with other values."""

    async def work(saver: Any, config: Any) -> None:
        found = await saver.aget_tuple(config)
        checkpoint, versions = found.checkpoint, {name: f"9.{name}" for name in values}
        checkpoint["id"] = checkpoint["id"][:-1] + ("f" if checkpoint["id"][-1] != "f" else "e")
        checkpoint["id"] = "2" + checkpoint["id"][1:]  # ids grow with time
        checkpoint["channel_values"] |= values
        checkpoint["channel_versions"] |= versions
        await saver.aput(found.config, checkpoint, found.metadata, versions)

    return by_saver(work, ns)


def planted(database: Connection[Any], thread_id: str) -> None:
    """Put a checkpoint, older than the question, where the subgraph of a task that has not begun would look for one."""
    database.execute(
        "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata)"
        " SELECT thread_id, 'act:11111111-2222-3333-4444-555555555555', '00000000-0000-6000-8000-000000000000',"
        f" checkpoint, '{{}}' FROM checkpoints WHERE {_AT_HEAD}",
        {"thread": thread_id, "ns": ROOT},
    )


def noted_effect(database: Connection[Any], thread_id: str) -> None:
    database.execute(
        "INSERT INTO countersign_effects (key, thread_id, result) VALUES (%s, %s, '1')", [thread_id, thread_id]
    )


async def _writes(saver: Any, config: Any) -> None:
    await saver.aput_writes(config, [("people", 999_999)], NULL_TASK)


async def _resumes(saver: Any, config: Any) -> None:
    await saver.aput_writes(config, [("__resume__", "no")], NULL_TASK)


async def _deletes(saver: Any, config: Any) -> None:
    await saver.adelete_thread(config["configurable"]["thread_id"])


def _swapped(one: str, other: str, ns: str = ROOT) -> Change:
    """Let two channels name each other's versions."""
    at = "checkpoint -> 'channel_versions' -> '{}'"
    value = (
        f"jsonb_set(jsonb_set(checkpoint, '{{channel_versions,{one}}}', {at.format(other)}),"
        f" '{{channel_versions,{other}}}', {at.format(one)})"
    )
    return column("checkpoint", value, ns)


_OTHER_MAIL = {"to": "mallory"}
_OLDER_NOTES = (
    "jsonb_set(checkpoint, '{channel_versions,notes}', (SELECT to_jsonb(min(version)) FROM checkpoint_blobs b"
    " WHERE b.thread_id = %(thread)s AND b.checkpoint_ns = '' AND b.channel = 'notes'))"
)
_PAY = [Send("act", {"to": "mallory"}), Send("act", {"to": "bob"})]
_ROWS_OF = "thread_id = %(thread)s AND checkpoint_ns ~ %(ns)s"
_OLD_WRITES = "thread_id = %(thread)s AND checkpoint_ns = '' AND channel = 'words'"

_VERSIONS = "checkpoint -> 'channel_versions'"
_FEWER = "checkpoint #- '{channel_values,people}' #- '{channel_versions,people}'"
_EMPTIED = sql(f"UPDATE checkpoint_blobs b SET type = 'empty' WHERE {_NAMED}", channel="mail")
_OTHER_WORDS = sql(
    f"UPDATE checkpoint_writes SET type = %(type)s, blob = %(blob)s WHERE {_OLD_WRITES}", **packed(["pay", "mallory"])
)
_UNLINKED = sql(f"UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = %(thread)s AND NOT {_HEAD}")


def _set(path: str, value: str, ns: str = ROOT) -> Change:
    return column("checkpoint", f"jsonb_set(checkpoint, '{{{path}}}', {value})", ns)


KINDS = [
    # The thread's own checkpoint
    Kind("a number in the checkpoint", "s_at_gate", inline()),
    Kind("a value beside the checkpoint", "s_at_gate", blob("mail", _OTHER_MAIL)),
    Kind(
        "the type of a value",
        "s_at_gate",
        _EMPTIED,
    ),
    Kind("a value removed", "s_at_gate", sql(f"DELETE FROM checkpoint_blobs b WHERE {_NAMED}", channel="mail")),
    Kind("an older version of a value is named", "s_at_gate", column("checkpoint", _OLDER_NOTES)),
    Kind("versions of two channels swapped", "s_at_gate", _swapped("mail", "notes")),
    Kind(
        "a version of none",
        "s_at_gate",
        _set("channel_versions,mail", "'\"7\"'"),
    ),
    Kind(
        "versions seen",
        "s_at_gate",
        _set("versions_seen,act", '\'{"branch:to:act": "9"}\''),
        is_gone=True,
    ),
    Kind(
        "the gate counts as seen",
        "s_at_gate",
        column(
            "checkpoint", "jsonb_set(checkpoint, '{versions_seen,__interrupt__}', checkpoint -> 'channel_versions')"
        ),
    ),
    Kind(
        "a channel removed",
        "s_at_gate",
        column("checkpoint", _FEWER),
    ),
    Kind("a channel added", "s_at_gate", _set("channel_values,extra", "'1'")),
    Kind("another format", "s_at_gate", _set("v", "'3'")),
    Kind("the step in the metadata", "s_at_gate", column("metadata", "metadata || '{\"step\": 77}'")),
    Kind("the run in the metadata", "s_at_gate", column("metadata", 'metadata || \'{"countersign_run": "x"}\'')),
    Kind("the parent", "s_at_gate", column("parent_checkpoint_id", "NULL")),
    Kind("no checkpoint at all", "s_at_gate", column("checkpoint", "'[]'"), is_gone=True),
    Kind("the newest checkpoint removed", "s_at_gate", sql(f"DELETE FROM checkpoints WHERE {_AT_HEAD}"), is_gone=True),
    Kind("a write added", "s_at_gate", more_writes(ROOT, "people", 999_999)),
    Kind("an effect that was never done", "s_at_gate", noted_effect),
    Kind("a subgraph for a task that has not begun", "s_at_gate", planted),
    Kind("put again, a number", "s_at_gate", put_again(people=999_999)),
    Kind("put again, a value", "s_at_gate", put_again(mail=_OTHER_MAIL)),
    Kind("put anew", "s_at_gate", put_newer(people=999_999)),
    Kind("writes put", "s_at_gate", by_saver(_writes)),
    Kind("deleted", "s_at_gate", by_saver(_deletes), is_gone=True),
    # What Sends carry
    Kind("what a Send carries", "s_sent", blob("__pregel_tasks", _PAY)),
    Kind("a Send dropped", "s_sent", blob("__pregel_tasks", _PAY[1:])),
    Kind("a Send added", "s_sent", blob("__pregel_tasks", [*_PAY, *_PAY])),
    Kind("all Sends dropped", "s_sent", blob("__pregel_tasks", []), is_gone=True),
    Kind("put again, a Send", "s_sent", put_again(__pregel_tasks=_PAY)),
    # Subgraphs, one and two levels down
    Kind("one down: a number", "s_deep", inline(MIDDLE)),
    Kind("one down: a value", "s_deep", blob("mail", _OTHER_MAIL, MIDDLE)),
    Kind("one down: put again", "s_deep", put_again(MIDDLE, people=999_999)),
    Kind("one down: put anew", "s_deep", put_newer(MIDDLE, people=999_999), is_gone=True),
    Kind("one down: a version of none", "s_deep", _set("channel_versions,mail", "'\"7\"'", MIDDLE)),
    Kind("one down: a question changed", "s_deep", write(MIDDLE, "__interrupt__", [])),
    Kind("one down: removed", "s_deep", sql(f"DELETE FROM checkpoints WHERE {_ROWS_OF}", MIDDLE)),
    Kind("two down: a number", "s_deep", inline(INNER)),
    Kind("two down: a value", "s_deep", blob("mail", _OTHER_MAIL, INNER)),
    Kind("two down: metadata", "s_deep", column("metadata", "metadata || '{\"step\": 77}'", INNER), is_gone=True),
    Kind("two down: put again", "s_deep", put_again(INNER, mail=_OTHER_MAIL)),
    Kind("two down: put anew", "s_deep", put_newer(INNER, people=999_999), is_gone=True),
    Kind("two down: an answer put in", "s_deep", more_writes(INNER, "__resume__", "no")),
    Kind("two down: a write removed", "s_deep", fewer_writes(INNER, "__interrupt__"), is_gone=True),
    Kind("two down: removed", "s_deep", sql(f"DELETE FROM checkpoints WHERE {_ROWS_OF}", INNER)),
    Kind("an answer put beside the question", "s_deep", by_saver(_resumes)),
    Kind("the question removed", "s_deep", fewer_writes(ROOT, "__interrupt__"), is_gone=True),
    # A subgraph that keeps its state
    Kind("kept: a number", "s_own", inline(KEPT)),
    Kind("kept: a value", "s_own", blob("mail", _OTHER_MAIL, KEPT)),
    Kind("kept: put again", "s_own", put_again(KEPT, people=999_999)),
    Kind("kept: writes put", "s_own", by_saver(_writes, KEPT)),
    Kind("kept, not begun: a value", "s_again", blob("mail", _OTHER_MAIL, KEPT)),
    Kind("kept, not begun: put anew", "s_again", put_newer(KEPT, mail=_OTHER_MAIL)),
    # A channel that keeps changes apart
    Kind(
        "apart: an earlier write",
        "s_apart",
        sql(
            f"UPDATE checkpoint_writes SET type = %(type)s, blob = %(blob)s WHERE {_OLD_WRITES}",
            **packed(["pay", "mallory"]),
        ),
    ),
    Kind("apart: earlier writes removed", "s_apart", sql(f"DELETE FROM checkpoint_writes WHERE {_OLD_WRITES}")),
    Kind(
        "apart: an earlier link",
        "s_apart",
        _UNLINKED,
    ),
]


def rewritten(database: Connection[Any], thread_id: str) -> None:
    """Remove every row of the thread and put the same back, as a dump and restore does."""
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        rows = database.execute(f"SELECT to_jsonb(r) FROM {table} r WHERE thread_id = %s", [thread_id]).fetchall()
        database.execute(f"DELETE FROM {table} WHERE thread_id = %s", [thread_id])
        back = f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, %s)"
        database.cursor().executemany(back, [(Jsonb(row),) for (row,) in rows])


def touched(database: Connection[Any], thread_id: str) -> None:
    """Write every row anew, as it is."""
    for table, name in (("checkpoints", "metadata"), ("checkpoint_blobs", "blob"), ("checkpoint_writes", "blob")):
        database.execute(f"UPDATE {table} SET {name} = {name} WHERE thread_id = %s", [thread_id])


_UNNAMED = _NAMED.replace("EXISTS", "NOT EXISTS")
_OLDER = f"thread_id = %(thread)s AND checkpoint_ns ~ %(ns)s AND NOT {_HEAD}"
HARMLESS = [
    *(Kind(f"{graph}: every row written as it was", graph, touched) for graph in ("s_at_gate", "s_deep", "s_own")),
    *(Kind(f"{graph}: removed and put back", graph, rewritten) for graph in ("s_sent", "s_deep", "s_apart")),
    Kind("the same checkpoint put again", "s_at_gate", put_again()),
    Kind("older checkpoints", "s_at_gate", sql(f"UPDATE checkpoints SET metadata = '{{}}' WHERE {_OLDER}")),
    Kind("older checkpoints removed", "s_deep", sql(f"DELETE FROM checkpoints WHERE {_OLDER}", INNER)),
    Kind(
        "an older version of a value",
        "s_at_gate",
        sql(
            f"UPDATE checkpoint_blobs b SET type = 'empty' WHERE {_NAMED.replace('EXISTS', 'NOT EXISTS')}",
            channel="notes",
        ),
    ),
    Kind("a subgraph that is over", "s_at_gate", inline(EARLY)),
    Kind("a subgraph that is over, removed", "s_at_gate", sql(f"DELETE FROM checkpoints WHERE {_ROWS_OF}", EARLY)),
    Kind(
        "older writes of a channel that keeps its value",
        "s_apart",
        sql(f"DELETE FROM checkpoint_writes WHERE {_OLDER} AND channel <> 'words'"),
    ),
    Kind(
        "an effect of another thread",
        "s_at_gate",
        lambda database, thread_id: noted_effect(database, f"of-{thread_id}"),
    ),
]
