"""A node that runs again knows its effects again, and those it does `once` are done once."""

import asyncio
import http.server
import json
import math
import re
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from langgraph._internal import _constants
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from psycopg.conninfo import make_conninfo

from agentcore import effect_key, effects, once
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.errors import EffectMisused, FenceLost
from agentcore.plain.types import Failed, Finished
from agentcore.plain.urls import postgres_params
from agentcore.savers.fence import fenced
from agentcore.savers.opening import open_checkpointer
from agentcore.savers.sqlite import SqliteSaver
from tests import forks
from tests.agentcore.dying import graph as dying_graph
from tests.agentcore.savers import open_saver, tables_of
from tests.graphs import State
from tests.scale import crossed, some

ROOT = Path(__file__).parents[2]


KINDS = {kind: kind for kind in ("memory", "sqlite", "postgres", "cached")}
USUAL = some(KINDS, "sqlite", "postgres")


@pytest.fixture(params=USUAL)
async def saver(request: pytest.FixtureRequest, database: str, redis: str, tmp_path: Path) -> AsyncIterator[Any]:
    async with open_saver(request.param, database=database, redis=redis, folder=tmp_path) as opened:
        yield opened


in_any = pytest.mark.parametrize("saver", KINDS, indirect=True)
for_keys = pytest.mark.parametrize("saver", some(KINDS, "memory", "cached"), indirect=True)
"""A key is made of what LangGraph says of a task, whatever the saver."""
in_a_database = pytest.mark.parametrize("saver", ["sqlite", "postgres"], indirect=True)
in_postgres = pytest.mark.parametrize("saver", ["postgres"], indirect=True)


@pytest.fixture
def thread_id() -> str:
    return f"t-{uuid.uuid4()}"


