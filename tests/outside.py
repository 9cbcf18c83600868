"""An agent that runs outside the console: LangGraph's own saver, on the console's checkpoints, in a loop of its own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import with_saver
from agentcore.plain.urls import postgres_params


def run(database: str, graph: Any, thread_id: str, *inputs: Any, graph_id: str = "") -> str:
    """Give the graph one input after the other; return the name of the last one's error, or an empty string.

    Without `graph_id`, nothing in the thread names its graph.
    """
    metadata = {"graph_id": graph_id} if graph_id else {}
    config: Any = {"configurable": {"thread_id": thread_id}, "metadata": metadata}

    async def work() -> str:
        async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(database))) as saver:
            bound, failed = with_saver(graph, saver), ""
            for each in inputs:
                try:
                    await bound.ainvoke(each, config)
                    failed = ""
                except Exception as error:  # noqa: BLE001 - a node may raise anything
                    failed = type(error).__name__
        return failed

    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(asyncio.run, work()).result(60)
