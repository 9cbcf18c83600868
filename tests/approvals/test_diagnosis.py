"""Stuck threads of each kind, made for real: the right diagnosis, and a first step that works when it is taken."""

import asyncio
import json
import uuid
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from psycopg.conninfo import make_conninfo

from agentcore.plain.urls import postgres_params
from tests import dialects, graphs, holding, outside
from tests.approvals.test_blocked import pages
from tests.console import Console, wait_for
from tests.voting import vote

WAITS = ("waiting", "breakpoint")


def diagnosis(console: Console, thread_id: str, *, by: str = "erin") -> dict[str, Any]:
    with console.api(by) as person:
        answer = person.get(f"/threads/{thread_id}/diagnosis")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def until(console: Console, thread_id: str, *kinds: str, seconds: float = 30) -> dict[str, Any]:
    """Wait for one of these kinds, and return the diagnosis."""
    seen: set[str] = set()

    def ask() -> dict[str, Any] | None:
        found = diagnosis(console, thread_id)
        seen.add(found["kind"])
        return found if found["kind"] in kinds else None

    try:
        return wait_for(ask, seconds=seconds, what=f"{thread_id} to be {kinds}")  # type: ignore[return-value]
    except AssertionError:
        raise AssertionError(f"{thread_id} was {seen}, never {kinds}") from None


def take(
    console: Console, found: dict[str, Any], action: str, *, by: str = "olga", place: int = 0, **body: Any
) -> httpx.Response:
    """Take the step in this place, which must be `action`, with the call that it names."""
    step = found["actions"][place]
    assert step["action"] == action, found
    method, _, path = step["call"].partition(" ")
    with console.api(by) as person:
        answer = person.request(method, path.removeprefix("/api"), json=body)
    assert answer.status_code < 300, answer.text
    return answer


def decided(console: Console, found: dict[str, Any], verdict: str = "approve", **more: Any) -> None:
    """Take the step `decide`, as alice, on what she is shown."""
    with console.api("alice") as alice:
        approval = alice.get(found["actions"][0]["call"].split(" ")[1].removeprefix("/api").removesuffix("/votes"))
    take(console, found, "decide", by="alice", verdict=verdict, seen_digest=approval.json()["digest"], **more)


# It waits for people


def test_a_thread_at_a_breakpoint_says_so_and_goes_on_once_it_is_decided(console: Console) -> None:
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]
    found = diagnosis(console, thread_id)
    assert (found["health"], found["kind"], found["is_moving"]) == ("breakpoint", "breakpoint", False)
    assert found["sentence"].endswith(" at the breakpoint before Act, for reviewers, but not olga.")
    assert found["steps"][0] == "Decide “Act” (reviewers, but not olga)."
    decided(console, found)
    done = until(console, thread_id, "done")
    assert (done["health"], done["is_moving"], done["sentence"]) == ("done", True, "The graph reached its end.")
    take(console, done, "start", assistant_id="gated", input={"text": "again"})
    until(console, thread_id, "breakpoint")


def test_a_thread_at_a_question_says_what_is_asked(console: Console) -> None:
    thread_id = console.pause("d_asks", {"ask": "Which limit?"})["thread_id"]
    found = diagnosis(console, thread_id)
    assert (found["health"], found["kind"]) == ("waiting", "waiting")
    assert "“Question: “Which limit?””" in found["sentence"]
    decided(console, found, "respond", answer="100")
    until(console, thread_id, "done")


def test_a_thread_that_holds_unknown_types_says_which(console: Console, database: str) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    asyncio.run(holding.agent_holds(database, thread_id, {"anything": holding.Foreign(7)}))
    found = until(console, thread_id, "breakpoint")
    assert "types that the graph does not allow (tests.holding.Foreign)" in found["sentence"]
    assert "Allow them in langgraph.json" in found["steps"][1]
    decided(console, found)
    until(console, thread_id, "done")


def test_a_thread_on_which_nothing_ran_says_so(console: Console) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    with console.api("olga") as olga:
        olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
    found = diagnosis(console, thread_id)
    assert (found["health"], found["kind"]) == ("done", "new")
    take(console, found, "start", assistant_id="typed", input={"text": "x"})
    until(console, thread_id, "done")


# A run has it, or failed


