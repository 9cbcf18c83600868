"""Agents of another process: each runs its graph on its thread again and again, with LangGraph's own saver.

Reads the threads' ids from its first line; when its input ends, says of each how often it ran, and was refused.
"""

import asyncio
import json
import sys
from contextlib import suppress

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import Error
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.urls import postgres_params
from tests.graphs import stepping


async def keep_running(saver: AsyncPostgresSaver, thread_id: str, counts: dict[str, list[int]]) -> None:
    graph = with_saver(stepping, saver)
    while True:
        try:
            await graph.ainvoke({"text": "x"}, config_for(thread_id), durability="sync")
            counts[thread_id][0] += 1
        except Error as error:
            counts[thread_id][1] += 1
            counts[thread_id][2] += error.sqlstate == "CSF02"
            await asyncio.sleep(0.2)


async def main(url: str) -> None:
    ids = json.loads(sys.stdin.readline())
    counts = {each: [0, 0, 0] for each in ids}
    async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(url))) as saver:
        tasks = [asyncio.create_task(keep_running(saver, each, counts)) for each in ids]
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
