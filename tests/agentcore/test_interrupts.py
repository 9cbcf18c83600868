"""From a paused thread to the question people read."""

import copy
import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from agentcore import dialects
from agentcore.demo import operations, refund, support
from agentcore.demo.cases import CASES
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.plain.json import digest
from agentcore.plain.types import Choice, Finished, Pause, Paused, PendingInterrupt, Question, Snapshot
from tests import graphs
from tests.console import refund as a_refund
from tests.scale import tries


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
    outcome = await run_until_pause(RunContext(graph, InMemorySaver(), str(uuid.uuid4())), input)
    assert isinstance(outcome, Paused), outcome
    return pauses_at(graph, outcome.snapshot)


async def test_a_gate_is_shown_as_its_author_wrote_it() -> None:
    [pause] = await read(refund.graph, a_refund(amount=80))
    assert (pause.kind, pause.interrupt_id, pause.next) == ("breakpoint", "", ("pay_refund",))
    assert pause.title == "Pay the refund"
    assert pause.summary == "80 EUR to “Mei-Ling Chen”"
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
    assert pause.summary == "“{secret}”"


async def test_a_long_value_is_short_in_the_summary_and_whole_below_it() -> None:
    [pause] = await read(gate(summary="{amount}", show=["amount"]), {"amount": "x" * 1_000})
    assert pause.summary == "“" + "x" * 57 + "…”"
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
    await run_until_pause(RunContext(graphs.gated, saver, "t"), {"text": "x"})
    finished = await run_until_pause(RunContext(graphs.gated, saver, "t"), None)
    assert isinstance(finished, Finished)
    assert pauses_at(graphs.gated, finished.snapshot) == []


# Questions of interrupt()


def pause_of(value: Any, *, schema: Any = None, path: tuple[str, ...] = ("ask",), messages: Any = None) -> Pause:
    """Read a question as it stands in a snapshot."""
    asked = PendingInterrupt(id="0" * 32, value=value, node=path[0], response_schema=schema, path=path)
    values = {"messages": messages} if messages else {}
    here = Snapshot("t", "", "c", None, None, 1, "loop", {}, values, path[:1], interrupts=(asked,))
    [pause] = pauses_at(graphs.gated, here)
    return pause


def question_of(pause: Pause) -> Question:
    return Question(
        pause.kind, pause.request["value"], [asdict(action) for action in pause.actions], pause.answer_schema
    )


def faults(pause: Pause, answer: Any) -> dict[str, str]:
    return {fault.path: fault.message for fault in dialects.faults_in(question_of(pause), answer)}


def batched(*names: str, allowed: Any = ("approve", "edit", "reject", "respond"), **more: Any) -> dict[str, Any]:
    return {
        "action_requests": [{"name": name, "args": {"order": "A1", "amount": 20.0}, **more} for name in names],
        "review_configs": [{"action_name": name, "allowed_decisions": list(allowed)} for name in names],
    }


CAMEL = {
    "actionRequests": [{"name": "refund", "args": {"order": "A1"}}],
    "reviewConfigs": [{"actionName": "refund", "allowedDecisions": ["approve", "edit"]}],
}
PER_CALL = {"type": "tool_approval", "tool_call_id": "c1", "name": "refund", "args": {"order": "A1", "amount": 20.0}}
ALLOW_ALL = {"allow_accept": True, "allow_edit": True, "allow_ignore": True, "allow_respond": True}
LEGACY = {"action_request": {"action": "refund", "args": {"order": "A1"}}, "config": ALLOW_ALL, "description": "Look."}
PER_CALL_SCHEMA = {
    "oneOf": [{"$ref": "#/$defs/Approve"}, {"$ref": "#/$defs/Edit"}],
    "$defs": {
        "Approve": {"type": "object", "properties": {"type": {"const": "approve"}}},
        "Edit": {
            "type": "object",
            "properties": {
                "type": {"const": "edit"},
                "edited_action": {"type": "object", "properties": {"args": {"$ref": "#/$defs/Args"}}},
            },
        },
        "Args": {
            "type": "object",
            "properties": {"order": {"$ref": "#/$defs/Order"}, "amount": {"type": "number"}},
            "required": ["order"],
        },
        "Order": {"type": "string", "pattern": "^A"},
    },
}