def test_a_node_that_hangs_is_running_by_whom_and_since_when_and_can_be_cancelled(console: Console) -> None:
    thread_id = console.start_run("gated", {"seconds": 600, "flag": True})
    wait_for(lambda: diagnosis(console, thread_id)["facts"].get("Node") == "Prepare", what="the node to begin")
    found = diagnosis(console, thread_id)
    assert console.process is not None
    assert (found["health"], found["kind"], found["is_moving"]) == ("running", "running", True)
    assert f":{console.process.pid} has run Prepare for " in found["sentence"]
    assert {"Worker", "Lease until", "Node since", "Attempt", "Run since"} <= found["facts"].keys()
    take(console, found, "cancel", place=1)
    stopped = until(console, thread_id, "stopped")
    assert (stopped["health"], stopped["is_moving"]) == ("unknown", False)
    assert "before Prepare. Cancelled by olga." in stopped["sentence"]
    take(console, stopped, "start", place=1, assistant_id="gated", input={"flag": False})
    until(console, thread_id, "breakpoint")


def test_a_node_that_raised_is_named_with_its_error_and_retried(console: Console) -> None:
    approval = console.pause("failing", {"text": "x"})
    vote(console, "alice", approval).raise_for_status()
    found = until(console, approval["thread_id"], "failed")
    assert (found["health"], found["is_moving"]) == ("crashed", False)
    assert "Node Break once failed " in found["sentence"]
    assert "RuntimeError: The mail server is down." in found["sentence"]
    take(console, found, "retry")
    until(console, approval["thread_id"], "done")


def test_no_diagnosis_repeats_a_password(console: Console) -> None:
    approval = console.pause("leaking", {"text": "x"})
    vote(console, "alice", approval).raise_for_status()
    found = until(console, approval["thread_id"], "failed")
    told = json.dumps(found) + console.manage("diagnose_thread", approval["thread_id"], check=False).stdout
    assert "hunter2" not in told and "sk-12345678" not in told


def test_a_node_that_raised_outside_the_console_is_named(console: Console, database: str) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    assert outside.run(database, graphs.raising, thread_id, {"text": "x"}, graph_id="raising") == "RuntimeError"
    found = until(console, thread_id, "failed_outside")
    assert found["health"] == "crashed"
    assert "Break once failed in a run outside the console: RuntimeError" in found["sentence"]
    assert found["actions"][0]["action"] == "outside"
    assert outside.run(database, graphs.raising, thread_id, None) == ""
    until(console, thread_id, "done", "superseded")


# Poisoned


def test_an_answer_of_ours_that_a_node_failed_with_is_taken_back(console: Console) -> None:
    approval = console.pause("d_poisonable", {"amount": 1})
    thread_id = approval["thread_id"]
    vote(console, "alice", approval, "respond", answer="many").raise_for_status()
    found = until(console, thread_id, "poisoned")
    assert found["health"] == "poisoned"
    assert "An answer from the console is stored" in found["sentence"]
    assert "Strict int failed with it: TypeError: The number must be whole." in found["sentence"]
    assert [step["action"] for step in found["actions"]] == ["ask_again", "retry", "give_up"]
    take(console, found, "ask_again")
    decided(console, until(console, thread_id, "waiting"), "respond", answer=3)
    until(console, thread_id, "done")


@pytest.mark.full
def test_a_poisoned_run_that_was_given_up_can_still_be_asked_again(console: Console) -> None:
    approval = console.pause("d_poisonable", {"amount": 1})
    thread_id = approval["thread_id"]
    vote(console, "alice", approval, "respond", answer="many").raise_for_status()
    take(console, until(console, thread_id, "poisoned"), "give_up", place=2)
    found = diagnosis(console, thread_id)
    assert (found["health"], len(found["actions"])) == ("poisoned", 1)
    take(console, found, "ask_again")
    until(console, thread_id, "waiting")


@pytest.mark.full
def test_an_answer_of_somebody_else_that_a_node_failed_with_is_taken_back(console: Console, database: str) -> None:
    thread_id, answers = f"t-{uuid.uuid4()}", [{"amount": 1}, Command(resume="many")]
    assert outside.run(database, dialects.poisonable, thread_id, *answers, graph_id="d_poisonable") == "TypeError"
    found = until(console, thread_id, "poisoned")
    assert "An answer from somebody outside the console" in found["sentence"]
    take(console, found, "ask_again")
    decided(console, until(console, thread_id, "waiting"), "respond", answer=3)
    until(console, thread_id, "done")


# Somebody moved or removed it


def test_a_question_that_the_agent_dropped_is_superseded(console: Console, database: str) -> None:
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]
    assert outside.run(database, graphs.gated, thread_id, None) == ""
    found = until(console, thread_id, "superseded")
    assert found["health"] == "superseded"
    assert "before anybody decided “Act”" in found["sentence"]
    take(console, found, "start", place=1, assistant_id="gated", input={"text": "again"})
    until(console, thread_id, "breakpoint")


