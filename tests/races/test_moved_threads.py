"""The agent moves its thread with LangGraph's own saver between view and vote, in every way there is."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END
from langgraph.types import Command
from psycopg.conninfo import make_conninfo

from agentcore.demo.refund import builder
from agentcore.plain.urls import postgres_params
from tests.console import Console, refund, wait_for
from tests.scale import some

Move = Callable[[Any, Any, dict[str, Any]], Awaitable[Any]]


async def _older(graph: Any, config: dict[str, Any]) -> Any:
    """Return the config of the checkpoint before the pause."""
    return [state.config async for state in graph.aget_state_history(config)][1]


async def _fork(graph: Any, saver: Any, config: dict[str, Any]) -> None:
    await graph.aupdate_state(await _older(graph, config), {"amount": 9999.0})


async def _replay(graph: Any, saver: Any, config: dict[str, Any]) -> None:
    await graph.ainvoke(None, await _older(graph, config))


async def _rewrite(graph: Any, saver: Any, config: dict[str, Any]) -> None:
    """Delete the thread and put another question at the very same checkpoint."""
    found = await saver.aget_tuple(config)
    await saver.adelete_thread(found.config["configurable"]["thread_id"])
    checkpoint = {**found.checkpoint, "channel_values": {**found.checkpoint["channel_values"], "amount": 9999.0}}
    await saver.aput(found.parent_config, checkpoint, found.metadata, checkpoint["channel_versions"])


MOVES: dict[str, Move] = {
    "edits": lambda graph, saver, config: graph.aupdate_state(config, {"amount": 9999.0}),
    "resumes": lambda graph, saver, config: graph.ainvoke(None, config),
    "restarts": lambda graph, saver, config: graph.ainvoke({"amount": 9999.0}, config),
    "jumps": lambda graph, saver, config: graph.ainvoke(Command(goto="senior_desk"), config),
    "skips": lambda graph, saver, config: graph.aupdate_state(config, {"amount": 9999.0}, as_node="senior_desk"),
    "ends": lambda graph, saver, config: graph.aupdate_state(config, None, as_node=END),
    "forks": _fork,
    "replays": _replay,
    "rewrites": _rewrite,
    "deletes": lambda graph, saver, config: saver.adelete_thread(config["configurable"]["thread_id"]),
}


def agent(database: str, thread_id: str, move: Move) -> None:
    """Move the thread as its agent would: with LangGraph's own saver, in a loop of its own, unknown to the console."""

    async def work() -> None:
        async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(database))) as saver:
            graph = builder.compile(checkpointer=saver, interrupt_before=["pay_refund", "senior_desk"])
            config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}, "metadata": {"graph_id": "refund"}}
            await move(graph, saver, config)

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, work()).result(60)


@pytest.mark.parametrize("move", some(MOVES, "edits", "restarts", "replays", "rewrites", "deletes"))
def test_a_vote_on_what_the_agent_moved_is_refused_and_says_what_changed(
    console: Console, database: str, move: str
) -> None:
    approval = console.pause("refund", refund(640))
    agent(database, approval["thread_id"], MOVES[move])
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        answer = alice.post(f"/approvals/{approval['id']}/votes", json=ballot)
        after = alice.get(f"/approvals/{approval['id']}").json()
    assert answer.status_code in (409, 410), answer.text
    error = answer.json()["error"]
    assert error["code"] in ("stale", "superseded")
    assert after["decision"] is None
    assert not after["votes"]
    assert not after["run"], "and nothing is applied to what is asked now"
    if move in ("edits", "restarts"):
        changed = {change["channel"]: change["after"] for change in error["detail"]["changed"]}
        assert changed["amount"] == 9999.0


def test_the_old_question_is_closed_and_the_new_one_is_asked(console: Console, database: str) -> None:
    approval = console.pause("refund", refund(640))
    agent(database, approval["thread_id"], MOVES["edits"])

    with console.api("alice") as alice:

        def newer() -> list[dict[str, Any]]:
            found = alice.get("/approvals", params={"thread_id": approval["thread_id"], "status": "pending"}).json()
            return [item for item in found["items"] if item["id"] != approval["id"]]

        asked = wait_for(newer, seconds=20, what="the new question")
        assert alice.get(f"/approvals/{approval['id']}").json()["status"] == "superseded"
        late = alice.post(
            f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
        )
        assert late.status_code == 410
        assert late.json()["error"]["code"] == "superseded"
        assert alice.get(f"/approvals/{asked[0]['id']}").json()["state"]["amount"] == 9999.0


def test_a_thread_run_outside_the_console_is_found_and_can_be_decided(console: Console, database: str) -> None:
    thread_id = "agents-own-thread"
    agent(database, thread_id, lambda graph, saver, config: graph.ainvoke(refund(20), config))
    with console.api("alice") as alice:
        wait_for(
            lambda: alice.get("/approvals", params={"thread_id": thread_id}).json()["count"],
            seconds=20,
            what="the console to find the thread",
        )
    approval = console.pending(thread_id)
    assert (approval["graph"], approval["next"]) == ("refund", ["pay_refund"])
    with console.api("alice") as alice:
        alice.post(
            f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
        ).raise_for_status()
    assert console.run_of(approval["id"])["status"] == "finished"


def test_an_old_digest_is_refused(console: Console) -> None:
    approval = console.pause("refund", refund(640))
    with console.api("alice") as alice:
        answer = alice.post(f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": "0" * 64})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "stale"


def test_a_failed_run_gives_way_when_the_agent_moves_on(console: Console, database: str) -> None:
    """Its retry would go on from a place nobody looked at; one that waits for ever would block the next decision."""
    approval = console.pause("failing", {"text": "x"})
    with console.api("alice") as alice:
        alice.post(
            f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
        ).raise_for_status()
        failed = console.run_of(approval["id"], until=("failed",))
        move(database, approval["thread_id"])
        newer = wait_for(
            lambda: alice.get("/approvals", params={"thread_id": approval["thread_id"], "status": "pending"}).json()[
                "items"
            ],
            seconds=20,
            what="the new question",
        )[0]
        assert console.run_of(approval["id"], until=("superseded",))["id"] == failed["id"]
        assert alice.post(f"/runs/{failed['id']}/retry").status_code == 409
        shown = alice.get(f"/approvals/{newer['id']}").json()
        voted = alice.post(
            f"/approvals/{newer['id']}/votes", json={"verdict": "approve", "seen_digest": shown["digest"]}
        )
    assert voted.status_code == 201, voted.text
    assert console.run_of(newer["id"])["status"] == "finished"


def move(database: str, thread_id: str) -> None:
    """Edit the thread of tests.graphs.failing as its agent would, outside the console."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from agentcore.graphs.snapshots import config_for, with_saver
    from agentcore.savers.opening import open_pool, saver_over
    from tests.graphs import failing

    async def edit() -> None:
        async with open_pool(database, max_size=2) as pool:
            await with_saver(failing, saver_over(pool)).aupdate_state(config_for(thread_id), {"text": "moved"})

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, edit()).result()
