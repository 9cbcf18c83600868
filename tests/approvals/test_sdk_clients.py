"""Every public method of the LangGraph SDK's clients, here and on LangGraph's own server: same shape, or a reason."""

import asyncio

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests import sdk_calls, sdk_differences
from tests.console import Console


def tokens(console: Console) -> dict[str, str]:
    return {"starter": console.token("olga"), "voter": console.token("alice"), "admin": console.token("root")}


async def test_each_answer_is_as_langgraphs_server_gives_it_or_the_page_says_why_not(console: Console) -> None:
    found = await sdk_calls.record(f"{console.url}/api", tokens(console))
    assert sdk_differences.faults(found) == []


def test_the_sync_client_finds_the_same(console: Console) -> None:
    found = sdk_calls.record_sync(f"{console.url}/api", tokens(console))
    assert sdk_differences.faults(found) == []


def test_no_public_method_is_left_out() -> None:
    asynchronous, synchronous = get_client(url="http://127.0.0.1:1"), get_sync_client(url="http://127.0.0.1:1")
    called = {call.method for call in sdk_calls.CALLS} | sdk_calls.APART.keys()
    assert sdk_calls.public_methods(asynchronous) == sdk_calls.public_methods(synchronous) == called
    asyncio.run(asynchronous.aclose())
    synchronous.close()


def test_the_page_is_up_to_date() -> None:
    assert sdk_differences.PAGE.read_text() == sdk_differences.page(), "type: make fix"


@pytest.mark.full
@pytest.mark.timeout(600)  # it installs a server
async def test_langgraphs_server_still_answers_as_recorded() -> None:
    from tests import langgraph_dev

    found = await asyncio.to_thread(langgraph_dev.recorded)
    assert found == sdk_differences.recorded(), "type: python -m tests.langgraph_dev"
