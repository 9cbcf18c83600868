"""The agent moves its thread, outside the console, while a question waits or its answer is on the way.

Whatever it does, the answer reaches the question that was shown, or nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END
from langgraph.types import Command
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.urls import postgres_params
from agentcore.savers.opening import open_checkpointer
from tests import dialects
from tests.console import Console, wait_for
from tests.copies import Paused
from tests.races import asking
from tests.races.forked import Arena
from tests.races.questions import asked, call, copied
from tests.scale import IS_FULL, some
from tests.voting import code_of, read, vote

Move = Callable[[Any, Any, Any, str], Awaitable[Any]]
"""What an agent does with its graph, the saver, the thread's config and the id of the question."""


async def _older(graph: Any, config: Any) -> Any:
    """Return the config of the checkpoint before the question."""
    return [state.config async for state in graph.aget_state_history(config)][1]


async def _fork(graph: Any, saver: Any, config: Any, question: str) -> None:
    await graph.aupdate_state(await _older(graph, config), {"amount": 9.0})


async def _replay(graph: Any, saver: Any, config: Any, question: str) -> None:
    await graph.ainvoke(None, await _older(graph, config))


async def _replay_here(graph: Any, saver: Any, config: Any, question: str) -> None:
    await graph.ainvoke(None, (await graph.aget_state(config)).config)


MOVES: dict[str, Move] = {
    "answers by id": lambda graph, saver, config, question: graph.ainvoke(Command(resume={question: "own"}), config),
    "answers": lambda graph, saver, config, question: graph.ainvoke(Command(resume="own"), config),
    "answers with an edit": lambda graph, saver, config, question: graph.ainvoke(
        Command(resume={question: "own"}, update={"amount": 9.0}), config
    ),
    "restarts": lambda graph, saver, config, question: graph.ainvoke({"amount": 9.0}, config),
    "jumps": lambda graph, saver, config, question: graph.ainvoke(Command(goto="twice"), config),
    "edits": lambda graph, saver, config, question: graph.aupdate_state(config, {"amount": 9.0}),
    "skips": lambda graph, saver, config, question: graph.aupdate_state(config, {"amount": 9.0}, as_node="twice"),
    "ends": lambda graph, saver, config, question: graph.aupdate_state(config, None, as_node=END),
    "forks": _fork,
    "replays": _replay,
    "replays the question": _replay_here,
    "deletes": lambda graph, saver, config, question: saver.adelete_thread(config["configurable"]["thread_id"]),
}
USUAL = some(MOVES, "answers with an edit", "skips", "replays the question", "deletes")
"""One of each sort: an answer, an edit, a run, and nothing at all."""
_OPEN = "SELECT title FROM approvals_approval WHERE thread_id = %s AND status = 'pending' ORDER BY title"
_OTHER = "SELECT 1 FROM approvals_approval WHERE thread_id = %s AND status = 'pending' AND id <> %s"
ASKS_ON = {"answers by id": "second?", "answers": "second?", "answers with an edit": "second?"}
ASKS_ON |= dict.fromkeys(("restarts", "jumps", "replays", "replays the question"), "first?")


def agent(database: str, graph: Any, thread_id: str, question: str, move: Move) -> None:
    """Move the thread as its agent would: with LangGraph's own saver, in a loop of its own, unknown to the console."""
    opened = AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(database)))
    _elsewhere(opened, graph, thread_id, question, move)


def paying_agent(database: str, graph: Any, thread_id: str, question: str, move: Move) -> None:
    """As `agent`, with a saver that has no fence: what pays through `once` needs one of ours."""
    _elsewhere(open_checkpointer(database), graph, thread_id, question, move)


def _elsewhere(opened: Any, graph: Any, thread_id: str, question: str, move: Move) -> None:

    async def work() -> None:
        async with opened as saver:
            await move(with_saver(graph, saver), saver, config_for(thread_id), question)

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, work()).result(60)


