"""Property: whatever the graph and whatever the edit, a preview says what then happens, and touches nothing."""

import asyncio
import operator
from typing import Annotated, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from agentcore.graphs import state_edits
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, snapshot
from agentcore.plain.errors import CannotEdit
from tests.scale import tries

CASES = tries(60, full=500)


def keep_longest(left: str, right: str) -> str:
    return max(left, right, key=len)


class State(TypedDict, total=False):
    total: Annotated[int, operator.add]
    notes: Annotated[list[str], operator.add]
    facts: Annotated[dict[str, int], operator.or_]
    messages: Annotated[list[Any], add_messages]
    longest: Annotated[str, keep_longest]
    amount: int
    word: str


ENDS = ("big", "small", "third")
LANES = ("left", "right")
words = st.text("ab", max_size=3)
numbers = st.integers(-5, 20)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": words, "id": words}), max_size=2
)
MERGING: dict[str, Any] = {
    "total": numbers,
    "notes": st.lists(words, max_size=2),
    "facts": st.dictionaries(words, numbers, max_size=2),
    "messages": messages,
    "longest": words,
}
LAST: dict[str, Any] = {"amount": numbers, "word": words}
values = st.fixed_dictionaries({}, optional=MERGING | LAST)
edits = st.fixed_dictionaries(
    {},
    optional={name: st.builds(lambda v: {"op": "set", "value": v}, value) for name, value in LAST.items()}
    | {
        name: st.builds(lambda op, v: {"op": op, "value": v}, st.sampled_from(["append", "replace"]), value)
        for name, value in MERGING.items()
    },
)
shapes = st.fixed_dictionaries(
    {
        "is_parallel": st.booleans(),
        "watched": st.sampled_from(["amount", "total", "notes", "facts", "messages", "longest", "word"]),
        "limit": st.integers(0, 6),
        "fans_out": st.booleans(),
        "outputs": st.lists(values, min_size=2, max_size=2),
        "is_after": st.booleans(),
    }
)


def built(shape: dict[str, Any]) -> Any:
    """Build a graph of one node or two side by side, then a choice by what a channel holds, of one node or of two."""

    def route(state: State) -> list[str] | str:
        held: Any = state.get(shape["watched"], 0)
        size = held if isinstance(held, int) else len(held)
        if size > shape["limit"]:
            return ["big", "third"] if shape["fans_out"] else "big"
        return "small" if size else END

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, output in zip(LANES if shape["is_parallel"] else LANES[:1], shape["outputs"], strict=False):
        if shape["is_parallel"]:
            output = {name: value for name, value in output.items() if name in MERGING}  # of two in one step
        builder.add_node(name, lambda state, output=output: output)
        builder.add_edge(START, name)
        builder.add_conditional_edges(name, route, [*ENDS, END])
    for name in ENDS:
        builder.add_node(name, lambda state: {"notes": ["ran"]})
        builder.add_edge(name, END)
    lanes = [name for name in LANES if name in builder.nodes]
    return builder.compile(interrupt_after=lanes) if shape["is_after"] else builder.compile(interrupt_before=list(ENDS))


def everything(saver: InMemorySaver) -> str:
    return repr((dict(saver.storage), dict(saver.writes), dict(saver.blobs)))


@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(shape=shapes, input=values, edit=edits, as_node=st.sampled_from([None, "left", "right"]))
def test_the_preview_of_any_edit_of_any_graph_is_what_happens(
    shape: dict[str, Any], input: dict[str, Any], edit: dict[str, Any], as_node: str | None
) -> None:
    graph, saver, config = built(shape), InMemorySaver(), config_for("t")

    async def story() -> None:
        await run_until_pause(RunContext(graph, saver, "t"), {"amount": 1, **input})
        before = await snapshot(graph, saver, "t")
        assert before is not None
        stored = everything(saver)
        refused, seen = "", None
        try:
            seen = await state_edits.preview(graph, saver, config, edit, as_node)
        except CannotEdit as error:
            refused = str(error)
        assert everything(saver) == stored
        try:
            await state_edits.apply(graph, saver, config, edit, as_node)
        except CannotEdit as error:
            assert str(error) == refused
            return
        assert not refused
        after = await snapshot(graph, saver, "t")
        assert seen is not None and after is not None
        assert (seen.values_before, seen.next_before) == (before.values, before.next)
        assert state_edits.without_message_ids(seen.values) == state_edits.without_message_ids(after.values)
        assert seen.next == after.next
        assert seen.digest == state_edits.result_digest(after)

    asyncio.run(story())
