"""Every saver that is handed out does what LangGraph asks of a saver, and graphs give the same results over each."""

import math
import operator
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.errors import NotKept
from agentcore.plain.json import to_plain
from tests.agentcore.savers import EVERY_KIND, KINDS, ON_POSTGRES, open_saver
from tests.scale import share, some


@pytest.mark.parametrize("kind", some(EVERY_KIND, *KINDS[:4]))
async def test_a_saver_conforms(kind: str, database: str, redis: str, tmp_path: Path) -> None:
    @checkpointer_test(name=f"{kind} {uuid.uuid4()}")
    async def opened() -> AsyncGenerator[Any, None]:
        async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
            yield saver

    report = await validate(opened)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert not failures
    assert report.passed_all_base()
    if kind in ON_POSTGRES:
        assert report.passed_all(), report.to_dict()


class Words(TypedDict, total=False):
    words: Annotated[list[str], operator.add]
    topics: list[str]
    answer: Any


def says(word: str) -> Any:
    async def speak(state: Words) -> Words:
        return {"words": [word]}

    return speak


def _parallel() -> Any:
    """Two branches in one step, joined by a third node."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Words)
    for name in ("left", "right", "join"):
        graph.add_node(name, says(name))
    graph.add_edge(START, "left")
    graph.add_edge(START, "right")
    graph.add_edge(["left", "right"], "join")
    graph.add_edge("join", END)
    return graph


def _map_reduce() -> Any:
    """As many sends as there are topics."""

    async def write(topic: Any) -> Words:
        return {"words": [f"about {topic}"]}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Words)
    graph.add_node("plan", says("plan"))
    graph.add_node("write", write)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: [Send("write", topic) for topic in state["topics"]], ["write"])
    return graph


def _asking() -> Any:
    async def ask(state: Words) -> Words:
        first, second = interrupt("the first?"), interrupt({"the": "second?"})
        return {"words": [first, second]}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Words)
    graph.add_node("ask", ask)
    graph.add_node("done", says("done"))
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "done")
    return graph


def _nested() -> Any:
    """A question inside a subgraph, which has checkpoints of its own namespace."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Words)
    graph.add_node("before", says("before"))
    graph.add_node("inner", _asking().compile())
    graph.add_edge(START, "before")
    graph.add_edge("before", "inner")
    return graph


def _gather(state: list[str] | None, writes: Any) -> list[str]:
    return [*(state or []), *(word for write in writes for word in write)]


class Deltas(TypedDict, total=False):
    words: Annotated[list[str], DeltaChannel(_gather, snapshot_frequency=3)]
    turn: int


def _delta() -> Any:
    """A channel of which only the changes are stored, and a snapshot after every third."""

    async def speak(state: Deltas) -> Deltas:
        return {"words": [f"turn {state.get('turn')}, {len(state.get('words', []))} before"], "turn": state["turn"] + 1}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Deltas)
    graph.add_node("one", speak)
    graph.add_node("two", speak)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    return graph


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def _chat() -> Any:
    async def reply(state: Chat) -> Any:
        names = [str(m.content).removeprefix("I am ") for m in state["messages"] if str(m.content).startswith("I am ")]
        return {"messages": [AIMessage(f"You are {names[-1]}." if names else "Who are you?", id=str(uuid.uuid4()))]}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Chat)
    graph.add_node("reply", reply)
    graph.add_edge(START, "reply")
    return graph


def said(text: str) -> Any:
    return {"messages": [HumanMessage(text, id=str(uuid.uuid4()))]}


STORIES: dict[str, tuple[Any, list[Any], dict[str, Any]]] = {
    "parallel": (_parallel(), [{"words": ["go"]}], {}),
    "parallel, paused before the join": (_parallel(), [{"words": ["go"]}, None], {"interrupt_before": ["join"]}),
    "paused after a node": (_parallel(), [{"words": ["go"]}, None], {"interrupt_after": ["left"]}),
    "sends": (_map_reduce(), [{"words": [], "topics": ["a", "b", "c"]}], {}),
    "questions": (_asking(), [{"words": []}, Command(resume="one"), Command(resume="two")], {}),
    "questions in a subgraph": (_nested(), [{"words": []}, Command(resume="one"), Command(resume="two")], {}),
    "delta channel": (_delta(), [{"words": ["go"], "turn": 0}, {"words": ["again"]}, {"words": ["and again"]}], {}),
    "chat": (_chat(), [said("hello"), said("I am Mei-Ling"), said("who am I?")], {}),
}


def without_names(value: Any) -> Any:
    """Leave out what differs from run to run: ids."""
    if isinstance(value, dict):
        return {key: without_names(item) for key, item in value.items() if key != "id"}
    return [without_names(item) for item in value] if isinstance(value, list | tuple) else value


