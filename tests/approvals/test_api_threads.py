"""Threads and states as clients of a LangGraph server ask for them."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError, ConflictError, NotFoundError, UnprocessableEntityError

from tests.approvals.test_api_sdk import sdk
from tests.console import Console


@pytest.fixture
async def operator(console: Console) -> AsyncIterator[LangGraphClient]:
    async with sdk(console, "olga") as client:
        yield client


def told(refused: APIStatusError) -> dict[str, Any]:
    return dict(json.loads(refused.response.text)["error"])


async def test_metadata_is_merged_and_found(console: Console, operator: LangGraphClient) -> None:
    desk = str(uuid.uuid4())
    made = await operator.threads.create(metadata={"desk": desk, "kept": 1})
    changed = await operator.threads.update(made["thread_id"], metadata={"kept": None, "more": {"a": [1]}})
    assert changed["metadata"] == {"desk": desk, "kept": None, "more": {"a": [1]}}
    assert await operator.threads.update(made["thread_id"], metadata={"x": 1}, return_minimal=True) is None
    assert await operator.threads.count(metadata={"desk": desk, "x": 1}) == 1
    assert await operator.threads.count(metadata={"desk": desk, "x": 2}) == 0
    with pytest.raises(NotFoundError):
        await operator.threads.update(str(uuid.uuid4()), metadata={})
    with console.api("erin") as erin:
        entries = erin.get("/audit", params={"thread_id": made["thread_id"], "action": "thread.described"}).json()
    assert [each["object"]["names"] for each in entries["items"]] == [["x"], ["kept", "more"]]


async def test_metadata_gives_a_thread_no_other_graph(console: Console, operator: LangGraphClient) -> None:
    asked = console.pause("gated", {"text": "x"})
    with pytest.raises(UnprocessableEntityError, match="of the graph gated"):
        await operator.threads.update(asked["thread_id"], metadata={"graph_id": "refund"})
    found: Any = await operator.threads.search(metadata={"graph_id": "gated"}, ids=[asked["thread_id"]])
    assert [each["metadata"]["assistant_id"] for each in found] == ["gated"]


async def test_a_search_gives_what_is_selected_and_extracted(console: Console, operator: LangGraphClient) -> None:
    asked = console.pause("asking", {"text": "Ada"})
    where: Any = {"ids": [asked["thread_id"]]}
    [thread] = await operator.threads.search(**where, select=["thread_id", "status"])
    assert thread == {"thread_id": asked["thread_id"], "status": "interrupted"}
    paths = {"last": "values.notes[-1]", "none": "values.notes[7]", "text": "values.text", "odd": "values.notes.text"}
    [thread] = await operator.threads.search(**where, extract=paths, select=["thread_id"])
    assert thread["extracted"] == {"last": "prepared", "none": None, "text": "Ada", "odd": None}
    [thread] = await operator.threads.search(**where, extract={"text": "values.text"})
    assert (thread["values"]["text"], thread["extracted"]) == ("Ada", {"text": "Ada"})
    for bad in ({"x": "secrets.key"}, {"x": "values..a"}, {"x": ""}):
        with pytest.raises(UnprocessableEntityError):
            await operator.threads.search(**where, extract=bad)


async def test_many_threads_come_without_their_values(operator: LangGraphClient) -> None:
    found: Any = await operator.threads.search(limit=1000, select=["thread_id", "metadata"])
    assert found and all(each.keys() == {"thread_id", "metadata"} for each in found)
    for wanted in ({}, {"select": ["values"]}, {"select": ["thread_id"], "extract": {"x": "values.text"}}):
        with pytest.raises(UnprocessableEntityError, match="Select fields without"):
            await operator.threads.search(limit=101, **wanted)


async def test_metadata_has_a_limit(operator: LangGraphClient) -> None:
    made = await operator.threads.create(metadata={"a": "x" * 40_000})
    with pytest.raises(UnprocessableEntityError, match="at most 64000"):
        await operator.threads.update(made["thread_id"], metadata={"b": "x" * 40_000})
    changed = await operator.threads.update(made["thread_id"], metadata={"a": "short"})
    assert changed["metadata"] == {"a": "short"}


async def test_threads_are_found_by_what_their_state_holds(console: Console, operator: LangGraphClient) -> None:
    text = f"wanted {uuid.uuid4()}"
    asked = console.pause("gated", {"text": text, "count": 3})
    [found] = await operator.threads.search(values={"text": text, "notes": ["prepared"]})
    assert found["thread_id"] == asked["thread_id"]
    assert await operator.threads.count(values={"text": text}) == 1
    assert await operator.threads.count(values={"text": text, "count": 4}) == 0


async def test_the_newest_state_comes_first(console: Console, operator: LangGraphClient) -> None:
    first, second = (console.pause("gated", {"text": text})["thread_id"] for text in ("one", "two"))
    await operator.threads.update(first, metadata={"touched": True})
    found: Any = await operator.threads.search(ids=[first, second], sort_by="state_updated_at")
    assert [each["thread_id"] for each in found] == [second, first]
    states = [await operator.threads.get_state(each) for each in (first, second)]
    assert [each["state_updated_at"][:22] for each in reversed(found)] == [each["created_at"][:22] for each in states]


async def test_a_copy_asks_people_of_its_own(console: Console, operator: LangGraphClient) -> None:
    asked = console.pause("gated", {"text": "x"})
    copied: Any = await operator.threads.copy(asked["thread_id"])
    assert copied["thread_id"] != asked["thread_id"] and copied["forked_from"]["thread_id"] == asked["thread_id"]
    assert console.pending(copied["thread_id"])["state"] == asked["state"]
    empty = await operator.threads.create(metadata={"a": 1})
    again: Any = await operator.threads.copy(empty["thread_id"])
    assert (again["metadata"], again["thread_id"] != empty["thread_id"]) == ({"a": 1}, True)


async def test_what_threads_cannot_be_given_is_refused_with_a_sentence(operator: LangGraphClient) -> None:
    with pytest.raises(APIStatusError, match="Leave ttl out"):
        await operator.threads.create(ttl=60)
    with pytest.raises(APIStatusError, match="Leave supersteps out"):
        await operator.threads.create(supersteps=[{"updates": [{"values": {}, "as_node": "x"}]}])
    with pytest.raises(APIStatusError, match="removed one at a time"):
        await operator.threads.prune(["x"])


async def test_an_edit_of_a_waiting_thread_belongs_to_a_vote(console: Console, operator: LangGraphClient) -> None:
    asked = console.pause("gated", {"text": "x"})
    with pytest.raises(ConflictError) as refused:
        await operator.threads.update_state(asked["thread_id"], {"text": "y"})
    [place] = told(refused.value)["detail"]["approvals"]
    assert place == {"approval": asked["id"], "address": f"{console.url}/approvals/{asked['id']}/"}
    with pytest.raises(ConflictError):  # as Agent Inbox marks a thread as resolved
        await operator.threads.update_state(asked["thread_id"], None, as_node="__end__")
    idle = await operator.threads.create()
    with pytest.raises(APIStatusError, match="Fork it with the edit"):
        await operator.threads.update_state(idle["thread_id"], {"text": "y"})


async def test_states_of_subgraphs_are_read(console: Console, operator: LangGraphClient) -> None:
    asked = console.pause("n_plain_2", {"amount": 5})
    thread_id = asked["thread_id"]
    outer: Any = await operator.threads.get_state(thread_id)
    [task] = outer["tasks"]
    assert task["state"] is None and task["checkpoint"]["checkpoint_ns"] == f"{task['name']}:{task['id']}"
    whole: Any = await operator.threads.get_state(thread_id, subgraphs=True)
    [middle] = whole["tasks"]
    [inner] = middle["state"]["tasks"]
    assert inner["state"]["next"] == ["wire"] and inner["state"]["values"]["amount"] == 5
    place = inner["state"]["checkpoint"]
    assert place["checkpoint_ns"] == asked["checkpoint_ns"]
    below: Any = await operator.threads.get_state(thread_id, checkpoint=place)
    assert (below["next"], below["checkpoint"]["checkpoint_ns"]) == (["wire"], place["checkpoint_ns"])
    at_head: Any = await operator.threads.get_state(thread_id, checkpoint={**place, "checkpoint_id": None})
    assert at_head["checkpoint"] == below["checkpoint"]
    history: Any = await operator.threads.get_history(thread_id, checkpoint={"checkpoint_ns": place["checkpoint_ns"]})  # type: ignore[typeddict-item]
    assert history[0]["checkpoint"] == below["checkpoint"] and history[0]["next"] == ["wire"]
    middle_ns = task["checkpoint"]["checkpoint_ns"]
    assert {each["checkpoint"]["checkpoint_ns"] for each in history} == {place["checkpoint_ns"]} != {middle_ns}


async def test_a_state_gives_what_is_selected(console: Console, operator: LangGraphClient) -> None:
    thread_id = console.pause("gated", {"text": "x", "count": 3})["thread_id"]
    state: Any = await operator.threads.get_state(thread_id, select=["next", "values.text"])
    assert state == {"next": ["act"], "values": {"text": "x"}}
    [newest, *_] = await operator.threads.get_history(thread_id, select=["values", "checkpoint"])
    assert newest.keys() == {"values", "checkpoint"} and newest["values"]["count"] == 3
    with pytest.raises(UnprocessableEntityError, match="no field"):
        await operator.threads.get_state(thread_id, select=["secrets"])


async def test_a_history_is_filtered_by_metadata(console: Console, operator: LangGraphClient) -> None:
    thread_id = (await operator.threads.create())["thread_id"]
    run = await operator.runs.create(thread_id, "gated", input={"text": "x"}, metadata={"trace": "t-7"})
    await operator.runs.join(thread_id, run["run_id"])
    assert (await operator.runs.get(thread_id, run["run_id"]))["metadata"] == {"trace": "t-7"}
    history = await operator.threads.get_history(thread_id, metadata={"trace": "t-7", "source": "loop"})
    assert history and all(each["metadata"]["trace"] == "t-7" for each in history)
    assert await operator.threads.get_history(thread_id, metadata={"trace": "t-8"}) == []
    assert len(await operator.threads.get_history(thread_id, limit=1000)) == len(history) + 1
    for reserved in ("countersign_run", "lc_agent_name", "__x"):
        with pytest.raises(UnprocessableEntityError):
            await operator.runs.create(thread_id, "gated", input={}, metadata={reserved: "x"})


async def test_runs_are_listed_as_selected_and_cancelled(console: Console, operator: LangGraphClient) -> None:
    thread_id = (await operator.threads.create())["thread_id"]
    told_of: list[Any] = []
    run = await operator.runs.create(
        thread_id, "gated", input={"seconds": 60.0, "flag": True, "text": "x"}, on_run_created=told_of.append
    )
    assert told_of == [{"run_id": run["run_id"], "thread_id": thread_id}]
    assert await operator.runs.list(thread_id, select=["run_id", "metadata"]) == [
        {"run_id": run["run_id"], "metadata": {}}
    ]
    other = (await operator.threads.create())["thread_id"]
    with pytest.raises(NotFoundError):
        await operator.runs.cancel(other, run["run_id"])
    with pytest.raises(APIStatusError, match="has written stays"):
        await operator.runs.cancel(thread_id, run["run_id"], action="rollback")
    assert await operator.runs.cancel(thread_id, run["run_id"], wait=True) is None
    assert (await operator.threads.get(thread_id))["status"] == "idle"
    with pytest.raises(ConflictError):
        await operator.runs.cancel(thread_id, run["run_id"])


async def test_a_thread_is_made_with_its_first_run_where_that_is_asked(operator: LangGraphClient) -> None:
    thread_id = str(uuid.uuid4())
    with pytest.raises(NotFoundError):
        await operator.runs.create(thread_id, "gated", input={"text": "x"})
    run = await operator.runs.create(thread_id, "gated", input={"text": "x"}, if_not_exists="create")
    assert run["thread_id"] == thread_id
    assert (await operator.threads.get(thread_id))["metadata"]["graph_id"] == "gated"


@pytest.mark.parametrize(
    "asked",
    [
        {"webhook": "https://example.org"}, {"after_seconds": 5}, {"multitask_strategy": "enqueue"},
        {"on_completion": "delete"}, {"langsmith_tracing": {"project_name": "x"}},
    ],
    ids=str,
)  # fmt: skip
async def test_what_a_run_cannot_do_here_is_refused_with_a_sentence(
    operator: LangGraphClient, asked: dict[str, Any]
) -> None:
    thread_id = (await operator.threads.create())["thread_id"]
    with pytest.raises(APIStatusError) as refused:
        await operator.runs.create(thread_id, "gated", input={"text": "x"}, **asked)
    assert (refused.value.status_code, told(refused.value)["code"]) == (501, "not_offered")
    assert await operator.runs.list(thread_id) == []


async def test_a_history_says_what_tasks_returned_without_secrets(console: Console, operator: LangGraphClient) -> None:
    short = "k-1q"  # so short that it is masked in its place alone
    given = {"api_key": short, "account": {"host": "h", "token": "t-9z"}, "accounts": [], "note": "x"}
    thread_id = console.pause("secretive", given)["thread_id"]
    history: Any = await operator.threads.get_history(thread_id)
    results = [task["result"] for state in history for task in state["tasks"] if task["result"]]
    assert [each["account"]["host"] for each in results if "account" in each] == ["h"], "the input"
    for name, value in (("api_key", short), ("token", "t-9z")):
        assert value not in json.dumps([each for each in results if "account" in each]), name


async def test_a_removed_thread_keeps_no_metadata_of_its_runs(console: Console, operator: LangGraphClient) -> None:
    thread_id = (await operator.threads.create())["thread_id"]
    run = await operator.runs.create(thread_id, "gated", input={"text": "x"}, metadata={"who": "canary"})
    console.pending(thread_id)
    async with sdk(console, "root") as admin:
        await admin.threads.delete(thread_id, params={"reason": "Test data."})
    assert (await operator.runs.get(thread_id, run["run_id"]))["metadata"] == {}
