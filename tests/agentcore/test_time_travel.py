"""Forks and replays over every saver: the old thread stays byte for byte, the new one runs from where it was forked."""

import operator
import uuid
from pathlib import Path
from typing import Annotated, Any

import psycopg
import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from psycopg.conninfo import make_conninfo
from typing_extensions import TypedDict

from agentcore.graphs import forks
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.runs import RunContext
from agentcore.graphs.snapshots import config_for, history, snapshot, with_saver
from agentcore.plain.errors import CannotEdit, CannotFork
from agentcore.plain.types import Snapshot
from agentcore.plain.urls import postgres_params
from agentcore.savers.base import Saver
from agentcore.savers.memory import MemorySaver
from agentcore.savers.sqlite import SqliteSaver
from tests.agentcore.savers import EVERY_KIND, KINDS, open_saver
from tests.scale import share, some

pytestmark = pytest.mark.slow
STORES = KINDS[:4]
"""The others differ in what they read, not in what they store."""
USUAL_STORES = some({kind: kind for kind in STORES}, "memory", "sqlite", "postgres")
ON_DISK = pytest.mark.parametrize("kind", some(EVERY_KIND, "sqlite", "postgres"), indirect=True)
CACHED = pytest.mark.parametrize("kind", some(EVERY_KIND, "memory", "cached"), indirect=True)
STEPS = 50
RUN_KEY = "countersign_run"


class State(TypedDict, total=False):
    text: str
    count: int
    notes: Annotated[list[str], operator.add]


def step_named(name: str) -> Any:
    async def step(state: State) -> State:
        return {"notes": [name], "count": state.get("count", 0) + 1}

    return step


async def note_each(state: State) -> State:
    return {"notes": ["each"]}


async def ask(state: State) -> State:
    answer: Any = interrupt({"question": "How many?", "for": state.get("text", "")})
    return {"notes": [f"answered {answer}"]}


async def ask_twice(state: State) -> State:
    first: Any = interrupt("first?")
    second: Any = interrupt("second?")
    return {"notes": [f"{first} then {second}"]}


async def fail(state: State) -> State:
    answer: Any = interrupt("A number?")
    return {"notes": [str(int(answer))]}


