"""What Agent Inbox and Agent Chat UI ask of a server, in their order: the calls, and no code of theirs.

What `useStream` asks, which Agent Chat UI is made with, is in the tests of streams.
"""

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.approvals.test_answers_matrix import INBOX, MAIL, PAY, calls
from tests.approvals.test_api_assistants import OF_SERVER
from tests.console import Console
from tests.dialects import did
from tests.voting import policy, read


def client(console: Console, name: str) -> httpx.Client:
    """Both send the key as `X-Api-Key`, from a browser."""
    headers = {"X-Api-Key": console.token(name), "Origin": "http://localhost:3000"}
    return httpx.Client(base_url=f"{console.url}/api", headers=headers, timeout=30)


def listed(inbox: httpx.Client, thread_id: str, **filters: Any) -> dict[str, Any]:
    """Return the thread as a page of the inbox has it."""
    asked = {"offset": 0, "limit": 100, "status": "interrupted", **filters}
    found = [each for each in inbox.post("/threads/search", json=asked).json() if each["thread_id"] == thread_id]
    assert len(found) == 1
    return dict(found[0])


def interrupt_in(thread: dict[str, Any]) -> Any:
    [[interrupt]] = thread["interrupts"].values()
    return interrupt["value"]


@pytest.mark.parametrize("filter_by", ["graph_id", "assistant_id"])
def test_agent_inbox_lists_opens_and_answers(console: Console, filter_by: str) -> None:
    asked = console.pause("d_legacy", {"ask": INBOX})
    wanted = "d_legacy" if filter_by == "graph_id" else str(uuid.uuid5(OF_SERVER, "d_legacy"))
    with client(console, "alice") as inbox:
        assert httpx.get(f"{console.url}/api/info").json()["host"]["kind"] == "self-hosted", "without a key"
        thread = listed(inbox, asked["thread_id"], metadata={filter_by: wanted})
        [request] = interrupt_in(thread)
        assert request["action_request"] == {"action": "pay", "args": {"amount": 2}}
        opened = inbox.get(f"/threads/{asked['thread_id']}").json()
        assert (opened["status"], interrupt_in(opened)) == ("interrupted", [request])
        # Accepted as it is: the call is repeated. It shows the nodes of a stream of events.
        answer = [{"type": "accept", "args": request["action_request"]}]
        body = {"assistant_id": wanted, "command": {"resume": answer}, "stream_mode": "events"}
        stream = inbox.post(f"/threads/{asked['thread_id']}/runs/stream", json=body)
        assert stream.status_code == 200, stream.text
        data = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
        begun = [each["metadata"]["langgraph_node"] for each in data if each.get("event") == "on_chain_start"]
        assert (begun, "event: tasks" in stream.text, data[-1]) == (["inbox"], False, {"status": "success"})
        again = inbox.get(f"/threads/{asked['thread_id']}").json()
        assert (again["status"], again["interrupts"], again["values"]["got"]) == ("idle", {}, [["accept", None]])
    decided = read(console, asked)
    assert (decided["status"], decided["decision"]["decided_by"]) == ("approved", "alice")


def test_agent_inbox_ignores_and_cannot_resolve_past_people(console: Console) -> None:
    asked = console.pause("d_legacy", {"ask": INBOX})
    address = f"/threads/{asked['thread_id']}"
    with client(console, "alice") as inbox:
        resolved = inbox.post(f"{address}/state", json={"values": None, "as_node": "__end__"})
        assert (resolved.status_code, resolved.json()["error"]["code"]) == (409, "busy")
        assert resolved.json()["error"]["detail"]["approvals"][0]["approval"] == asked["id"]
        ignored = {"assistant_id": "d_legacy", "command": {"resume": [{"type": "ignore", "args": None}]}}
        assert inbox.post(f"{address}/runs", json=ignored).status_code == 200
    assert read(console, asked)["status"] == "rejected"


