"""Each case of tests/cases starts, asks, is answered and ends as on plain LangGraph: same state, same effects.

Cases with a form are started on the start page of their graph, others in turn there and over the API; FULL=1: each in
both ways. Of many values for the same graph a third is tried; FULL=1: all.
"""

import html
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from agentcore.graphs.registry import CompiledGraph, load_graphs
from agentcore.plain.json import to_plain
from tests import scale, servers
from tests.cases.table import BIG, CASES, Case
from tests.console import Console, wait_for
from tests.dialects import did

pytestmark = pytest.mark.slow

LANGGRAPH_JSON = Path(__file__).parent.parent / "cases" / "langgraph.json"
PENDING = """
SELECT id, interrupt_id FROM approvals_approval WHERE thread_id = %s AND status = 'pending' ORDER BY created_at, id
"""
STANDS = "SELECT status FROM approvals_thread WHERE id = %s AND status IN ('idle', 'interrupted', 'error')"


@pytest.fixture(scope="module")
def console(database: str, redis: str, data_dir: Path) -> Iterator[Console]:
    folder = data_dir / "cases"
    folder.mkdir(exist_ok=True)
    env = {"LANGGRAPH_JSON": str(LANGGRAPH_JSON), "DATABASE_URL": servers.clone(), "DATA_DIR": str(folder)}
    running = Console({**env, "REDIS_URL": ""}).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def graphs() -> dict[str, CompiledGraph]:
    return load_graphs(LANGGRAPH_JSON)


@contextmanager
def page_of(console: Console, username: str) -> Iterator[httpx.Client]:
    """Sign in as a person, for pages."""
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as client:
        page = client.get(console.link(username))
        if "csrfmiddlewaretoken" in page.text:
            client.post(str(page.url), data={"csrfmiddlewaretoken": client.cookies["csrftoken"]})
        yield client


def without_ids(value: Any) -> Any:
    """Leave out the ids that LangGraph makes up for messages."""
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_message = {"type", "content"} <= value.keys()
    return {name: without_ids(item) for name, item in value.items() if not (is_message and name == "id")}


async def plainly(graph: CompiledGraph, case: Case) -> tuple[Any, Any]:
    """Run the case on LangGraph alone; return its last state and its effects."""
    own = graph.copy(update={"checkpointer": InMemorySaver(), "store": InMemoryStore()})
    thread_id = str(uuid.uuid4())
    configurable = case.more.get("config", {}).get("configurable", {})
    config: Any = {"configurable": {**configurable, "thread_id": thread_id}}
    # LangGraph's server makes the context of what is configurable, and the other way round.
    context = case.more.get("context") or configurable
    context = context if own.context_schema else None
    for given in case.inputs:
        await own.ainvoke(given, config, context=context)
        while True:
            state = await own.aget_state(config)
            if not state.next and not state.interrupts:
                break
            [first, *_] = state.interrupts or [None]
            answer = {first.id: case.says(first.value)} if first else None
            await own.ainvoke(Command(resume=answer) if answer else None, config, context=context)
    values = state.values if isinstance(state.values, dict) else {"__root__": state.values}
    return without_ids(json.loads(json.dumps(to_plain(values)))), did(thread_id, os.environ["DATA_DIR"])


def found(console: Console, query: str, thread_id: str) -> list[tuple[Any, ...]]:
    """Return the rows, once there are some."""
    with console.rows(query, thread_id) as rows:
        return wait_for(rows, what=f"{thread_id} to be listed")