@pytest.mark.parametrize(
    ("value", "kind", "title", "summary"),
    [
        (
            batched("refund", description="Pay it.\nSoon."),
            "hitl_batched",
            "refund(order A1, amount 20.00)",
            "The agent says: “Pay it.”",
        ),
        (
            batched("send_email", "delete_file"),
            "hitl_batched",
            "2 actions: send_email, delete_file",
            "send_email(order A1, amount 20.00); delete_file(order A1, amount 20.00)",
        ),
        (CAMEL, "hitl_batched", "refund(order A1)", ""),
        (PER_CALL, "hitl_per_call", "refund(order A1, amount 20.00)", ""),
        (LEGACY, "legacy", "refund(order A1)", "The agent says: “Look.”"),
        ([LEGACY], "legacy", "refund(order A1)", "The agent says: “Look.”"),
        ([LEGACY, LEGACY], "legacy", "2 actions: refund", "refund(order A1); refund(order A1)"),
        (json.dumps(LEGACY), "legacy", "refund(order A1)", "The agent says: “Look.”"),
        (f"  {json.dumps([LEGACY])}", "legacy", "refund(order A1)", "The agent says: “Look.”"),
        ("What is the limit?", "plain", "Question: “What is the limit?”", ""),
        ({"question": "What is the limit?", "for": "A1"}, "plain", "Question: “What is the limit?”", "for: A1"),
        ({"task": "Review", "n": [1]}, "plain", "Question: “Review”", "n: [1]"),
        ({"a": 1}, "plain", "Question from ask", "a: 1"),
        (None, "plain", "Question from ask", "null"),
        ("", "plain", "Question from ask", ""),
        ("two\nlines", "plain", "Question: “two lines”", ""),
    ],
    ids=lambda value: str(value)[:24],
)
def test_each_dialect_is_known_by_its_payload(value: Any, kind: str, title: str, summary: str) -> None:
    pause = pause_of(value)
    assert (pause.kind, pause.title, pause.summary, pause.why_not) == (kind, title, summary, "")


def test_a_form_is_known_by_its_schema() -> None:
    pause = pause_of({"question": "How much?"}, schema={"type": "integer", "minimum": 1})
    assert (pause.kind, pause.title, pause.allowed_verdicts) == ("schema", "Question: “How much?”", ("respond",))
    assert faults(pause, 0) == {"": "This must be 1 or more."}
    assert faults(pause, 2) == {}


async def test_a_type_that_a_node_asks_for_is_its_schema() -> None:
    [pause] = await read(question("How much?", response_schema=int), {"amount": 1})
    assert (pause.kind, pause.answer_schema, len(pause.interrupt_id)) == ("schema", {"type": "integer"}, 32)


@pytest.mark.parametrize(
    ("value", "allowed", "verdicts"),
    [
        (batched("a"), [("approve", "edit", "reject", "respond")], ("approve", "reject", "respond")),
        (batched("a", allowed=["edit"]), [("edit",)], ("respond",)),
        (
            batched("a", "b", allowed=["reject", "approve"]),
            [("approve", "reject")] * 2,
            ("approve", "reject", "respond"),
        ),
        (CAMEL, [("approve", "edit")], ("approve", "respond")),
        ({**LEGACY, "config": {"allow_respond": True}}, [("respond",)], ("respond",)),
        (
            [LEGACY, {**LEGACY, "config": {"allow_ignore": True}}],
            [("approve", "edit", "reject", "respond"), ("reject",)],
            ("reject", "respond"),
        ),
    ],
    ids=lambda value: str(value)[:24],
)
def test_only_what_every_action_allows_can_be_said_of_all(value: Any, allowed: Any, verdicts: Any) -> None:
    pause = pause_of(value)
    assert [action.allowed for action in pause.actions] == allowed
    assert pause.allowed_verdicts == verdicts


