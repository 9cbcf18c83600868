"""`command.resume` is a vote: of the person whose token it is, on what the thread asks, under its policy."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import (
    APIStatusError,
    ConflictError,
    PermissionDeniedError,
    UnprocessableEntityError,
)

from tests.approvals.test_answers_matrix import ASKED, INBOX, PAY, WIPE, calls
from tests.approvals.test_api_sdk import sdk
from tests.console import Console
from tests.voting import policy, read, vote


@pytest.fixture
async def alice(console: Console) -> AsyncIterator[LangGraphClient]:
    async with sdk(console, "alice") as client:
        yield client


async def answer(client: LangGraphClient, asked: dict[str, Any], resume: Any, **more: Any) -> Any:
    return await client.runs.create(asked["thread_id"], asked["graph"], command={"resume": resume}, **more)


def told(refused: APIStatusError) -> dict[str, Any]:
    return dict(json.loads(refused.response.text)["error"])


async def test_an_answer_is_the_vote_of_who_sends_it_and_the_thread_goes_on(
    console: Console, alice: LangGraphClient
) -> None:
    asked = console.pause("asking", {"text": "Ada"})
    run = await answer(alice, asked, 300, metadata={"from": "a script"})
    assert (run["thread_id"], run["status"], run["metadata"]) == (asked["thread_id"], "pending", {"from": "a script"})
    console.run_of(asked["id"])
    decided = read(console, asked)
    assert (decided["status"], decided["decision"]["decided_by"], decided["given"]) == ("answered", "alice", 300)
    [cast] = decided["votes"]
    assert (cast["voter"], cast["seen_digest"]) == ("alice", asked["digest"])
    thread = await alice.threads.get(asked["thread_id"])
    assert "answered 300" in thread["values"]["notes"]


async def test_a_key_names_the_question(console: Console, alice: LangGraphClient) -> None:
    asked = console.pause("asking", {"text": "Ada"})
    with pytest.raises(ConflictError) as refused:
        await answer(alice, asked, {"0" * 32: 300})
    error = told(refused.value)
    assert (error["code"], error["detail"]["waiting"]) == ("stale", [asked["interrupt_id"]])
    await answer(alice, asked, {asked["interrupt_id"]: 300})
    assert read(console, asked)["given"] == 300


async def test_several_questions_are_answered_in_one_request_each_by_its_key(
    console: Console, alice: LangGraphClient
) -> None:
    asked = console.pause("fanning", {"count": 3})
    thread: Any = await alice.threads.get(asked["thread_id"])
    assert len(thread["interrupts"]) == 3, "each task asks"
    with pytest.raises(ConflictError, match="3 questions wait"):
        await answer(alice, asked, True)
    ids = [each["id"] for asked_by in thread["interrupts"].values() for each in asked_by]
    run = await answer(alice, asked, {each: f"yes {place}" for place, each in enumerate(ids)})
    await alice.runs.join(asked["thread_id"], run["run_id"])
    state = await alice.threads.get_state(asked["thread_id"])
    assert (state["next"], len(state["values"]["notes"])) == ([], 3)
    assert sorted(each[-5:] for each in state["values"]["notes"]) == ["yes 0", "yes 1", "yes 2"]


async def test_of_several_answers_none_counts_if_one_does_not_fit(console: Console, alice: LangGraphClient) -> None:
    asked = console.pause("d_per_call", calls(PAY, WIPE))
    with console.api("alice") as client:
        filters = {"thread_id": asked["thread_id"], "status": "pending"}
        first, second = client.get("/approvals", params=filters).json()["items"]
    with pytest.raises(UnprocessableEntityError) as refused:
        await answer(alice, asked, {first["interrupt_id"]: {"type": "approve"}, second["interrupt_id"]: {"type": "no"}})
    assert told(refused.value)["detail"]["approval"] == second["id"]
    assert [read(console, each)["votes"] for each in (first, second)] == [[], []]


async def test_several_votes_count_where_others_have_to_vote_as_well(console: Console, alice: LangGraphClient) -> None:
    with policy("fanning", approvals=2):
        asked = console.pause("fanning", {"count": 2})
    thread: Any = await alice.threads.get(asked["thread_id"])
    yes = {each["id"]: "yes" for by_task in thread["interrupts"].values() for each in by_task}
    with pytest.raises(ConflictError) as refused:
        await answer(alice, asked, yes)
    assert (told(refused.value)["code"], told(refused.value)["detail"]["answered"]) == ("undecided", [])
    async with sdk(console, "bob") as bob:
        run = await answer(bob, asked, yes)
        await bob.runs.join(asked["thread_id"], run["run_id"])
    assert sorted((await alice.threads.get_state(asked["thread_id"]))["values"]["notes"]) == ["0: yes", "1: yes"]


async def test_where_two_must_approve_the_first_learns_who_else_must(console: Console, alice: LangGraphClient) -> None:
    with policy("d_asks", approvals=2, people=["alice", "bob"]):
        asked = console.pause(*ASKED["camel"])
    yes = {"decisions": [{"type": "approve"}, {"type": "approve"}]}
    with pytest.raises(ConflictError) as refused:
        await answer(alice, asked, yes)
    error = told(refused.value)
    assert error["code"] == "undecided" and "Your vote counts" in error["message"]
    detail = error["detail"]
    assert (detail["approvals_so_far"], detail["required_votes"], detail["may_vote"]) == (1, 2, ["bob"])
    assert detail["approval"] == asked["id"] and detail["address"].endswith(f"/approvals/{asked['id']}/")
    with pytest.raises(ConflictError) as again:
        await answer(alice, asked, yes)
    assert told(again.value)["code"] == "already_voted"
    assert vote(console, "bob", read(console, asked)).status_code == 201, "a plain yes on the page agrees with it"
    assert read(console, asked)["decision"]["decided_by"] == "alice, bob"


async def test_an_answer_agrees_with_the_same_and_with_no_other(console: Console, alice: LangGraphClient) -> None:
    with policy("asking", approvals=2):
        asked = console.pause("asking", {"text": "Ada"})
    async with sdk(console, "bob") as bob, sdk(console, "carol") as carol:
        with pytest.raises(ConflictError, match="Your vote counts"):
            await answer(bob, asked, {"limit": 300})
        with pytest.raises(ConflictError) as refused:
            await answer(alice, asked, {"limit": 900})
        assert told(refused.value)["code"] == "stale"
        with pytest.raises(ConflictError) as changed:
            await answer(bob, asked, {"limit": 900})
        assert told(changed.value)["code"] == "already_voted", "it is his own proposal"
        await answer(carol, asked, {"limit": 300})
    assert read(console, asked)["decision"]["decided_by"] == "bob, carol"


async def test_nobody_gets_past_a_policy(console: Console, alice: LangGraphClient) -> None:
    with policy("asking", people=["bob"]):
        asked = console.pause("asking", {"text": "Ada"})
    with pytest.raises(PermissionDeniedError, match="lets bob decide here"):
        await answer(alice, asked, 300)
    for name in ("olga", "erin"):
        async with sdk(console, name) as other:
            with pytest.raises(PermissionDeniedError):
                await answer(other, asked, 300)
    assert read(console, asked)["votes"] == []


async def test_who_comes_late_learns_who_decided(console: Console, alice: LangGraphClient) -> None:
    asked = console.pause("asking", {"text": "Ada"})
    async with sdk(console, "bob") as bob:
        await answer(bob, asked, 300)
        console.run_of(asked["id"])
        with pytest.raises(ConflictError) as late:
            await answer(alice, asked, {asked["interrupt_id"]: 400})
        assert (told(late.value)["code"], told(late.value)["detail"]["by"]) == ("already_decided", "bob")
        await answer(bob, console.pending(asked["thread_id"]), True)
    console.run_of(console_last(console, asked["thread_id"]))
    with pytest.raises(ConflictError) as nothing:
        await answer(alice, asked, 500)
    assert told(nothing.value)["code"] == "stale"


def console_last(console: Console, thread_id: str) -> str:
    with console.api("alice") as client:
        return str(client.get("/approvals", params={"thread_id": thread_id}).json()["items"][0]["id"])


async def test_at_a_breakpoint_only_a_yes_is_a_yes(console: Console, alice: LangGraphClient) -> None:
    asked = console.pause("gated", {"text": "x"})
    for unclear in ("no", {"any": "thing"}, 1, {"verdict": "perhaps"}):
        with pytest.raises(UnprocessableEntityError, match="breakpoint"):
            await answer(alice, asked, unclear)
    with pytest.raises(UnprocessableEntityError, match="Say why you reject"):
        await answer(alice, asked, {"verdict": "reject"})
    await answer(alice, asked, {"verdict": "approve", "edits": {"count": {"op": "set", "value": 7}}})
    console.run_of(asked["id"])
    assert (await alice.threads.get(asked["thread_id"]))["values"]["count"] == 7


@pytest.mark.parametrize(
    ("sent", "given", "status"),
    [
        ([{"type": "accept", "args": {"action": "pay", "args": {"amount": 2}}}], [{"type": "accept", "args": None}],
         "approved"),
        ([{"type": "ignore", "args": None}], [{"type": "ignore", "args": None}], "rejected"),
        ([{"type": "edit", "args": {"action": "pay", "args": {"amount": "3"}}}],
         [{"type": "edit", "args": {"action": "pay", "args": {"amount": 3}}}], "answered"),
    ],
    ids=["accept", "ignore", "edit"],
)  # fmt: skip
async def test_what_agent_inbox_sends_is_taken(
    console: Console, alice: LangGraphClient, sent: Any, given: Any, status: str
) -> None:
    """It repeats the call with an accept, and an edited number is a text."""
    asked = console.pause("d_legacy", {"ask": INBOX})
    await answer(alice, asked, sent)
    decided = read(console, asked)
    assert (decided["status"], decided["given"]) == (status, given)


async def test_an_accept_of_something_else_than_was_asked_is_refused(console: Console, alice: LangGraphClient) -> None:
    asked = console.pause("d_legacy", {"ask": INBOX})
    with pytest.raises(UnprocessableEntityError):
        await answer(alice, asked, [{"type": "accept", "args": {"action": "pay", "args": {"amount": 9}}}])
    assert read(console, asked)["status"] == "pending"


async def test_a_command_does_nothing_but_answer(console: Console, alice: LangGraphClient) -> None:
    asked = console.pause("asking", {"text": "Ada"})
    address = f"/threads/{asked['thread_id']}/runs"
    for command in ({"goto": "act"}, {"update": {"text": "x"}}, {"resume": 1, "update": {"text": "x"}}):
        with console.api("alice") as client:
            refused = client.post(address, json={"assistant_id": "asking", "command": command})
        assert (refused.status_code, refused.json()["error"]["code"]) == (501, "not_offered"), refused.text
    with pytest.raises(UnprocessableEntityError, match="says nothing"):
        await answer(alice, asked, None)  # the client leaves null out
    with pytest.raises(UnprocessableEntityError, match="there is no input"):
        await answer(alice, asked, 1, input={"text": "more"})
    with pytest.raises(UnprocessableEntityError, match="those of the last input"):
        await answer(alice, asked, 1, config={"recursion_limit": 7})
    with pytest.raises(ConflictError, match="does not stand at this checkpoint"):
        await answer(alice, asked, 1, checkpoint_id="1ef00000-0000-6000-8000-000000000000")
    assert read(console, asked)["votes"] == []
    await answer(alice, asked, 1, input={}, checkpoint={"checkpoint_id": asked["checkpoint_id"], "checkpoint_ns": ""})


async def test_of_two_who_answer_at_once_one_decides(console: Console, alice: LangGraphClient) -> None:
    asked = console.pause("asking", {"text": "Ada"})
    async with sdk(console, "bob") as bob:
        came = await asyncio.gather(answer(alice, asked, 1), answer(bob, asked, 2), return_exceptions=True)
    [late] = [each for each in came if isinstance(each, ConflictError)]
    assert (
        told(late)["code"] in ("already_decided", "busy", "stale") and sum(isinstance(each, dict) for each in came) == 1
    )
    console.run_of(asked["id"])
    assert len(read(console, asked)["votes"]) == 1


async def test_a_run_without_input_passes_no_breakpoint(console: Console) -> None:
    asked = console.pause("gated", {"text": "x"})
    for name in ("olga", "alice"):
        async with sdk(console, name) as client:
            with pytest.raises((ConflictError, PermissionDeniedError)):
                await client.runs.create(asked["thread_id"], "gated", input=None)
    assert read(console, asked)["status"] == "pending"