def open_on(console: Console, thread_id: str) -> dict[str, dict[str, Any]]:
    with console.api("erin") as erin:
        found = erin.get("/approvals", params={"thread_id": thread_id, "status": "pending"}).json()["items"]
        return {
            each["title"].removeprefix("Question: “").removesuffix("”"): erin.get(f"/approvals/{each['id']}").json()
            for each in found
        }


def wait_for_open(console: Console, thread_id: str, *words: str) -> dict[str, dict[str, Any]]:
    """Wait until these questions are open on a thread, and no other; return them."""
    wanted = sorted(f"Question: “{each}”" for each in words)
    with console.rows(_OPEN, thread_id) as read:
        wait_for(lambda: [title for (title,) in read()] == wanted, what=f"{words} to be asked, and nothing else")
    return open_on(console, thread_id)


@pytest.fixture(scope="module")
def moved(console: Console, database: str) -> dict[str, dict[str, Any]]:
    """By the way in which the agent moved it: a question, whose answer was refused at once."""
    approvals = dict(zip(USUAL, console.pause_all("d_in_turn", [{"amount": 1}] * len(USUAL)), strict=True))
    for move, approval in approvals.items():
        agent(database, dialects.in_turn, approval["thread_id"], approval["interrupt_id"], USUAL[move])
        refused = vote(console, "alice", approval, "respond", answer="from the console")
        assert code_of(refused) in ((409, "stale"), (410, "superseded")), (move, refused.text)
    return approvals


@pytest.mark.parametrize("move", USUAL)
def test_an_answer_to_a_question_that_the_agent_moved_is_refused(
    console: Console, moved: dict[str, dict[str, Any]], move: str
) -> None:
    approval = moved[move]
    thread_id = approval["thread_id"]
    after = read(console, approval)
    assert (after["decision"], after["votes"], after["run"]) == (None, [], None)
    if move not in ASKS_ON:
        assert not wait_for_open(console, thread_id)
        return
    asks = ASKS_ON[move]
    given = ["own"] if asks == "second?" else []
    for words in ("first?", "second?", "third?")[len(given) :]:
        now = wait_for_open(console, thread_id, words)[words]
        vote(console, "bob", now, "respond", answer=f"B {words}").raise_for_status()
        given.append(f"B {words}")
    assert console.run_of(now["id"])["status"] == "finished"
    with console.api("erin") as erin:
        assert erin.get(f"/threads/{thread_id}/state").json()["values"]["got"] == [given]


def test_a_question_that_the_agent_asked_again_word_for_word_is_still_the_same(console: Console, database: str) -> None:
    approval = console.pause("d_in_turn", {"amount": 1})
    agent(
        database, dialects.in_turn, approval["thread_id"], "", lambda graph, _, config, __: graph.ainvoke(None, config)
    )
    vote(console, "alice", approval, "respond", answer="yes").raise_for_status()
    assert console.run_of(approval["id"])["status"] == "paused"


def test_an_answer_to_the_other_question_of_the_step_is_refused_until_it_was_looked_at(
    console: Console, database: str
) -> None:
    thread_id = console.start_run("d_parallel", {"amount": 1})
    both = wait_for_open(console, thread_id, "left?", "right?")
    agent(database, dialects.parallel, thread_id, both["left?"]["interrupt_id"], MOVES["answers with an edit"])
    refused = vote(console, "alice", both["right?"], "respond", answer="R")
    assert code_of(refused) == (409, "stale")
    with console.rows(_OTHER, thread_id, both["right?"]["id"]) as read:
        wait_for(read, what="it to be read again")
    right = wait_for_open(console, thread_id, "right?")["right?"]
    assert right["id"] != both["right?"]["id"], "it is asked anew"
    assert right["state"]["amount"] == 9.0
    vote(console, "alice", right, "respond", answer="R").raise_for_status()
    assert console.run_of(right["id"])["status"] == "finished"