def answer_all(console: Console, case: Case, thread_id: str) -> None:
    """Say what the case says, until the thread waits for nobody."""
    while found(console, STANDS, thread_id) == [("interrupted",)]:
        [[approval_id, interrupt_id], *_] = found(console, PENDING, thread_id)
        with console.api("alice") as alice:
            approval = alice.get(f"/approvals/{approval_id}").json()
            for part in (*approval["cut"], *approval["folded"]):
                alice.get(f"/approvals/{approval_id}/whole", params={"part": part}).raise_for_status()
            ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
            if interrupt_id:
                ballot |= {"verdict": "respond", "answer": case.says(approval["request"]["value"])}
            voted = alice.post(f"/approvals/{approval_id}/votes", json=ballot)
            assert voted.status_code < 300, voted.text
        console.run_of(approval_id, until=("finished", "paused", "failed", "held", "superseded"))
    assert found(console, STANDS, thread_id) == [("idle",)]


def start(console: Console, case: Case, thread_id: str, given: Any, *, is_first: bool = True) -> None:
    with console.api("olga") as olga:
        olga.post("/threads", json={"thread_id": thread_id, "if_exists": "do_nothing"}).raise_for_status()
        asked = {"assistant_id": case.graph, "input": given, **case.more}
        started = olga.post(f"/threads/{thread_id}/runs", json=asked)
        assert started.status_code < 300, started.text


def start_on_page(console: Console, case: Case, thread_id: str, given: Any, *, is_first: bool) -> None:
    typed = case.fields if case.fields is not None and is_first else {"input--mode": "json", "input": json.dumps(given)}
    with page_of(console, "olga") as olga:
        page = olga.get(f"/start/{case.graph}/")
        assert page.status_code == 200
        token = {"csrfmiddlewaretoken": olga.cookies["csrftoken"]}
        sent = olga.post(f"/start/{case.graph}/", data={**token, **typed, "thread_id": thread_id, "do": "start"})
        assert f"/threads/{thread_id}" in str(sent.url), sent.text


def ended(console: Console, case: Case, thread_id: str) -> tuple[Any, Any]:
    with console.api("erin") as erin:
        state = erin.get(f"/threads/{thread_id}/state").json()
    assert state["next"] == []
    return without_ids(state["values"]), did(thread_id, console.env["DATA_DIR"])


WITH_FIELDS = [case for case in CASES if case.fields is not None]
UNNAMED = [case for case in CASES if case.fields is None and not case.name]
NAMED = [case for case in CASES if case.fields is None and case.name]
"""The same graphs with other values."""
STARTS = [
    *((case, start_on_page) for case in WITH_FIELDS),
    *((case, start) for case in WITH_FIELDS if scale.IS_FULL),
    *scale.crossed(UNNAMED, (start, start_on_page)),
    *((case, start) for case in scale.share(NAMED, 0, of=3)),
]


@pytest.mark.parametrize(("case", "begin"), STARTS, ids=lambda each: str(getattr(each, "__name__", each)))
async def test_a_case_goes_as_on_langgraph_alone(
    console: Console, graphs: dict[str, CompiledGraph], case: Case, begin: Callable[..., None]
) -> None:
    thread_id = f"case-{uuid.uuid4()}"
    for place, given in enumerate(case.inputs):
        begin(console, case, thread_id, given, is_first=place == 0)
        answer_all(console, case, thread_id)
    assert ended(console, case, thread_id) == await plainly(graphs[case.graph], case)


def asked(console: Console, graph: str, given: Any) -> dict[str, Any]:
    """Start a thread and return the approval that it waits on."""
    case, thread_id = Case(graph, []), f"case-{uuid.uuid4()}"
    start(console, case, thread_id, given)
    return console.pending(thread_id)


@pytest.mark.parametrize(
    ("graph", "given", "title"),
    [
        ("asks_of_a_set", {}, "Question: “Which town?”"),
        ("asks_in_a_chat", {}, "Question: “How many of you?”"),
        ("big_in_inbox", BIG, "pay(order 9007199254740993, price 5.00, fee 0.10, after “{'z': 1, 'a': 2}”)"),
        ("odd_name", {"text": "a"}, 'human.review "x"'),
    ],
)
def test_a_title_is_for_people(console: Console, graph: str, given: Any, title: str) -> None:
    approval = asked(console, graph, given)
    assert approval["title"] == title
    assert "__type__" not in json.dumps(approval["actions"])


