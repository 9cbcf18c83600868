"""What a card says of a graph's channels: their type, and what becomes of a value that is written there."""

import operator
from typing import Annotated, Any, Literal

import pytest
from langgraph.channels import DeltaChannel, Topic
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from agentcore.demo import refund, support
from agentcore.graphs import cards


def keep_largest(left: int, right: int) -> int:
    return max(left, right)


class Kinds(TypedDict):
    name: str
    side: Literal["left", "right"]
    notes: Annotated[list[str], operator.add]
    total: Annotated[float, operator.add]
    messages: Annotated[list[Any], add_messages]
    facts: Annotated[dict[str, int], operator.or_]
    largest: Annotated[int, keep_largest]
    hidden: Annotated[int, lambda left, right: right]
    seen: Annotated[str, Topic(str)]
    many: Annotated[list[str], DeltaChannel(lambda state, writes: state)]


def graph_with(node: dict[str, Any] | None = None, whole: dict[str, Any] | None = None) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Kinds)
    builder.add_node("work", lambda state: {}, metadata=node)
    builder.add_edge(START, "work")
    compiled = builder.compile()
    return compiled.with_config(metadata=whole) if whole else compiled


CARD = cards.card("kinds", graph_with())


@pytest.mark.parametrize(
    ("name", "type", "words"),
    [
        ("name", "str", "replaces"),
        ("side", "Literal['left', 'right']", "replaces"),
        ("notes", "list[str]", "appends"),
        ("total", "float", "adds"),
        ("messages", "list of messages", "merges messages by id"),
        ("facts", "dict[str, int]", "merges keys"),
        ("largest", "int", "merges with keep_largest"),
        ("hidden", "int", "merges with a function of its own"),
        ("many", "list", "merges with a function of its own"),
    ],
)
def test_a_channel_says_its_type_and_how_it_merges_in_words(name: str, type: str, words: str) -> None:
    channel = CARD.channel(name)
    assert channel is not None
    assert (channel.type, channel.words) == (type, words)
    assert channel.is_reducer == (words != "replaces")


def test_the_channels_of_the_demos_are_said_too() -> None:
    notes = cards.card("refund", refund.graph).channel("risk_notes")
    messages = cards.card("support", support.graph).channel("messages")
    assert notes and messages
    assert (notes.merges, messages.merges) == ("appends", "messages")


def test_a_topic_appends() -> None:
    seen = CARD.channel("seen")
    assert seen and seen.words == "appends"


def test_secrets_are_named_by_the_metadata_of_nodes_and_of_the_graph() -> None:
    graph = graph_with({"approval": {"secret": ["name", "facts.key"]}}, {"approval": {"secret": ["name", "total"]}})
    assert cards.card("kinds", graph).secrets == ("name", "facts.key", "total")


@pytest.mark.parametrize("bad", [None, "name", 7, {"name": 1}, [7, None, ""], {}])
def test_metadata_of_another_kind_names_no_secrets(bad: Any) -> None:
    assert cards.card("kinds", graph_with({"approval": {"secret": bad}})).secrets == ()
