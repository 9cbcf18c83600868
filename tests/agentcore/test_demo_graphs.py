"""The demo graphs pause where they should, and leave one file when they went on."""

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy

from agentcore.demo import assistant, branches, desk, inbox, onboarding, operations, outbox, questions, refund, support
from agentcore.demo.cases import CASES, QUESTIONS, Case, in_turn, iter_cases
from agentcore.savers.memory import MemorySaver
from agentcore.savers.serializers import strict_serializer
from tests.scale import tries

ROOT = Path(__file__).parents[2]
GRAPHS: dict[str, Any] = {
    "support": support.graph,
    "refund": refund.graph,
    "operations": operations.graph,
}
ASKING: dict[str, Any] = {
    "assistant": assistant.graph,
    "desk": desk.graph,
    "inbox": inbox.graph,
    "onboarding": onboarding.graph,
    "questions": questions.graph,
    "branches": branches.graph,
}
HOSTILE_IDS = [
    "../../etc/passwd",
    "..",
    "/etc/passwd",
    "..\\..\\windows\\system32",
    "C:\\boot.ini",
    "x" * 10_000,
    "../" * 4_000,
    "with\0nul",
    "lone \udc80 surrogate",
    "line\nbreak; rm -rf ~",
    "日本語のスレッド",
    "CON",
    "",
]

Compiled = CompiledStateGraph[Any, Any, Any, Any]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEMO_PACE", "0")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))


def thread(thread_id: str = "t1") -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id}}


def saved(graph: Compiled) -> Compiled:
    return graph.copy(update={"checkpointer": MemorySaver(strict_serializer())})


def in_a_node(work: Callable[[RunnableConfig], Any], thread_id: str = "t1", *, times: int = 1) -> Any:
    """Call `work` in a node that runs, and runs again if told, and return what it returned last."""
    found: list[Any] = []

    def node(state: dict[str, Any], config: RunnableConfig) -> None:
        found.append(work(config))
        if len(found) < times:
            raise ConnectionError

    builder = StateGraph(dict)
    builder.add_node("node", node, retry_policy=RetryPolicy(initial_interval=0, jitter=False, max_attempts=times))
    builder.add_edge(START, "node")
    saved(builder.compile()).invoke({}, thread(thread_id))
    return found[-1]


def effects() -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in outbox.folder().glob("*.json")]


def a_refund(*, amount: float) -> dict[str, Any]:
    return {
        "order_id": "NL-48213",
        "customer": "Mei-Ling Chen",
        "reason": "The kettle leaks.",
        "amount": amount,
        "currency": "EUR",
    }


def a_mail(*, body: str, subject: str = "Question") -> dict[str, Any]:
    return {"ticket_id": "T-1", "customer": "Amara Okafor", "subject": subject, "body": body}


def a_change(request: str = "Scale to 12 replicas") -> dict[str, Any]:
    return {"request": request, "service": "checkout", "environment": "production"}


# Each case, from start to end


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_case_pauses_without_effect_then_ends_with_one(case: Case) -> None:
    async def story() -> None:
        graph = saved(GRAPHS[case.graph_id])
        await graph.ainvoke(case.input, thread(case.id))
        paused = await graph.aget_state(thread(case.id))
        assert paused.next in GATES[case.graph_id]
        assert paused.interrupts == ()
        assert effects() == []

        await graph.ainvoke(None, thread(case.id))
        ended = await graph.aget_state(thread(case.id))
        assert ended.next == ()
        [effect] = effects()
        assert effect["thread_id"] == case.id
        assert effect["reference"] == ended.values[REFERENCE[case.graph_id]]

    asyncio.run(story())


