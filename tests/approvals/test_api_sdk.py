"""LangGraph's own client talks to this server: nobody here wrote it."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, PermissionDeniedError

from tests.console import Console, refund


@pytest.fixture
async def operator(console: Console) -> AsyncIterator[LangGraphClient]:
    async with sdk(console, "olga") as client:
        yield client


def sdk(console: Console, name: str) -> LangGraphClient:
    return get_client(
        url=f"{console.url}/api", api_key=None, headers={"Authorization": f"Bearer {console.token(name)}"}
    )


async def test_a_thread_is_made_found_and_read(operator: LangGraphClient) -> None:
    desk = str(uuid.uuid4())
    made = await operator.threads.create(metadata={"desk": desk}, graph_id="refund")
    assert (await operator.threads.get(made["thread_id"])) == made
    assert made["metadata"] == {"desk": desk, "graph_id": "refund"}
    assert await operator.threads.search(metadata={"desk": desk}) == [made]
    assert await operator.threads.search(metadata={"desk": desk}, status="busy") == []
    assert await operator.threads.search(ids=[made["thread_id"]], sort_by="created_at") == [made]
    assert await operator.threads.get_history(made["thread_id"]) == []
    state = await operator.threads.get_state(made["thread_id"])
    assert (state["values"], state["next"], state["checkpoint"]["checkpoint_id"]) == ({}, [], None)


async def test_a_thread_that_is_there_is_given_back_when_asked_so(operator: LangGraphClient) -> None:
    made = await operator.threads.create(metadata={"first": 1})
    again = await operator.threads.create(thread_id=made["thread_id"], if_exists="do_nothing")
    assert (again["thread_id"], again["metadata"]) == (made["thread_id"], {"first": 1})
    with pytest.raises(ConflictError, match="There is a thread"):
        await operator.threads.create(thread_id=made["thread_id"])


async def test_a_run_is_started_read_and_listed(console: Console, operator: LangGraphClient) -> None:
    thread_id = (await operator.threads.create())["thread_id"]
    run = await operator.runs.create(thread_id, "refund", input=refund(640))
    assert (run["assistant_id"], run["thread_id"], run["status"]) == ("refund", thread_id, "pending")
    approval = console.pending(thread_id)
    assert (await operator.runs.get(thread_id, run["run_id"]))["status"] == "success", "the thread is interrupted"
    assert [each["run_id"] for each in await operator.runs.list(thread_id)] == [run["run_id"]]
    assert await operator.runs.list(thread_id, status="interrupted") == []
    assert (await operator.threads.get(thread_id))["status"] == "interrupted"

    state = await operator.threads.get_state(thread_id)
    assert (state["next"], state["values"]["amount"]) == (["senior_desk"], 640)
    assert state["checkpoint"] == {
        "thread_id": thread_id,
        "checkpoint_ns": "",
        "checkpoint_id": approval["checkpoint_id"],
        "checkpoint_map": None,
    }
    assert [task["name"] for task in state["tasks"]] == ["senior_desk"]
    assert state["interrupts"] == [] and state["created_at"]
    history = await operator.threads.get_history(thread_id, limit=2)
    assert [each["checkpoint"] for each in history] == [state["checkpoint"], state["parent_checkpoint"]]
    [older] = await operator.threads.get_history(thread_id, limit=1, before=history[0]["checkpoint"])
    assert older == history[1]
    assert (await operator.threads.get_state(thread_id, checkpoint=older["checkpoint"]))["values"] == older["values"]
    at = older["checkpoint"]["checkpoint_id"]
    assert (await operator.threads.get_state(thread_id, checkpoint_id=at))["checkpoint"] == older["checkpoint"]


async def test_who_joins_a_run_is_answered_when_it_stops(operator: LangGraphClient) -> None:
    thread_id = (await operator.threads.create())["thread_id"]
    run = await operator.runs.create(thread_id, "refund", input=refund(640))
    values: Any = await operator.runs.join(thread_id, run["run_id"])
    assert values["amount"] == 640
    assert (await operator.runs.get(thread_id, run["run_id"]))["status"] == "success", "the thread is interrupted"
    assert await operator.runs.join(thread_id, run["run_id"]) == values, "it has stopped already"
    other = (await operator.threads.create())["thread_id"]
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await operator.runs.join(other, run["run_id"])


async def test_a_question_asked_inside_a_node_is_on_the_thread(console: Console, operator: LangGraphClient) -> None:
    thread_id = console.start_run("asking", {"text": "Ada"})
    console.pending(thread_id)
    thread: Any = await operator.threads.get(thread_id)
    state = await operator.threads.get_state(thread_id)
    [interrupt] = state["interrupts"]
    assert interrupt["value"] == {"question": "What is the limit?", "for": "Ada"}
    assert thread["interrupts"] == {state["tasks"][0]["id"]: [interrupt]}, "by the task that asks"
    [found] = await operator.threads.search(ids=[thread_id])
    assert found["interrupts"] == thread["interrupts"]


async def test_only_an_admin_removes_a_thread_and_says_why(console: Console, operator: LangGraphClient) -> None:
    thread_id = console.pause("gated", {"text": "sdk"})["thread_id"]
    with pytest.raises(PermissionDeniedError):
        await operator.threads.delete(thread_id, params={"reason": "Test data."})
    async with sdk(console, "root") as admin:
        await admin.threads.delete(thread_id, params={"reason": "Test data."})
        with pytest.raises(NotFoundError):
            await admin.threads.delete(str(uuid.uuid4()), params={"reason": "None there."})
    assert await operator.threads.search(ids=[thread_id]) == []
