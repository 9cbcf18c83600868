"""Gates that a client adds for its runs: stricter than the graph's own, which stay."""

from typing import Any

import pytest

from tests.console import Console
from tests.graphs import times_run
from tests.voting import vote


def start(console: Console, graph: str, input: dict[str, Any], **more: Any) -> str:
    with console.api("olga") as olga:
        thread_id = str(olga.post("/threads", json={}).json()["thread_id"])
        body = {"assistant_id": graph, "input": input, **more}
        olga.post(f"/threads/{thread_id}/runs", json=body).raise_for_status()
    return thread_id


def decided(console: Console, thread_id: str, **more: Any) -> dict[str, Any]:
    """Approve what the thread asks, and return it as it was asked."""
    asked = console.pending(thread_id)
    assert vote(console, "alice", asked, **more).status_code == 201
    console.run_of(asked["id"])
    return asked


def test_a_run_stops_at_the_gates_of_its_client_and_at_those_of_its_graph(console: Console) -> None:
    thread_id = start(console, "asking", {"text": "Ada"}, interrupt_before=["ask"], interrupt_after=["prepare"])
    first = decided(console, thread_id)
    assert (first["kind"], first["next"], first["policy"]["approvals"]) == ("breakpoint", ["ask"], 1)
    question = decided(console, thread_id, verdict="respond", answer=3)
    assert question["interrupt_id"]
    assert decided(console, thread_id)["next"] == ["act"], "the gate of the graph"
    with console.api("alice") as alice:
        assert alice.get(f"/threads/{thread_id}").json()["status"] == "idle"


def test_every_node_can_be_a_gate(console: Console) -> None:
    thread_id = start(console, "gated", {"text": "x"}, interrupt_before="*")
    assert [decided(console, thread_id)["next"] for _ in range(2)] == [["prepare"], ["act"]]


def test_no_list_takes_a_gate_away(console: Console) -> None:
    for nothing in ([], None):
        thread_id = start(console, "gated", {"text": "x"}, interrupt_before=nothing, interrupt_after=nothing)
        assert console.pending(thread_id)["next"] == ["act"]


def test_an_edit_at_an_added_gate_is_previewed_and_bound_to_what_it_leads_to(console: Console) -> None:
    thread_id = start(console, "gated", {"text": "x"}, interrupt_before=["prepare"])
    asked = console.pending(thread_id)
    lower = {"count": {"op": "set", "value": 80}}
    with console.api("alice") as alice:
        preview = alice.post(f"/approvals/{asked['id']}/preview", json={"edits": lower}).json()
    assert (preview["next"], preview["values"]["count"]) == (["prepare"], 80)
    assert vote(console, "alice", asked, edits=lower, seen_preview=preview["digest"]).status_code == 201
    console.run_of(asked["id"])
    assert console.pending(thread_id)["state"]["count"] == 80


def test_the_gates_last_until_the_next_input(console: Console, data_dir: Any) -> None:
    thread_id = start(console, "gated", {"text": "x"}, interrupt_before=["prepare"])
    asked = console.pending(thread_id)
    with console.api("olga") as olga:
        forked = olga.post(f"/threads/{thread_id}/fork", json={"checkpoint_id": asked["checkpoint_id"]}).json()
    assert console.pending(forked["thread_id"])["next"] == ["prepare"], "a fork has them too"
    for _ in range(2):
        decided(console, thread_id)
    assert times_run(data_dir, thread_id, "act") == 1
    with console.api("olga") as olga:
        olga.post(
            f"/threads/{thread_id}/runs", json={"assistant_id": "gated", "input": {"text": "y"}}
        ).raise_for_status()
    assert console.pending(thread_id)["next"] == ["act"]


@pytest.mark.parametrize("nodes", [["nowhere"], "prepare", ["__start__"]])
def test_a_gate_at_no_node_is_refused(console: Console, nodes: Any) -> None:
    with console.api("olga") as olga:
        thread_id = olga.post("/threads", json={}).json()["thread_id"]
        body = {"assistant_id": "gated", "input": {"text": "x"}, "interrupt_before": nodes}
        refused = olga.post(f"/threads/{thread_id}/runs", json=body)
    assert refused.status_code == 422 and "interrupt_before" in refused.text