@pytest.mark.parametrize(
    ("decision", "ran", "status"),
    [
        ({"type": "approve", "args": {"action": "pay", "args": {"order": "A1", "amount": 20.5}}}, 20.5, "approved"),
        ({"type": "edit", "args": {"action": "pay", "args": {"order": "A1", "amount": "3"}}}, 3, "answered"),
        ({"type": "reject", "args": "Not today."}, None, "rejected"),
    ],
    ids=["approve", "edit", "reject"],
)
def test_agent_inbox_answers_langchains_middleware(
    console: Console, data_dir: Any, decision: dict[str, Any], ran: float | None, status: str
) -> None:
    asked = console.pause("d_batched", calls(PAY))
    with client(console, "alice") as inbox:
        assert interrupt_in(listed(inbox, asked["thread_id"]))["action_requests"][0]["name"] == "pay"
        body = {"assistant_id": "d_batched", "command": {"resume": {"decisions": [decision]}}}
        run = inbox.post(f"/threads/{asked['thread_id']}/runs", json=body)
        assert run.status_code == 200, run.text
    console.run_of(asked["id"])
    assert [each["args"]["amount"] for each in did(asked["thread_id"], data_dir)] == ([] if ran is None else [ran])
    assert read(console, asked)["status"] == status


def test_agent_inbox_cannot_approve_something_else_than_was_asked(console: Console) -> None:
    asked = console.pause("d_batched", calls(PAY, MAIL))
    with client(console, "alice") as inbox:
        other = {"type": "approve", "args": {"action": "pay", "args": {"order": "A1", "amount": 900}}}
        for decisions in ([other], [other, {"type": "approve"}]):
            body = {"assistant_id": "d_batched", "command": {"resume": {"decisions": decisions}}}
            refused = inbox.post(f"/threads/{asked['thread_id']}/runs", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_answer"), refused.text
    assert read(console, asked)["votes"] == []


def test_agent_inbox_reads_the_state_where_a_thread_stands_at_a_breakpoint(console: Console) -> None:
    asked = console.pause("gated", {"text": "x"})
    with client(console, "alice") as inbox:
        assert listed(inbox, asked["thread_id"], metadata={"graph_id": "gated"})["interrupts"] == {}
        state = inbox.get(f"/threads/{asked['thread_id']}/state").json()
    assert (state["next"], state["tasks"][-1]["interrupts"]) == (["act"], [])


def test_agent_chat_ui_lists_reads_the_history_and_answers_where_the_thread_stands(console: Console) -> None:
    with policy("d_batched", approvals=2):
        asked = console.pause("d_batched", calls(PAY))
    address = f"/threads/{asked['thread_id']}"
    with client(console, "alice") as chat, client(console, "bob") as other:
        assert chat.get("/info").status_code == 200
        found = chat.post("/threads/search", json={"metadata": {"graph_id": "d_batched"}, "limit": 100}).json()
        [thread] = [each for each in found if each["thread_id"] == asked["thread_id"]]
        assert thread["values"]["messages"][0]["type"] == "human"
        [newest, *older] = chat.post(f"{address}/history", json={"limit": 10}).json()
        assert older and newest["tasks"][0]["interrupts"][0]["value"]["action_requests"][0]["name"] == "pay"
        place = {name: value for name, value in newest["checkpoint"].items() if name != "thread_id"}
        answer = {"command": {"resume": {"decisions": [{"type": "approve"}]}}, "input": {}, "checkpoint": place}
        body = {"assistant_id": "d_batched", **answer, "stream_mode": ["values", "custom"], "stream_resumable": True}
        first = chat.post(f"{address}/runs", json={**body, "on_disconnect": "continue"})
        assert (first.status_code, first.json()["error"]["code"]) == (409, "undecided")
        assert other.post(f"{address}/runs", json=body).status_code == 200
        ended = {"assistant_id": "d_batched", "command": {"goto": "__end__"}, "input": {}}
        refused = chat.post(f"{address}/runs", json=ended)
        assert (refused.status_code, refused.json()["error"]["code"]) == (501, "not_offered")
    console.run_of(asked["id"])
    assert read(console, asked)["decision"]["decided_by"] == "alice, bob"