def test_a_node_keeps_its_name(console: Console) -> None:
    assert asked(console, "odd_name", {"text": "a"})["next"] == ['human.review "x"']


def test_a_value_that_postgresql_cannot_keep_is_told_in_plain_words(console: Console) -> None:
    thread_id = f"case-{uuid.uuid4()}"
    start(console, Case("nan", []), thread_id, {"title": "x"})
    assert found(console, STANDS, thread_id) == [("error",)]
    with console.api("erin") as erin:
        [run] = erin.get(f"/threads/{thread_id}/runs").json()
        told = {"the run": run["problem"]}
        told["wait"] = erin.get(f"/threads/{thread_id}/runs/{run['run_id']}/join").json()["__error__"]["message"]
        everything = str(run) + erin.get(f"/threads/{thread_id}").text + str(told)
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as browser:
        browser.get(console.link("erin")).raise_for_status()
        told["the page"] = html.unescape(browser.get(f"/threads/{thread_id}/").text)
    for where, text in told.items():
        assert "Here the channel nan holds NaN." in text and "PostgreSQL cannot keep NaN" in text, (where, text)
    for raw in ("parameter $", "InvalidTextRepresentation", "invalid input syntax", "unnamed portal", "CONTEXT"):
        assert raw not in everything + told["the page"], raw


@pytest.mark.parametrize(
    ("graph", "given", "path"),
    [
        ("takes_a_text", {"about": "cats"}, "input"),
        ("takes_a_list", "cats", "input"),
        ("joke", {"topc": "cats"}, "input/topc"),
        ("coerced", {"amount": "much"}, "input/amount"),
        ("big_at_gate", {"order": 2**64}, "input/order"),
    ],
)
def test_what_is_certainly_wrong_is_refused_on_both_doors(console: Console, graph: str, given: Any, path: str) -> None:
    thread_id = f"case-{uuid.uuid4()}"
    with console.api("olga") as olga:
        olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
        refused = olga.post(f"/threads/{thread_id}/runs", json={"assistant_id": graph, "input": given})
    assert refused.status_code == 422
    assert [fault["path"] for fault in refused.json()["error"]["detail"]["faults"]] == [path]
    with page_of(console, "olga") as olga:
        olga.get(f"/start/{graph}/")
        typed = {"input--mode": "json", "input": json.dumps(given), "do": "start", "thread_id": thread_id}
        page = olga.post(f"/start/{graph}/", data={"csrfmiddlewaretoken": olga.cookies["csrftoken"], **typed})
    assert page.status_code == 422
    assert "The input does not fit the graph." in page.text


def test_a_form_asks_for_what_is_needed_on_a_new_thread_and_for_nothing_later(console: Console) -> None:
    with page_of(console, "olga") as olga:
        for graph, needed in (("private", 1), ("joke", 0)):
            page = olga.get(f"/start/{graph}/").text
            assert page.count('aria-required="true"') == needed
        approval = asked(console, "private", {"message": "Hi."})
        page = olga.get("/start/private/", params={"thread_id": approval["thread_id"]}).text
        assert 'aria-required="true"' not in page


def test_a_graph_that_cannot_be_loaded_is_listed_and_stops_no_other(console: Console) -> None:
    with console.api("olga") as olga:
        broken = {each["id"]: each["problem"] for each in olga.get("/graphs/broken").json()}
        assert not broken.keys() & {each["id"] for each in olga.get("/graphs").json()}
    assert "LookupError: no model is configured" in broken["raising"]
    assert "JavaScript" in broken["in_javascript"]
    with page_of(console, "olga") as olga:
        assert "no model is configured" in olga.get("/start/").text