@pytest.fixture
def session(database: str) -> Iterator[psycopg.Connection[Any]]:
    """The checkpoint database, with a table of the agent's own in it."""
    with psycopg.connect(make_conninfo("", **postgres_params(database)), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bookings (key text, amount int)")
        yield connection


def graph_of(*nodes: Any, **options: Any) -> Any:
    """A graph of these nodes, all at once after the start."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for node in nodes:
        builder.add_node(node, **options)
        builder.add_edge(START, node.__name__)
    return builder.compile()


async def run(graph: Any, saver: Any, thread_id: str, input: Any = None) -> Any:
    return await run_until_pause(RunContext(graph, saver, thread_id), input)


async def done(work: Any, saver: Any, thread_id: str = "") -> Any:
    """Do `work`, a coroutine function, in a node, and return or raise what it does."""
    found: list[Any] = []

    async def node(state: State) -> State:
        found.append(await work())
        return {}

    await with_saver(graph_of(node), saver).ainvoke({"text": "x"}, config_for(thread_id or f"t-{uuid.uuid4()}"))
    return found[0]


def counting(result: Any = "done") -> tuple[Any, list[int]]:
    """An effect, and a list that grows each time it happens."""
    calls: list[int] = []

    async def effect() -> Any:
        calls.append(1)
        return result

    return effect, calls


# Keys


@for_keys
async def test_every_effect_has_a_key_of_its_own(saver: Any, thread_id: str) -> None:
    """Two in a node, in nodes side by side, in a plain def, sent twice, in a subgraph, one step later."""
    keys: list[str] = []

    async def asynchronous(state: State) -> State:
        keys.extend([effect_key(), effect_key()])
        return {}

    def plain(state: State) -> State:
        keys.extend([effect_key(), effect_key()])
        return {}

    def sent(state: State) -> State:
        keys.append(effect_key())
        return {}

    def later(state: State) -> Command[Any]:
        return Command(goto=[Send("sent", {"count": 1}), Send("sent", {"count": 1}), "inner"])

    builder = StateGraph(State)
    for node in (asynchronous, plain, sent, later):
        builder.add_node(node.__name__, node)
    builder.add_node("inner", graph_of(asynchronous, plain))
    for name in ("asynchronous", "plain", "later"):
        builder.add_edge(START, name)
    for each in (thread_id, f"{thread_id}-2"):
        assert isinstance(await run(builder.compile(), saver, each, {"text": "x"}), Finished)
    assert len(keys) == len(set(keys)) == 20
    assert all(str(UUID(key)) == key for key in keys)


@for_keys
@pytest.mark.parametrize("is_inside", [False, True])
async def test_a_node_that_runs_again_gets_its_keys_again(saver: Any, thread_id: str, is_inside: bool) -> None:
    attempts: list[list[str]] = []

    async def fail_once(state: State) -> State:
        attempts.append([effect_key(), effect_key()])
        if len(attempts) == 1:
            raise ConnectionError
        return {}

    def graph() -> Any:
        fails = graph_of(fail_once)
        return StateGraph(State).add_node("inner", fails).add_edge(START, "inner").compile() if is_inside else fails

    assert isinstance(await run(graph(), saver, thread_id, {"text": "x"}), Failed)
    assert isinstance(await run(graph(), saver, thread_id), Finished)
    assert attempts[0] == attempts[1]


@for_keys
async def test_a_retry_gets_its_keys_again(saver: Any, thread_id: str) -> None:
    attempts: list[list[str]] = []

    async def fail_once(state: State) -> State:
        attempts.append([effect_key(), effect_key()])
        if len(attempts) == 1:
            raise ConnectionError
        return {}

    graph = graph_of(fail_once, retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    assert isinstance(await run(graph, saver, thread_id, {"text": "x"}), Finished)
    assert attempts[0] == attempts[1]


@for_keys
async def test_a_node_whose_question_was_answered_gets_its_keys_again(saver: Any, thread_id: str) -> None:
    attempts: list[str] = []

    def ask(state: State) -> State:
        attempts.append(effect_key())
        interrupt("Sure?")
        attempts.append(effect_key())
        return {}

    graph = graph_of(ask)
    paused = await run(graph, saver, thread_id, {"text": "x"})
    await run(graph, saver, thread_id, Command(resume={paused.snapshot.interrupts[0].id: "yes"}))
    first, again, second = attempts
    assert first == again != second


@for_keys
async def test_an_edited_state_has_other_keys(saver: Any, thread_id: str) -> None:
    keys: list[str] = []

    def fail(state: State) -> State:
        keys.append(effect_key())
        raise ConnectionError

    graph = graph_of(fail)
    await run(graph, saver, thread_id, {"text": "x"})
    await with_saver(graph, saver).aupdate_state(config_for(thread_id), {"text": "y"}, as_node="__start__")
    await run(graph, saver, thread_id)
    assert keys[0] != keys[1]


@pytest.mark.parametrize("call", [effect_key, lambda: once("key", print)])
def test_outside_a_node_it_says_where_it_belongs(call: Any) -> None:
    with pytest.raises(EffectMisused, match="inside a node"):
        call()


def test_what_we_read_of_a_task_is_still_called_so() -> None:
    names = (_constants.CONFIG_KEY_READ, _constants.CONFIG_KEY_RUNTIME, _constants.CONFIG_KEY_CHECKPOINTER)
    assert (effects._READ, effects._RUNTIME, effects._CHECKPOINTER) == names


async def test_langgraph_gives_a_task_the_very_saver_of_its_run(saver: Any) -> None:
    async def look() -> Any:
        return effects._Task.running().saver

    assert await done(look, saver) is saver


# Once


@in_any
async def test_what_was_done_is_not_done_again_and_gives_the_same(saver: Any) -> None:
    key = str(uuid.uuid4())
    effect, calls = counting({"id": 7, "paid": (1, None)})
    results = [await done(lambda: once(key, effect), saver) for _ in range(3)]
    assert results == [{"id": 7, "paid": [1, None]}] * 3
    assert len(calls) == 1


async def test_a_node_that_runs_again_does_only_what_it_had_not_done(saver: Any, thread_id: str) -> None:
    first, firsts = counting()
    second, seconds = counting()

    async def fail_once(state: State) -> State:
        await once(effect_key(), first)
        if len(seconds) == 0:
            seconds.append(0)
            raise ConnectionError
        await once(effect_key(), second)
        return {}

    assert isinstance(await run(graph_of(fail_once), saver, thread_id, {"text": "x"}), Failed)
    assert isinstance(await run(graph_of(fail_once), saver, thread_id), Finished)
    assert (len(firsts), len(seconds)) == (1, 2)


async def test_a_plain_node_does_it_once_too(saver: Any, thread_id: str) -> None:
    key, calls = str(uuid.uuid4()), []

    def effect() -> int:
        calls.append(1)
        return len(calls)

    def plain(state: State) -> State:
        return {"count": once(key, effect) + once(key, effect)}

    outcome = await run(graph_of(plain), saver, thread_id, {"text": "x"})
    assert outcome.snapshot.values["count"] == 2
    assert len(calls) == 1


@pytest.mark.parametrize("is_plain", [False, True])
async def test_of_two_at_once_the_second_waits_and_gets_what_the_first_got(
    saver: Any, thread_id: str, is_plain: bool
) -> None:
    """Two nodes of one step; the effect of each would say which it was."""
    key, calls, both = str(uuid.uuid4()), [], threading.Barrier(2)

    def effect_of(name: str) -> Any:
        def effect() -> str:
            calls.append(name)
            threading.Event().wait(0.1)
            return name

        async def later() -> str:
            calls.append(name)
            await asyncio.sleep(0.1)
            return name

        return effect if is_plain else later

    def plain(name: str) -> State:
        both.wait()
        return {"notes": [once(key, effect_of(name))]}

    async def asynchronous(name: str) -> State:
        await asyncio.to_thread(both.wait)
        return {"notes": [await once(key, effect_of(name))]}

    def left(state: State) -> State:
        return plain("left")

    def right(state: State) -> State:
        return plain("right")

    async def first(state: State) -> State:
        return await asynchronous("first")

    async def second(state: State) -> State:
        return await asynchronous("second")

    nodes = (left, right) if is_plain else (first, second)
    outcome = await run(graph_of(*nodes), saver, thread_id, {"text": "x"})
    assert outcome.snapshot.values["notes"] == calls * 2


async def test_an_effect_that_fails_is_noted_nowhere_and_may_be_tried_again(saver: Any) -> None:
    key = str(uuid.uuid4())
    effect, calls = counting()

    async def fail() -> None:
        raise ConnectionError("The bank is down.")

    with pytest.raises(ConnectionError):
        await done(lambda: once(key, fail), saver)
    assert await done(lambda: once(key, effect), saver) == "done"
    assert len(calls) == 1


NOT_KEPT: dict[str, Any] = {"object": object(), "set": {1, 2}, "nan": math.nan, "bytes": b"x", "uuid": uuid.uuid4()}


@pytest.mark.parametrize(
    ("saver", "result"),
    [(kind, NOT_KEPT[name]) for name, kind in crossed(NOT_KEPT, list(KINDS))],
    indirect=["saver"],
)
async def test_a_result_that_cannot_be_kept_is_refused_and_nothing_noted(saver: Any, result: Any) -> None:
    key = str(uuid.uuid4())
    effect, calls = counting(result)
    with pytest.raises(EffectMisused, match="kept as JSON"):
        await done(lambda: once(key, effect), saver)
    assert await done(lambda: once(key, counting()[0]), saver) == "done"
    assert len(calls) == 1


async def test_texts_that_postgresql_refuses_come_back_whole(saver: Any) -> None:
    key, text = str(uuid.uuid4()), "nul \0, surrogate \udc80"
    effect, _ = counting({text: [text]})
    assert [await done(lambda: once(key, effect), saver) for _ in range(2)] == [{text: [text]}] * 2


@pytest.mark.parametrize("saver", some(KINDS, "memory"), indirect=True)
@pytest.mark.parametrize(
    ("key", "fn", "said"),
    [
        ("", counting()[0], "is a text"),
        (7, counting()[0], "is a text"),
    ],
)
async def test_what_cannot_work_says_what_to_change(saver: Any, key: Any, fn: Any, said: str) -> None:
    async def work() -> Any:
        return once(key, fn)

    with pytest.raises(EffectMisused, match=said):
        await done(work, saver)


async def test_a_plain_effect_in_an_async_node_runs_once_beside_the_event_loop(saver: Any) -> None:
    key, threads = str(uuid.uuid4()), []

    def effect() -> str:
        threads.append(threading.current_thread())
        return "done"

    async def work() -> Any:
        return await once(key, effect)

    assert [await done(work, saver) for _ in range(2)] == ["done"] * 2
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_an_async_effect_in_a_plain_node_is_refused(saver: Any, thread_id: str) -> None:
    effect, calls = counting()

    def plain(state: State) -> State:
        return {"text": once(thread_id, effect)}

    outcome = await run(graph_of(plain), saver, thread_id, {"text": "x"})
    assert isinstance(outcome, Failed)
    assert ("Nobody awaits this" in outcome.message, calls) == (True, [])


async def test_a_coroutine_from_a_plain_function_is_not_lost_in_silence(saver: Any, thread_id: str) -> None:
    effect, calls = counting()

    def plain(state: State) -> State:
        return {"text": once(str(uuid.uuid4()), lambda: effect())}

    outcome = await run(graph_of(plain), saver, thread_id, {"text": "x"})
    assert isinstance(outcome, Failed)
    assert (outcome.error, calls) == ("EffectMisused", [])
    assert "async def itself" in outcome.message


async def test_a_saver_that_is_not_ours_has_keys_and_no_notes() -> None:
    effect, _ = counting()
    assert UUID(await done(lambda: asyncio.to_thread(effect_key), InMemorySaver()))
    with pytest.raises(EffectMisused, match="this graph has InMemorySaver"):
        await done(lambda: once("key", effect), InMemorySaver())


async def test_memory_has_no_connection_to_give() -> None:
    async def insert(connection: Any) -> None: ...

    async with open_checkpointer("memory://") as saver:
        with pytest.raises(EffectMisused, match="no connection"):
            await done(lambda: once("key", insert), saver)


@in_postgres
async def test_an_effect_waits_for_the_checkpoint_its_key_is_made_of(saver: Any, database: str, thread_id: str) -> None:
    """LangGraph begins an @entrypoint while its input is being stored. Killed there, it would get another key."""
    effect, calls = counting()
    has_begun = asyncio.Event()

    @entrypoint(checkpointer=fenced(saver, thread_id, 2))
    async def pay(amount: int) -> Any:
        key = effect_key()
        has_begun.set()
        return await once(key, effect)

    take_over(saver, database, thread_id)
    with psycopg.connect(make_conninfo("", **postgres_params(database))) as slow:
        slow.execute("SELECT FROM countersign_fences WHERE thread_id = %s FOR UPDATE", [thread_id])  # writes wait
        paying = asyncio.create_task(pay.ainvoke(7, config_for(thread_id), durability="sync"))
        await has_begun.wait()
        await asyncio.wait([paying], timeout=0.3)
        assert calls == []
        slow.commit()
        assert await paying == "done"
    assert len(calls) == 1


@in_a_database
async def test_a_key_that_would_be_another_one_next_time_is_refused(
    saver: Any, thread_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subgraph without checkpoints begins anew, under new ids; a name of one's own stays what it is."""
    monkeypatch.setattr(effects, "_MOST_LOOKS", 3)
    effect, calls = counting()

    async def paid(key: Any) -> None:
        async def pay(state: State) -> State:
            await once(key(), effect)
            return {}

        inner = StateGraph(State).add_node(pay).add_edge(START, "pay").compile(checkpointer=False)
        outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile()
        await with_saver(outer, saver).ainvoke({"text": "x"}, config_for(thread_id))

    with pytest.raises(EffectMisused, match="no subgraph with checkpointer=False"):
        await paid(effect_key)
    assert calls == []
    await paid(lambda: thread_id)
    assert len(calls) == 1


async def test_an_effect_without_a_connection_keeps_nobody_from_writing(saver: Any, thread_id: str) -> None:
    async def slow() -> None:
        graph = graph_of(counting_node)
        outcome = await asyncio.wait_for(run(graph, saver, f"{thread_id}-other", {"text": "x"}), 5)
        assert isinstance(outcome, Finished)

    async def counting_node(state: State) -> State:
        return {"count": 1}

    await done(lambda: once(thread_id, slow), saver)


# In the same transaction


@in_a_database
@pytest.mark.parametrize("is_plain", [False, True])
async def test_a_row_of_the_effect_is_there_if_and_only_if_the_effect_is_noted(
    saver: Any, session: Any, database: str, thread_id: str, is_plain: bool
) -> None:
    query = "INSERT INTO bookings (key) VALUES (%s)"
    if isinstance(saver, SqliteSaver):
        await saver.conn.execute("CREATE TABLE bookings (key text)")
        query = query.replace("%s", "?")
    key, fails = str(uuid.uuid4()), [True]

    async def insert_later(connection: Any) -> None:
        await connection.execute(query, [key])
        if fails:
            raise ConnectionError(fails.pop())

    def insert(connection: Any) -> None:
        connection.execute(query, [key])
        if fails:
            raise ConnectionError(fails.pop())

    async def asynchronous(state: State) -> State:
        await once(key, insert_later)
        return {}

    def plain(state: State) -> State:
        once(key, insert)
        return {}

    async def rows() -> int:
        count = "SELECT count(*) FROM bookings WHERE key = '%s'" % key  # noqa: UP031
        if isinstance(saver, SqliteSaver):
            return int(next(iter(await saver.conn.execute_fetchall(count)))[0])
        return int(session.execute(count).fetchone()[0])

    graph = graph_of(plain if is_plain else asynchronous)
    assert isinstance(await run(graph, saver, thread_id, {"text": "x"}), Failed)
    with tables_of(saver, database) as tables:
        assert (await rows(), tables.count_rows(thread_id)["countersign_effects"]) == (0, 0)
    assert isinstance(await run(graph, saver, thread_id), Finished)
    assert isinstance(await run(graph, saver, f"{thread_id}-2", {"text": "x"}), Finished)
    with tables_of(saver, database) as tables:
        assert (await rows(), tables.count_rows(thread_id)["countersign_effects"]) == (1, 1)


@in_postgres
async def test_an_effect_may_not_commit_half_of_itself(saver: Any, session: Any) -> None:
    async def commit(connection: Any) -> None:
        await connection.execute("INSERT INTO bookings (key) VALUES ('half')")
        await connection.commit()

    with pytest.raises(psycopg.ProgrammingError, match="forbidden"):
        await done(lambda: once(str(uuid.uuid4()), commit), saver)
    assert session.execute("SELECT count(*) FROM bookings WHERE key = 'half'").fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.parametrize(("where", "booked"), [("before the effect", 0), ("in the effect", 0), ("after the effect", 1)])
async def test_a_process_that_is_killed_around_it_books_once(
    database: str, session: Any, thread_id: str, tmp_path: Path, where: str, booked: int
) -> None:
    """A real kill; the one who goes on gets the same keys and books if, and only if, nothing was booked."""
    file = tmp_path / "keys"
    command = ["-m", "tests.agentcore.dying", database, thread_id, where, str(file)]
    killed = await asyncio.to_thread(forks.run, command)
    assert killed.returncode == -9
    [key, _] = file.read_text().split()
    count = "SELECT count(*) FROM bookings WHERE key = %s"
    assert session.execute(count, [key]).fetchone() == (booked,)
    async with open_checkpointer(database) as saver:
        outcome = await run(dying_graph("nowhere", file), saver, thread_id)
    assert outcome.snapshot.values["notes"] == ["booked"]
    before, after = file.read_text().splitlines()
    assert before == after
    assert session.execute(count, [key]).fetchone() == (1,)


# With a fence


@in_any
async def test_who_lost_its_thread_does_no_effect(saver: Any, database: str, thread_id: str) -> None:
    effect, calls = counting()

    async def node(state: State) -> State:
        await asyncio.to_thread(take_over, saver, database, thread_id)
        await once(effect_key(), effect)
        return {}

    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 1)
    with pytest.raises(FenceLost):
        await run(graph_of(node), fenced(saver, thread_id, 1), thread_id, {"text": "x"})
    assert calls == []


