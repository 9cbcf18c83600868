"""Property: on any graph each pause is asked, each question is a pause, and the node gets what the question shows.

LangGraph itself is the judge: on a copy of the thread it goes on past everything, and the nodes say what they got.
"""

import asyncio
import copy
import itertools
import operator
import random
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, StateSnapshot, interrupt
from typing_extensions import TypedDict

from agentcore.graphs import resume
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.runs import RunContext
from agentcore.graphs.snapshots import config_for, snapshot, with_saver
from agentcore.plain.namespaces import path_of
from agentcore.plain.types import Failed, Finished, Pause, Snapshot
from tests.scale import tries

GRAPHS = max(10, tries(15, full=300))  # in ten each kind of node still comes up
LEAST = tries(3, full=100)
"""Each kind of node comes up more often than this."""
SEED = 20261129
MOST_DECISIONS = 12

Entered = tuple[tuple[str, ...], str]
"""The nodes down to a node, and what it was given."""


class State(TypedDict, total=False):
    amount: int
    log: Annotated[list[str], operator.add]


class Output(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Build:
    """One random graph, whose nodes note what they are given."""

    def __init__(self, seed: int) -> None:
        self.dice, self.numbers = random.Random(seed), itertools.count(1)
        self.entered: list[tuple[str, int, Entered]] = []
        self.kinds: Counter[str] = Counter()
        self.graph = self.graph_of(0)

    def note(self, given: Any, config: RunnableConfig) -> None:
        metadata = config["metadata"]
        namespace = str(metadata["langgraph_checkpoint_ns"])
        above = namespace.rpartition("|")[0]
        self.entered.append((above, metadata["langgraph_step"], (path_of(namespace), repr(sorted(given.items())))))

    def graph_of(self, depth: int) -> Any:
        builder: Any = StateGraph(State, output_schema=Output)
        layers: list[list[str]] = []
        for _ in range(self.dice.randint(1, 3)):
            layers.append([self.add(builder, depth) for _ in range(self.dice.randint(1, 2))])
            for name in layers[-1]:
                builder.add_edge(START if len(layers) == 1 else layers[-2], name)
        names = list(builder.nodes)
        before = [name for name in names if self.dice.random() < 0.35]
        after = [name for name in names if self.dice.random() < 0.15]
        self.kinds.update({"before": bool(before), "after": bool(after)})
        own = depth > 0 and self.dice.random() < 0.3
        return builder.compile(interrupt_before=before, interrupt_after=after, checkpointer=True if own else None)

    def add(self, builder: Any, depth: int) -> str:
        kind = self.dice.choices(["plain", "ask", "send", "sub", "called"], [4, 2, 2, 2 * (depth < 2), depth < 2])[0]
        name = f"{kind}{next(self.numbers)}"
        self.kinds[kind] += 1
        make = {"plain": self.plain, "ask": self.ask, "send": self.send, "sub": self.sub, "called": self.called}[kind]
        builder.add_node(name, make(builder, name, depth))
        return name

    def plain(self, builder: Any, name: str, depth: int) -> Any:
        def run(state: State, config: RunnableConfig) -> dict[str, Any]:
            self.note(state, config)
            return {"log": [name]}

        return run

    def ask(self, builder: Any, name: str, depth: int) -> Any:
        def run(state: State, config: RunnableConfig) -> dict[str, Any]:
            return {"log": [f"{name} {interrupt({'asked by': name})}"]}

        return run

    def send(self, builder: Any, name: str, depth: int) -> Any:
        target, count = f"{name}_pay", self.dice.randint(1, 3)
        builder.add_node(target, self.plain(builder, target, depth))

        def run(state: State, config: RunnableConfig) -> Command[Any]:
            self.note(state, config)
            return Command(goto=[Send(target, {"payee": f"{name}-{each}", "amount": each}) for each in range(count)])

        return run

    def sub(self, builder: Any, name: str, depth: int) -> Any:
        return self.graph_of(depth + 1)

    def called(self, builder: Any, name: str, depth: int) -> Any:
        inner = self.graph_of(depth + 1)

        async def run(state: State, config: RunnableConfig) -> dict[str, Any]:
            return {"log": (await inner.ainvoke({"amount": state.get("amount", 0)}, config)).get("log", [])}

        return run


async def passed(build: Build, saver: InMemorySaver) -> set[tuple[str, Entered]]:
    """Have LangGraph go on past everything, on a copy: return the nodes that this runs first in each graph."""
    copied, seen = copy.deepcopy(saver), len(build.entered)
    await with_saver(build.graph, copied).ainvoke(None, config_for("t"))
    new, build.entered[seen:] = build.entered[seen:], []
    first = {above: step for above, step, _ in reversed(new)}
    return {(above, entered) for above, step, entered in new if step == first[above]}


def told(pause: Pause, here: Snapshot) -> set[tuple[str, Entered]]:
    """Return the plain nodes that a question at a breakpoint says would run, with what it shows of each."""
    at = here.at(pause.checkpoint_ns)
    assert at is not None and at.gate is not None and len(at.gate.tasks) == len(pause.actions)
    return {
        (pause.checkpoint_ns, (task.path, repr(sorted(action.args.items()))))
        for task, action in zip(at.gate.tasks, pause.actions, strict=True)
        if task.node.startswith(("plain", "send"))
    }


def asked_in(state: StateSnapshot) -> Iterator[str]:
    """Yield the ids of the questions that wait, each where it is asked: what a parent has noted may be over."""
    for task in state.tasks:
        if isinstance(task.state, StateSnapshot) and task.state.metadata and task.result is None:
            yield from asked_in(task.state)
        else:
            yield from (each.id for each in task.interrupts)


async def check(build: Build, saver: InMemorySaver) -> tuple[Snapshot, list[Pause]]:
    here = await snapshot(build.graph, saver, "t")
    assert here is not None
    pauses = pauses_at(build.graph, here)
    state = await with_saver(build.graph, saver).aget_state(config_for("t"), subgraphs=True)
    assert sorted(p.interrupt_id for p in pauses if p.interrupt_id) == sorted(asked_in(state))
    assert bool(pauses) == bool(state.next), "LangGraph stands before something exactly where somebody is asked"
    shown = {each for pause in pauses if not pause.interrupt_id for each in told(pause, here)}
    ran = await passed(build, saver)
    assert shown <= ran, f"asked, though LangGraph would not run it: {shown - ran}"
    at_gates = {pause.checkpoint_ns for pause in pauses if not pause.interrupt_id}
    assert {each for each in ran if each[0] in at_gates} <= shown, "LangGraph runs what nobody was shown"
    return here, pauses


async def story(seed: int) -> Counter[str]:
    build, saver = Build(seed), InMemorySaver()
    kinds = build.kinds

    def context(run: int) -> RunContext:
        return RunContext(build.graph, saver, "t", {"run": f"r{run}"}, "run")

    done: Any = await resume.start(context(0), {"amount": seed, "log": []})
    for number in range(1, MOST_DECISIONS + 1):
        assert not isinstance(done, Failed), done
        here, pauses = await check(build, saver)
        if not pauses:
            assert isinstance(done, Finished)
            break
        kinds["pauses"] += len(pauses)
        kinds["inside"] += sum(bool(pause.path) for pause in pauses)
        pause = build.dice.choice(pauses)
        at, expected, seen = here.at(pause.checkpoint_ns), set(), len(build.entered)
        assert at is not None
        answer = resume.Answer("approve")
        if pause.interrupt_id:
            answer = resume.Answer("respond", interrupt_id=pause.interrupt_id, answer="yes")
        else:
            expected = told(pause, here)
        place = {"expected_head": at.checkpoint_id, "namespace": pause.checkpoint_ns}
        done = await resume.resume(context(number), answer, **place)
        entered = {(above, what) for above, _, what in build.entered[seen:]}
        assert expected <= entered, "what was approved has run, with what was shown"
        others = {each for p in pauses if p is not pause and not p.interrupt_id for each in told(p, here)}
        assert not others & entered, "what nobody decided has run"
    return kinds


@pytest.mark.timeout(480)
def test_what_is_asked_is_what_langgraph_stands_at_and_what_is_shown_is_what_runs() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(SEED, SEED + GRAPHS):
        kinds += asyncio.run(story(seed))
    tried = ("plain", "ask", "send", "sub", "called", "before", "after")
    assert all(kinds[kind] > LEAST for kind in tried), kinds
    assert kinds["inside"] > GRAPHS
