"""Many press Approve at once. One wins; the gated node runs once. Bare LangGraph runs it twice."""

import asyncio
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from agentcore.graphs.snapshots import with_saver
from agentcore.savers.opening import open_pool, saver_over
from tests.console import Console
from tests.graphs import gated, times_run
from tests.scale import tries

AT_ONCE = tries(100, full=500)
PEOPLE = ["alice", "bob", "carol"]


async def test_control_bare_langgraph_runs_the_gated_node_twice(database: str, data_dir: Path) -> None:
    async with open_pool(database) as pool:
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        await with_saver(gated, saver_over(pool)).ainvoke({"seconds": 0.2}, config)
        await asyncio.gather(*(with_saver(gated, saver_over(pool)).ainvoke(None, config) for _ in range(2)))
    assert times_run(data_dir, config["configurable"]["thread_id"], "act") == 2


def test_hundreds_of_votes_at_once_make_one_decision_and_one_run(console: Console, data_dir: Path) -> None:
    approval = console.pause("gated", {"seconds": 0.2})
    for name in PEOPLE:
        console.token(name)
    answers = asyncio.run(flood(console, approval))
    assert sorted(status for status, _ in answers) == [201] + [409] * (AT_ONCE - 1)
    winner = next(told for status, told in answers if status == 201)
    for status, told in answers:
        if status == 409:
            assert told["error"]["code"] == "already_decided"
            assert told["error"]["detail"]["by"] == winner["decision"]["decided_by"]
            assert told["error"]["detail"]["at"]
    console.run_of(approval["id"])
    assert times_run(data_dir, approval["thread_id"], "act") == 1


async def flood(console: Console, approval: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Open all connections, then send a vote on each; bare sockets, so that it is the server that is measured."""
    ready = asyncio.Event()

    async def cast(number: int) -> tuple[int, dict[str, Any]]:
        ballot = json.dumps({"verdict": "approve", "seen_digest": approval["digest"]})
        lines = [
            f"POST /api/approvals/{approval['id']}/votes HTTP/1.1",
            f"Host: 127.0.0.1:{console.port}",
            f"Authorization: Bearer {console.token(PEOPLE[number % len(PEOPLE)])}",
            "Content-Type: application/json",
            "Connection: close",
            f"Content-Length: {len(ballot)}",
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
        opened.release()
        await ready.wait()
        writer.write("\r\n".join([*lines, "", ballot]).encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), json.loads(body)

    opened = asyncio.Semaphore(0)
    voting = [asyncio.create_task(cast(number)) for number in range(AT_ONCE)]
    for _ in voting:
        await opened.acquire()
    ready.set()
    return await asyncio.gather(*voting)


def test_the_same_key_sent_by_many_gets_the_same_answer(console: Console, data_dir: Path) -> None:
    approval = console.pause("gated", {"seconds": 0})
    answers = vote_together(console, approval, 10, people=["alice"], idempotency_key=str(uuid.uuid4()))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["vote"]["id"] for answer in answers}) == 1
    console.run_of(approval["id"])
    assert times_run(data_dir, approval["thread_id"], "act") == 1


def test_approve_against_reject_has_one_outcome(console: Console, data_dir: Path) -> None:
    for _ in range(tries(3, full=5)):
        approval = console.pause("gated", {"seconds": 0})
        answers = vote_together(console, approval, 2, verdicts=["approve", "reject"])
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        won = next(answer.json()["decision"]["verdict"] for answer in answers if answer.status_code == 201)
        console.run_of(approval["id"])
        assert times_run(data_dir, approval["thread_id"], "act") == (1 if won == "approve" else 0)


def vote_together(
    console: Console,
    approval: dict[str, Any],
    count: int,
    *,
    people: list[str] | None = None,
    verdicts: list[str] | None = None,
    **more: Any,
) -> list[httpx.Response]:
    """Send `count` votes that leave at the same moment."""
    people, verdicts = people or PEOPLE, verdicts or ["approve"]
    clients = [console.api(people[index % len(people)]) for index in range(count)]
    together = threading.Barrier(count)

    def cast(index: int) -> httpx.Response:
        ballot = {"seen_digest": approval["digest"], "comment": "because", **more}
        together.wait()
        return clients[index].post(
            f"/approvals/{approval['id']}/votes", json={"verdict": verdicts[index % len(verdicts)], **ballot}
        )

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(cast, range(count)))
    for client in clients:
        client.close()
    return answers
