"""The least that a server can do: FastAPI over LangGraph's own saver. It asks nobody who they are."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers.graph import builder


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(os.environ["DATABASE_URL"], kwargs=options, max_size=20) as pool:
        saver = AsyncPostgresSaver(pool)  # type: ignore[arg-type]
        await saver.setup()
        app.state.graph = builder.compile(saver, interrupt_before=["send"])
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/threads/{thread_id}/begin")
async def begin(thread_id: str, input: dict[str, Any]) -> dict[str, Any]:
    return dict(await app.state.graph.ainvoke(input, _config(thread_id), durability="sync"))


@app.post("/threads/{thread_id}/approve")
async def approve(thread_id: str, edit: dict[str, Any]) -> dict[str, Any]:
    await app.state.graph.aupdate_state(_config(thread_id), edit)
    return dict(await app.state.graph.ainvoke(None, _config(thread_id), durability="sync"))


def _config(thread_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread_id}}
