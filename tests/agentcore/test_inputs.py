"""What an input certainly must be, and what LangGraph alone decides on."""

import operator
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.func import entrypoint
from langgraph.graph import MessagesState, add_messages
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentcore.graphs import cards
from agentcore.plain import schemas
from tests.cases.building import chain


def _largest(left: int, right: Any) -> int:
    return max(left, int(right))


class Refund(TypedDict):
    order: str
    amount: Annotated[float, Field(gt=0)]
    notes: Annotated[list[str], operator.add]
    largest: Annotated[int, _largest]
    route: str | None


class Asked(TypedDict):
    order: str


class OfBase(TypedDict):
    messages: Annotated[Sequence[BaseMessage], add_messages]


class Coerced(BaseModel):
    amount: float
    count: int = 1


def _card(state: Any, **schemas_: Any) -> Any:
    return cards.card("x", chain(state, of={"node": lambda state: {}}, **schemas_).compile())


@entrypoint()
def of_text(about: str) -> str:
    return about


@entrypoint()
def of_fields(about: Refund) -> str:
    return about["order"]


@entrypoint()
def of_anything(about) -> Any:  # type: ignore[no-untyped-def]  # authors leave it out
    return about


GRAPHS: dict[str, Any] = {
    "refund": _card(Refund),
    "chat": _card(MessagesState),
    "of_base": _card(OfBase),
    "coerced": _card(Coerced),
    "of_text": cards.card("x", of_text),
    "of_fields": cards.card("x", of_fields),
    "of_anything": cards.card("x", of_anything),
}


@pytest.mark.parametrize(
    ("graph", "given"),
    [
        ("refund", {}),
        ("refund", {"order": "A"}),
        ("refund", {"amount": "5.5"}),
        ("refund", {"largest": "whatever its reducer takes"}),
        ("chat", {"messages": "hi"}),
        ("chat", {"messages": [["user", "hi"]]}),
        ("of_base", {"messages": [{"role": "user", "content": "hi"}]}),
        ("coerced", {"amount": "5", "count": True}),
        ("of_text", "cats"),
        ("of_fields", {"order": "A", "more": 1}),
        ("of_anything", [1, "a", None]),
        ("of_anything", ""),
    ],
)
def test_what_langgraph_may_take_has_no_fault(graph: str, given: Any) -> None:
    assert list(schemas.faults(GRAPHS[graph].input_limits or {}, given, is_coerced=True)) == []


@pytest.mark.parametrize(
    ("graph", "given", "path"),
    [
        ("refund", {"amount": "much"}, "amount"),
        ("refund", {"amount": -1}, "amount"),
        ("refund", {"order": 5}, "order"),
        ("refund", {"notes": "one"}, "notes"),
        ("refund", {"misspelt": 1}, "misspelt"),
        ("refund", [], ""),
        ("chat", "hi", ""),
        ("coerced", {"count": "many"}, "count"),
        ("of_text", {"about": "cats"}, ""),
        ("of_fields", {"order": 5}, "order"),
    ],
)
def test_what_is_certainly_wrong_is_named(graph: str, given: Any, path: str) -> None:
    faults = list(schemas.faults(GRAPHS[graph].input_limits or {}, given, is_coerced=True))
    assert [fault.path for fault in faults] == [path]


def test_the_form_asks_for_what_the_author_says_the_input_needs() -> None:
    assert GRAPHS["refund"].needed == ()  # the nodes may write what its state requires
    assert _card(Refund, input_schema=Asked).needed == ("order",)
    assert GRAPHS["coerced"].needed == ("amount",)


def test_every_annotation_of_messages_offers_a_short_message() -> None:
    for graph in ("chat", "of_base"):
        items = GRAPHS[graph].input_schema["properties"]["messages"]["items"]
        assert items["anyOf"][0]["properties"].keys() == {"role", "content"}


@pytest.mark.parametrize(
    ("step", "number", "fits"),
    [
        (0.01, 19.99, True),
        (0.01, 0.07, True),
        (0.1, 0.3, True),
        (0.01, 0.075, False),
        (3, 10, False),
    ],
)
def test_steps_of_a_decimal_number(step: float, number: float, fits: bool) -> None:
    assert (list(schemas.faults({"multipleOf": step}, number)) == []) is fits


def test_the_order_of_fields_survives_where_that_of_keys_does_not() -> None:
    schema = schemas.with_order({"properties": {"zeta": {}, "alpha": {"properties": {"y": {}, "b": {}}}}})
    assert schema[schemas.ORDER] == ["zeta", "alpha"]
    assert schema["properties"]["alpha"][schemas.ORDER] == ["y", "b"]
