"""A thread that holds types nobody allowed says so, shows them by name, and takes no edits; it goes on all the same."""

import dataclasses
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from psycopg.types.json import Jsonb
from typing_extensions import TypedDict

from agentcore.graphs.allowlist import declared_types
from agentcore.graphs.resume import Answer, resume
from agentcore.graphs.runs import RunContext
from agentcore.graphs.snapshots import config_for, history, look, snapshot, with_saver, with_serializer
from agentcore.graphs.state_edits import preview
from agentcore.plain.errors import CannotEdit, UnreadableThread
from agentcore.plain.json import canonical
from agentcore.plain.types import Failed, Finished, Gate, Snapshot
from agentcore.savers.base import Saver
from agentcore.savers.opening import open_checkpointer, open_pool
from agentcore.savers.serializers import strict_serializer

PERMISSIVE = JsonPlusSerializer(allowed_msgpack_modules=True)


@dataclasses.dataclass
class Order:
    total: int
    lines: list[Any] = dataclasses.field(default_factory=list)


ORDER = f"{Order.__module__}.Order"


class State(TypedDict, total=False):
    anything: Any
    text: str


class Declaring(TypedDict, total=False):
    anything: Order
    text: str


def graph_of(schema: Any, **gates: Any) -> Any:
    async def act(state: Any) -> Any:
        return {"text": type(state["anything"]).__name__}

    async def ask(state: Any) -> Any:
        return {"text": str(interrupt(Order(3)))} if state["text"] == "ask" else {}

    async def forget(state: Any) -> Any:
        return {"anything": None}

    async def end(state: Any) -> Any:
        return {}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(schema)
    for node in (ask, act, forget, end):
        builder.add_node(node)
    for source, target in zip(
        [START, "ask", "act", "forget", "end"], ["ask", "act", "forget", "end", END], strict=True
    ):
        builder.add_edge(source, target)
    return builder.compile(**gates)


