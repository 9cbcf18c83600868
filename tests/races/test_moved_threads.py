"""The agent moves its thread, in a process of its own with a plain saver, between view and vote."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.console import ROOT, Console, refund, wait_for

AGENT = """
import asyncio, json, sys
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from agentcore.demo.refund import builder
from agentcore.dsn import postgres_params
from psycopg.conninfo import make_conninfo

async def main(url, thread_id, move):
    async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(url))) as saver:
        graph = builder.compile(checkpointer=saver, interrupt_before=["pay_refund", "senior_desk"])
        config = {"configurable": {"thread_id": thread_id}}
        if move == "edits":
            await graph.aupdate_state(config, {"amount": 9999.0})
        elif move == "resumes":
            await graph.ainvoke(None, config)
        elif move == "restarts":
            await graph.ainvoke({"amount": 9999.0}, config)
        elif move == "deletes":
            await saver.adelete_thread(thread_id)
        elif move == "begins":
            await graph.ainvoke(json.loads(sys.argv[4]), config)

asyncio.run(main(*sys.argv[1:4]))
"""


def agent(database: str, thread_id: str, move: str, input: dict[str, Any] | None = None) -> None:
    command = [sys.executable, "-c", AGENT, database, thread_id, move, json.dumps(input or {})]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("move", ["edits", "resumes", "restarts", "deletes"])
def test_a_vote_on_what_the_agent_moved_is_refused_and_says_what_changed(
    console: Console, database: str, move: str
) -> None:
    approval = console.pause("refund", refund(640))
    agent(database, approval["thread_id"], move)
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        answer = alice.post(f"/approvals/{approval['id']}/votes", json=ballot)
        after = alice.get(f"/approvals/{approval['id']}").json()
    assert answer.status_code in (409, 410), answer.text
    error = answer.json()["error"]
    assert error["code"] in ("stale", "superseded")
    assert after["decision"] is None
    assert not after["votes"]
    if move in ("edits", "restarts"):
        changed = {change["channel"]: change["after"] for change in error["detail"]["changed"]}
        assert changed["amount"] == 9999.0


def test_the_old_question_is_closed_and_the_new_one_is_asked(console: Console, database: str) -> None:
    approval = console.pause("refund", refund(640))
    agent(database, approval["thread_id"], "edits")

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
    agent(database, thread_id, "begins", refund(20))
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

    from agentcore.checkpointers import open_pool, saver_over
    from agentcore.threads import config_for, with_saver
    from tests.graphs import failing

    async def edit() -> None:
        async with open_pool(database, max_size=2) as pool:
            await with_saver(failing, saver_over(pool)).aupdate_state(config_for(thread_id), {"text": "moved"})

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, edit()).result()
