"""Edits of a paused thread: refused with a sentence for each path, previewed on a copy, applied as previewed."""

import asyncio
import functools
import json
import math
import operator
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from psycopg.conninfo import make_conninfo
from typing_extensions import TypedDict

from agentcore.demo import operations, refund, support
from agentcore.demo.cases import CASES
from agentcore.graphs import cards, state_edits
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, snapshot, with_saver
from agentcore.plain.edits import changes, check_edits
from agentcore.plain.errors import CannotEdit
from agentcore.plain.tables import PostgresTables
from agentcore.plain.types import Paused, Preview, Snapshot
from agentcore.plain.urls import postgres_params
from agentcore.savers.base import Saver
from agentcore.savers.opening import open_checkpointer, open_pool, saver_over
from tests import graphs
from tests.console import refund as a_refund
from tests.scale import some, tries

GATED = cards.card("gated", graphs.gated).channels
REFUND = cards.card("refund", refund.graph).channels
GRAPHS: dict[str, Any] = {"refund": refund.graph, "support": support.graph, "operations": operations.graph}


def set_to(value: Any) -> dict[str, Any]:
    return {"op": "set", "value": value}


def append(value: Any) -> dict[str, Any]:
    return {"op": "append", "value": value}


def replace(value: Any) -> dict[str, Any]:
    return {"op": "replace", "value": value}


