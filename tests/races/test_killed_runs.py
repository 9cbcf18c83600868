"""A run that dies in any node goes on from its last checkpoint, elsewhere, over every saver that outlives a process."""

import asyncio
import signal
import uuid
from pathlib import Path

import pytest

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.savers.opening import open_checkpointer
from tests import forks
from tests.races.killed_run import NODES, graph
from tests.scale import share

KINDS = ["sqlite", "postgres", "cached"]
"""Usually each dies in another node."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_killed_in_any_node_goes_on_elsewhere(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'checkpoints.db'}" if kind == "sqlite" else database
    redis_url = redis if kind == "cached" else ""
    killed = {}
    for name in share(NODES, KINDS.index(kind), of=3):  # one after the other: a SQLite file has one process at a time
        thread_id, marks = f"t-{uuid.uuid4()}", tmp_path / name
        marks.mkdir()
        command = ["-m", "tests.races.killed_run", url, redis_url, thread_id, str(marks), name]
        ended = await asyncio.to_thread(forks.run, command)
        assert ended.returncode == -signal.SIGKILL
        killed[name] = thread_id, marks
    async with open_checkpointer(url, redis_url=redis_url or None) as saver:
        bound = with_saver(graph, saver)
        for name, (thread_id, marks) in killed.items():
            state = await bound.aget_state(config_for(thread_id))
            assert state.next == (name,)
            assert state.values["done"] == list(NODES[: NODES.index(name)])
            assert (await bound.ainvoke(None, config_for(thread_id)))["done"] == list(NODES)
            assert {node: (marks / node).read_text() for node in NODES} == {
                node: "again" if node == name else "once" for node in NODES
            }
