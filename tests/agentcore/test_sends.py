"""What a Send carries is shown, decided and edited task by task; what is shown is what the node is given."""

import asyncio
import operator
from dataclasses import dataclass
from typing import Annotated, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send
from pydantic import BaseModel
from typing_extensions import TypedDict

from agentcore import interrupts, resume, state_edit
from agentcore.runner import run_until_pause
from agentcore.serde import canonical, strict_serializer, to_plain
from agentcore.threads import config_for
from agentcore.types import Conflict, Finished, Pause, Paused, Question, Snapshot

CASES = 100


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
    stopped = await run_until_pause(graph, saver, thread_id=thread, input={"seed": "s"})
    assert isinstance(stopped, Paused), stopped
    [pause] = interrupts.read(graph, stopped.snapshot)
    return stopped.snapshot, pause


async def carry_out(graph: Any, saver: Any, here: Snapshot, answer: resume.Answer, run: str = "r") -> Any:
    async def entering() -> None: ...

    async def on_step(step: Any) -> None: ...

    return await resume.resume(
        graph,
        saver,
        thread_id=here.thread_id,
        expected_head=here.checkpoint_id,
        answer=answer,
        metadata={"run": run},
        run_key="run",
        before_entering=entering,
        on_step=on_step,
    )


def decided(pause: Pause, decisions: list[Any]) -> resume.Answer:
    question = Question(pause.kind, None, [{"name": action.name} for action in pause.actions], pause.answer_schema)
    answer = {"decisions": decisions}
    assert interrupts.faults_in(question, answer) == []
    assert interrupts.write(question, interrupts.choices_in(question, answer)) == answer
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
        choices = interrupts.choices_in(Question("breakpoint", None, []), answer.answer)
        preview = await state_edit.preview_each(graph, saver, config_for("t", here.checkpoint_id), choices)
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
        assert isinstance(again, Conflict | Finished)
        assert (await graph.copy(update={"checkpointer": saver}).aget_state(config_for("t"))).values.get(
            "got", []
        ) == got

    run(work())
