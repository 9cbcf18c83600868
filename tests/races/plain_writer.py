"""Another process that writes checkpoints with LangGraph's own saver, and knows of no cache. One JSON line a write."""

import asyncio
import json
import sys
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver


def checkpoint_of(number: int, checkpoint_id: str, version: str) -> Any:
    """Return a checkpoint whose channels hold a number, in a blob and beside it."""
    values = {"blob": {"number": number, "filling": "x" * (number % 5 * 1_000)}, "inline": number}
    versions = {"blob": version, "inline": version}
    return {**empty_checkpoint(), "id": checkpoint_id, "channel_values": values, "channel_versions": versions}


async def write(saver: Any, *, what: str, thread_id: str, number: int, checkpoint_id: str, version: str) -> None:
    config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    if what == "delete":
        await saver.adelete_thread(thread_id)
    elif what == "put":
        versions = {"blob": version, "inline": version}
        await saver.aput(config, checkpoint_of(number, checkpoint_id, version), {"step": number}, versions)
    else:
        config["configurable"]["checkpoint_id"] = checkpoint_id
        await saver.aput_writes(config, [("__interrupt__", number)], "task")


async def main(url: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await write(saver, **json.loads(line))
            sys.stdout.write("done\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
