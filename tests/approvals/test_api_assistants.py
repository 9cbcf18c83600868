"""Assistants as clients of a LangGraph server ask for them: one for each graph."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError, NotFoundError

from tests.approvals.test_api_sdk import sdk
from tests.console import Console

OF_SERVER = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


@pytest.fixture
async def viewer(console: Console) -> AsyncIterator[LangGraphClient]:
    async with sdk(console, "erin") as client:
        yield client


async def test_there_is_one_for_each_graph(console: Console, viewer: LangGraphClient) -> None:
    with console.api("erin") as erin:
        ids = sorted(graph["id"] for graph in erin.get("/graphs").json())
    found: Any = await viewer.assistants.search(limit=1000)
    assert [each["assistant_id"] for each in found] == [each["graph_id"] for each in found] == ids
    assert await viewer.assistants.count() == len(ids)
    assert await viewer.assistants.count(graph_id="gated") == 1
    assert await viewer.assistants.search(metadata={"owner": "me"}) == []
    page: Any = await viewer.assistants.search(limit=2, offset=1, response_format="object", select=["graph_id"])
    assert page == {"assistants": [{"graph_id": each} for each in ids[1:3]], "next": "3"}
    last: Any = await viewer.assistants.search(limit=1000, response_format="object")
    assert last["next"] is None


async def test_it_is_known_by_the_id_of_its_graph_and_by_that_of_langgraphs_server(viewer: LangGraphClient) -> None:
    named = await viewer.assistants.get("gated")
    assert named == await viewer.assistants.get(str(uuid.uuid5(OF_SERVER, "gated")))
    assert (named["name"], named["version"], named["metadata"]) == ("gated", 1, {"created_by": "system"})
    for unknown in ("no-such", str(uuid.uuid4()), "a/b"):
        with pytest.raises(NotFoundError):
            await viewer.assistants.get(unknown)
    assert await viewer.assistants.get_versions("gated") == [named]
    assert await viewer.assistants.set_latest("gated", 1) == named
    with pytest.raises(NotFoundError):
        await viewer.assistants.set_latest("gated", 2)


async def test_a_run_names_it_either_way(console: Console) -> None:
    async with sdk(console, "olga") as client:
        thread_id = (await client.threads.create())["thread_id"]
        run = await client.runs.create(thread_id, str(uuid.uuid5(OF_SERVER, "gated")), input={"text": "x"})
    assert run["assistant_id"] == "gated"


async def test_it_is_drawn_with_its_subgraphs(viewer: LangGraphClient) -> None:
    drawn = await viewer.assistants.get_graph("gated")
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "prepare", "act", "__end__"]
    assert [(edge["source"], edge["target"]) for edge in drawn["edges"]] == [
        ("__start__", "prepare"), ("prepare", "act"), ("act", "__end__"),
    ]  # fmt: skip
    closed = await viewer.assistants.get_graph("n_plain_2")
    opened = await viewer.assistants.get_graph("n_plain_2", xray=True)
    once = await viewer.assistants.get_graph("n_plain_2", xray=1)
    counts = [len(each["nodes"]) for each in (closed, once, opened)]
    assert counts == sorted(set(counts)), "each level has more nodes"
    names = {node["id"] for node in opened["nodes"]}
    assert {end for edge in opened["edges"] for end in (edge["source"], edge["target"])} == names


async def test_it_has_schemas_and_so_have_its_subgraphs(viewer: LangGraphClient) -> None:
    schemas: Any = await viewer.assistants.get_schemas("refund")
    assert schemas["graph_id"] == "refund"
    assert "amount" in schemas["input_schema"]["properties"] and "amount" in schemas["state_schema"]["properties"]
    near: Any = await viewer.assistants.get_subgraphs("n_plain_2")
    deep: Any = await viewer.assistants.get_subgraphs("n_plain_2", recurse=True)
    [outer] = near
    assert len(deep) == 2 and outer in deep
    [inner] = set(deep) - {outer}
    assert "amount" in deep[inner]["state_schema"]["properties"]
    assert set(await viewer.assistants.get_subgraphs("n_plain_2", namespace=outer, recurse=True)) == set(deep)
    assert set(await viewer.assistants.get_subgraphs("n_plain_2", namespace=inner)) == {inner}
    assert await viewer.assistants.get_subgraphs("gated") == {}


async def test_none_is_made_changed_or_removed(viewer: LangGraphClient) -> None:
    for asked in (
        viewer.assistants.create("gated", name="mine"),
        viewer.assistants.update("gated", name="mine"),
        viewer.assistants.delete("gated"),
    ):
        with pytest.raises(APIStatusError, match="An assistant is a graph") as refused:
            await asked
        assert refused.value.status_code == 501


def test_whoever_asks_is_told_that_the_server_is_there(console: Console) -> None:
    assert httpx.get(f"{console.url}/api/ok").json() == {"ok": True}
    told = httpx.get(f"{console.url}/api/info").json()
    assert (told["server"], told["flags"]["assistants"], told["flags"]["crons"]) == ("countersign", True, False)
    assert told["host"]["project_id"] is None
