"""Threads of outside programs: which graph they are of is known, or said by an admin, and never guessed."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from agentcore.plain import thread_graphs
from agentcore.plain.types import Shown, Traits
from tests import agents, graphs, outside
from tests.console import Console, wait_for
from tests.dialects import did
from tests.graphs import times_run


def said(text: str) -> dict[str, Any]:
    return {"messages": [("user", text)]}


def listed(console: Console, thread_id: str, is_it: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return the thread once it is as `is_it` says."""
    with console.api("erin") as erin:

        def ask() -> Any:
            answer = erin.get(f"/threads/{thread_id}")
            return answer.json() if answer.status_code == 200 and is_it(answer.json()) else None

        return dict(wait_for(ask, what=f"thread {thread_id} to be as it should"))


def unbound(console: Console, thread_id: str) -> dict[str, Any]:
    return listed(console, thread_id, lambda thread: thread["binding"]["problem"])


def bind(console: Console, who: str, thread_id: str, graph_id: str, **more: Any) -> httpx.Response:
    with console.api(who) as person:
        return person.post(f"/threads/{thread_id}/binding", json={"graph_id": graph_id, **more})


def bound_entries(console: Console, thread_id: str) -> list[dict[str, Any]]:
    with console.api("erin") as erin:
        found = erin.get("/audit", params={"thread_id": thread_id, "action": "thread.bound"}).json()["items"]
    return [{"actor": each["actor"], **each["object"]} for each in found]


def asked(console: Console, thread_id: str) -> list[dict[str, Any]]:
    with console.api("alice") as alice:
        return list(alice.get("/approvals", params={"thread_id": thread_id}).json()["items"])


def approve(console: Console, approval: dict[str, Any]) -> httpx.Response:
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        return alice.post(f"/approvals/{approval['id']}/votes", json=ballot)


FOREIGN = {
    "another team's agent": (agents.bank, agents.WIRE, ""),
    "an agent without a name": (agents.nameless_bank, agents.WIRE, ""),
    "an agent of the same name": (agents.mailer_that_pays, agents.WIRE, ""),
    "a graph that is not here": (agents.bank, agents.WIRE, "bank"),
    "a graph that has other nodes": (agents.bank, agents.WIRE, "gated"),
    "an agent that names our graph and no other": (graphs.gated, None, "mailer"),
}


@pytest.fixture(scope="module")
def foreign(console: Console, database: str) -> dict[str, str]:
    """Make all of them before any is waited for."""
    made = {who: f"foreign-{uuid.uuid4()}" for who in FOREIGN}
    for who, (graph, text, graph_id) in FOREIGN.items():
        outside.run(database, graph, made[who], said(text) if text else {"text": "x"}, graph_id=graph_id)
    return made


@pytest.mark.parametrize("who", FOREIGN)
def test_a_thread_of_another_graph_is_read_and_carried_on_by_nobody(
    console: Console, foreign: dict[str, str], data_dir: Any, who: str
) -> None:
    text, thread_id = FOREIGN[who][1], foreign[who]
    thread = unbound(console, thread_id)
    assert (thread["graph_id"], thread["binding"]["bound_by"], thread["status"]) == ("", "", "error")
    assert "mailer" not in thread["binding"]["fitting"]
    assert "An admin can say which graph it is of" in thread["problem"]
    assert asked(console, thread_id) == []
    with console.api("olga") as olga:
        started = olga.post(f"/threads/{thread_id}/runs", json={"assistant_id": "gated", "input": {"text": "x"}})
        assert (started.status_code, started.json()["error"]["code"]) == (409, "unbound")
        history = olga.post(f"/threads/{thread_id}/history").json()
        state = olga.get(f"/threads/{thread_id}/state").json()
        forked = olga.post(f"/threads/{thread_id}/fork", json={"checkpoint_id": thread["checkpoint_id"]})
        assert (forked.status_code, forked.json()["error"]["code"]) == (409, "unbound")
    assert len(history) > 1
    assert state["values"] == history[0]["values"] == thread["values"]
    if text:
        [question] = state["interrupts"]
        assert question["value"]["action_requests"][0]["args"] == {"to": "Mallory", "amount": 900}
        assert thread["interrupts"][question["id"]][0]["value"] == question["value"]
        assert state["next"] == ["HumanInTheLoopMiddleware.after_model"]
    assert did(thread_id, data_dir) == []
    assert bound_entries(console, thread_id) == []


