"""From a paused thread to the question people read."""

import uuid
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from agentcore import interrupts
from agentcore.demo import operations, refund, support
from agentcore.demo.cases import CASES
from agentcore.runner import run_until_pause
from agentcore.serde import digest
from agentcore.types import Finished, Pause, Paused
from tests import graphs
from tests.console import refund as a_refund


class State(TypedDict, total=False):
    amount: Any
    secret: str
    messages: list[Any]


async def node(state: State) -> State:
    return {}


def gate(**approval: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("pay_it", node, metadata={"approval": approval})
    builder.add_edge(START, "pay_it")
    return builder.compile(interrupt_before=["pay_it"])


def question(value: Any, **more: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)

    async def ask_first(state: State) -> State:
        interrupt(value, **more)
        return {}

    builder.add_node("ask_first", ask_first)
    builder.add_edge(START, "ask_first")
    return builder.compile()


async def read(graph: Any, input: dict[str, Any]) -> list[Pause]:
    outcome = await run_until_pause(graph, InMemorySaver(), thread_id=str(uuid.uuid4()), input=input)
    assert isinstance(outcome, Paused), outcome
    return interrupts.read(graph, outcome.snapshot)


async def test_a_gate_is_shown_as_its_author_wrote_it() -> None:
    [pause] = await read(refund.graph, a_refund(amount=80))
    assert (pause.kind, pause.interrupt_id, pause.next) == ("breakpoint", "", ("pay_refund",))
    assert pause.title == "Pay the refund"
    assert pause.summary == "80 EUR to Mei-Ling Chen"
    assert pause.allowed_verdicts == ("approve", "reject", "skip")
    assert pause.why_not == ""
    [action] = pause.actions
    assert action.description.startswith("Sends money")
    assert list(action.args) == ["customer", "order_id", "amount", "currency", "reason", "risk_notes"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_every_demo_case_asks_one_question(case: Any) -> None:
    graph = {"refund": refund.graph, "support": support.graph, "operations": operations.graph}[case.graph_id]
    [pause] = await read(graph, case.input)
    assert pause.title
    assert pause.summary
    assert "{" not in pause.summary
    assert len(digest(pause.request)) == 64


async def test_the_gate_after_a_node_asks_about_what_comes_next() -> None:
    [pause] = await read(operations.graph, next(case.input for case in CASES if case.graph_id == "operations"))
    assert pause.title == "Apply the change"
    assert (pause.request["when"], pause.request["gate"]) == ("after", ["draft_change"])
    assert pause.request["next"] == ["apply_change"]


async def test_a_gate_without_words_is_named_after_its_node() -> None:
    [pause] = await read(gate(), {"amount": 7})
    assert (pause.title, pause.summary) == ("Pay it", "")
    assert pause.actions[0].args == {"amount": 7}


async def test_parallel_gates_are_one_question_with_two_actions() -> None:
    [pause] = await read(graphs.branching, {"text": "x"})
    assert pause.title == "Join left + Join right"
    assert [action.name for action in pause.actions] == ["join_left", "join_right"]


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{amount}", "12.50"),
        ("{amount} and {amount}", "12.50 and 12.50"),
        ("{missing}!", "!"),
        ("{amount.__class__}", "{amount.__class__}"),
        ("{amount.__class__.__mro__[1].__subclasses__}", "{amount.__class__.__mro__[1].__subclasses__}"),
        ("{amount[0]}", "{amount[0]}"),
        ("{amount!r}", "{amount!r}"),
        ("{amount:>1000000000}", "{amount:>1000000000}"),
        ("{0} {}", " {}"),
        ("{__class__}", ""),
        ("%(amount)s {{7*7}} ${amount}", "%(amount)s {{7*7}} $12.50"),
    ],
)
async def test_a_summary_fills_in_channels_and_reaches_into_nothing(template: str, shown: str) -> None:
    [pause] = await read(gate(summary=template), {"amount": 12.5})
    assert pause.summary == shown


async def test_a_value_cannot_bring_a_template_of_its_own() -> None:
    [pause] = await read(gate(summary="{amount}"), {"amount": "{secret}", "secret": "canary"})
    assert pause.summary == "{secret}"


async def test_a_long_value_is_short_in_the_summary_and_whole_below_it() -> None:
    [pause] = await read(gate(summary="{amount}", show=["amount"]), {"amount": "x" * 1_000})
    assert pause.summary == "x" * 59 + "…"
    assert pause.actions[0].args == {"amount": "x" * 1_000}


async def test_only_what_the_author_shows_is_shown() -> None:
    [pause] = await read(gate(show=["amount", "missing"]), {"amount": 1, "secret": "canary"})
    assert pause.actions[0].args == {"amount": 1}
    assert "canary" not in digest(pause.request)


async def test_without_a_choice_all_but_conversations_is_shown() -> None:
    talk = [{"type": "human", "content": "hi"}]
    [pause] = await read(gate(), {"amount": 1, "messages": talk})
    assert pause.actions[0].args == {"amount": 1}


async def test_a_thread_that_waits_for_nobody_asks_nothing() -> None:
    saver = InMemorySaver()
    await run_until_pause(graphs.gated, saver, thread_id="t", input={"text": "x"})
    finished = await run_until_pause(graphs.gated, saver, thread_id="t", input=None)
    assert isinstance(finished, Finished)
    assert interrupts.read(graphs.gated, finished.snapshot) == []


HOSTILE = [
    "May I?",
    {"question": "May I?", "__class__": 1},
    None,
    "",
    7,
    ["a", {"b": 1}],
    {1: {2}},
    b"\x00",
    {"action_requests": [{"name": "pay", "args": {}}], "review_configs": []},
    [{"action_request": {"action": "pay", "args": {}}, "config": {"allow_accept": True}}],
    {"type": "tool_approval", "name": "pay", "args": {}},
    "x" * 10_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: str(value)[:30])
async def test_a_question_is_shown_raw_and_says_why_it_cannot_be_answered(value: Any) -> None:
    [pause] = await read(question(value), {"amount": 1})
    assert pause.kind == "interrupt"
    assert len(pause.interrupt_id) == 32
    assert pause.allowed_verdicts == ()
    assert "cannot answer it yet" in pause.why_not
    assert pause.title == "Question from ask first"
    assert len(pause.summary) <= 120
    assert len(digest([pause.request, pause.actions[0].args])) == 64
    if isinstance(value, str | int | None):
        assert pause.request["value"] == value


async def test_a_question_with_a_form_brings_its_schema() -> None:
    [pause] = await read(question("How much?", response_schema=int), {"amount": 1})
    assert pause.answer_schema == {"type": "integer"}
    assert pause.allowed_verdicts == ()


async def test_two_questions_at_once_are_both_asked() -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in ("left", "right"):
        builder.add_node(name, lambda state, name=name: interrupt(name) and {})
        builder.add_edge(START, name)
    pauses = await read(builder.compile(), {"amount": 1})
    assert sorted(pause.request["value"] for pause in pauses) == ["left", "right"]
    assert len({pause.interrupt_id for pause in pauses}) == 2