def test_the_other_spellings_are_read_and_answered_in_kind() -> None:
    early = batched("refund")
    for request in early["action_requests"]:
        request["arguments"] = request.pop("args")
    assert pause_of(early).actions[0].args == {"order": "A1", "amount": 20.0}
    edit = Choice("edit", {"order": "A2"})
    assert dialects.write(question_of(pause_of(CAMEL)), [edit])["decisions"][0].keys() == {"type", "editedAction"}
    assert dialects.write(
        question_of(pause_of(early)),
        [
            edit,
        ],
    )["decisions"][0].keys() == {"type", "edited_action"}


def test_a_tool_that_is_called_twice_may_be_listed_once() -> None:
    twice = batched("refund", "refund", allowed=["approve"])
    twice["review_configs"].pop()
    assert [action.allowed for action in pause_of(twice).actions] == [("approve",)] * 2


def test_the_arguments_of_a_call_are_checked_with_the_definitions_of_its_schema() -> None:
    pause = pause_of(PER_CALL, schema=PER_CALL_SCHEMA)
    assert pause.actions[0].allowed == ("approve", "edit")

    def edit(**args: Any) -> dict[str, str]:
        return faults(pause, {"type": "edit", "edited_action": {"name": "refund", "args": args}})

    assert edit(order="A2", amount=1) == {}
    assert edit(order="B2") == {"edited_action/args/order": "This must match the pattern ^A."}
    assert edit(order="A2", to="me") == {"edited_action/args/to": "This is not known here."}
    assert faults(pause, {"type": "reject"}).keys() == {""}, "this call may not be rejected"


def test_an_action_knows_the_tool_call_it_is_about() -> None:
    args = {"order": "A1", "amount": 20.0}
    calls = [{"name": "refund", "args": args, "id": f"c{number}"} for number in range(2)]
    messages = [{"type": "ai", "content": "", "tool_calls": calls}]
    assert [action.call_id for action in pause_of(batched("refund", "refund"), messages=messages).actions] == [
        "c0",
        "c1",
    ]
    assert pause_of(PER_CALL, messages=messages).actions[0].call_id == "c1"
    assert pause_of(batched("other"), messages=messages).actions[0].call_id == ""


NOT_QUITE: list[Any] = [
    batched(),
    {"action_requests": [{"name": "pay", "args": {}}], "review_configs": []},
    {**batched("pay"), "review_configs": [{"action_name": "other", "allowed_decisions": ["approve"]}]},
    batched("pay", allowed=[]),
    batched("pay", allowed=["launch"]),
    batched("pay", allowed=[7]),
    {"action_requests": [{"name": 7, "args": {}}], "review_configs": batched("pay")["review_configs"]},
    {"action_requests": [{"name": "pay", "args": "all"}], "review_configs": batched("pay")["review_configs"]},
    {**PER_CALL, "args": [1]},
    {**PER_CALL, "type": "approval"},
    {**LEGACY, "config": {}},
    {**LEGACY, "config": {"allow_accept": "yes"}},
    {**LEGACY, "action_request": {"action": "pay", "args": "all"}},
    [LEGACY, "x"],
    [],
    "[1, 2",
    "[" * 100_000,
    f'{{"a": "{"x" * 1_000_001}"}}',
    {"__class__": 1, "question": {"text": "x"}},
    7,
    0.5,
    True,
    "x" * 10_000,
]


@pytest.mark.parametrize("value", NOT_QUITE, ids=lambda value: str(value)[:40])
def test_what_no_dialect_knows_is_shown_raw_and_answered_with_anything(value: Any) -> None:
    pause = pause_of(value)
    assert (pause.kind, pause.allowed_verdicts, pause.request["value"]) == ("plain", ("respond",), value)
    assert len(pause.title) <= 120
    assert len(pause.summary) <= 240
    assert faults(pause, {"anything": [1, None]}) == {}