def test_the_agents_own_name_and_tools_bind_it_and_it_is_carried_on(
    console: Console, database: str, data_dir: Any
) -> None:
    thread_id = f"mails-{uuid.uuid4()}"
    outside.run(database, agents.mailer, thread_id, said(agents.MAIL))
    approval = console.pending(thread_id)
    assert approval["graph"] == "mailer"
    thread = listed(console, thread_id, lambda thread: thread["binding"]["bound_by"])
    assert thread["binding"] == {
        "graph_id": "mailer", "bound_by": "agent", "bound_who": "", "fitting": [], "problem": ""
    }  # fmt: skip
    [entry] = bound_entries(console, thread_id)
    assert (entry["actor"], entry["how"], entry["claims"]) == ("worker", "agent", {"agent": "mailer"})
    assert approve(console, approval).status_code == 201
    console.run_of(approval["id"])
    assert [each["name"] for each in did(thread_id, data_dir)] == ["send_mail"]


def test_an_agent_that_turns_out_to_have_other_tools_is_asked_about_no_more(console: Console, database: str) -> None:
    thread_id = f"turns-{uuid.uuid4()}"
    outside.run(database, agents.mailer_that_pays, thread_id, said("[]"))  # nothing shows yet that it is not ours
    listed(console, thread_id, lambda thread: thread["binding"]["bound_by"] == "agent")
    outside.run(database, agents.mailer_that_pays, thread_id, said(agents.WIRE))
    thread = unbound(console, thread_id)
    assert "it has no tool wire_money" in thread["problem"]
    assert asked(console, thread_id) == []


def test_two_graphs_that_fit_are_said_to_be_two_and_an_admin_says_which(
    console: Console, database: str, data_dir: Any
) -> None:
    thread_id = f"parcel-{uuid.uuid4()}"
    outside.run(database, agents.parcels, thread_id, {"text": "a parcel"})
    thread = unbound(console, thread_id)
    assert thread["binding"]["fitting"] == ["parcels", "parcels_twin"]
    assert "2 graphs fit it: parcels, parcels_twin." in thread["problem"]

    for who in ("alice", "olga", "erin"):
        assert bind(console, who, thread_id, "parcels").status_code == 403
    missing = bind(console, "root", thread_id, "parcel")
    assert missing.status_code == 422
    assert "parcels_twin" in missing.json()["error"]["detail"]["graphs"]
    odd = bind(console, "root", thread_id, "mailer")
    assert odd.status_code == 422, "it does not fit, and no reason was given"
    assert bind(console, "root", "no-such-thread", "parcels").status_code == 404

    done = bind(console, "root", thread_id, "parcels_twin")
    assert done.status_code == 200, done.text
    assert done.json()["binding"] == {
        "graph_id": "parcels_twin", "bound_by": "admin", "bound_who": "root", "fitting": [], "problem": ""
    }  # fmt: skip
    assert bind(console, "root", thread_id, "parcels_twin").status_code == 200
    assert bind(console, "root", thread_id, "parcels").status_code == 409
    [entry] = bound_entries(console, thread_id)
    assert (entry["actor"], entry["graph"], entry["how"]) == ("root", "parcels_twin", "admin")

    approval = console.pending(thread_id)
    assert approve(console, approval).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    assert times_run(data_dir, thread_id, "ship_elsewhere") == 1
    assert times_run(data_dir, thread_id, "ship") == 0