def test_deleted_checkpoints_are_told_and_the_thread_can_begin_anew(console: Console, database: str) -> None:
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]

    async def delete() -> None:
        async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(database))) as saver:
            await saver.adelete_thread(thread_id)

    asyncio.run(delete())
    found = until(console, thread_id, "deleted")
    assert found["health"] == "unknown"
    take(console, found, "start", assistant_id="gated", input={"text": "again"})
    until(console, thread_id, "breakpoint")


def test_a_cleaned_thread_says_so_and_another_can_be_made(console: Console) -> None:
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]
    with console.api("root") as root:
        root.request("DELETE", f"/threads/{thread_id}", json={"reason": "A test."}).raise_for_status()
    found = diagnosis(console, thread_id)
    assert (found["health"], found["kind"]) == ("done", "cleaned")
    take(console, found, "new_thread")


def test_a_thread_of_a_graph_that_nobody_knows_says_so(console: Console, database: str) -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(graphs.State)
    builder.add_node("nobody_knows", graphs.left)
    builder.add_edge(START, "nobody_knows")
    builder.add_edge("nobody_knows", END)
    thread_id, finished = f"t-{uuid.uuid4()}", f"t-{uuid.uuid4()}"
    outside.run(database, builder.compile(interrupt_before=["nobody_knows"]), thread_id, {"text": "x"})
    outside.run(database, builder.compile(), finished, {"text": "x"})
    found = until(console, finished, "done")
    assert (found["health"], found["sentence"].split(":")[0]) == ("done", "It has reached its end where it ran")
    with console.api("erin") as erin:
        assert erin.get(f"/threads/{finished}").json()["status"] == "idle"
    found = until(console, thread_id, "no_graph")
    assert (found["health"], found["actions"][0]["action"]) == ("unknown", "graph")
    assert found["actions"][1]["action"] == "clean"
    take(console, found, "clean", by="root", place=1, reason="A test.")
    assert diagnosis(console, thread_id)["kind"] == "cleaned"


def test_a_thread_that_moved_just_now_is_read_before_it_is_judged(console: Console, database: str) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    outside.run(database, graphs.gated, thread_id, {"text": "x"}, graph_id="gated")
    first = diagnosis(console, thread_id)
    assert first["kind"] in ("moved", "breakpoint")
    until(console, thread_id, "breakpoint")
    with console.api("olga") as olga:
        assert olga.get(f"/threads/{uuid.uuid4()}/diagnosis").status_code == 404


# Where it is told


def test_the_command_says_the_same_and_exits_with_what_it_comes_to(console: Console) -> None:
    waits = console.pause("gated", {"text": "x"})["thread_id"]
    done = console.start_run("typed", {"text": "x"})
    until(console, done, "done")
    plain = console.manage("diagnose_thread", waits, check=False)
    assert plain.returncode == 1 and plain.stdout.startswith("breakpoint: It has waited ")
    told = console.manage("diagnose_thread", done, "--json")
    assert json.loads(told.stdout) == diagnosis(console, done)
    nobody = console.manage("diagnose_thread", f"t-{uuid.uuid4()}", check=False)
    assert (nobody.returncode, "There is no such thread." in nobody.stderr) == (2, True)


def test_pages_show_the_health_and_the_steps_as_buttons_to_those_who_may(console: Console) -> None:
    approval = console.pause("failing", {"text": "x"})
    thread_id = approval["thread_id"]
    vote(console, "alice", approval).raise_for_status()
    until(console, thread_id, "failed")
    with pages(console, "olga") as olga, pages(console, "erin") as erin:
        page = olga.get(f"/threads/{thread_id}/").text
        assert 'data-health="crashed"' in page and "Why is it not moving?" in page
        assert "Node Break once failed " in page and 'id="retry"' in page and "chip-health-crashed" in page
        assert page.count('id="retry"') == page.count('id="give-up"') == 1
        listed = olga.get("/threads/", params={"q": thread_id}).text
        assert "chip-health-crashed" in listed and "Failed" in listed
        told = erin.get(f"/threads/{thread_id}/").text
        assert "Only reviewers, operators and admins decide how a stopped run goes on." in told


def test_a_list_of_threads_is_judged_with_as_many_queries_as_one(console: Console) -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from approvals.actions.threads import diagnosis as diagnose
    from approvals.models import Thread

    for _ in range(4):
        console.pause("gated", {"text": "x"})
    erin = User.objects.get(username="erin")
    diagnose.diagnose_all([], by=erin)  # a new connection says a word of its own
    counts = []
    for size in (1, 4):
        threads = list(Thread.objects.select_related("started_by").order_by("-updated_at")[:size])
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert len(diagnose.diagnose_all(threads, by=erin)) == size
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 8