def take_over(saver: Any, database: str, thread_id: str) -> None:
    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 2)


@in_postgres
async def test_who_loses_its_thread_in_an_effect_leaves_no_row_and_keeps_nobody_waiting(
    saver: Any, session: Any, database: str, thread_id: str
) -> None:
    async def insert(connection: Any) -> None:
        await connection.execute("INSERT INTO bookings (key) VALUES (%s)", [thread_id])
        await asyncio.wait_for(asyncio.to_thread(take_over, saver, database, thread_id), 5)

    async def node(state: State) -> State:
        await once(effect_key(), insert)
        return {}

    with tables_of(saver, database) as tables:
        tables.raise_fence(thread_id, 1)
    with pytest.raises(FenceLost):
        await run(graph_of(node), fenced(saver, thread_id, 1), thread_id, {"text": "x"})
    assert session.execute("SELECT count(*) FROM bookings WHERE key = %s", [thread_id]).fetchone() == (0,)
    with tables_of(saver, database) as tables:
        assert tables.count_rows(thread_id)["countersign_effects"] == 0


@in_postgres
async def test_one_who_is_frozen_in_an_effect_holds_its_successor_up_for_a_while_only(
    saver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = f"{effects.LONGEST_SILENCE_SECONDS}s"
    assert limit in effects._LOCK_SQL
    monkeypatch.setattr(effects, "_LOCK_SQL", effects._LOCK_SQL.replace(limit, "200ms"))
    key, is_in, is_done = str(uuid.uuid4()), asyncio.Event(), asyncio.Event()

    async def frozen(connection: Any) -> None:
        is_in.set()
        await is_done.wait()

    async def successor() -> Any:
        await is_in.wait()
        return await once(key, counting()[0])

    zombie = asyncio.create_task(done(lambda: once(key, frozen), saver))
    assert await asyncio.wait_for(done(successor, saver), 5) == "done"
    is_done.set()
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        await zombie


# The examples in the docs


def examples() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/how-to/effects.md").read_text(), re.DOTALL):
        exec(block, found)
    return found


class Bank(http.server.BaseHTTPRequestHandler):
    """A service that knows Idempotency-Key; the first answer to each key is lost on its way."""

    paid: dict[str, Any]

    def do_POST(self) -> None:
        key = self.headers["Idempotency-Key"]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_new = key not in self.paid
        self.paid[key] = body
        self.send_response(502 if is_new else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"id": f"payment-{len(self.paid)}"}).encode())

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def bank() -> Iterator[str]:
    Bank.paid = {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bank) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@in_postgres
async def test_the_example_of_a_service_pays_once_though_it_has_to_ask_again(
    saver: Any, thread_id: str, bank: str
) -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(dict)
    builder.add_node("pay", examples()["pay"])
    builder.add_edge(START, "pay")
    assert isinstance(await run(builder.compile(), saver, thread_id, {"bank": bank, "amount": 7}), Failed)
    outcome = await run(builder.compile(), saver, thread_id)
    assert outcome.snapshot.values == {"payment": "payment-1"}
    assert list(Bank.paid.values()) == [{"amount": 7}]


@in_postgres
async def test_the_example_of_a_table_books_once(saver: Any, session: Any, thread_id: str) -> None:
    amount = uuid.uuid4().int % 1_000_000_000
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(dict)
    builder.add_node("book", examples()["book"])
    builder.add_edge(START, "book")
    assert isinstance(await run(builder.compile(), saver, thread_id, {"amount": amount}), Finished)
    assert session.execute("SELECT count(*) FROM bookings WHERE amount = %s", [amount]).fetchone() == (1,)
