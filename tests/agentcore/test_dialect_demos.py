"""The demo agents that ask: each pauses in its own dialect, and does exactly what it was answered."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.types import Command, Interrupt
from pydantic import ValidationError

from agentcore import effect_key
from agentcore.demo import assistant, branches, desk, inbox, model, onboarding, outbox, questions
from agentcore.demo.cases import QUESTIONS, Case
from agentcore.graphs.allowlist import declared_types
from agentcore.savers.memory import MemorySaver
from agentcore.savers.opening import open_checkpointer
from agentcore.savers.serializers import strict_serializer

GRAPHS: dict[str, Any] = {
    "assistant": assistant.graph,
    "desk": desk.graph,
    "inbox": inbox.graph,
    "onboarding": onboarding.graph,
    "questions": questions.graph,
    "branches": branches.graph,
}
APPROVE = {"type": "approve"}
REJECT = {"type": "reject"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEMO_PACE", "0")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for key, _, _ in model.PROVIDERS:
        monkeypatch.delenv(key, raising=False)


class Talk:
    """A thread, asked and answered as LangGraph has it."""

    def __init__(self, case_id: str, saver: Any = None) -> None:
        self.case = case(case_id)
        graph = GRAPHS[self.case.graph_id]
        saver = saver or MemorySaver(strict_serializer(declared_types(graph)))
        self.graph = graph.copy(update={"checkpointer": saver})
        self.config: RunnableConfig = {"configurable": {"thread_id": case_id, "__pregel_strict_resume": True}}

    async def start(self) -> list[Interrupt]:
        return await self._go(self.case.input)

    async def answer(self, *answers: tuple[Interrupt, Any]) -> list[Interrupt]:
        return await self._go(Command(resume={asked.id: answer for asked, answer in answers}))

    async def _go(self, input: Any) -> list[Interrupt]:
        await self.graph.ainvoke(input, self.config)
        return list((await self.graph.aget_state(self.config)).interrupts)

    async def values(self) -> dict[str, Any]:
        return dict((await self.graph.aget_state(self.config)).values)

    async def next(self) -> tuple[str, ...]:
        return tuple((await self.graph.aget_state(self.config)).next)

    async def said(self) -> str:
        return str((await self.values())["messages"][-1].text)


def case(case_id: str) -> Case:
    return next(each for each in QUESTIONS if each.id == case_id)


def effects() -> list[dict[str, Any]]:
    paths = sorted(outbox.folder().glob("*.json"))
    return [{"kind": path.name.split("-")[0], **json.loads(path.read_text("utf-8"))} for path in paths]


def kinds() -> list[str]:
    return [effect["kind"] for effect in effects()]


# Every case


@pytest.mark.parametrize("case", QUESTIONS, ids=lambda case: case.id)
async def test_each_case_asks_before_it_does_anything(case: Case) -> None:
    asked = await Talk(case.id).start()
    assert asked
    assert effects() == []


@pytest.mark.parametrize("case", QUESTIONS, ids=lambda case: case.id)
def test_each_case_fits_the_start_form(case: Case) -> None:
    schema = GRAPHS[case.graph_id].get_input_jsonschema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(case.input) == set(schema["required"])
    jsonschema.validate(case.input, schema)


def test_langchain_s_own_schema_refuses_what_every_agent_takes() -> None:
    """A message as a user writes it must be exactly one of twelve kinds, and fits eight: so the demo has its own."""
    schema = create_agent(model.chat_model(desk.script)).get_input_jsonschema()
    with pytest.raises(jsonschema.ValidationError, match="is valid under each of"):
        jsonschema.validate(case("DAY-40131").input, schema)


def test_there_is_a_case_of_each_graph_among_the_first() -> None:
    assert {case.graph_id for case in QUESTIONS[: len(GRAPHS)]} == set(GRAPHS)


@pytest.fixture
def blocked() -> Iterator[list[SerdeEvent]]:
    """Types that were not allowed while a checkpoint was read."""
    events: list[SerdeEvent] = []
    stop = register_serde_event_listener(events.append)
    yield events
    stop()


@pytest.mark.parametrize("case", QUESTIONS, ids=lambda case: case.id)
async def test_nothing_in_the_checkpoints_is_of_a_type_that_is_not_allowed(
    case: Case, tmp_path: Path, blocked: list[SerdeEvent]
) -> None:
    """From the first question to the end, each step read back from a file."""
    allowed = declared_types(GRAPHS[case.graph_id])
    async with open_checkpointer(f"sqlite:///{tmp_path}/checkpoints.db", allowed_modules=allowed) as saver:
        blocked.clear()  # opening it tries whether types are blocked
        talk = Talk(case.id, saver)
        asked = await talk.start()
        while asked:
            asked = await talk.answer((asked[0], yes_to(case.graph_id, asked[0])))
        assert await talk.next() == ()
        steps = [step async for step in talk.graph.aget_state_history(talk.config)]
    assert len(steps) > 3
    assert blocked == []
    assert effects()


def yes_to(graph_id: str, asked: Interrupt) -> Any:
    """An answer that lets the agent go on."""
    schema = asked.response_schema
    match graph_id, asked.value:
        case "assistant" | "branches", {"action_requests": requests} | {"actionRequests": requests}:
            return {"decisions": [APPROVE for _ in requests]}
        case "desk", _:
            return APPROVE
        case "inbox", _:
            return [{"type": "accept", "args": None}]
        case "onboarding", _:
            return supplier()
        case _:
            return {"kind": "voucher", "amount": 15} if schema else "as you think best"


# assistant: one question for a turn


async def test_the_calls_of_a_turn_are_one_question() -> None:
    [asked] = await Talk("DAY-40117").start()
    requests, configs = asked.value["action_requests"], asked.value["review_configs"]
    assert [request["name"] for request in requests] == ["schedule_meeting", "send_email", "delete_file"]
    assert requests[0]["args"]["minutes"] == 45
    assert requests[0]["args"]["day"] == "2027-03-11"
    assert requests[2]["description"].startswith("Deletes the file for everybody")
    assert [(config["action_name"], config["allowed_decisions"]) for config in configs] == [
        ("schedule_meeting", ["approve", "edit", "reject", "respond"]),
        ("send_email", ["approve", "edit", "reject"]),
        ("delete_file", ["approve", "reject"]),
    ]
    assert asked.response_schema is None


async def test_it_looks_into_the_notes_without_asking() -> None:
    talk = Talk("DAY-40117")
    await talk.start()
    found = [message for message in (await talk.values())["messages"] if isinstance(message, ToolMessage)]
    assert [message.name for message in found] == ["search_notes"]
    assert "prices go up 6%" in found[0].text


async def test_each_call_of_the_turn_gets_its_own_decision() -> None:
    talk = Talk("DAY-40117")
    [asked] = await talk.start()
    mail = {**asked.value["action_requests"][1]["args"], "subject": "Your prices"}
    decisions = [
        {"type": "respond", "message": "Priya is away that week; ask me again on Monday."},
        {"type": "edit", "edited_action": {"name": "send_email", "args": mail}},
        {"type": "reject", "message": "Sales still need it."},
    ]
    assert await talk.answer((asked, {"decisions": decisions})) == []
    [sent] = effects()
    assert (sent["kind"], sent["subject"]) == ("mail", "Your prices")
    said = await talk.said()
    assert said.startswith("Done: schedule_meeting (Priya is away that week")
    assert f"send_email (sent as {sent['reference']})" in said
    assert said.endswith("Not done: delete_file (Sales still need it).")


async def test_all_approved_are_all_done_once() -> None:
    talk = Talk("DAY-40117")
    [asked] = await talk.start()
    await talk.answer((asked, {"decisions": [APPROVE, APPROVE, APPROVE]}))
    assert kinds() == ["deletion", "mail", "meeting"]
    assert "Not done" not in await talk.said()


async def test_all_rejected_do_nothing() -> None:
    talk = Talk("DAY-40131")
    [asked] = await talk.start()
    assert [request["args"]["path"] for request in asked.value["action_requests"]] == ["scans/2019", "scans/2020"]
    await talk.answer((asked, {"decisions": [REJECT, REJECT]}))
    assert effects() == []
    assert await talk.said() == "Not done: delete_file (a person said no); delete_file (a person said no)."


async def test_a_file_cannot_be_swapped_for_another() -> None:
    talk = Talk("DAY-40131")
    [asked] = await talk.start()
    other = {"type": "edit", "edited_action": {"name": "delete_file", "args": {"path": "contracts"}}}
    with pytest.raises(ValueError, match="is not allowed for tool 'delete_file'"):
        await talk.answer((asked, {"decisions": [APPROVE, other]}))
    assert effects() == []


async def test_an_edit_that_is_no_meeting_is_told_to_the_model() -> None:
    """Batched answers are not checked by LangGraph; the tool is the first that looks."""
    talk = Talk("DAY-40117")
    [asked] = await talk.start()
    meeting = {**asked.value["action_requests"][0]["args"], "minutes": "a while"}
    edit = {"type": "edit", "edited_action": {"name": "schedule_meeting", "args": meeting}}
    await talk.answer((asked, {"decisions": [edit, APPROVE, REJECT]}))
    assert kinds() == ["mail"]
    assert "schedule_meeting (Error invoking tool" in (await talk.said()).partition("Not done: ")[2]


# desk: a question for each call


async def test_each_call_is_a_question_with_a_form() -> None:
    refund, close = await Talk("PAY-88120").start()
    assert (refund.value["type"], refund.value["name"]) == ("tool_approval", "refund_order")
    assert refund.value["args"] == {"order": "DE-60411", "amount": 89.9, "currency": "EUR"}
    assert refund.value["tool_call_id"] != close.value["tool_call_id"]
    assert close.value["args"]["account"] == "C-20917"
    assert forms(refund) == ["approve", "edit", "reject"]
    assert forms(close) == ["approve", "edit", "reject", "respond"]
    fields = (refund.response_schema or {})["$defs"]["refund_order"]["properties"]
    assert fields["amount"] == {
        "description": "What the customer gets back.",
        "exclusiveMinimum": 0,
        "maximum": 5000,
        "title": "Amount",
        "type": "number",
    }
    assert fields["currency"]["enum"] == ["EUR", "GBP", "USD", "CHF"]


def forms(asked: Interrupt) -> list[str]:
    assert asked.response_schema is not None
    return list(asked.response_schema["discriminator"]["mapping"])


async def test_the_answered_call_runs_while_the_other_waits() -> None:
    talk = Talk("PAY-88120")
    refund, close = await talk.start()
    assert await talk.answer((refund, APPROVE)) == [close]
    assert [effect["amount"] for effect in effects()] == [89.9]
    assert await talk.answer((close, {"type": "reject", "message": "An order is open."})) == []
    assert kinds() == ["refund"]
    assert (await talk.said()).endswith("Not done: close_account (An order is open).")


async def test_the_edited_amount_is_paid_and_the_answer_stands_in_for_the_tool() -> None:
    talk = Talk("PAY-88120")
    refund, close = await talk.start()
    edited = {"name": "refund_order", "args": {"order": "DE-60411", "amount": 60, "currency": "EUR"}}
    await talk.answer((close, {"type": "respond", "message": "Closed by hand."}))
    assert effects() == []
    await talk.answer((refund, {"type": "edit", "edited_action": edited}))
    [paid] = effects()
    assert (paid["kind"], paid["amount"]) == ("refund", 60)
    assert "close_account (Closed by hand)" in await talk.said()


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "respond", "message": "not for this tool"},
        {"type": "edit", "edited_action": {"name": "close_account", "args": {"account": "C-1", "reason": "x"}}},
        {"type": "edit", "edited_action": {"name": "refund_order", "args": {"order": "DE-60411"}}},
        {"decisions": [APPROVE]},
    ],
    ids=["not allowed", "another tool", "arguments missing", "batched"],
)
async def test_a_wrong_answer_is_refused_and_the_question_stays(answer: dict[str, Any]) -> None:
    talk = Talk("PAY-88120")
    refund, close = await talk.start()
    with pytest.raises(ValidationError):
        await talk.answer((refund, answer))
    assert effects() == []
    assert await talk.answer((refund, APPROVE)) == [close]
    assert kinds() == ["refund"]


async def test_two_calls_of_one_tool_are_two_effects() -> None:
    talk = Talk("PAY-88134")
    first, second = await talk.start()
    await talk.answer((first, APPROVE), (second, APPROVE))
    assert sorted(effect["order_id"] for effect in effects()) == ["UK-51960", "UK-51961"]


# inbox: Agent Inbox's HumanInterrupt


async def test_the_post_is_asked_about_in_the_words_of_agent_inbox() -> None:
    [asked] = await Talk("POST-55120").start()
    [request] = asked.value
    assert set(request) == {"action_request", "config", "description"}
    assert request["action_request"]["action"] == "publish_post"
    assert request["config"] == dict.fromkeys(["allow_accept", "allow_edit", "allow_respond", "allow_ignore"], True)
    args = request["action_request"]["args"]
    assert (args["readers"], args["comments"]) == (1840, False)


async def test_an_accepted_post_is_published() -> None:
    talk = Talk("POST-55120")
    [asked] = await talk.start()
    assert await talk.answer((asked, [{"type": "accept", "args": None}])) == []
    [post] = effects()
    assert post["text"] == asked.value[0]["action_request"]["args"]["text"]
    assert (await talk.values())["published"] == post["reference"]


async def test_the_edited_post_is_published_and_numbers_stay_numbers() -> None:
    talk = Talk("POST-55120")
    [asked] = await talk.start()
    action = asked.value[0]["action_request"]
    edited = {**action, "args": {**action["args"], "text": "We are back.", "comments": True}}
    await talk.answer((asked, [{"type": "edit", "args": edited}]))
    [post] = effects()
    assert (post["text"], post["readers"], post["comments"]) == ("We are back.", 1840, True)


async def test_a_response_has_the_post_written_and_asked_about_again() -> None:
    talk = Talk("POST-55120")
    [asked] = await talk.start()
    [again] = await talk.answer((asked, [{"type": "response", "args": "Shorter, please."}]))
    assert again.id != asked.id
    before, after = (each.value[0]["action_request"]["args"]["text"] for each in (asked, again))
    assert len(after) < len(before)
    assert effects() == []
    await talk.answer((again, [{"type": "accept", "args": None}]))
    assert [effect["text"] for effect in effects()] == [after]


async def test_an_ignored_post_is_dropped() -> None:
    talk = Talk("POST-55126")
    [asked] = await talk.start()
    assert await talk.answer((asked, [{"type": "ignore", "args": None}])) == []
    assert await talk.next() == ()
    assert effects() == []


# onboarding: a form from a pydantic model


def supplier(**changed: Any) -> dict[str, Any]:
    contact = {"name": "Britta Holmgren", "email": "britta@holmgren-timber.example", "role": "orders"}
    return {
        "legal_name": "Holmgren Timber Aktiebolag",
        "category": "material",
        "address": {"street": "Kajvägen 4", "postcode": "852 29", "city": "Sundsvall", "country": "SE"},
        "valid_from": "2027-02-01",
        "contacts": [contact],
        "payment": {"method": "transfer", "iban": "SE4550000000058398257466"},
        "sanctions_checked": True,
        **changed,
    }


async def test_the_form_has_every_kind_of_field() -> None:
    [asked] = await Talk("SUP-20931").start()
    assert asked.value["known"]["vat_id"] == "SE556012579001"
    schema = asked.response_schema
    assert schema is not None
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(supplier(), schema)
    fields = schema["properties"]
    assert fields["valid_from"]["format"] == "date"
    assert (fields["contacts"]["minItems"], fields["contacts"]["maxItems"]) == (1, 5)
    assert fields["payment"]["discriminator"]["propertyName"] == "method"
    assert {"type": "null"} in fields["vat_id"]["anyOf"]
    assert schema["$defs"]["Role"]["enum"] == ["orders", "invoices", "complaints"]
    assert schema["additionalProperties"] is False
    assert all(field.get("title") or "$ref" in field for field in fields.values())


@pytest.mark.parametrize(
    ("payment", "kept"),
    [
        (
            {"method": "transfer", "iban": "SE4550000000058398257466"},
            {"method": "transfer", "iban": "SE4550000000058398257466", "days": 30},
        ),
        ({"method": "card", "limit": 500}, {"method": "card", "limit": 500.0}),
    ],
)
async def test_the_completed_supplier_is_registered(payment: dict[str, Any], kept: dict[str, Any]) -> None:
    talk = Talk("SUP-20931")
    [asked] = await talk.start()
    assert await talk.answer((asked, supplier(payment=payment))) == []
    [entry] = effects()
    assert (entry["kind"], entry["payment"], entry["vat_id"]) == ("supplier", kept, None)
    assert (await talk.values())["details"]["valid_from"] == "2027-02-01"


@pytest.mark.parametrize(
    "wrong",
    [
        {"contacts": []},
        {"valid_from": "soon"},
        {"payment": {"method": "card", "iban": "SE4550000000058398257466"}},
        {"address": {"street": "Kajvägen 4"}},
        {"more": 1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_wrong_details_are_refused_and_can_be_given_again(wrong: dict[str, Any]) -> None:
    talk = Talk("SUP-20944")
    [asked] = await talk.start()
    with pytest.raises(ValidationError):
        await talk.answer((asked, supplier(**wrong)))
    assert effects() == []
    assert await talk.answer((asked, supplier())) == []
    assert kinds() == ["supplier"]


# questions: plain words


async def test_two_questions_come_one_after_the_other() -> None:
    talk = Talk("INC-61204")
    [first] = await talk.start()
    assert first.value.endswith("What may the status page say about the cause?")
    assert first.response_schema is None
    [second] = await talk.answer((first, "A card network is down."))
    assert second.id != first.id
    assert "A card network is down." in second.value
    assert effects() == []
    assert await talk.answer((second, "at noon")) == []
    [notice] = effects()
    assert notice["text"].endswith("A card network is down. Next update: at noon")
    assert notice["incident_id"] == "INC-61204"


# branches: many at once


async def test_two_branches_ask_at_once_and_one_is_two_graphs_below() -> None:
    talk = Talk("MKT-33071")
    whom, what = await talk.start()
    assert whom.value["options"][1] == "Those who buy it"
    assert what.value == "360 people are invited. What does one get who takes part?"
    assert (what.response_schema or {})["properties"]["kind"]["enum"] == ["voucher", "cash", "raffle"]
    assert await talk.answer((what, {"kind": "voucher", "amount": 15})) == [whom]
    assert await talk.next() == ("audience",)
    assert len(await talk.answer((whom, "Those who buy it"))) == 3


async def test_each_region_asks_for_its_budget_and_one_in_javascript() -> None:
    talk = Talk("MKT-33071")
    whom, what = await talk.start()
    asked = await talk.answer((whom, "Everybody"), (what, {"kind": "raffle", "amount": 0}))
    iberia, nordics, alps = asked
    assert iberia.value["action_requests"][0]["args"] == {"region": "Iberia", "amount": 1500.0, "currency": "EUR"}
    assert iberia.value["review_configs"] == [
        {"action_name": "reserve_budget", "allowed_decisions": ["approve", "edit", "reject"]}
    ]
    [action] = nordics.value["actionRequests"]
    assert action["args"]["region"] == "Nordics"
    assert action["description"] == "120 interviews on Oat drink, 1 litre; raffle of 0 EUR each."
    assert nordics.value["reviewConfigs"] == [
        {"actionName": "reserve_budget", "allowedDecisions": ["approve", "edit", "reject"]}
    ]

    less = {"name": "reserve_budget", "args": {**action["args"], "amount": 900}}
    assert await talk.answer((nordics, {"decisions": [{"type": "edit", "editedAction": less}]})) == [iberia, alps]
    assert [effect["amount"] for effect in effects()] == [900]
    assert await talk.answer((iberia, {"decisions": [APPROVE]})) == [alps]
    assert await talk.answer((alps, {"decisions": [REJECT]})) == []
    assert kinds() == ["budget", "budget", "study"]
    values = await talk.values()
    assert [line.partition(" (")[0] for line in values["budgets"]] == [
        "Iberia: 1500.00 EUR",
        "Nordics: 900.00 EUR",
        "Alps: left out",
    ]
    assert values["audience"] == "Everybody"


async def test_the_edit_of_the_other_spelling_is_taken_too() -> None:
    talk = Talk("MKT-33071")
    whom, what = await talk.start()
    iberia, *_ = await talk.answer((whom, "Everybody"), (what, {"kind": "cash", "amount": 20}))
    less = {"name": "reserve_budget", "args": {**iberia.value["action_requests"][0]["args"], "amount": 100}}
    await talk.answer((iberia, {"decisions": [{"type": "edit", "edited_action": less}]}))
    assert [effect["amount"] for effect in effects()] == [100]


# The model


def test_the_same_conversation_gets_the_same_answer() -> None:
    asked = [HumanMessage("delete the old scans", id="one"), HumanMessage("delete the old scans", id="another")]
    first, again = (model.answer(assistant.script, [each]) for each in asked)
    assert first == again
    assert len({call["id"] for call in first.tool_calls}) == 2
    assert first.id != model.answer(assistant.script, [HumanMessage("tidy up")]).id


def test_it_says_when_there_is_nothing_to_do() -> None:
    assert model.answer(desk.script, [HumanMessage("hello")]).text.startswith("There is nothing in this")


async def test_a_second_request_in_the_conversation_is_answered_for_itself() -> None:
    talk = Talk("PAY-88134")
    first, second = await talk.start()
    await talk.answer((first, REJECT), (second, REJECT))
    [asked] = await talk._go({"messages": [HumanMessage("Refund NL-48213: 12.50 EUR.")]})
    assert asked.value["args"] == {"order": "NL-48213", "amount": 12.5, "currency": "EUR"}
    await talk.answer((asked, APPROVE))
    assert [effect["amount"] for effect in effects()] == [12.5]


def test_without_a_key_the_model_is_the_script() -> None:
    assert isinstance(model.chat_model(desk.script), model.ScriptedModel)


@pytest.mark.parametrize(("key", "package"), [(key, package) for key, package, _ in model.PROVIDERS])
def test_a_key_without_its_package_changes_nothing(key: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(key, "not-a-key")
    assert isinstance(model.chat_model(desk.script), model.ScriptedModel)


STAND_IN = """
from langchain_core.language_models.fake_chat_models import FakeListChatModel