def test_a_node_finds_what_the_server_knows_of_the_run(console: Console) -> None:
    case, thread_id = Case("telling", [{}]), f"case-{uuid.uuid4()}"
    start(console, case, thread_id, {})
    answer_all(console, case, thread_id)
    known, told, info = ended(console, case, thread_id)[0]["log"]
    assert known == {"assistant_id": "telling", "graph_id": "telling", "thread_id": thread_id} | {
        "langgraph_auth_user_id": "olga"
    }
    assert told == {"identity": "olga", "item": "olga", "has_run": True}
    assert info == ["telling", "olga"]


@pytest.mark.parametrize(
    ("graph", "given", "said"),
    [
        ("f_key", {"config": {"configurable": {"user_id": "ana"}}}, "ana: yes"),
        ("f_both", {}, "both: yes"),
        ("f_metadata", {}, "f_metadata: yes"),
        ("f_without_gate", {}, "gated: yes"),
    ],
)
def test_a_factory_is_given_the_run_before_and_after_the_answer(
    console: Console, graph: str, given: Any, said: str
) -> None:
    case, thread_id = Case(graph, [], more=given), f"case-{uuid.uuid4()}"
    start(console, case, thread_id, {"topic": "x"})
    answer_all(console, case, thread_id)
    assert ended(console, case, thread_id)[0]["log"] == [said]


def test_a_factory_may_not_leave_out_a_gate_for_some_run(console: Console) -> None:
    case = Case("f_without_gate", [], more={"config": {"configurable": {"trusted": True}}})
    thread_id = f"case-{uuid.uuid4()}"
    start(console, case, thread_id, {"topic": "x"})
    assert found(console, STANDS, thread_id) == [("error",)]
    with console.api("erin") as erin:
        [run] = erin.get(f"/threads/{thread_id}/runs").json()
    assert (run["error"], "without the gate at ask_as" in run["problem"], run["steps"]) == ("OtherGraph", True, [])


def test_a_factory_that_opens_something_closes_it_after_each_run(console: Console) -> None:
    case, thread_id = Case("f_opening", []), f"case-{uuid.uuid4()}"
    start(console, case, thread_id, {"topic": "x"})
    answer_all(console, case, thread_id)
    # in, out when it was loaded and for the run that asked; then in for the run that answered.
    assert ended(console, case, thread_id)[0]["log"] == ["opened 5: yes"]


