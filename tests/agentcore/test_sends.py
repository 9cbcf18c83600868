"""What a Send carries is shown, decided and edited task by task; what is shown is what the node is given."""

import asyncio
import json
import operator
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command, Send
from pydantic import BaseModel
from typing_extensions import TypedDict

from agentcore import dialects
from agentcore.graphs import per_task, resume, state_edits
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, snapshot
from agentcore.plain.errors import CannotEdit
from agentcore.plain.json import canonical, to_plain
from agentcore.plain.types import Failed, Finished, Mismatch, Pause, Paused, Question, Snapshot
from agentcore.savers.serializers import strict_serializer
from agentcore.testing import failpoints
from tests import sending
from tests.agentcore.savers import EVERY_KIND, open_saver
from tests.scale import some, tries

CASES = tries(12, full=100)


class State(TypedDict, total=False):
    seed: str
    got: Annotated[list[Any], operator.add]


@dataclass
class Order:
    payee: str
    amount: float


class Draft(BaseModel):
    payee: str
    amount: float


def make(kind: str, sent: list[Any], read: list[str], *, is_after: bool = False) -> Any:
    """A graph whose `plan` sends each of `sent` to `pay`, and runs the nodes `read` beside; all of them are gated."""
    packets = [Send("pay", arg) for arg in sent]

    def plan(state: State) -> Any:
        return Command(goto=[*packets, *read]) if kind == "command" else {}

    def pay(payload: Any) -> State:
        return {"got": [("pay", payload)]}

    def reader(name: str) -> Any:
        return lambda state: {"got": [(name, state["seed"])]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("plan", plan)
    builder.add_node("pay", pay)
    builder.add_node("end", lambda state: {"got": [("end", len(state["got"]))]})
    for name in read:
        builder.add_node(name, reader(name))
        builder.add_edge(name, "end")
    builder.add_edge(START, "plan")
    builder.add_edge("pay", "end")
    if kind == "edge":
        builder.add_conditional_edges("plan", lambda state: [*packets, *read], ["pay", *read])
    gates: dict[str, Any] = {"interrupt_after": ["plan"]} if is_after else {"interrupt_before": ["pay", *read]}
    return builder.compile(**gates)


def run(work: Any) -> Any:
    return asyncio.run(work)


async def pause_of(graph: Any, saver: Any, thread: str = "t") -> tuple[Snapshot, Pause]:
    stopped = await run_until_pause(RunContext(graph, saver, thread), {"seed": "s"})
    assert isinstance(stopped, Paused), stopped
    [pause] = pauses_at(graph, stopped.snapshot)
    return stopped.snapshot, pause


async def carry_out(graph: Any, saver: Any, here: Snapshot, answer: resume.Answer, run: str = "r") -> Any:
    context = RunContext(graph, saver, here.thread_id, {"run": run}, "run")
    return await resume.resume(context, answer, expected_head=here.checkpoint_id, namespace=here.checkpoint_ns)


def decided(pause: Pause, decisions: list[Any]) -> resume.Answer:
    question = Question(pause.kind, None, [asdict(action) for action in pause.actions], pause.answer_schema)
    answer = {"decisions": decisions}
    assert dialects.faults_in(question, answer) == []
    assert dialects.write(question, dialects.choices_in(question, answer)) == answer
    return resume.Answer("respond", answer=answer)


def edit(pause: Pause, place: int, args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": pause.actions[place].name, "args": args}}


def make_draft(payee: str, amount: float) -> Draft:
    return Draft(payee=payee, amount=amount)


payload = st.one_of(
    st.fixed_dictionaries({"payee": st.text("abc", max_size=3), "amount": st.floats(0, 99, width=16)}),
    st.builds(Order, st.text("abc", max_size=3), st.floats(0, 99, width=16)),
    st.builds(make_draft, st.text("abc", max_size=3), st.floats(0, 99, width=16)),
    st.integers(-5, 5),
    st.text("xyz", min_size=1, max_size=3),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
READERS = ["audit", "mail", "zeta"]


def new_args(args: Any) -> Any:
    """Arguments that differ, of the same kind."""
    if isinstance(args, dict):
        return {**args, "amount": args["amount"] + 1, "payee": args["payee"] + "-2"}
    return args + ([7] if isinstance(args, list) else 1 if isinstance(args, int) else "-2")


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(["command", "edge"]),
    sent=st.lists(payload, min_size=0, max_size=4),
    read=st.lists(st.sampled_from(READERS), unique=True, max_size=3),
    is_after=st.booleans(),
    is_gone=st.booleans(),
    data=st.data(),
)
def test_what_is_shown_for_each_task_is_what_its_node_is_given(
    kind: str, sent: list[Any], read: list[str], is_after: bool, is_gone: bool, data: st.DataObject
) -> None:
    if not sent and len(read) < 2:
        sent = [{"payee": "a", "amount": 1.0}]
    graph = make(kind, sent, read, is_after=is_after)

    async def work() -> None:
        saver = InMemorySaver(serde=strict_serializer([(Order.__module__, "Order"), (Draft.__module__, "Draft")]))
        here, pause = await pause_of(graph, saver)
        assert len(pause.actions) == len(sent) + len(read)
        for action, arg in zip(pause.actions, sent, strict=False):
            plain = to_plain(arg)
            assert action.args == (plain["value"] if isinstance(plain, dict) and "__type__" in plain else plain)
        verdicts = ["approve", "reject"] if is_gone else ["approve"]
        wanted, decisions = [], []
        for place, action in enumerate(pause.actions):
            verdict = data.draw(st.sampled_from([*verdicts, *(["edit"] if "edit" in action.allowed else [])]))
            args = new_args(action.args) if verdict == "edit" else action.args
            decisions.append(edit(pause, place, args) if verdict == "edit" else {"type": verdict})
            if verdict != "reject":
                wanted.append((action.name, args if place < len(sent) else "s"))
        answer = decided(pause, decisions)
        choices = dialects.choices_in(Question("breakpoint", None, []), answer.answer)
        preview = await state_edits.preview_each(graph, saver, config_for("t", here.checkpoint_id), choices)
        assert len(preview.sent) == len([name for name, _ in wanted if name == "pay"])
        answer = resume.Answer("respond", answer=answer.answer, result_digest=preview.digest)
        came = await carry_out(graph, saver, here, answer)
        assert isinstance(came, Finished), came
        state = await graph.copy(update={"checkpointer": saver}).aget_state(config_for("t"))
        got = state.values.get("got", [])
        ran = [(name, got_arg) for name, got_arg in got if name != "end"]
        shown = [(name, to_plain(arg)) for name, arg in ran]
        bare = [(name, arg["value"] if isinstance(arg, dict) and "__type__" in arg else arg) for name, arg in shown]
        assert sorted(bare, key=canonical) == sorted(wanted, key=canonical)
        types = {type(arg) for name, arg in ran if name == "pay"}
        assert types <= {type(arg) for arg in sent}
        assert [tuple(each) for each in got if each[0] == "end"] == ([("end", len(ran))] if ran else [])
        # The same answer again, as after a crash, runs nothing twice.
        again = await carry_out(graph, saver, here, answer)
        assert isinstance(again, Mismatch | Finished)
        assert (await graph.copy(update={"checkpointer": saver}).aget_state(config_for("t"))).values.get(
            "got", []
        ) == got

    run(work())


@pytest.mark.parametrize("kind", some(EVERY_KIND, "memory", "sqlite", "postgres", "cached in Redis alone"))
async def test_every_saver_keeps_what_was_decided(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    sent = [{"payee": "a", "amount": 1.0}, {"payee": "b", "amount": 2.0}, {"payee": "c", "amount": 3.0}]
    graph = make("command", sent, ["audit", "mail"])
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        here, pause = await pause_of(graph, saver, thread_id)
        new = edit(pause, 1, {"payee": "b", "amount": 9.0})
        kinds: list[Any] = [{"type": "approve"}, new, {"type": "reject"}, {"type": "reject"}, {"type": "approve"}]
        came = await carry_out(graph, saver, here, decided(pause, kinds))
        assert isinstance(came, Finished)
        assert sorted(came.snapshot.values["got"], key=str) == sorted(
            [["pay", sent[0]], ["pay", {"payee": "b", "amount": 9.0}], ["mail", "s"], ["end", 3]], key=str
        )


def test_a_crash_after_the_decision_was_written_decides_nothing_twice() -> None:
    async def work() -> None:
        saver, graph = InMemorySaver(), make("edge", [{"payee": "a", "amount": 1.0}, {"payee": "b", "amount": 2.0}], [])
        here, pause = await pause_of(graph, saver)
        answer = decided(pause, [{"type": "reject"}, edit(pause, 1, {"payee": "b", "amount": 5.0})])
        config: Any = config_for("t") | {"metadata": {"run": "r"}}
        await per_task.write(
            graph, saver, config, here, dialects.choices_in(Question("breakpoint", None, []), answer.answer)
        )
        came = await carry_out(graph, saver, here, answer)
        assert isinstance(came, Finished)
        assert came.snapshot.values["got"] == [["pay", {"payee": "b", "amount": 5.0}], ["end", 1]]

    run(work())


@pytest.mark.parametrize("kind", ["command", "edge"])
def test_an_edit_of_the_state_is_refused_where_sends_wait(kind: str) -> None:
    async def work() -> None:
        saver, graph = InMemorySaver(), make(kind, [{"payee": "a", "amount": 1.0}], [])
        here, _ = await pause_of(graph, saver)
        edits = {"seed": {"op": "set", "value": "other"}}
        with pytest.raises(CannotEdit, match="by a Send"):
            await state_edits.preview(graph, saver, config_for("t", here.checkpoint_id), edits)
        came = await carry_out(graph, saver, here, resume.Answer("approve", edits=edits))
        assert isinstance(came, Failed) and came.error == "InvalidEdit"
        assert (await snapshot(graph, saver, "t")) == here

    run(work())


def test_what_json_cannot_carry_stays_as_it_is_and_is_not_edited() -> None:
    async def work() -> None:
        saver = InMemorySaver()
        graph = make("command", [{"when": {1, 2}, "said": HumanMessage("hi"), "amount": 1.0}], [])
        here, pause = await pause_of(graph, saver)
        args = pause.actions[0].args
        question = Question(pause.kind, None, [asdict(pause.actions[0])], pause.answer_schema)
        spoilt = {"decisions": [edit(pause, 0, {**args, "said": "ho"})]}
        assert [fault.path for fault in dialects.faults_in(question, spoilt)] != []
        came = await carry_out(graph, saver, here, resume.Answer("respond", answer=spoilt))
        assert isinstance(came, Failed) and came.error == "InvalidEdit"
        came = await carry_out(graph, saver, here, decided(pause, [edit(pause, 0, {**args, "amount": 2.0})]))
        assert isinstance(came, Finished)
        state = await graph.copy(update={"checkpointer": saver}).aget_state(config_for("t"))
        given = state.values["got"][0][1]
        assert (given["when"], given["said"].content, given["amount"]) == ({1, 2}, "hi", 2.0)

    run(work())


class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self


@tool
def send_mail(to: str) -> str:
    """Send a mail."""
    return f"sent to {to}"


def calling(maker: Any, **more: Any) -> Any:
    calls: list[Any] = [{"name": "send_mail", "args": {"to": to}, "id": f"call-{to}"} for to in ("ann", "ben", "cy")]
    raw = {"tool_calls": [{"id": call["id"], "function": {"arguments": json.dumps(call["args"])}} for call in calls]}
    content: Any = [{"type": "tool_use", "id": call["id"], "input": call["args"]} for call in calls]
    asked = AIMessage(content, tool_calls=calls, additional_kwargs=raw)
    return maker(Scripted(messages=iter([asked, AIMessage("done")])), [send_mail], interrupt_before=["tools"], **more)


@pytest.mark.parametrize(
    ("maker", "more"), [(create_agent, {}), (create_react_agent, {"version": "v2"})], ids=["new", "v2"]
)
@pytest.mark.filterwarnings("ignore")
def test_the_message_of_a_prebuilt_agent_agrees_with_the_calls_that_are_made(maker: Any, more: Any) -> None:
    async def work() -> None:
        saver, graph = InMemorySaver(), calling(maker, **more)
        stopped = await run_until_pause(RunContext(graph, saver, "t"), {"messages": [("user", "hi")]})
        assert isinstance(stopped, Paused)
        here = stopped.snapshot
        [pause] = pauses_at(graph, here)
        assert [(action.name, action.args, action.call_id) for action in pause.actions] == [
            ("send_mail", {"to": to}, f"call-{to}") for to in ("ann", "ben", "cy")
        ]
        assert pause.tools == ("send_mail",)
        kinds: list[Any] = [{"type": "approve"}, edit(pause, 1, {"to": "bob"}), {"type": "reject", "message": "not cy"}]
        came = await carry_out(graph, saver, here, decided(pause, kinds))
        assert isinstance(came, Finished), came
        state = await graph.copy(update={"checkpointer": saver}).aget_state(config_for("t"))
        asked, told = state.values["messages"][1], state.values["messages"][2:-1]
        assert [call["args"]["to"] for call in asked.tool_calls] == ["ann", "bob", "cy"]
        assert [block["input"]["to"] for block in asked.content] == ["ann", "bob", "cy"]
        raw = [json.loads(each["function"]["arguments"])["to"] for each in asked.additional_kwargs["tool_calls"]]
        assert raw == ["ann", "bob", "cy"]
        assert {each.tool_call_id: (each.content, each.status) for each in told} == {
            "call-ann": ("sent to ann", "success"),
            "call-ben": ("sent to bob", "success"),
            "call-cy": ("not cy", "error"),
        }

    run(work())


async def test_the_calls_of_an_agent_inside_a_graph_are_decided_where_they_wait() -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    builder.add_node("desk", calling(create_agent))
    builder.add_edge(START, "desk")
    graph, saver = builder.compile(), InMemorySaver()
    stopped = await run_until_pause(RunContext(graph, saver, "t"), {"messages": [("user", "hi")]})
    assert isinstance(stopped, Paused)
    [here] = stopped.snapshot.inner
    [pause] = pauses_at(graph, stopped.snapshot)
    assert (pause.path, len(pause.actions)) == (("desk",), 3)
    kinds: list[Any] = [{"type": "reject"}, edit(pause, 1, {"to": "bob"}), {"type": "approve"}]
    answer = decided(pause, kinds)
    place = config_for("t", here.checkpoint_id, here.checkpoint_ns)
    choices = dialects.choices_in(Question("breakpoint", None, []), answer.answer)
    preview = await state_edits.preview_each(graph, saver, place, choices)
    answer = resume.Answer("respond", answer=answer.answer, result_digest=preview.digest)
    came = await carry_out(graph, saver, here, answer)
    assert isinstance(came, Finished), came
    said = came.snapshot.values["messages"]
    assert [call["args"]["to"] for call in said[1]["tool_calls"]] == ["ann", "bob", "cy"]
    told = {each["tool_call_id"]: each["content"] for each in said if each["type"] == "tool"}
    assert told == {"call-ann": per_task.REJECTED, "call-ben": "sent to bob", "call-cy": "sent to cy"}


async def test_a_graph_that_ends_at_once_has_carried_nothing_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the mechanism off it is told as a pause, as if it had been answered."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    for is_caught in (True, False):
        saver = InMemorySaver()
        thread_id = f"deaf-{uuid.uuid4()}"
        stopped = await run_until_pause(RunContext(sending.deaf_asking, saver, thread_id), {"order": "A1"})
        assert isinstance(stopped, Paused)
        [question] = stopped.snapshot.interrupts
        answer = resume.Answer("respond", answer="ann", interrupt_id=question.id)
        if not is_caught:
            failpoints.arm("nothing_ran", "off")
        try:
            came = await carry_out(sending.deaf_asking, saver, stopped.snapshot, answer)
        finally:
            failpoints.disarm()
        assert isinstance(came, Failed if is_caught else Paused)
        assert not is_caught or came.error == resume.NOTHING_RAN  # type: ignore[union-attr]