class ChatOpenAI(FakeListChatModel):
    model: str
    responses: list[str] = []
"""


@pytest.mark.parametrize(("wanted", "name"), [(None, "gpt-5-mini"), ("openai:gpt-4.1", "gpt-4.1")])
def test_with_a_key_and_its_package_it_is_a_real_one(
    wanted: str | None, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "langchain_openai.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    monkeypatch.delenv("DEMO_MODEL", raising=False)
    if wanted:
        monkeypatch.setenv("DEMO_MODEL", wanted)
    try:
        real: Any = model.chat_model(desk.script)
        assert (type(real).__name__, real.model) == ("ChatOpenAI", name)
    finally:
        sys.modules.pop("langchain_openai", None)


def test_the_closing_sentence_leaves_the_middleware_s_words_out() -> None:
    edited = ToolMessage(
        "Note: a person replaced it.\n\nTool response:\npaid as refund-1", tool_call_id="1", name="pay"
    )
    assert model.closing([AIMessage(""), edited]) == "Done: pay (paid as refund-1)."


# What the page for authors says

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "interrupts.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), ids=lambda text: text[:30])
async def test_each_example_of_the_page_runs(example: str) -> None:
    calls = [[model.ToolCall("refund_order", {"order": "NL-1", "amount": 5.0})]]
    names: dict[str, Any] = {"model": model.chat_model(lambda request: calls if "refund_order" in example else [])}
    exec(compile(example, "interrupts.md", "exec"), names)
    saver = MemorySaver(strict_serializer(declared_types(names["graph"])))
    graph = names["graph"].copy(update={"checkpointer": saver})
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    input = {"order": "NL-1"} if "ask_delivery" in example else {"messages": [{"role": "user", "content": "x"}]}
    if "MESSAGES" in example:
        jsonschema.validate(input, graph.get_input_jsonschema())
    await graph.ainvoke(input, config)
    for asked in (await graph.aget_state(config)).interrupts:
        answer = {"carrier": "van", "day": "2027-02-01"} if "ask_delivery" in example else APPROVE
        await graph.ainvoke(Command(resume={asked.id: answer}), config)
    ended = await graph.aget_state(config)
    assert ended.next == ()
    if "ask_delivery" in example:
        assert ended.values["delivery"] == {"carrier": "van", "day": "2027-02-01", "note": None}
    elif "refund_order" in example:
        assert "paid 5.0 for NL-1" in ended.values["messages"][-1].text


class Flaky:
    """A tool that notes its key and then, the first time, fails."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def agent(self, mode: Any) -> Any:
        @tool
        async def pay() -> str:
            """Pay."""
            self.keys.append(effect_key())
            if len(self.keys) == 1:
                raise ConnectionError
            return "paid"

        gates = HumanInTheLoopMiddleware({"pay": True}, interrupt_mode=mode)
        saver = MemorySaver(strict_serializer())
        pays = model.ScriptedModel(script=lambda request: [[model.ToolCall("pay", {})]])
        return create_agent(pays, tools=[pay], middleware=[gates], checkpointer=saver)