@pytest.mark.parametrize(
    ("graph", "given", "paths"),
    [
        ("with_context", {"context": {"model": 5}}, ["context/model"]),
        ("with_context", {"context": ["big"]}, ["context"]),
        *(
            ("by_config", {"config": {"configurable": {name: "x"}}}, [f"config/configurable/{name}"])
            for name in ("checkpoint_id", "__pregel_x", "countersign_decision", "langgraph_auth_user")
        ),
        ("by_config", {"config": {"recursion_limit": 0, "tags": "t"}}, ["config/recursion_limit", "config/tags"]),
        ("by_config", {"config": {"interrupt_before": []}}, ["config/interrupt_before"]),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused_by_path(
    console: Console, graph: str, given: Any, paths: list[str]
) -> None:
    thread_id = f"case-{uuid.uuid4()}"
    with console.api("olga") as olga:
        olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
        asked = {"assistant_id": graph, "input": {"topic": "x"}, **given}
        refused = olga.post(f"/threads/{thread_id}/runs", json=asked)
    assert refused.status_code == 422
    assert [fault["path"] for fault in refused.json()["error"]["detail"]["faults"]] == paths


def test_context_and_configurable_are_filled_in_on_the_start_page(console: Console) -> None:
    with page_of(console, "olga") as olga:
        page = olga.get("/start/with_context/").text
        assert 'value="small"' in page and "What the model is told." in page
        token = {"csrfmiddlewaretoken": olga.cookies["csrftoken"], "do": "start"}
        typed = {"input-topic": "x", "context-model": "big", "context-prompt": "Be brief."}
        sent = olga.post("/start/with_context/", data={**token, **typed})
        thread_id = str(sent.url).rstrip("/").rpartition("/")[2]
        assert console.pending(thread_id)["title"] == "Question: “big: publish x?”"
        typed = {"input-topic": "x", "configurable": '{"user_id": "ana"}'}
        sent = olga.post("/start/by_config/", data={**token, **typed})
        thread_id = str(sent.url).rstrip("/").rpartition("/")[2]
        assert console.pending(thread_id)["title"] == "Question: “As ana?”"
        refused = olga.post("/start/by_config/", data={**token, "configurable": '{"checkpoint_id": 1}'})
        assert refused.status_code == 422 and "set by the console" in refused.text


def test_a_thread_is_found_by_the_graph_that_ran_on_it(console: Console) -> None:
    approval = asked(console, "by_config", {"topic": "x"})
    with console.api("olga") as olga:
        for name in ("graph_id", "assistant_id"):
            found = olga.post("/threads/search", json={"metadata": {name: "by_config"}, "limit": 100}).json()
            assert approval["thread_id"] in {each["thread_id"] for each in found}
            assert {each["metadata"][name] for each in found} == {"by_config"}
        assert olga.post("/threads/search", json={"metadata": {"graph_id": "no_such"}}).json() == []


def test_what_one_thread_stores_another_finds(console: Console) -> None:
    for _ in range(2):
        case, thread_id = Case("by_get_store", []), f"case-{uuid.uuid4()}"
        start(console, case, thread_id, {"messages": []})
        answer_all(console, case, thread_id)
        assert ended(console, case, thread_id)[0]["messages"][-1]["content"] == "[{'n': 1}]"
    with console.rows("SELECT prefix, key, value FROM store WHERE prefix = 'kept'") as rows:
        assert rows() == [("kept", "it", {"n": 1})]


def test_a_page_shows_what_a_graph_stores(console: Console) -> None:
    case, thread_id = (
        Case("remembering", [], lambda payload: [{"type": "response", "args": "later"}]),
        f"t-{uuid.uuid4()}",
    )
    start(console, case, thread_id, {"email": {"subject": "A bill", "body": "Pay."}, "messages": []})
    answer_all(console, case, thread_id)
    with page_of(console, "erin") as erin:
        assert f"/threads/{thread_id}/store/" in erin.get(f"/threads/{thread_id}/").text
        listed = erin.get(f"/threads/{thread_id}/store/").text
        assert f"{thread_id} / triage" in listed and "learned later" not in listed
        here = {"namespace": json.dumps([thread_id, "triage"])}
        assert "learned later" in erin.get(f"/threads/{thread_id}/store/", params=here).text
        assert erin.get(f"/threads/{thread_id}/store/", params={"namespace": "{"}).status_code == 422


@pytest.mark.parametrize(
    ("graph", "given", "edits", "seen"),
    [
        ("big_at_gate", BIG, {"price": {"op": "set", "value": 4.5}}, {"got": [2**53 + 1, 4.5], "kind": "int"}),
        ("big_at_gate", BIG, {"order": {"op": "set", "value": 2**64 - 1}}, {"got": [2**64 - 1, 5.0], "kind": "int"}),
        (
            "in_order",
            {},
            {"deep": {"op": "set", "value": {"a": {"b": 3, "y": 1}, "z": 1}}},
            {"seen": '{"z": 1, "a": {"y": 1, "b": 3}}'},
        ),
    ],
)
def test_an_edit_at_a_gate_leaves_the_rest_exactly_as_it_was(
    console: Console, graph: str, given: Any, edits: Any, seen: dict[str, Any]
) -> None:
    approval = asked(console, graph, given)
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "edits": edits}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    assert console.run_of(approval["id"])["status"] == "finished"
    values = ended(console, Case(graph, []), approval["thread_id"])[0]
    assert {name: values[name] for name in seen} == seen
