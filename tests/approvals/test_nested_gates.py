"""A breakpoint inside a subgraph, as people meet it: an approval of its own, and nothing else passes it."""

import uuid
from typing import Any

import pytest

from tests import nested, outside
from tests.console import Console, wait_for
from tests.scale import IS_FULL, share
from tests.voting import code_of, read, vote

WAYS = [f"n_{way}_{depth}" for way in nested.WAYS for depth in nested.DEPTHS]
EDIT = {"amount": {"op": "set", "value": 7}}


def log_of(console: Console, thread_id: str) -> list[str]:
    with console.api("erin") as erin:
        return list(erin.get(f"/threads/{thread_id}/state").json()["values"].get("log", []))


def runs_of(thread_id: str) -> list[Any]:
    from approvals.models import Run

    return list(Run.objects.filter(thread_id=thread_id).order_by("created_at"))


@pytest.mark.parametrize("graph", WAYS if IS_FULL else ["n_called_2"])
def test_each_gate_asks_and_is_decided_by_itself(console: Console, graph: str) -> None:
    depth = int(graph[-1])
    first = console.pause(graph, {"amount": 5})
    assert (first["next"], first["path"], first["kind"]) == (["wire"], ["sub"] * depth, "breakpoint")
    assert [(action["name"], action["args"]["amount"]) for action in first["actions"]] == [("wire", 5)]
    assert first["checkpoint_ns"]
    with console.api("alice") as alice:
        preview = alice.post(f"/approvals/{first['id']}/preview", json={"edits": EDIT}).json()
    assert (preview["values"]["amount"], preview["next"]) == (7, ["wire"])
    with console.api("olga") as olga:
        [run] = runs_of(first["thread_id"])
        assert run.status == "paused"
        assert olga.post(f"/runs/{run.pk}/retry").status_code == 409
        for input in ({"amount": 1}, None):
            begun = {"assistant_id": graph, "input": input}
            assert olga.post(f"/threads/{first['thread_id']}/runs", json=begun).status_code == 409
    voted = vote(console, "alice", first, edits=EDIT, seen_preview=preview["digest"])
    assert voted.status_code == 201, voted.text
    assert console.run_of(first["id"])["status"] == "paused"
    second = console.pending(first["thread_id"])
    assert (second["next"], second["state"]["amount"]) == (["book"], 7)
    assert code_of(vote(console, "alice", first)) == (409, "already_decided")
    assert vote(console, "alice", second).status_code == 201
    assert console.run_of(second["id"])["status"] == "finished"
    log = log_of(console, first["thread_id"])
    assert [line for line in log if line.startswith(("wire", "book"))] == ["wire 7", "book 7"]


@pytest.mark.parametrize("graph", share(["n_plain_2", "n_own_1", "n_called_3"], 1, of=3))
def test_a_rejection_ends_the_thread_and_a_skip_passes_the_node(console: Console, graph: str) -> None:
    rejected = console.pause(graph, {"amount": 5})
    assert vote(console, "alice", rejected, "reject", comment="no").status_code == 201
    assert console.run_of(rejected["id"])["status"] == "finished"
    skipped = console.pause(graph, {"amount": 5})
    assert vote(console, "root", skipped, "skip").status_code == 201
    assert console.run_of(skipped["id"])["status"] == "paused"
    assert console.pending(skipped["thread_id"])["next"] == ["book"]


@pytest.mark.parametrize("graph", share(["n_plain_1", "n_own_2", "n_called_2"], 0, of=3))
def test_what_crashed_behind_the_gate_is_retried_as_it_was_decided(console: Console, graph: str) -> None:
    approval = console.pause(graph, {"amount": nested.UNLUCKY})
    assert vote(console, "alice", approval).status_code == 201
    run = console.run_of(approval["id"], until=("failed",))
    assert "wire broke" in run["problem"]
    with console.api("alice") as alice:
        open_ones = alice.get("/approvals", params={"thread_id": approval["thread_id"], "status": "pending"}).json()
    assert open_ones["items"] == [], "decided once, it is not asked again"
    with console.api("olga") as olga:
        assert olga.post(f"/runs/{run['id']}/retry").status_code < 300
    assert console.run_of(approval["id"])["status"] == "paused"
    assert console.pending(approval["thread_id"])["next"] == ["book"]


@pytest.mark.full
@pytest.mark.parametrize("graph", ["n_between", "n_between_own"])
def test_what_crashed_after_the_gated_node_is_retried_up_to_the_next_gate(console: Console, graph: str) -> None:
    approval = console.pause(graph, {"amount": nested.UNLUCKY + 1})
    assert vote(console, "alice", approval).status_code == 201
    run = console.run_of(approval["id"], until=("failed",))
    assert "check broke" in run["problem"]
    with console.api("olga") as olga:
        assert olga.post(f"/runs/{run['id']}/retry").status_code < 300
    assert console.run_of(approval["id"], until=("paused", "superseded"))["status"] == "paused"
    assert console.pending(approval["thread_id"])["next"] == ["book"]