# After the answer was accepted, before a worker has it


@pytest.fixture(scope="module")
def waiting(arena: Arena) -> dict[str, str]:
    """One thread at the first question of each graph."""
    found = {graph: f"moved-{graph}" for graph in ("turns", "beside")}
    call(arena, "carry_out_in_turn", [arena.call("start", graph, [thread_id])[0] for graph, thread_id in found.items()])
    return found


def accepted(arena: Arena, template: str, words: str) -> tuple[Paused, str, str]:
    """Answer a question; return it, its interrupt's id, and the run that no worker has."""
    [thread_id] = copied(arena, template, 1)
    question = asked(arena, thread_id)[words]
    [[interrupt]] = arena.rows("SELECT interrupt_id FROM approvals_approval WHERE id = %s", question.approval_id)
    [answer] = call(arena, "answer", [(question, "from the console", {})])
    return question, interrupt, answer["run"]


def ended_as(arena: Arena, run: str) -> tuple[str, str]:
    [found] = arena.rows("SELECT status, problem FROM approvals_run WHERE id = %s", run)
    return str(found[0]), str(found[1])


def notes(arena: Arena, graph: Any, thread_id: str) -> Any:
    found: list[Any] = []

    async def look(graph: Any, saver: Any, config: Any, question: str) -> None:
        found.append(await graph.aget_state(config))

    paying_agent(arena.url, graph, thread_id, "", look)
    return found[0].values.get("notes", [])


USUAL_LATE_MOVES = ["answers", "restarts", "edits", "deletes"]
OTHER_LATE_MOVES = ["answers by id", "ends", "forks", "replays"]


@pytest.mark.parametrize("move", USUAL_LATE_MOVES + OTHER_LATE_MOVES * IS_FULL)
def test_an_answer_that_was_accepted_is_not_given_to_what_the_agent_asks_by_then(
    arena: Arena, waiting: dict[str, str], move: str
) -> None:
    question, interrupt, run = accepted(arena, waiting["turns"], "first?")
    moved = {"edits": {"text": "moved"}, "restarts": {"text": "moved"}}.get(move)
    ways: dict[str, Move] = {
        "edits": lambda graph, saver, config, question: graph.aupdate_state(config, moved),
        "restarts": lambda graph, saver, config, question: graph.ainvoke(moved, config),
        "forks": lambda graph, saver, config, question: _forked(graph, config),
    }
    paying_agent(arena.url, asking.turns, question.thread_id, interrupt, ways.get(move, MOVES[move]))
    before = notes(arena, asking.turns, question.thread_id)
    call(arena, "carry_out_in_turn", [run])
    assert ended_as(arena, run)[0] == "superseded"
    assert notes(arena, asking.turns, question.thread_id) == before
    open_now = asked(arena, question.thread_id)
    asks = {"answers by id": "second?", "answers": "second?", "restarts": "first?", "replays": "first?"}.get(move)
    assert list(open_now) == ([asks] if asks else []), open_now


async def _forked(graph: Any, config: Any) -> None:
    await graph.aupdate_state(await _older(graph, config), {"text": "moved"})


def test_a_held_answer_is_not_called_given_when_the_agent_answered_meanwhile(
    arena: Arena, waiting: dict[str, str]
) -> None:
    question, interrupt, run = accepted(arena, waiting["beside"], "left?")
    assert arena.fork("carry_out", [run], nodes="left:began=kill").died()
    arena.end_leases()
    arena.call("recover", [run])
    assert ended_as(arena, run)[0] == "held"
    paying_agent(arena.url, asking.beside, question.thread_id, interrupt, MOVES["answers by id"])
    arena.call("retry", [run])
    call(arena, "carry_out_in_turn", [run])
    assert ended_as(arena, run) == (
        "superseded",
        "The agent moved the thread before this run began, so the decision was not carried out.",
    )
    assert list(asked(arena, question.thread_id)) == ["right?"]
