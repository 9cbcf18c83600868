"""A process that runs a graph and dies where it is told: python -m tests.agentcore.dying URL THREAD WHERE FILE."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph

from agentcore import effect_key, once
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.savers.opening import open_checkpointer
from tests.graphs import State


def graph(where: str, file: Path) -> Any:
    """Notes the keys it gets in `file`, books twice, and kills its process at `where`."""

    def reach(here: str) -> None:
        if here == where:
            os.kill(os.getpid(), signal.SIGKILL)

    async def book(state: State) -> State:
        keys = [effect_key(), effect_key()]

        async def insert(connection: Any) -> str:
            await connection.execute("INSERT INTO bookings (key) VALUES (%s)", [keys[0]])
            reach("in the effect")
            return "booked"

        def tell() -> str:
            with file.open("a") as out:
                out.write(" ".join(keys) + "\n")
            return "told"

        tell()
        reach("before the effect")
        result = await once(keys[0], insert)
        reach("after the effect")
        return {"notes": [result]}

    builder = StateGraph(State)
    builder.add_node("book", book)
    builder.add_edge(START, "book")
    return builder.compile()


async def main(url: str, thread_id: str, where: str, file: str) -> None:
    async with open_checkpointer(url) as saver:
        await run_until_pause(RunContext(graph(where, Path(file)), saver, thread_id), {"text": "x"})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