def faults(edits: Any, channels: Any = GATED, opaque: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the sentence for each path that is refused; empty if the edit is taken."""
    try:
        check_edits(channels, edits, opaque=opaque)
    except CannotEdit as error:
        json.dumps([fault.as_dict() for fault in error.faults], allow_nan=False)
        return {fault.path: fault.message for fault in error.faults}
    return {}


@pytest.fixture
async def saver(database: str) -> AsyncIterator[Saver]:
    async with open_checkpointer(database) as opened:
        yield opened


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


async def pause(graph: Any, saver: Saver, thread_id: str, input: dict[str, Any]) -> Snapshot:
    outcome = await run_until_pause(RunContext(graph, saver, thread_id), input)
    assert isinstance(outcome, Paused), outcome
    return outcome.snapshot


async def at_head(graph: Any, saver: Saver, thread_id: str) -> Snapshot:
    found = await snapshot(graph, saver, thread_id)
    assert found is not None
    return found


# What is refused


@pytest.mark.parametrize(
    "edits",
    [
        {},
        {"text": set_to("new")},
        {"text": set_to("")},
        {"text": replace("new")},
        {"count": set_to(7), "flag": set_to(True)},
        {"seconds": set_to(1)},
        {"seconds": set_to(-0.5)},
        {"notes": append(["more"])},
        {"notes": append([])},
        {"notes": replace([])},
        {"text": set_to("{{7*7}} \u202e \x1b[31m =cmd() <script> __overwrite__ lc")},
        {"count": set_to(2**53 + 1)},
    ],
    ids=str,
)
def test_a_fitting_edit_is_taken(edits: Any) -> None:
    assert faults(edits) == {}


@pytest.mark.parametrize(
    ("edits", "path", "said"),
    [
        ({"txet": set_to("x")}, "txet", "no channel of this name. It has: seconds, text"),
        ({"": set_to("x")}, "", "no channel of this name"),
        ({"__class__": set_to("x")}, "__class__", "no channel of this name"),
        ({"__overwrite__": set_to("x")}, "__overwrite__", "no channel of this name"),
        ({1: set_to("x")}, "1", "no channel of this name"),
        ({"text": "x"}, "text", "Send {"),
        ({"text": None}, "text", "Send {"),
        ({"text": {}}, "text", "Send {"),
        ({"text": {"op": "set"}}, "text", "Send {"),
        ({"text": {"op": "set", "value": "x", "more": 1}}, "text", "Send {"),
        ({"text": {"op": "delete", "value": "x"}}, "text", "Send {"),
        ({"text": {"op": ["set"], "value": "x"}}, "text", "Send {"),
        ({"text": append("x")}, "text/op", "say set"),
        ({"notes": set_to(["x"])}, "notes/op", "say append or replace"),
        ({"text": set_to(7)}, "text/value", "of type string"),
        ({"text": set_to(None)}, "text/value", "of type string"),
        ({"count": set_to("7")}, "count/value", "of type integer"),
        ({"count": set_to(7.5)}, "count/value", "of type integer"),
        ({"count": set_to(True)}, "count/value", "of type integer"),
        ({"flag": set_to(1)}, "flag/value", "of type boolean"),
        ({"notes": append("x")}, "notes/value", "of type array"),
        ({"notes": append(["a", 7])}, "notes/value/1", "of type string"),
        ({"text": set_to("a\0b")}, "text/value", "NUL"),
        ({"text": set_to("\ud800")}, "text/value", "lone surrogate"),
        ({"notes": append(["ok", "\udc80"])}, "notes/value/1", "lone surrogate"),
        ({"seconds": set_to(math.nan)}, "seconds/value", "finite"),
        ({"seconds": set_to(-math.inf)}, "seconds/value", "finite"),
        ({"count": set_to(10**400)}, "count/value", "too large"),
        ({"count": set_to(2**64)}, "count/value", "too large"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_an_edit_the_graph_would_not_take_is_refused_by_path(edits: Any, path: str, said: str) -> None:
    found = faults(edits)
    assert list(found) == [path]
    assert said in found[path]


@pytest.mark.parametrize("edits", [None, [], "text", 7, [["text", set_to("x")]]], ids=str)
def test_edits_that_are_no_object_are_refused(edits: Any) -> None:
    assert list(faults(edits)) == [""]


def test_every_fault_is_told_at_once() -> None:
    assert set(faults({"text": set_to(7), "count": set_to("x"), "what": set_to(1), "flag": set_to(True)})) == {
        "text/value",
        "count/value",
        "what",
    }


class Loose(TypedDict, total=False):
    anything: Any
    many: Annotated[list[Any], operator.add]


async def nothing(state: Any) -> dict[str, Any]:
    return {}


def loose() -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Loose)
    builder.add_node("nothing", nothing)
    builder.add_edge(START, "nothing")
    return builder.compile(interrupt_before=["nothing"])


LOOSE = cards.card("loose", loose()).channels
SENTINELS = ["__overwrite__", "__interrupt__", "__class__", "__proto__", "__type__", "__root__", "lc"]


@pytest.mark.parametrize("key", SENTINELS)
@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: [1, bad], lambda bad: {"a": [{"b": bad}]}])
def test_keys_that_mean_something_to_langgraph_are_refused_at_any_depth(key: str, wrap: Any) -> None:
    found = faults({"anything": set_to(wrap({key: [1]})), "many": append([wrap({key: [1]})])}, LOOSE)
    assert len(found) == 2
    assert all(path.endswith(f"/{key}") and "LangGraph" in message for path, message in found.items())


@pytest.mark.parametrize("key", ["", "__", "____", "_x_", "__x", "x__", "lcx", "LC", "overwrite", "{{7*7}}"])
def test_other_keys_are_data(key: str) -> None:
    assert faults({"anything": set_to({key: 1})}, LOOSE) == {}


@pytest.mark.parametrize("bad", ["\0", "\ud800", math.nan, 2**64], ids=ascii)
def test_what_cannot_be_stored_is_found_deep_inside_and_in_keys(bad: Any) -> None:
    assert list(faults({"anything": set_to({"a": [0, {"b": bad}]})}, LOOSE)) == ["anything/value/a/1/b"]
    if isinstance(bad, str):
        assert faults({"anything": set_to({f"k{bad}": 1})}, LOOSE) != {}


@pytest.mark.parametrize("levels", [101, 5_000])
@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["list", "dict"])
def test_deep_nesting_is_refused_and_does_no_harm(levels: int, wrap: Any) -> None:
    deep = functools.reduce(lambda inner, _: wrap(inner), range(levels), 1)
    assert "nested too deeply" in next(iter(faults({"anything": set_to(deep)}, LOOSE).values()))
    assert "nested too deeply" in next(iter(faults({"text": set_to(deep)}).values()))


def test_a_channel_of_objects_may_only_be_added_to() -> None:
    assert "lose their type" in faults({"text": set_to("x")}, opaque=("text",))["text"]
    assert "lose their type" in faults({"notes": replace([])}, opaque=("notes",))["notes"]
    assert faults({"notes": append(["x"]), "text": set_to("x")}, opaque=("notes",)) == {}


def test_a_fault_does_not_repeat_the_value() -> None:
    canary = "hunter2canary"
    [said] = faults({"currency": set_to(canary)}, REFUND).values()
    assert said == "This must be one of: EUR, GBP, USD, CHF."
    assert canary not in str(faults({"count": set_to(canary), "notes": append(canary)}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3) | st.sampled_from(SENTINELS), inner, max_size=3)
        ),
        max_leaves=10,
    )
)
@example({"a": {"__overwrite__": 1}})
def test_what_passes_the_check_can_be_stored_and_comes_back(value: Any) -> None:
    if faults({"anything": set_to(value)}, LOOSE):
        return
    saver, graph = InMemorySaver(), loose()

    async def story() -> Any:
        await run_until_pause(RunContext(graph, saver, "t"), {"anything": 1})
        await state_edits.apply(graph, saver, config_for("t"), {"anything": set_to(value)})
        return (await with_saver(graph, saver).aget_state(config_for("t"))).values["anything"]

    assert asyncio.run(story()) == value
    assert "\\u0000" not in json.dumps(value, allow_nan=False)


# What a preview says, and what then happens


NOTES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=2)


@settings(max_examples=tries(5, full=25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paused_at=st.floats(1, 1_000),
    edits=st.fixed_dictionaries(
        {},
        optional={
            "amount": st.floats(0.01, 1_000).map(set_to),
            "limit": st.integers(1, 1_000).map(set_to),
            "risk_notes": st.builds(lambda op, notes: op(notes), st.sampled_from([append, replace]), NOTES),
        },
    ),
)
@example(paused_at=640.0, edits={"amount": set_to(80.0)})
@example(paused_at=80.0, edits={"amount": set_to(100.01)})
@example(paused_at=640.0, edits={})
def test_the_preview_of_any_refund_is_what_happens(database: str, paused_at: float, edits: Any) -> None:
    """Property: values, next, diff and digest; over PostgreSQL, while the preview works on a copy in memory."""

    async def story() -> tuple[Snapshot, Preview, Snapshot]:
        async with open_pool(database) as pool:
            saver, thread_id = saver_over(pool), f"t-{uuid.uuid4()}"
            before = await pause(refund.graph, saver, thread_id, a_refund(amount=paused_at))
            seen = await state_edits.preview(refund.graph, saver, config_for(thread_id), edits)
            await state_edits.apply(refund.graph, saver, config_for(thread_id), edits)
            return before, seen, await at_head(refund.graph, saver, thread_id)

    assert faults(edits, REFUND) == {}
    before, seen, after = asyncio.run(story())
    assert (seen.values_before, seen.next_before) == (before.values, before.next)
    assert (seen.values, seen.next) == (after.values, after.next)
    assert seen.digest == state_edits.result_digest(after)
    assert seen.diff == tuple(changes(before.values, after.values, edits))
    assert {change.channel for change in seen.diff} <= edits.keys()
    assert after.next == (("pay_refund",) if after.values["amount"] <= after.values["limit"] else ("senior_desk",))


ALL_CASES = {case.id: case for case in CASES}
USUAL_CASES = some(ALL_CASES, *{case.graph_id: case.id for case in CASES}.values())


@pytest.mark.parametrize("case", USUAL_CASES.values(), ids=USUAL_CASES)
async def test_the_preview_of_each_demo_is_what_happens(saver: Saver, thread_id: str, case: Any) -> None:
    graph = GRAPHS[case.graph_id]
    before = await pause(graph, saver, thread_id, case.input)
    edits: Any = {
        "refund": {"amount": set_to(1.0)},
        "support": {"draft": set_to("Let us talk.")},
        "operations": {"plan": set_to(["do nothing"])},
    }[case.graph_id]
    seen = await state_edits.preview(graph, saver, config_for(thread_id), edits)
    await state_edits.apply(graph, saver, config_for(thread_id), edits)
    after = await at_head(graph, saver, thread_id)
    assert (seen.values, seen.next, seen.digest) == (after.values, after.next, state_edits.result_digest(after))
    changed = [name for name, edit in edits.items() if before.values[name] != edit["value"]]
    assert [change.channel for change in seen.diff] == changed


async def test_an_added_message_leads_to_what_was_shown(saver: Saver, thread_id: str) -> None:
    """LangGraph gives it a random id; with that in the digest no approval of such an edit was ever carried out."""
    await pause(support.graph, saver, thread_id, next(case.input for case in CASES if case.graph_id == "support"))
    edits = {"messages": append([{"role": "user", "content": "hi"}])}
    seen = await state_edits.preview(support.graph, saver, config_for(thread_id), edits)
    await state_edits.apply(support.graph, saver, config_for(thread_id), edits)
    after = await at_head(support.graph, saver, thread_id)
    assert after.values["messages"][-1]["content"] == "hi"
    assert state_edits.result_digest(after) == seen.digest
    other = {"messages": append([{"role": "user", "content": "hi!"}])}
    assert (await state_edits.preview(support.graph, saver, config_for(thread_id), other)).digest != seen.digest


def all_rows(database: str, thread_id: str) -> list[Any]:
    """Every row of the thread, as text: count, content and head."""
    with psycopg.connect(make_conninfo("", **postgres_params(database))) as connection, connection.cursor() as cursor:
        tables = PostgresTables(cursor)
        rows: list[Any] = [tables.count_rows(thread_id), tables.read_head(thread_id)]
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            cursor.execute(f"SELECT t::text FROM {table} t WHERE thread_id = %s ORDER BY 1", [thread_id])
            rows.append(cursor.fetchall())
        return rows


@pytest.mark.parametrize(
    "as_node", [None, "check_order", pytest.param("senior_desk", marks=pytest.mark.full), "no_such_node"]
)
async def test_a_preview_touches_nothing(database: str, saver: Saver, thread_id: str, as_node: str | None) -> None:
    await pause(refund.graph, saver, thread_id, a_refund(amount=640))
    before = all_rows(database, thread_id)
    edits = {"amount": set_to(80.0), "risk_notes": append(["looked at"])}
    try:
        seen = await state_edits.preview(refund.graph, saver, config_for(thread_id), edits, as_node)
    except CannotEdit:
        assert as_node == "no_such_node"
    else:
        assert seen.values["amount"] == 80.0
    assert all_rows(database, thread_id) == before
    await state_edits.apply(refund.graph, saver, config_for(thread_id), edits)
    assert all_rows(database, thread_id) != before  # the control: the rows do show an edit


async def test_append_merges_replace_puts_in_place_and_set_keeps_the_last(saver: Saver, thread_id: str) -> None:
    await pause(graphs.gated, saver, thread_id, {"text": "x", "notes": ["first"]})
    config = config_for(thread_id)
    for edits, notes in [
        ({"notes": append(["more"])}, ["first", "prepared", "more"]),
        ({"notes": append([])}, ["first", "prepared", "more"]),
        ({"notes": replace(["only"])}, ["only"]),
        ({"notes": replace([])}, []),
    ]:
        assert (await state_edits.preview(graphs.gated, saver, config, edits)).values["notes"] == notes
        await state_edits.apply(graphs.gated, saver, config, edits)
        assert (await at_head(graphs.gated, saver, thread_id)).values["notes"] == notes
    await state_edits.apply(graphs.gated, saver, config, {"text": set_to("y")})
    assert (await at_head(graphs.gated, saver, thread_id)).values["text"] == "y"


async def test_the_preview_of_an_earlier_checkpoint_starts_there(saver: Saver, thread_id: str) -> None:
    first = await pause(graphs.gated, saver, thread_id, {"text": "x"})
    await state_edits.apply(graphs.gated, saver, config_for(thread_id), {"notes": append(["later"])})
    config = config_for(thread_id, first.checkpoint_id)
    seen = await state_edits.preview(graphs.gated, saver, config, {"text": set_to("y")})
    assert seen.values == {"text": "y", "notes": ["prepared"]}


async def test_a_thread_without_a_checkpoint_cannot_be_edited(saver: Saver, thread_id: str) -> None:
    with pytest.raises(CannotEdit, match="no checkpoint"):
        await state_edits.preview(graphs.gated, saver, config_for(thread_id), {"text": set_to("y")})


async def test_parallel_branches_ask_which_node_the_edit_comes_from(saver: Saver, thread_id: str) -> None:
    before = await pause(graphs.branching, saver, thread_id, {"text": "x"})
    edits = {"text": set_to("y")}
    with pytest.raises(CannotEdit, match="as_node"):
        await state_edits.preview(graphs.branching, saver, config_for(thread_id), edits)
    with pytest.raises(CannotEdit, match="as_node"):
        await state_edits.apply(graphs.branching, saver, config_for(thread_id), edits)
    assert await at_head(graphs.branching, saver, thread_id) == before
    seen = await state_edits.preview(graphs.branching, saver, config_for(thread_id), edits, as_node="left")
    await state_edits.apply(graphs.branching, saver, config_for(thread_id), edits, as_node="left")
    after = await at_head(graphs.branching, saver, thread_id)
    assert (seen.values, seen.next) == (after.values, after.next)
    assert after.values["text"] == "y"


async def test_a_node_that_is_not_there_is_refused(saver: Saver, thread_id: str) -> None:
    await pause(graphs.gated, saver, thread_id, {"text": "x"})
    with pytest.raises(CannotEdit, match="nobody"):
        await state_edits.apply(graphs.gated, saver, config_for(thread_id), {"text": set_to("y")}, as_node="nobody")


@pytest.mark.parametrize("raised", [IndexError, ZeroDivisionError, KeyError, ValueError, RuntimeError, AssertionError])
async def test_a_routing_that_raises_is_a_refused_edit(saver: Saver, thread_id: str, raised: type[Exception]) -> None:
    def route(state: Loose) -> str:
        if state["anything"] == "bad":
            raise raised("of the graph's author, with hunter2canary in it")
        return "nothing"

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Loose)
    builder.add_node("first", nothing)
    builder.add_node("nothing", nothing)
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", route, ["nothing"])
    graph = builder.compile(interrupt_before=["nothing"])
    before = await pause(graph, saver, thread_id, {"anything": "good"})
    for edit in (state_edits.preview, state_edits.apply):
        with pytest.raises(CannotEdit, match=raised.__name__) as caught:
            await edit(graph, saver, config_for(thread_id), {"anything": set_to("bad")})
        assert "hunter2canary" not in str(caught.value)
    assert await at_head(graph, saver, thread_id) == before


async def test_the_digest_names_values_and_what_comes_next(saver: Saver, thread_id: str) -> None:
    await pause(refund.graph, saver, thread_id, a_refund(amount=640))

    async def digest_of(edits: Any, as_node: str | None = None) -> str:
        return (await state_edits.preview(refund.graph, saver, config_for(thread_id), edits, as_node)).digest

    assert await digest_of({"amount": set_to(80.0)}) == await digest_of({"amount": set_to(80.0)})
    others = [
        await digest_of({}),
        await digest_of({"amount": set_to(80.0)}),
        await digest_of({"amount": set_to(80)}),
        await digest_of({"amount": set_to(81.0)}),
        await digest_of({"amount": set_to(80.0), "risk_notes": append(["n"])}),
        await digest_of({}, "senior_desk"),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    ("old", "new"), [(1, 1.0), (1, True), ([1], [True]), ({"a": 0}, {"a": False}), (None, ""), (0.0, -0.0)], ids=str
)
def test_a_change_that_python_takes_for_none_is_shown(old: Any, new: Any) -> None:
    [change] = changes({"c": old, "same": [1, {"a": None}]}, {"c": new, "same": [1, {"a": None}]})
    assert (change.channel, change.before, change.after) == ("c", old, new)