def test_who_names_another_graph_later_is_not_followed_until_an_admin_has_looked(
    console: Console, database: str, data_dir: Any
) -> None:
    thread_id = f"moves-{uuid.uuid4()}"
    outside.run(database, agents.parcels, thread_id, {"text": "a parcel"}, graph_id="parcels")
    approval = console.pending(thread_id)
    outside.run(database, agents.parcels, thread_id, {"text": "another"}, graph_id="parcels_twin")
    thread = unbound(console, thread_id)
    assert thread["graph_id"] == "parcels", "one binding is kept"
    assert "parcels_twin wrote it, and this thread is of the graph parcels" in thread["problem"]
    refused = approve(console, approval)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "unbound")
    assert bind(console, "root", thread_id, "parcels_twin").status_code == 409
    assert bind(console, "root", thread_id, "parcels").status_code == 200
    again = console.pending(thread_id)
    assert approve(console, again).status_code == 201
    console.run_of(again["id"])
    assert times_run(data_dir, thread_id, "ship") == 1


def test_a_run_that_waits_while_its_thread_is_written_by_another_graph_runs_nothing(
    console: Console, database: str
) -> None:
    """The claim is read again by the worker that has the lease."""
    from approvals.domain import bindings
    from approvals.models import Thread

    thread_id = console.pause("parcels", {"text": "a parcel"})["thread_id"]
    thread = Thread.objects.get(pk=thread_id)
    assert bindings.why_not_run(thread, "parcels", {"graph_id": "parcels"}) == ""
    assert "parcels_twin" in bindings.why_not_run(thread, "parcels", {"graph_id": "parcels_twin"})
    assert bindings.why_not_run(thread, "parcels_twin", {"graph_id": "parcels"})


def traits(*, agent: str = "", nodes: str = "", channels: str = "", tools: str = "") -> Traits:
    return Traits(agent, *(frozenset(names.split()) for names in (nodes, channels, tools)))


COPY = ("copy", "agent")
HERE = {
    "mailer": traits(agent="mailer", nodes="model tools", channels="messages", tools="send_mail"),
    "copy": traits(agent="mailer", nodes="model tools", channels="messages", tools="send_mail wire_money"),
    "plain": traits(nodes="model tools extra", channels="messages amount", tools=""),
}


@pytest.mark.parametrize(
    ("claims", "shown", "is_whole", "bound", "fits"),
    [
        ({"graph_id": "plain"}, traits(nodes="model"), True, ("plain", "metadata"), "copy mailer plain"),
        ({"graph_id": "plain"}, traits(nodes="other"), True, ("", ""), ""),
        ({"graph_id": "mailer", "agent": "bank"}, traits(agent="bank", nodes="model"), True, ("", ""), ""),
        ({"graph_id": "mailer", "agent": "mailer"}, traits(agent="mailer", tools="wire_money"), True, ("", ""), ""),
        ({"graph_id": "gone", "agent": "mailer"}, traits(agent="mailer", nodes="model"), True, ("", ""), "copy mailer"),
        ({"agent": "mailer"}, traits(agent="mailer", nodes="model", tools="wire_money"), True, COPY, "copy"),
        ({"agent": "mailer"}, traits(agent="mailer", nodes="model", tools="send_mail"), True, ("", ""), "copy mailer"),
        ({"agent": "mailer"}, traits(agent="mailer", nodes="model", tools="wire_money"), False, ("", ""), "copy"),
        ({"agent": "mailer"}, traits(agent="mailer", nodes="model", channels="amount"), True, ("", ""), ""),
        ({"agent": "bank"}, traits(agent="bank", nodes="model tools", channels="messages"), True, ("", ""), ""),
        ({}, traits(nodes="model tools extra", channels="amount"), True, ("", ""), "plain"),
        ({}, traits(), True, ("", ""), ""),
    ],
)  # fmt: skip
def test_what_binds(claims: dict[str, str], shown: Traits, is_whole: bool, bound: tuple[str, str], fits: str) -> None:
    thread = Shown(claims, shown, is_whole)
    assert thread_graphs.bound_to(thread, HERE) == bound
    assert thread_graphs.fitting(thread, HERE) == fits.split()
    if not bound[0]:
        found = fits.split()
        told = {0: "No graph here fits it", 1: "One graph fits it"}.get(len(found), f"{len(found)} graphs fit it")
        assert told in thread_graphs.why_not(thread, HERE)