@pytest.mark.parametrize("mode", ["batched", "per_call"])
async def test_a_tool_that_runs_again_has_the_same_key(mode: str) -> None:
    flaky = Flaky()
    agent = flaky.agent(mode)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await agent.ainvoke({"messages": [HumanMessage("pay")]}, config)
    [asked] = (await agent.aget_state(config)).interrupts
    answer = {"decisions": [APPROVE]} if mode == "batched" else APPROVE
    with pytest.raises(ConnectionError):
        await agent.ainvoke(Command(resume={asked.id: answer}), config)
    await agent.ainvoke(None, config)
    first, again = flaky.keys
    assert first == again


async def test_a_tool_that_failed_keeps_its_approval_whatever_is_answered_then() -> None:
    """LangGraph's; the console offers no vote on such a question before the answer is taken back."""
    flaky = Flaky()
    agent = flaky.agent("per_call")
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await agent.ainvoke({"messages": [HumanMessage("pay")]}, config)
    [asked] = (await agent.aget_state(config)).interrupts
    with pytest.raises(ConnectionError):
        await agent.ainvoke(Command(resume={asked.id: APPROVE}), config)
    assert [each.id for each in (await agent.aget_state(config)).interrupts] == [asked.id]
    ended = await agent.ainvoke(Command(resume={asked.id: REJECT}), config)
    assert ended["messages"][-1].text == "Done: pay (paid)."