@pytest.mark.full
def test_gates_and_a_question_of_one_step_are_decided_one_by_one(console: Console) -> None:
    thread_id = console.start_run("n_side_by_side", {"amount": 5})
    console.pending(thread_id)
    with console.api("alice") as alice:
        found = alice.get("/approvals", params={"thread_id": thread_id, "status": "pending"}).json()["items"]
        asked = {item["next"][0]: alice.get(f"/approvals/{item['id']}").json() for item in found}
    assert asked.keys() == {"pay", "post", "ask"}
    assert len({item["checkpoint_ns"] for item in asked.values()}) == 3
    for node, verdict, answer in (
        ("post", "approve", {}),
        ("ask", "respond", {"answer": "yes"}),
        ("pay", "approve", {}),
    ):
        now = wait_for(lambda node=node: _open(console, asked[node]), what=f"{node} to be asked")
        voted = vote(console, "alice", now, verdict, **answer)
        assert voted.status_code == 201, voted.text
        console.run_of(now["id"])
    assert sorted(log_of(console, thread_id)) == ["asked yes", "end 5", "pay 5", "post 5"]


def _open(console: Console, approval: dict[str, Any]) -> dict[str, Any] | None:
    """Return the approval once nothing of its thread runs."""
    with console.api("alice") as alice:
        status = alice.get(f"/threads/{approval['thread_id']}").json()["status"]
    return read(console, approval) if status == "interrupted" else None


@pytest.mark.full
def test_an_agent_as_a_node_stops_before_its_tool(console: Console) -> None:
    approval = console.pause("n_agent", {"messages": [{"role": "user", "content": "pay ann"}]})
    assert approval["path"] == ["agent"]
    assert vote(console, "alice", approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"


@pytest.mark.parametrize("graph", share(["n_plain_1", "n_own_2", "n_called_1"], 1, of=2))
def test_a_pause_of_an_agent_outside_is_an_approval_too(console: Console, database: str, graph: str) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    outside.run(database, getattr(nested, graph), thread_id, {"amount": 5}, graph_id=graph)
    approval = console.pending(thread_id)
    assert (approval["next"], approval["state"]["amount"]) == (["wire"], 5)
    assert vote(console, "alice", approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "paused"
    assert console.pending(thread_id)["next"] == ["book"]


def test_a_gate_that_the_agent_passed_itself_is_not_decided(console: Console, database: str) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    outside.run(database, nested.n_plain_1, thread_id, {"amount": 5}, graph_id="n_plain_1")
    approval = console.pending(thread_id)
    outside.run(database, nested.n_plain_1, thread_id, None, graph_id="n_plain_1")
    refused = vote(console, "alice", approval)
    assert refused.status_code in (409, 410), refused.text
    moved = wait_for(lambda: _other(console, approval), what="the next gate to be asked")
    assert moved["next"] == ["book"]


def _other(console: Console, approval: dict[str, Any]) -> dict[str, Any] | None:
    found = console.pending(approval["thread_id"])
    return found if found["id"] != approval["id"] else None


def test_a_fork_of_a_thread_inside_a_subgraph_stands_at_the_same_gate(console: Console) -> None:
    approval = console.pause("n_plain_2", {"amount": 5})
    with console.api("olga") as olga:
        thread = olga.get(f"/threads/{approval['thread_id']}/state").json()
        where = {"checkpoint_id": thread["checkpoint"]["checkpoint_id"]}
        forked = olga.post(f"/threads/{approval['thread_id']}/fork", json=where).json()["thread_id"]
    copy = console.pending(forked)
    assert (copy["next"], copy["path"], copy["id"] != approval["id"]) == (["wire"], ["sub", "sub"], True)
    assert vote(console, "alice", copy).status_code == 201
    assert console.run_of(copy["id"])["status"] == "paused"
    assert read(console, approval)["status"] == "pending"


def test_what_cannot_be_seen_is_told_and_never_passed(console: Console) -> None:
    thread_id = console.start_run("n_hidden", {"amount": 5})
    [run] = wait_for(lambda: [run for run in runs_of(thread_id) if run.status == "failed"], what="the run to fail")
    assert "breakpoint" in run.problem
    with console.api("olga") as olga:
        assert olga.post(f"/runs/{run.pk}/retry").status_code < 300
    wait_for(lambda: runs_of(thread_id)[0].status == "failed", what="the retry to fail")
    assert "after 5" not in log_of(console, thread_id)