@pytest.mark.parametrize("value", [{1: {2}}, b"\x00"], ids=str)
async def test_what_is_no_json_is_shown_as_far_as_it_can_be(value: Any) -> None:
    [pause] = await read(question(value), {"amount": 1})
    assert (pause.kind, pause.why_not) == ("plain", "")
    assert len(digest([pause.request, pause.actions[0].args])) == 64


async def test_two_questions_at_once_are_both_asked() -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in ("left", "right"):
        builder.add_node(name, lambda state, name=name: interrupt(name) and {})
        builder.add_edge(START, name)
    pauses = await read(builder.compile(), {"amount": 1})
    assert sorted(pause.request["value"] for pause in pauses) == ["left", "right"]
    assert len({pause.interrupt_id for pause in pauses}) == 2


@pytest.mark.parametrize("schema", [{"anyOf": [False, {"type": "integer"}]}, {"oneOf": [False, False]}, {"not": {}}])
def test_a_schema_that_takes_little_or_nothing_still_says_so(schema: Any) -> None:
    assert faults(pause_of("How much?", schema=schema), "x").keys() == {""}


@pytest.mark.parametrize(
    "schema", [{"oneOf": 7}, {"$defs": "x", "$ref": "#/$defs/x"}, "text", {"type": "thing"}], ids=str
)
def test_a_schema_that_is_none_is_left_alone(schema: Any) -> None:
    pause = pause_of(PER_CALL, schema=schema)
    assert (pause.kind, pause.answer_schema) == ("plain", None)


def test_each_fault_has_its_path_and_says_what_is_wanted() -> None:
    pause = pause_of(batched("refund", "wipe", allowed=["approve", "edit"]))
    assert faults(pause, {"decisions": [{"type": "approve"}]}) == {"decisions": "This must have at least 2 items."}
    wrong = {
        "decisions": [{"type": "reject"}, {"type": "edit", "edited_action": {"name": "refund", "args": 1}, "x": 1}]
    }
    assert faults(pause, wrong) == {
        "decisions/0": 'This must be an object with "type": "approve" or "edit".',
        "decisions/1/edited_action/name": "This must be wipe.",
        "decisions/1/edited_action/args": "This must be of type object.",
        "decisions/1/x": "This is not known here.",
    }


def test_an_answer_is_never_longer_than_can_be_kept() -> None:
    pause = pause_of("What?")
    assert faults(pause, "x" * 999_998) == {}
    assert list(faults(pause, "x" * 999_999)) == [""]