GATES = {
    "support": [("human_approval",)],
    "refund": [("pay_refund",), ("senior_desk",)],
    "operations": [("apply_change",)],
}
REFERENCE = {"support": "delivered", "refund": "reference", "operations": "applied"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_case_fits_the_start_form(case: Case) -> None:
    schema = GRAPHS[case.graph_id].get_input_jsonschema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(case.input, schema)
    assert set(case.input) == set(schema["properties"]) == set(schema["required"])


def test_the_cases_cover_both_sides_of_the_limit_and_every_graph() -> None:
    amounts = [case.input["amount"] for case in CASES if case.graph_id == "refund"]
    assert min(amounts) < refund.LIMIT < max(amounts)
    assert {case.graph_id for case in CASES} == set(GRAPHS)


def test_the_first_cases_of_the_demo_show_every_graph() -> None:
    assert {case.graph_id for case in iter_cases(16)} == {*GRAPHS, *ASKING}
    assert sorted(case.id for case in in_turn()) == sorted(case.id for case in [*CASES, *QUESTIONS])


COUNT = len(in_turn()) + tries(100, full=500)


def test_any_number_of_cases_has_as_many_ids() -> None:
    cases = list(iter_cases(COUNT))
    assert len({case.id for case in cases}) == COUNT
    assert cases[: len(in_turn())] == in_turn()
    schemas = {name: graph.get_input_jsonschema() for name, graph in {**GRAPHS, **ASKING}.items()}
    for case in cases:
        own = {"support": "ticket_id", "refund": "order_id", "questions": "incident_id"}.get(case.graph_id)
        assert own is None or case.input[own] == case.id
        jsonschema.validate(case.input, schemas[case.graph_id])


def test_changing_a_case_does_not_change_the_list() -> None:
    first = next(iter_cases(1))
    first.input["subject"] = "something else"
    assert CASES[0].input["subject"] != "something else"


# Refund


def test_an_amount_edited_below_the_limit_goes_to_payment() -> None:
    async def story() -> None:
        graph = saved(refund.graph)
        await graph.ainvoke(a_refund(amount=640), thread())
        assert (await graph.aget_state(thread())).next == ("senior_desk",)

        await graph.aupdate_state(thread(), {"amount": 80.0})
        assert (await graph.aget_state(thread())).next == ("pay_refund",)
        assert effects() == []

        values = await graph.ainvoke(None, thread())
        [payment] = effects()
        assert payment["amount"] == 80.0
        assert values["route"] == "paid"
        assert values["closing_note"].startswith("80.00 EUR")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("amount", "route", "kind"),
    [
        (99.99, "paid", "refund"),
        (100.0, "paid", "refund"),
        (100.01, "escalated", "escalation"),
        (float("nan"), "escalated", "escalation"),
    ],
)
def test_the_limit_itself_is_still_paid(amount: float, route: str, kind: str) -> None:
    async def story() -> None:
        graph = saved(refund.graph)
        await graph.ainvoke(a_refund(amount=amount), thread())
        values = await graph.ainvoke(None, thread())
        assert values["route"] == route
        assert values["reference"].startswith(f"{kind}-")

    asyncio.run(story())


def test_nobody_may_ask_for_a_limit_of_their_own() -> None:
    async def story() -> None:
        graph = saved(refund.graph)
        await graph.ainvoke({**a_refund(amount=640), "limit": 10_000.0}, thread())
        paused = await graph.aget_state(thread())
        assert paused.values["limit"] == refund.LIMIT
        assert paused.next == ("senior_desk",)

    asyncio.run(story())


def test_a_text_that_gives_orders_is_noted() -> None:
    [case] = [case for case in CASES if case.id == "FR-33906"]
    assert len(refund.notes(refund.Input(**case.input))) == 4  # type: ignore[typeddict-item]


# Support


@pytest.mark.parametrize(
    ("body", "category", "risk", "finding"),
    [
        ("Someone has stolen my card.", "fraud", "high", "Asks for security details"),
        ("I wish to complain.", "complaint", "high", "complaint-rights"),
        ("Which fund should I invest in?", "investment", "medium", "Promises a return"),
        ("Move it to account GB29 NWBK 6016 1331 9268 19.", "account", "medium", "Repeats"),
        ("A pipe burst in our flat.", "claim", "low", None),
        ("Are you open on Saturday?", "general", "low", None),
    ],
)
def test_the_draft_is_classified_and_checked(body: str, category: str, risk: str, finding: str | None) -> None:
    async def story() -> None:
        values = await saved(support.graph).ainvoke(a_mail(body=body), thread())
        assert (values["category"], values["risk"]) == (category, risk)
        assert finding is None or any(finding in found for found in values["compliance"])
        assert bool(finding) == bool(values["compliance"])

    asyncio.run(story())