def in_line(*names: str, **nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in names:
        builder.add_node(name, nodes.get(name) or step_named(name))
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder


long = in_line(*(f"step_{number}" for number in range(STEPS - 2))).compile()
gated = in_line("prepare", "act", "tell").compile(interrupt_before=["act"])
after = in_line("prepare", "act", "tell").compile(interrupt_after=["act"])
asking = in_line("prepare", "ask", "tell", ask=ask).compile()
asking_twice = in_line("prepare", "ask", "tell", ask=ask_twice).compile()
failing = in_line("prepare", "ask", "tell", ask=fail).compile()
deep = in_line("prepare", "ask", "tell", ask=in_line("inner", "ask", ask=ask).compile()).compile()


def _fanned() -> CompiledGraph:
    builder = in_line("spread")
    builder.add_node("gather", note_each)
    builder.add_edge("gather", END)
    builder.add_node("each", note_each)
    builder.add_conditional_edges("spread", lambda state: [Send("each", {"count": 1})] * 3, ["each"])
    builder.add_edge("each", "gather")
    return builder.compile()


fanned = _fanned()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def thread() -> str:
    return f"t-{uuid.uuid4()}"


async def run(graph: CompiledGraph, saver: Saver, thread_id: str, input: Any) -> Snapshot:
    await with_saver(graph, saver).ainvoke(input, config_for(thread_id), durability="sync")
    here = await snapshot(graph, saver, thread_id)
    assert here is not None
    return here


async def dump(saver: Any, database: str, thread_id: str) -> Any:
    """Return every row of a thread, as it is stored."""
    if isinstance(saver, MemorySaver):
        blobs = {key: value for key, value in saver.blobs.items() if key[0] == thread_id}
        writes = {key: dict(value) for key, value in saver.writes.items() if key[0] == thread_id}
        return repr((saver.storage[thread_id], blobs, writes))
    if isinstance(saver, SqliteSaver):
        queries = [
            f"SELECT * FROM {table} WHERE thread_id = ? ORDER BY 1, 2, 3, 4, 5" for table in ("checkpoints", "writes")
        ]
        return [await saver.conn.execute_fetchall(query, [thread_id]) for query in queries]
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    async with await psycopg.AsyncConnection.connect(make_conninfo("", **postgres_params(database))) as connection:
        return [
            await (
                await connection.execute(
                    f"SELECT r::text, xmin, ctid FROM {table} r WHERE thread_id = %s ORDER BY 1", [thread_id]
                )
            ).fetchall()
            for table in tables
        ]


@pytest.mark.parametrize("kind", USUAL_STORES, indirect=True)
async def test_a_fork_at_each_of_fifty_checkpoints_runs_to_the_same_end(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin = thread()
        end = await run(long, saver, origin, {"text": "hello"})
        before = await dump(saver, database, origin)
        checkpoints = await history(long, saver, origin, limit=100)
        assert len(checkpoints) == STEPS
        for checkpoint in share(checkpoints, STORES.index(kind), of=2 * len(STORES)):
            forked = thread()
            at = {"origin": origin, "checkpoint_id": checkpoint.checkpoint_id}
            here = await forks.fork(RunContext(long, saver, forked), **at)
            assert (here.values, here.waiting) == (checkpoint.values, checkpoint.waiting)
            assert here.checkpoint_id == checkpoint.checkpoint_id
            assert (await run(long, saver, forked, None)).values == end.values
        assert await dump(saver, database, origin) == before


async def test_a_fork_at_a_gate_that_was_passed_stands_at_the_gate_again(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked = thread(), thread()
        at_gate = await run(gated, saver, origin, {"text": "x"})
        await run(gated, saver, origin, None)
        before = await dump(saver, database, origin)
        here = await forks.fork(RunContext(gated, saver, forked), origin=origin, checkpoint_id=at_gate.checkpoint_id)
        assert (here.gate, here.next) == (at_gate.gate, ("act",))
        assert here.gate and here.gate.ran == ("prepare",)
        assert (await run(gated, saver, forked, None)).values["notes"] == ["prepare", "act", "tell"]
        assert await dump(saver, database, origin) == before


@CACHED
async def test_a_gate_behind_a_node_holds_in_a_fork_too(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked = thread(), thread()
        at_gate = await run(after, saver, origin, {"text": "x"})
        await run(after, saver, origin, None)
        here = await forks.fork(RunContext(after, saver, forked), origin=origin, checkpoint_id=at_gate.checkpoint_id)
        assert here.gate == at_gate.gate


@ON_DISK
@pytest.mark.parametrize("is_answered", [False, True], ids=["waiting", "answered"])
async def test_a_question_waits_in_the_fork_under_its_own_id(
    kind: str, database: str, redis: str, tmp_path: Path, is_answered: bool
) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked = thread(), thread()
        asked = await run(asking, saver, origin, {"text": "x"})
        if is_answered:
            await run(asking, saver, origin, Command(resume={asked.interrupts[0].id: 1}))
        before = await dump(saver, database, origin)
        here = await forks.fork(RunContext(asking, saver, forked), origin=origin, checkpoint_id=asked.checkpoint_id)
        assert here.interrupts == asked.interrupts
        done = await run(asking, saver, forked, Command(resume={here.interrupts[0].id: 2}))
        assert done.values["notes"] == ["prepare", "answered 2", "tell"]
        assert await dump(saver, database, origin) == before


@pytest.mark.parametrize("kind", some(EVERY_KIND, "memory", "postgres"), indirect=True)
async def test_a_question_that_followed_another_is_asked_from_the_first(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin = thread()
        first = await run(asking_twice, saver, origin, {"text": "x"})
        second = await run(asking_twice, saver, origin, Command(resume={first.interrupts[0].id: 1}))
        at = {"origin": origin, "checkpoint_id": first.checkpoint_id}
        at_head = await forks.fork(RunContext(asking_twice, saver, thread()), **at)
        assert at_head.interrupts == second.interrupts
        await run(asking_twice, saver, origin, Command(resume={second.interrupts[0].id: 2}))
        forked = thread()
        here = await forks.fork(RunContext(asking_twice, saver, forked), **at)
        assert (here.interrupts, here.waiting) == ((), ("ask",))
        asked = await run(asking_twice, saver, forked, None)
        assert [each.value for each in asked.interrupts] == ["first?"]


@pytest.mark.parametrize("kind", some(EVERY_KIND, "sqlite", "cached in Redis alone"), indirect=True)
async def test_a_question_inside_a_subgraph_waits_in_the_fork(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked, late = thread(), thread(), thread()
        asked = await run(deep, saver, origin, {"text": "x"})
        before = await dump(saver, database, origin)
        here = await forks.fork(RunContext(deep, saver, forked), origin=origin, checkpoint_id=asked.checkpoint_id)
        assert here.interrupts == asked.interrupts
        done = await run(deep, saver, forked, Command(resume={here.interrupts[0].id: 5}))
        assert done.values["notes"] == ["prepare", "prepare", "inner", "answered 5", "tell"]
        assert await dump(saver, database, origin) == before

        # Once that step is over, the subgraph of the original has ended: the fork begins it anew.
        await run(deep, saver, origin, Command(resume={asked.interrupts[0].id: 1}))
        again = await forks.fork(RunContext(deep, saver, late), origin=origin, checkpoint_id=asked.checkpoint_id)
        assert (again.interrupts, again.waiting) == ((), ("ask",))
        anew = await run(deep, saver, late, None)
        assert [each.value for each in anew.interrupts] == [each.value for each in asked.interrupts]


@ON_DISK
async def test_a_fork_of_a_node_that_failed_begins_it_anew(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked = thread(), thread()
        asked = await run(failing, saver, origin, {"text": "x"})
        with pytest.raises(ValueError, match="invalid literal"):
            await run(failing, saver, origin, Command(resume={asked.interrupts[0].id: "many"}))
        here = await forks.fork(RunContext(failing, saver, forked), origin=origin, checkpoint_id=asked.checkpoint_id)
        assert (here.errors, [each.is_poisoned for each in here.interrupts]) == ((), [False])
        done = await run(failing, saver, forked, Command(resume={here.interrupts[0].id: "7"}))
        assert done.values["notes"] == ["prepare", "7", "tell"]


@pytest.mark.parametrize("kind", some(EVERY_KIND, "sqlite", "cached notified"), indirect=True)
async def test_tasks_sent_in_parallel_run_again_in_a_fork(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin = thread()
        end = await run(fanned, saver, origin, {"text": "x"})
        for checkpoint in await history(fanned, saver, origin, limit=100):
            forked = thread()
            await forks.fork(RunContext(fanned, saver, forked), origin=origin, checkpoint_id=checkpoint.checkpoint_id)
            assert (await run(fanned, saver, forked, None)).values == end.values


@CACHED
async def test_an_edit_and_the_node_that_it_comes_from(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin = thread()
        at_gate = await run(gated, saver, origin, {"text": "x"})
        at = {"thread_id": origin, "checkpoint_id": at_gate.checkpoint_id}
        of = {"origin": origin, "checkpoint_id": at_gate.checkpoint_id}
        edits = {"text": {"op": "set", "value": "y"}, "notes": {"op": "replace", "value": []}}
        edited, skipped = thread(), thread()
        tried = await forks.try_fork(gated, saver, **at, edits=edits)
        here = await forks.fork(RunContext(gated, saver, edited), **of, edits=edits)
        assert here.values == tried.values == {"text": "y", "count": 1, "notes": []}
        assert here.gate and here.gate.nodes == ("act",)
        over = await forks.fork(RunContext(gated, saver, skipped), **of, edits=edits, as_node="act")
        assert over.next == ("tell",)
        with pytest.raises(CannotEdit):
            await forks.try_fork(gated, saver, **at, edits=edits, as_node="nowhere")


@ON_DISK
async def test_doing_it_again_after_a_crash_edits_once(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked = thread(), thread()
        at_gate = await run(gated, saver, origin, {"text": "x"})
        given: dict[str, Any] = {
            "origin": origin,
            "checkpoint_id": at_gate.checkpoint_id,
            "edits": {"notes": {"op": "append", "value": ["edited"]}},
        }
        context = RunContext(gated, saver, forked, {RUN_KEY: "run-1"}, RUN_KEY)
        first = await forks.fork(context, **given)
        again = await forks.fork(context, **given)
        assert first == again
        assert again.values["notes"] == ["prepare", "edited"]


@CACHED
async def test_a_fork_of_a_fork_is_as_good(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked, twice = thread(), thread(), thread()
        at_gate = await run(gated, saver, origin, {"text": "x"})
        await forks.fork(RunContext(gated, saver, forked), origin=origin, checkpoint_id=at_gate.checkpoint_id)
        here = await forks.fork(RunContext(gated, saver, twice), origin=forked, checkpoint_id=at_gate.checkpoint_id)
        assert here.gate == at_gate.gate
        assert (await run(gated, saver, twice, None)).values["notes"] == ["prepare", "act", "tell"]


@ON_DISK
async def test_a_checkpoint_that_is_not_there_is_refused(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin, forked = thread(), thread()
        await run(gated, saver, origin, {"text": "x"})
        with pytest.raises(CannotFork, match="no such checkpoint"):
            await forks.fork(RunContext(gated, saver, forked), origin=origin, checkpoint_id="1f0-none")
        assert await snapshot(gated, saver, forked) is None


@pytest.mark.parametrize("kind", some(EVERY_KIND, "memory", "sqlite", "cached"), indirect=True)
async def test_a_thread_stands_at_an_earlier_gate_again(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        origin = thread()
        at_gate = await run(gated, saver, origin, {"text": "x"})
        await run(gated, saver, origin, None)
        context = RunContext(gated, saver, origin, {RUN_KEY: "run-2"}, RUN_KEY)
        here = await forks.stand_again(context, at_gate.checkpoint_id)
        assert (here.source, here.metadata[RUN_KEY], here.gate) == ("fork", "run-2", at_gate.gate)
        assert here.gate and here.gate.ran == ("prepare",)
        assert here.checkpoint_id > at_gate.checkpoint_id
        assert await forks.stand_again(context, at_gate.checkpoint_id) == here
        assert (await run(gated, saver, origin, None)).values["notes"] == ["prepare", "act", "tell"]