async def told(builder: Any, inputs: list[Any], gates: dict[str, Any], saver: Any) -> list[Any]:
    """Run a graph turn by turn; return all that a reader sees of it: heads, history, and what a replay gives."""
    graph, config = with_saver(builder.compile(**gates), saver), config_for(f"t-{uuid.uuid4()}")
    seen: list[Any] = []
    for each in inputs:
        await graph.ainvoke(each, config, durability="sync")
        head = await graph.aget_state(config, subgraphs=True)
        again = await graph.aget_state(config)
        assert head.values == again.values
        seen.append((head.values, head.next, [item.value for task in head.tasks for item in task.interrupts]))
    states = [state async for state in graph.aget_state_history(config)]
    seen.append([(state.values, state.next, (state.metadata or {}).get("step")) for state in states])
    by_id = [await graph.aget_state(state.config) for state in states]
    assert [state.values for state in by_id] == [state.values for state in states]
    replayed = await graph.ainvoke(None, states[len(states) // 2].config, durability="sync")
    seen.append(replayed)
    return list(without_names(to_plain(seen)))


@pytest.mark.filterwarnings("ignore:.*DeltaChannel.*")  # it is in beta, and says so
@pytest.mark.parametrize("story", STORIES)
async def test_a_graph_gives_the_same_over_every_saver(story: str, database: str, redis: str, tmp_path: Path) -> None:
    builder, inputs, gates = STORIES[story]
    expected = await told(builder, inputs, gates, InMemorySaver())
    for kind in share(KINDS, list(STORIES).index(story), of=3):
        async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
            assert await told(builder, inputs, gates, saver) == expected, kind


@pytest.mark.parametrize("kind", some(EVERY_KIND, "memory", "sqlite", "cached"))
async def test_a_chat_remembers_a_name_after_the_saver_was_closed(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    """In memory it does not, and must not seem to."""
    config, other = config_for(f"t-{uuid.uuid4()}"), config_for(f"t-{uuid.uuid4()}")
    for text in ("I am Mei-Ling", "who am I?"):
        async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
            chat = with_saver(_chat().compile(), saver)
            reply = (await chat.ainvoke(said(text), config))["messages"][-1].content
            stranger = (await chat.ainvoke(said("who am I?"), other))["messages"][-1].content
    assert reply == ("Who are you?" if kind == "memory" else "You are Mei-Ling.")
    assert stranger == "Who are you?"


@pytest.mark.parametrize("kind", some(EVERY_KIND, "memory", "sqlite", "cached notified"))
async def test_threads_with_names_alike_do_not_share_anything(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    one = f"t-{uuid.uuid4()}"
    names = [one, one.upper(), one[:-1], f"{one} ", f" {one}", f"{one}:", f"{one}/1", f"{one}%", f"{one}*", f"{one}?"]
    names += [f"{one}'--", f"{one}\u0301", f"{one}\u202e", f"{one}\\", f"[{one}]", f"{one}\n", f"{one}|", one * 100]
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        chat = with_saver(_chat().compile(), saver)
        for number, name in enumerate(names):
            await chat.ainvoke(said(f"I am {number}"), config_for(name))
        for number, name in enumerate(names):
            assert (await chat.aget_state(config_for(name))).values["messages"][0].content == f"I am {number}"
            assert len([state async for state in chat.aget_state_history(config_for(name))]) == 3
        await saver.adelete_thread(names[0])
        assert [bool((await chat.aget_state(config_for(name))).values) for name in names] == [False] + [True] * 17


UNKEPT: dict[str, tuple[Any, str]] = {
    "NaN": (math.nan, "the channel heard holds NaN"),
    "infinity": (math.inf, "the channel heard holds Infinity"),
    "the other infinity": (-math.inf, "the channel heard holds -Infinity"),
    "NUL": ("a\0b", "the channel heard holds a text with such a character"),
    "half a character": ("a\ud800b", "the channel heard holds a text with such a character"),
}


class Heard(TypedDict):
    heard: Any
    other: float


@pytest.mark.parametrize("kind", ON_POSTGRES[:2])
async def test_a_value_that_postgresql_cannot_keep_is_named(
    kind: str, database: str, redis: str, tmp_path: Path
) -> None:
    async with open_saver(kind, database=database, redis=redis, folder=tmp_path) as saver:
        for value, told_of in UNKEPT.values():
            builder: Any = StateGraph(Heard)
            builder.add_node("hear", lambda state, value=value: {"heard": value, "other": 1.5})
            builder.add_edge(START, "hear")
            graph = with_saver(builder.compile(), saver)
            with pytest.raises(NotKept) as refused:
                await graph.ainvoke({"other": 1.0}, config_for(f"t-{uuid.uuid4()}"), durability="sync")
            assert str(refused.value).endswith(f" Here {told_of}.")
        noted: Any = {**config_for(f"t-{uuid.uuid4()}"), "metadata": {"share": math.nan}}
        with pytest.raises(NotKept, match="the metadata of the run holds such a value"):
            await graph.ainvoke({"other": 1.0}, noted, durability="sync")