def test_the_edited_draft_is_the_one_delivered() -> None:
    async def story() -> None:
        graph = saved(support.graph)
        await graph.ainvoke(a_mail(body="Which fund should I invest in?"), thread())
        await graph.aupdate_state(thread(), {"draft": "Let us talk on the phone."})
        assert (await graph.aget_state(thread())).next == ("human_approval",)

        values = await graph.ainvoke(None, thread())
        question, answer = values["messages"]
        assert isinstance(question, HumanMessage)
        assert isinstance(answer, AIMessage)
        assert answer.content == "Let us talk on the phone."
        assert [effect["text"] for effect in effects()] == ["Let us talk on the phone."]

    asyncio.run(story())


def test_a_rejected_reply_is_never_sent() -> None:
    async def story() -> None:
        graph = saved(support.graph)
        await graph.ainvoke(a_mail(body="Are you open on Saturday?"), thread())
        await graph.aupdate_state(thread(), None, as_node=END)
        assert (await graph.aget_state(thread())).next == ()
        assert effects() == []

    asyncio.run(story())


# Operations


def test_the_change_waits_after_the_draft() -> None:
    async def story() -> None:
        graph = saved(operations.graph)
        await graph.ainvoke(a_change(), thread())
        paused = await graph.aget_state(thread())
        assert paused.next == ("apply_change",)
        assert "--replicas=12" in paused.values["plan"][0]
        assert (paused.values["applied"], paused.values["verified"]) == (None, False)

    asyncio.run(story())


def test_an_edited_plan_replaces_the_drafted_one() -> None:
    async def story() -> None:
        graph = saved(operations.graph)
        await graph.ainvoke(a_change(), thread())
        await graph.aupdate_state(thread(), {"plan": ["do nothing"]})
        assert (await graph.aget_state(thread())).next == ("apply_change",)
        values = await graph.ainvoke(None, thread())
        [change] = effects()
        assert change["plan"] == ["do nothing"]
        assert values["verified"] is True

    asyncio.run(story())


@pytest.mark.parametrize("book", operations.PLAYBOOKS, ids=lambda book: book.words or "restart")
def test_every_playbook_can_be_filled_in(book: operations.Playbook) -> None:
    state: Any = a_change("{service} {0} 7 pods")
    for step in operations.fill_in(book.plan + book.rollback, state):
        assert "{" not in step
        assert "checkout" in step


# What the console reads from the graphs


