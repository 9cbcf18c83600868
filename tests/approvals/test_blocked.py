"""A thread that holds types nobody allowed: everyone is told, nobody can edit it, and it can still be decided."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console import ROOT, Console, wait_for
from tests.graphs import times_run
from tests.holding import Declared, Foreign, State, agent_holds
from tests.voting import change_question

NAME = f"{Foreign.__module__}.{Foreign.__qualname__}"
SENTENCE = f"The state holds {NAME}, not built here: the graph's nodes would get bare data instead"
EDIT = {"text": {"op": "set", "value": "y"}}


def held(database: str, input: State) -> str:
    thread_id = f"t-{uuid.uuid4()}"
    asyncio.run(agent_holds(database, thread_id, input))
    return thread_id


@pytest.fixture(scope="module")
def waiting(console: Console, database: str) -> dict[str, dict[str, Any]]:
    """Threads that hold an object of a type their graph declares and one of a type it does not; `fine` has no such."""
    both: State = {"declared": Declared(1), "anything": {"order": Foreign(7)}}
    names = ("asked", "approve", "reject", "skip", "before")
    threads = {name: held(database, both) for name in names} | {"fine": held(database, {"declared": Declared(1)})}
    return {name: console.pending(thread_id) for name, thread_id in threads.items()}


@pytest.fixture
def asked(waiting: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return waiting["asked"]


@contextmanager
def pages(console: Console, username: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as client:
        signed_in = client.get(console.link(username), follow_redirects=False)  # not on to the queue: it is long
        assert signed_in.status_code == 302
        yield client


def test_the_api_says_which_types_and_how_to_allow_them(console: Console, asked: dict[str, Any]) -> None:
    with console.api("alice") as alice:
        path = f"/threads/{asked['thread_id']}"
        answers = [asked, alice.get(path).json(), alice.get(f"{path}/state").json()]
        answers += alice.post(f"{path}/history").json()[:1]
    for answer in answers:
        assert answer["blocked"] == [NAME]
        assert SENTENCE in answer["notice"]
        assert "allowed_msgpack_modules" in answer["notice"]
        assert "allowed_msgpack_modules in langgraph.json" in answer["notice"]
        values = answer["state"] if "state" in answer else answer["values"]
        assert values["anything"] == {"order": {"__type__": NAME, "value": {"total": 7}}}
        assert values["declared"]["__type__"].endswith(".Declared")


def test_the_pages_say_it_and_offer_no_editor(console: Console, asked: dict[str, Any]) -> None:
    with pages(console, "alice") as alice:
        approval = alice.get(f"/approvals/{asked['id']}/").text
        thread = alice.get(f"/threads/{asked['thread_id']}/").text
        listed = alice.get("/threads/", params={"q": asked["thread_id"]}).text
        history = alice.get(f"/threads/{asked['thread_id']}/history/").text
    told = SENTENCE.replace("'", "&#x27;")
    for page in (approval, thread, listed, history):
        assert told in page
    assert 'id="blocked"' in approval
    assert 'id="edit-form"' not in approval
    assert f'id="edit-open" disabled title="{told}' in approval
    assert 'id="approve"' in approval
    assert 'id="reject-form"' in approval


def test_a_thread_of_allowed_types_says_nothing(console: Console, waiting: dict[str, dict[str, Any]]) -> None:
    asked = waiting["fine"]
    assert (asked["blocked"], asked["notice"]) == ([], "")
    with pages(console, "alice") as alice:
        approval = alice.get(f"/approvals/{asked['id']}/").text
        assert 'id="blocked"' not in approval
        assert 'id="edit-form"' in approval
        assert 'id="blocked"' not in alice.get(f"/threads/{asked['thread_id']}/").text


@pytest.mark.parametrize("verdict", ["approve", "skip", "preview"])
def test_an_edit_is_refused_with_that_sentence(console: Console, asked: dict[str, Any], verdict: str) -> None:
    path = f"/approvals/{asked['id']}"
    with console.api("root" if verdict == "skip" else "alice") as voter:
        if verdict == "preview":
            answer = voter.post(f"{path}/preview", json={"edits": EDIT})
        else:
            ballot = {"verdict": verdict, "seen_digest": asked["digest"], "edits": EDIT}
            answer = voter.post(f"{path}/votes", json=ballot)
        after = voter.get(path).json()
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "invalid_edit"
    assert answer.json()["error"]["message"] == asked["notice"]
    assert answer.json()["error"]["detail"]["faults"] == [{"path": "", "message": asked["notice"]}]
    assert (after["status"], after["votes"]) == ("pending", [])


def test_an_edit_is_refused_to_people_who_have_voted_before(console: Console, waiting: dict[str, Any]) -> None:
    """Votes without an idempotency key are not one vote that is sent again and again."""
    before, asked = waiting["before"], waiting["asked"]
    with console.api("alice") as alice:
        ballot = {"verdict": "reject", "seen_digest": before["digest"], "comment": "no"}
        alice.post(f"/approvals/{before['id']}/votes", json=ballot).raise_for_status()
        ballot = {"verdict": "approve", "seen_digest": asked["digest"], "edits": EDIT}
        assert alice.post(f"/approvals/{asked['id']}/votes", json=ballot).status_code == 422


def test_the_console_knows_it_without_asking_a_worker(console: Console, waiting: dict[str, dict[str, Any]]) -> None:
    """The worker, here, would find nothing wrong."""
    fine = waiting["fine"]
    with console.api("alice") as alice:
        for blocked, status in ([NAME], 422), ([], 200):
            change_question(fine, blocked=blocked)
            assert alice.post(f"/approvals/{fine['id']}/preview", json={"edits": EDIT}).status_code == status


def test_the_page_refuses_an_edit_too(console: Console, asked: dict[str, Any]) -> None:
    with pages(console, "alice") as alice:
        page = alice.get(f"/approvals/{asked['id']}/").text
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form = {"csrfmiddlewaretoken": token, "mode": "json", "raw": json.dumps(EDIT), "do": "preview"}
        refused = alice.post(f"/approvals/{asked['id']}/preview/", data=form)
    assert refused.status_code == 422
    assert SENTENCE.replace("'", "&#x27;") in refused.text


@pytest.mark.parametrize(("verdict", "ran", "text"), [("approve", 1, "Declared dict"), ("reject", 0, "held")])
def test_it_can_be_approved_or_rejected_as_it_is(
    console: Console, waiting: dict[str, dict[str, Any]], data_dir: Path, verdict: str, ran: int, text: str
) -> None:
    asked = waiting[verdict]
    with console.api("alice") as alice:
        ballot = {"verdict": verdict, "seen_digest": asked["digest"], "comment": "as it is"}
        alice.post(f"/approvals/{asked['id']}/votes", json=ballot).raise_for_status()
        assert console.run_of(asked["id"])["status"] == "finished"
        state = alice.get(f"/threads/{asked['thread_id']}/state").json()
    assert state["values"]["text"] == text
    assert times_run(data_dir, asked["thread_id"], "release") == ran


def test_a_node_can_be_skipped_as_it_is(console: Console, waiting: dict[str, dict[str, Any]]) -> None:
    asked = waiting["skip"]
    with console.api("root") as root:
        ballot = {"verdict": "skip", "seen_digest": asked["digest"]}
        root.post(f"/approvals/{asked['id']}/votes", json=ballot).raise_for_status()
    assert console.run_of(asked["id"])["status"] == "finished"


def langgraph_json(folder: Path, *graphs: str, allowed: list[list[str]] | None = None) -> str:
    entry: Any = {"path": "tests.holding:graph", "allowed_msgpack_modules": allowed or []}
    all_graphs = {"holding": entry, "refund": f"{ROOT}/agentcore/demo/refund.py:graph"}
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {name: all_graphs[name] for name in graphs}}))
    return str(path)


def test_who_corrects_langgraph_json_and_starts_again_can_edit(
    own_console: Callable[..., Console], tmp_path: Path
) -> None:
    """First no graph fits, then its type is not allowed, then all is well; the thread itself never moves."""
    console = own_console(LANGGRAPH_JSON=langgraph_json(tmp_path, "refund")).start()
    thread_id = held(console.env["DATABASE_URL"], {"anything": Foreign(7), "text": "x"})
    with console.api("alice") as alice:
        thread = wait_for(lambda: seen(alice, thread_id), what="the thread to be listed")
        assert thread["graph_id"] == ""
        assert "Its metadata names the graph holding, which is not here. No graph here fits it." in thread["problem"]
        assert thread["values"] == {"anything": {"__type__": NAME, "value": {"total": 7}}, "text": "held"}
        assert thread["next"] == []
        assert alice.get("/approvals", params={"thread_id": thread_id}).json()["items"] == []
        assert alice.get(f"/threads/{thread_id}/state").json()["values"] == thread["values"]
    with pages(console, "alice") as alice:
        page = alice.get(f"/threads/{thread_id}/").text
        assert "<dt>Next</dt><dd>unknown</dd>" in page
        assert NAME in page
        assert "Outside Countersign" in alice.get(f"/threads/{thread_id}/history/").text
    console.stop()

    langgraph_json(tmp_path, "refund", "holding")
    console.start()
    approval = console.pending(thread_id)
    assert approval["blocked"] == [NAME]
    console.stop()

    langgraph_json(tmp_path, "refund", "holding", allowed=[["tests.holding", "Foreign"]])
    console.start()
    with console.api("alice") as alice:
        path = f"/approvals/{approval['id']}"
        allowed = wait_for(lambda: (now := alice.get(path).json())["blocked"] == [] and now, what="another look")
        assert allowed["digest"] == approval["digest"]
        assert allowed["opaque"] == ["anything"]
        alice.post(f"{path}/preview", json={"edits": EDIT}).raise_for_status()
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "edits": EDIT}
        alice.post(f"{path}/votes", json=ballot).raise_for_status()
        console.run_of(approval["id"])
        state = alice.get(f"/threads/{thread_id}/state").json()
    assert state["values"]["text"] == "NoneType Foreign"


def seen(client: httpx.Client, thread_id: str) -> Any:
    found = client.get(f"/threads/{thread_id}")
    return found.json() if found.status_code == 200 and found.json()["checkpoint_id"] else None