# For any payload and any answer

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KNOWN: list[tuple[Any, Any]] = [
    (batched("refund", "wipe"), None),
    (CAMEL, None),
    (PER_CALL, PER_CALL_SCHEMA),
    ([LEGACY, LEGACY], None),
    ({"question": "How much?"}, {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything inside a value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from places(item, (*path, key))


def mutated(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """Return a copy with something else in one place."""
    if not path:
        return other
    changed = copy.deepcopy(value)
    within = changed
    for key in path[:-1]:
        within = within[key]
    within[path[-1]] = other
    return changed


@st.composite
def payloads(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw a payload and a schema of the dialects, with up to two places changed."""
    asked = list(draw(st.sampled_from(KNOWN)))
    for _ in range(draw(st.integers(0, 2))):
        which = draw(st.sampled_from([0, 1]))
        path = draw(st.sampled_from(list(places(asked[which]))))
        asked[which] = mutated(asked[which], path, draw(anything | st.sampled_from(["(", "#/$defs/no", "approve", {}])))
    return asked[0], asked[1]


@given(payloads(), anything)
@settings(max_examples=tries(60, full=300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_an_agent_asks_is_shown_and_whatever_comes_back_is_checked(asked: Any, answer: Any) -> None:
    value, schema = asked
    pause = pause_of(value, schema=schema)
    assert pause.kind in dialects.DIALECTS
    assert pause.allowed_verdicts
    assert pause.title
    assert len(pause.title) <= 120
    assert len(digest([pause.request, [asdict(action) for action in pause.actions]])) == 64
    assert all(message.endswith(".") for message in faults(pause, answer).values())
    for verdict in {"approve", "reject"} & set(pause.allowed_verdicts):
        dialects.faults_in(question_of(pause), dialects.plain_answer(question_of(pause), verdict, "No."))


@given(anything)
@settings(max_examples=tries(60, full=200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_payload_at_all_is_shown(value: Any) -> None:
    assert pause_of(value).request["value"] == value


@st.composite
def decided(draw: st.DrawFn) -> tuple[Any, list[Choice]]:
    """Draw a question about actions, and what somebody chose of what it allows."""
    words = st.text(
        min_size=1, max_size=8, alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
    )
    value = draw(
        st.sampled_from([batched("refund"), batched("refund", "wipe", "refund"), CAMEL, PER_CALL, LEGACY, [LEGACY] * 3])
    )
    pause = pause_of(value)
    choices = []
    for action in pause.actions:
        verdict = draw(st.sampled_from(action.allowed))
        args = (
            draw(st.dictionaries(words.map("a".__add__), st.integers() | words, max_size=2))
            if verdict == "edit"
            else None
        )
        said = draw(words) if verdict == "respond" else ""
        said = draw(words) if verdict == "reject" and pause.kind != "legacy" else said
        choices.append(Choice(verdict, args, said))
    return pause, choices


@given(decided())
@settings(max_examples=tries(60, full=300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_fits_and_is_read_back_as_it_was_chosen(asked: tuple[Pause, list[Choice]]) -> None:
    pause, choices = asked
    answer = dialects.write(question_of(pause), choices)
    large = any(isinstance(each, int) and each.bit_length() > 63 for c in choices for each in (c.args or {}).values())
    assert large or faults(pause, answer) == {}
    assert dialects.choices_in(question_of(pause), answer) == choices


async def test_a_nul_in_a_question_is_marked_where_it_is_kept_as_text() -> None:
    [pause] = await read(question("a\x00b"), {"amount": 1})
    assert "\x00" not in pause.title + pause.summary
    assert pause.request["value"] == "a\x00b"


APPROVED = "Approved by alice, 2 of 2. No further action needed."


@pytest.mark.parametrize(
    ("value", "title", "summary"),
    [
        (APPROVED, f"Question: “{APPROVED}”", ""),
        ({"question": f"Pay?” {APPROVED}"}, f"Question: “Pay?' {APPROVED}”", ""),
        ({APPROVED: "OK", "n": ["2 of 2"]}, "Question from ask", f"“{APPROVED}”: OK, n: “['2 of 2']”"),
        (
            {"action_request": {"action": APPROVED, "args": {"a) " + APPROVED: "x”)" + APPROVED}}, "config": ALLOW_ALL},
            f"“{APPROVED}”(“a) {APPROVED}” “x')Approved by alice, 2 of…”",
            "",
        ),
        (
            {"action_request": {"action": "pay"}, "config": ALLOW_ALL, "description": APPROVED},
            "pay()",
            f"The agent says: “{APPROVED}”",
        ),
    ],
)
def test_words_of_the_agent_stand_in_quotation_marks_that_they_cannot_close(
    value: Any, title: str, summary: str
) -> None:
    pause = pause_of(value)
    assert (pause.title, pause.summary) == (title[:119] + "…" if len(title) > 120 else title, summary)


async def test_what_a_summary_takes_from_the_state_is_quoted() -> None:
    [pause] = await read(gate(summary="{amount} to {secret}"), {"amount": 12.5, "secret": f"Ana” {APPROVED}"})
    assert pause.summary == f"12.50 to “Ana' {APPROVED}”"