def test_the_langgraph_file_names_every_graph() -> None:
    listed = json.loads((ROOT / "langgraph.json").read_text("utf-8"))
    assert listed["dependencies"] == ["."]
    assert set(listed["graphs"]) == {*GRAPHS, *ASKING}
    for target in listed["graphs"].values():
        path, name = target.split(":")
        spec = importlib.util.spec_from_file_location("from_the_file", ROOT / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert isinstance(getattr(module, name), CompiledStateGraph)


KEYS = {"title", "description", "summary", "show", "headline", "detail", "amount", "currency", "customer", "risk"}


def test_every_gate_says_what_is_being_approved() -> None:
    for graph in GRAPHS.values():
        gated = {*graph.interrupt_before_nodes, *graph.interrupt_after_nodes}
        for name in gated | ({"apply_change"} & set(graph.nodes)):
            assert {"title", "description", "summary", "show"} <= set(graph.nodes[name].metadata["approval"]) <= KEYS


def test_every_node_that_asks_says_what_for() -> None:
    """The agents of create_agent cannot: their middleware writes the words."""
    asks = {"inbox": "review", "onboarding": "ask_details", "questions": "tell_customers", "branches": "budget"}
    for name, node in asks.items():
        assert {"title", "description", "summary", "show"} <= set(ASKING[name].nodes[node].metadata["approval"]) <= KEYS


def test_every_field_of_the_start_form_has_a_label() -> None:
    for graph in [*GRAPHS.values(), *ASKING.values()]:
        for field in graph.get_input_jsonschema()["properties"].values():
            assert field["title"]
            assert field.get("description") or field.get("enum")


def test_the_strict_serializer_brings_everything_back() -> None:
    events: list[SerdeEvent] = []
    graphs = {case.id: saved(GRAPHS[case.graph_id]) for case in CASES}  # a new saver tries whether types are blocked
    stop = register_serde_event_listener(events.append)

    async def story() -> None:
        for case in CASES:
            graph = graphs[case.id]
            await graph.ainvoke(case.input, thread(case.id))
            values = await graph.ainvoke(None, thread(case.id))
            loaded = (await graph.aget_state(thread(case.id))).values
            assert loaded == values
            assert all(isinstance(message, HumanMessage | AIMessage) for message in loaded.get("messages", []))
            assert len([step async for step in graph.aget_state_history(thread(case.id))]) > 4

    try:
        asyncio.run(story())
    finally:
        stop()
    assert events == []


@pytest.mark.slow
def test_agentcore_demo_does_without_django() -> None:
    names = ", ".join(f"agentcore.demo.{name}" for name in ["cases", *GRAPHS, *ASKING])
    code = f"import sys, {names}; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Outbox


@pytest.mark.parametrize("thread_id", HOSTILE_IDS, ids=lambda text: ascii(text[:20]))
def test_no_thread_id_leaves_the_outbox(thread_id: str, tmp_path: Path) -> None:
    reference = in_a_node(lambda config: outbox.record("refund", {"amount": 1}, config=config), thread_id)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.parent for path in files] == [tmp_path / "outbox"]
    assert files[0].resolve().is_relative_to((tmp_path / "outbox").resolve())
    assert len(files[0].name) < 120
    assert files[0].name.endswith(f"{reference.removeprefix('refund-')}.json")
    assert effects()[0]["thread_id"] == thread_id


def test_two_effects_of_a_node_are_two_files() -> None:
    first, second = in_a_node(lambda config: [outbox.record("refund", {"n": n}, config=config) for n in (1, 2)])
    assert first != second
    assert {effect["reference"] for effect in effects()} == {first, second}


def test_a_node_that_runs_again_finds_its_file_and_leaves_it_as_it_is() -> None:
    amounts = iter([1, 2])
    reference = in_a_node(lambda config: outbox.record("refund", {"amount": next(amounts)}, config=config), times=2)
    [effect] = effects()
    assert (effect["reference"], effect["amount"]) == (reference, 1)


def test_the_effect_says_which_thread_and_when() -> None:
    body = {"text": "Grüße", "thread_id": "forged", "at": "forged", "reference": "forged"}
    reference = in_a_node(lambda config: outbox.record("mail", body, config=config), "t-7")
    [effect] = effects()
    assert effect["text"] == "Grüße"
    assert effect["thread_id"] == "t-7"
    assert effect["reference"] == reference
    assert effect["at"].endswith("+00:00")


def test_no_half_written_file_is_left(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        in_a_node(lambda config: outbox.record("mail", {"text": object()}, config=config))
    in_a_node(lambda config: outbox.record("mail", {"text": "good"}, config=config))
    assert [path.suffix for path in (tmp_path / "outbox").iterdir()] == [".json"]


def test_the_pace_is_read_at_each_node(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("agentcore.demo.outbox.asyncio.sleep", sleep)
    monkeypatch.setenv("DEMO_PACE", "0")
    asyncio.run(outbox.think())
    monkeypatch.setenv("DEMO_PACE", "1.5")
    asyncio.run(outbox.think())
    monkeypatch.delenv("DEMO_PACE")
    asyncio.run(outbox.think())
    assert slept == [0, 1.5, 0.6]