GATED = graph_of(State, interrupt_before=["act"])
DECLARED = graph_of(Declaring, interrupt_before=["act"])
FORGETFUL = graph_of(State, interrupt_after=["forget"])


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def saver(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[Saver]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/c.db", "postgres": database}
    async with open_checkpointer(urls[request.param]) as opened:
        yield opened


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


async def agent_runs(graph: Any, saver: Saver, thread_id: str, text: str = "x") -> None:
    """An agent elsewhere, with LangGraph's permissive default."""
    bound = with_saver(graph, with_serializer(saver, PERMISSIVE))
    await bound.ainvoke({"anything": [Order(1, [Order(2)])], "text": text}, config_for(thread_id))


async def at_head(graph: Any, saver: Saver, thread_id: str) -> Snapshot:
    found = await snapshot(graph, saver, thread_id)
    assert found is not None
    return found


async def test_the_types_are_named_and_shown(saver: Saver, thread_id: str) -> None:
    await agent_runs(GATED, saver, thread_id)
    here = await at_head(GATED, saver, thread_id)
    assert here.blocked == (ORDER,)
    assert here.opaque == ("anything",)
    inner = {"__type__": ORDER, "value": {"total": 2, "lines": []}}
    assert here.values == {"anything": [{"__type__": ORDER, "value": {"total": 1, "lines": [inner]}}], "text": "x"}
    assert here.gate == Gate("before", ("act",))


async def test_a_type_that_the_graph_declares_is_built_and_looks_the_same(saver: Saver, thread_id: str) -> None:
    await agent_runs(GATED, saver, thread_id)
    blocked = await at_head(DECLARED, saver, thread_id)
    allowing = with_serializer(saver, strict_serializer(declared_types(DECLARED)))
    built = await at_head(DECLARED, allowing, thread_id)
    assert blocked.blocked
    assert built == dataclasses.replace(blocked, blocked=())
    assert canonical(built.values) == canonical(blocked.values)


async def test_a_type_in_a_question_counts_too(saver: Saver, thread_id: str) -> None:
    bound = with_saver(GATED, with_serializer(saver, PERMISSIVE))
    await bound.ainvoke({"text": "ask"}, config_for(thread_id))
    here = await at_head(GATED, saver, thread_id)
    assert here.blocked == (ORDER,)
    assert [each.value for each in here.interrupts] == [{"total": 3, "lines": []}]


async def test_what_the_thread_held_before_does_not_count(saver: Saver, thread_id: str) -> None:
    """The gate is found by reading the checkpoint before, which does hold it."""
    await agent_runs(FORGETFUL, saver, thread_id)
    here = await at_head(FORGETFUL, saver, thread_id)
    assert here.gate == Gate("after", ("forget",))
    assert here.blocked == ()


async def test_the_history_says_it_of_the_checkpoints_that_hold_it(saver: Saver, thread_id: str) -> None:
    await agent_runs(graph_of(State), saver, thread_id)
    seen = {each.step: each for each in await history(graph_of(State), saver, thread_id)}
    assert [step for step, each in seen.items() if each.blocked] == [2, 1, 0, -1]
    assert len(seen) == 6
    assert seen[1].values["anything"][0]["__type__"] == ORDER


async def test_an_edit_is_refused_with_the_sentence(saver: Saver, thread_id: str) -> None:
    await agent_runs(GATED, saver, thread_id)
    with pytest.raises(CannotEdit, match=f"{ORDER}.*bare data.*allowed_msgpack_modules") as refused:
        await preview(GATED, saver, config_for(thread_id), {"text": {"op": "set", "value": "y"}})
    assert [fault.path for fault in refused.value.faults] == [""]


async def answered(graph: Any, saver: Saver, thread_id: str, answer: Answer) -> Any:
    head = (await at_head(graph, saver, thread_id)).checkpoint_id
    return await resume(RunContext(graph, saver, thread_id, {"run": "r"}, "run"), answer, expected_head=head)


async def test_a_run_carries_out_no_edit_that_was_decided_before(saver: Saver, thread_id: str) -> None:
    await agent_runs(GATED, saver, thread_id)
    before = await at_head(GATED, saver, thread_id)
    edit = Answer("approve", edits={"text": {"op": "set", "value": "y"}})
    failed = await answered(GATED, saver, thread_id, edit)
    assert isinstance(failed, Failed)
    assert failed.error == "InvalidEdit"
    assert await at_head(GATED, saver, thread_id) == before


async def test_approving_goes_on_with_bare_data(saver: Saver, thread_id: str) -> None:
    await agent_runs(GATED, saver, thread_id)
    done = await answered(GATED, saver, thread_id, Answer("approve"))
    assert isinstance(done, Finished)
    assert done.snapshot.values["text"] == "list"
    await agent_runs(GATED, saver, f"{thread_id}-2")
    rejected = await answered(GATED, saver, f"{thread_id}-2", Answer("reject"))
    assert isinstance(rejected, Finished)
    assert rejected.snapshot.values["text"] == "x"


# Looking without a graph


async def test_a_thread_can_be_looked_at_without_its_graph(saver: Saver, thread_id: str) -> None:
    await agent_runs(GATED, saver, thread_id)
    looked = await look(saver, thread_id)
    assert looked is not None
    assert looked.values == (await at_head(GATED, saver, thread_id)).values
    assert looked.ran == ("ask",)
    assert looked.metadata["step"] == 1
    assert await look(saver, "nobody") is None


async def test_looking_leaves_the_saver_as_it_was(saver: Saver, thread_id: str) -> None:
    serializer = saver.serde
    await agent_runs(GATED, saver, thread_id)
    await look(saver, thread_id)
    assert saver.serde is serializer


@pytest.mark.parametrize(
    "checkpoint",
    [
        {},
        {"v": "four"},
        {"v": 4, "channel_values": [1]},
        {"v": 4, "channel_values": {}, "channel_versions": {}, "versions_seen": {}},
        {"v": 4, "channel_values": {"a": {"lc": 2, "id": ["os", "system"]}}, "channel_versions": {}},
    ],
    ids=repr,
)
async def test_a_row_that_is_no_checkpoint_is_unreadable_or_read(
    database: str, thread_id: str, checkpoint: dict[str, Any]
) -> None:
    async with open_checkpointer(database) as saver, open_pool(database, max_size=1) as pool:
        async with pool.connection() as connection:
            await connection.execute(
                "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata) VALUES (%s, '1', %s, '{}')",
                [thread_id, Jsonb(checkpoint)],
            )
        try:
            looked = await look(saver, thread_id)
        except UnreadableThread:
            return
        assert looked is not None
        assert looked.values == {}


async def test_channels_of_langgraphs_own_are_not_shown(saver: Saver, thread_id: str) -> None:
    checkpoint = empty_checkpoint()
    own: dict[str, Any] = {"__start__": {"a": 1}, "branch:to:act": None, "join:a+b:c": {"a"}, "__pregel_tasks": []}
    checkpoint["channel_values"] = {**own, "text": "x"}
    checkpoint["channel_versions"] = dict.fromkeys(checkpoint["channel_values"], "1")
    await saver.aput(config_for(thread_id), checkpoint, {}, checkpoint["channel_versions"])
    looked = await look(saver, thread_id)
    assert looked is not None
    assert looked.values == {"text": "x"}
