"""Agents of another process: each runs its graph on its thread again and again, with LangGraph's own saver.

Gets the threads' ids as JSON, and how long each rests between two runs. When it is terminated, says of each how often
it ran, was refused, and was told that its thread is gone.
"""

import asyncio
import json
import signal
import sys
from contextlib import suppress

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import Error
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.urls import postgres_params
from tests.graphs import stepping


async def keep_running(saver: AsyncPostgresSaver, thread_id: str, rest: float, counts: dict[str, list[int]]) -> None:
    graph = with_saver(stepping, saver)
    while True:
        try:
            await graph.ainvoke({"text": "x"}, config_for(thread_id), durability="sync")
            counts[thread_id][0] += 1
            await asyncio.sleep(rest)
        except Error as error:
            counts[thread_id][1] += 1
            counts[thread_id][2] += error.sqlstate == "CSF02"
            await asyncio.sleep(0.2)


async def main(url: str, ids: list[str], rest: float) -> None:
    counts, is_told = {each: [0, 0, 0] for each in ids}, asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_told.set)
    async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(url))) as saver:
        tasks = [asyncio.create_task(keep_running(saver, each, rest, counts)) for each in ids]
        await is_told.wait()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])))
