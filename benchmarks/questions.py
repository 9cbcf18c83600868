"""A step that asks 1, 10, 100 and 1,000 questions at once: to list them, and to answer one of them.

`bare` is LangGraph over the same PostgreSQL, with the same graph: `ainvoke` until it has stopped and a look at the
questions, then one answer and the same look. It runs every node that has not been answered again, with each answer.
`times` is ours divided by bare.
"""

import asyncio
import operator
import os
import statistics
import time
import uuid
from functools import partial
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from agentcore.graphs.snapshots import config_for, with_saver

SIZES = [int(size) for size in os.environ.get("BENCH_QUESTIONS", "1,10,100,1000").split(",")]
ANSWERS = min(5, int(os.environ.get("BENCH_ROUNDS", "5")))


class State(TypedDict, total=False):
    count: int
    number: int
    agreed: Annotated[list[Any], operator.add]


async def ask(state: State) -> State:
    answer = interrupt({"question": f"Refund order {state['number']}?", "amount": 80.0})
    return {"agreed": [[state["number"], answer]]}


def _fan(state: State) -> list[Send]:
    return [Send("ask", {"number": number}) for number in range(state["count"])]


_builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
_builder.add_node("ask", ask)
_builder.add_conditional_edges(START, _fan, ["ask"])
graph = _builder.compile()


def table() -> list[dict[str, object]]:
    return asyncio.run(_table())


async def _table() -> list[dict[str, object]]:
    from approvals.jobs import worker

    async with worker.running():
        for one in (_bare, _ours):
            await _measured(one, 2)  # caches, prepared statements
        rows = []
        for size in SIZES:
            bare, ours = await _measured(_bare, size), await _measured(_ours, size)
            rows += [_row("bare", size, bare, bare), _row("countersign", size, ours, bare)]
        return rows


def _row(who: str, size: int, taken: tuple[float, float], bare: tuple[float, float]) -> dict[str, object]:
    return {
        "who": who,
        "questions": size,
        "listed s": round(taken[0], 3),
        "times": round(taken[0] / bare[0], 2),
        "one answered s": round(taken[1], 3),
        "answered times": round(taken[1] / bare[1], 2),
    }


async def _measured(one: Any, size: int) -> tuple[float, float]:
    """Return the seconds until the questions are listed, and the median of those until an answer was carried out."""
    began = time.perf_counter()
    asked = await one.ask(size)
    listed = time.perf_counter() - began
    taken = []
    for number in range(min(ANSWERS, size)):
        began = time.perf_counter()
        await one.answer(asked, number)
        taken.append(time.perf_counter() - began)
    return listed, statistics.median(taken)


class _bare:
    @staticmethod
    async def ask(size: int) -> Any:
        from approvals.jobs import runtime

        config = config_for(str(uuid.uuid4()))
        bound = with_saver(graph, (await runtime.worker()).saver(None))
        await bound.ainvoke({"count": size}, config, durability="sync")
        state = await bound.aget_state(config)
        return bound, config, [each.id for task in state.tasks for each in task.interrupts]

    @staticmethod
    async def answer(asked: Any, number: int) -> None:
        bound, config, ids = asked
        await bound.ainvoke(Command(resume={ids[number]: "yes"}), config, durability="sync")
        await bound.aget_state(config)


class _ours:
    @staticmethod
    async def ask(size: int) -> Any:
        from approvals.actions.runs.starts import start_run
        from approvals.actions.threads.creation import create_thread
        from approvals.models import Approval

        olga = await _person("olga")
        thread = await _in_database(create_thread, by=olga)
        run = await _in_database(start_run, thread_id=thread.pk, graph_id="fanned", input={"count": size}, by=olga)
        await _stopped(thread.pk, run.pk)
        found = Approval.objects.pending().filter(thread_id=thread.pk).without_content().order_by("created_at", "pk")
        asked = await _in_database(lambda: list(found))
        assert len(asked) == size, f"{len(asked)} of {size}"
        return asked

    @staticmethod
    async def answer(asked: Any, number: int) -> None:
        from approvals.actions.votes import ballots, votes

        approval, alice = asked[number], await _person("alice")
        ballot = ballots.Ballot(
            verdict="respond", seen_digest=approval.digest, edits={}, answer="yes", is_answered=True
        )
        voted = await _in_database(partial(votes.cast, approval_id=approval.pk, ballot=ballot, by=alice))
        await _stopped(approval.thread_id, voted.run.pk)


async def _stopped(thread_id: str, run_id: Any) -> None:
    """Wait until a run has stopped, told by the message that pages are told by."""
    from approvals.live import events, relay
    from approvals.models import Run

    await relay.follow()
    news = asyncio.Event()
    with relay.told([events.thread_topic(thread_id)], lambda topic: news.set()):
        while not await _in_database(Run.objects.filter(pk=run_id, ended_at__isnull=False).exists):
            await news.wait()
            news.clear()
    run = await _in_database(Run.objects.get, pk=run_id)
    assert run.status in ("paused", "finished"), (run.status, run.error, run.problem)


async def _in_database(function: Any, *args: Any, **kwargs: Any) -> Any:
    from approvals.database import in_database

    return await in_database(function)(*args, **kwargs)


async def _person(name: str) -> Any:
    from django.contrib.auth import get_user_model

    return await _in_database(get_user_model().objects.get, username=name)
