"""No vote passes a gate that it was not asked about."""

from pathlib import Path
from typing import Any

import pytest

from tests.console import Console
from tests.graphs import times_run
from tests.scale import share

EDIT = {"text": {"op": "set", "value": "edited"}}


def vote(console: Console, approval: dict[str, Any], **ballot: Any) -> Any:
    with console.api("alice") as alice:
        return alice.post(
            f"/approvals/{approval['id']}/votes",
            json={"verdict": "approve", "seen_digest": approval["digest"], **ballot},
        )


@pytest.fixture(scope="module")
def at_the_first(console: Console) -> dict[str, Any]:
    """A thread at the first of two gates, to be refused at."""
    return console.pause("two_gates", {"text": "x"})


@pytest.mark.parametrize("as_node", ["first_gate", "between", "second_gate", "nowhere"])
def test_an_edit_cannot_jump_over_a_gate(
    console: Console, data_dir: Path, at_the_first: dict[str, Any], as_node: str
) -> None:
    approval = at_the_first
    with console.api("alice") as alice:
        tried = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": EDIT, "as_node": as_node})
    voted = vote(console, approval, edits=EDIT, as_node=as_node)
    assert (tried.status_code, voted.status_code) == (422, 422)
    assert voted.json()["error"]["detail"]["faults"][0]["path"] == "as_node"
    assert console.pending(approval["thread_id"])["id"] == approval["id"]
    assert times_run(data_dir, approval["thread_id"], "act") == 0


def test_an_edit_from_the_node_that_ran_last_runs_the_gated_node_and_stops_at_the_next_gate(
    console: Console, data_dir: Path
) -> None:
    approval = console.pause("two_gates", {"text": "x"})
    assert vote(console, approval, edits=EDIT, as_node="one").status_code == 201
    assert console.run_of(approval["id"])["status"] == "paused"
    assert times_run(data_dir, approval["thread_id"], "act") == 1
    assert console.pending(approval["thread_id"])["next"] == ["second_gate"]


@pytest.mark.parametrize(
    ("edit", "leads_to", "is_previewed"),
    share(
        [
            ({"stop": True}, ["strict"], True),
            ({"stop": True}, ["strict"], False),
            ({"total": 1}, ["send", "strict"], True),
            ({"total": 1}, ["send", "strict"], False),
        ],
        0,
        of=3,
    ),
)
def test_an_edit_that_leads_to_a_stricter_gate_asks_there_anew(
    console: Console, edit: dict[str, Any], leads_to: list[str], is_previewed: bool
) -> None:
    approval = console.pause("strict", {"notes": ["begun"]})
    assert (approval["next"], approval["policy"]["approvals"]) == (["send"], 1)
    ops = {"stop": "set", "total": "append"}
    ballot: dict[str, Any] = {"edits": {name: {"op": ops[name], "value": value} for name, value in edit.items()}}
    if is_previewed:
        with console.api("alice") as alice:
            tried = alice.post(f"/approvals/{approval['id']}/preview", json=ballot).json()
        assert sorted(tried["next"]) == leads_to
        ballot["seen_preview"] = tried["digest"]
    assert vote(console, approval, **ballot).status_code == 201
    assert console.run_of(approval["id"])["status"] == "paused"
    asked = console.pending(approval["thread_id"])
    assert (sorted(asked["next"]), asked["policy"]["approvals"]) == (leads_to, 2)
    assert asked["state"]["notes"] == ["begun"], "no gated node has run"
    assert vote(console, asked).status_code == 422, "the policy of this gate asks for a reason"


def test_an_edit_that_leads_back_to_a_gate_of_less_is_carried_out(console: Console) -> None:
    approval = console.pause("strict", {"notes": ["begun"], "stop": True})
    edits = {"stop": {"op": "set", "value": False}}
    with console.api("alice") as alice, console.api("bob") as bob:
        for voter in (alice, bob):
            ballot = {"verdict": "approve", "seen_digest": approval["digest"], "edits": edits, "comment": "safer"}
            answer = voter.post(f"/approvals/{approval['id']}/votes", json=ballot)
            assert answer.status_code == 201, answer.text
            approval = voter.get(f"/approvals/{approval['id']}").json()
    assert console.run_of(approval["id"])["status"] == "finished"


def test_parallel_branches_are_not_edited_or_skipped_in_part(console: Console) -> None:
    approval = console.pause("branching", {"text": "x"})
    answer = vote(console, approval, edits=EDIT)
    assert answer.status_code == 422
    assert "drop all but one" in answer.json()["error"]["message"]


@pytest.mark.full
def test_what_looks_like_a_secret_in_a_nodes_error_is_blanked(console: Console) -> None:
    approval = console.pause("leaking", {"text": "x"})
    vote(console, approval)
    run = console.run_of(approval["id"], until=("failed",))
    with console.api("alice") as alice:
        thread = alice.get(f"/threads/{approval['thread_id']}/state").text
    assert "cannot reach postgresql://agent:***@db/x" in run["problem"]
    for secret in ("hunter2-canary", "12345678"):
        assert secret not in run["problem"] + thread
